/* kv.c - counts and a stack: pages are taken from the top of the free stack
 * and go back there when their count falls to zero, so the warmest page is
 * used next. The bytes of the pages are not here: forward.c owns the pools. */
#include "core/engine/kv.h"

#include <assert.h>
#include <stdlib.h>

int kv_open(struct kv *kv, uint32_t n_page, uint32_t page_tok, struct err *err)
{
    *kv = (struct kv){ 0 };
    if (!n_page || n_page > INT32_MAX || !page_tok)
        return err_set(err, ERR_ARG, "kv: %u pages of %u tokens, expected 1..%d pages of at "
                       "least one token", n_page, page_tok, INT32_MAX);
    kv->count = calloc(n_page, sizeof *kv->count);
    kv->cached = calloc(n_page, sizeof *kv->cached);
    kv->free_page = calloc(n_page, sizeof *kv->free_page);
    if (!kv->count || !kv->cached || !kv->free_page) {
        kv_close(kv);
        return err_set(err, ERR_NOMEM, "kv: no memory to count %u pages: lower engine.kv_tok",
                       n_page);
    }
    kv->n_page = kv->n_free = n_page;
    kv->page_tok = page_tok;
    for (uint32_t i = 0; i < n_page; i++)
        kv->free_page[i] = (int32_t)(n_page - 1 - i);
    return 0;
}

void kv_close(struct kv *kv)
{
    free(kv->count);
    free(kv->cached);
    free(kv->free_page);
    *kv = (struct kv){ 0 };
}

uint64_t kv_table_size(uint32_t n_page)
{
    const struct kv *kv = NULL;
    return (uint64_t)n_page * (sizeof *kv->count + sizeof *kv->cached + sizeof *kv->free_page);
}

uint32_t kv_pages_for(const struct kv *kv, uint32_t n_tok)
{
    return n_tok / kv->page_tok + (n_tok % kv->page_tok != 0);
}

int kv_seq_open(struct kv_seq *s, const struct kv *kv, uint32_t max_tok, struct err *err)
{
    *s = (struct kv_seq){ .max_page = kv_pages_for(kv, max_tok) };
    s->page = calloc(s->max_page ? s->max_page : 1, sizeof *s->page);
    if (!s->page)
        return err_set(err, ERR_NOMEM, "kv: no memory for a table of %u pages: lower engine.n_ctx",
                       s->max_page);
    return 0;
}

void kv_hold(struct kv *kv, int32_t page)
{
    assert(kv->count[page] > 0 && kv->count[page] < UINT32_MAX);
    kv->n_idle -= kv_is_idle(kv, page);
    kv->count[page]++;
}

void kv_drop(struct kv *kv, int32_t page)
{
    assert(kv->count[page] > 0);
    if (--kv->count[page] == 0)
        kv->free_page[kv->n_free++] = page;
    kv->n_idle += kv_is_idle(kv, page);
}

static void drop(struct kv *kv, struct kv_seq *s, uint32_t keep)
{
    assert(s->n_page <= keep || s->n_cached <= keep);
    while (s->n_page > keep)
        kv_drop(kv, s->page[--s->n_page]);
}

void kv_seq_close(struct kv *kv, struct kv_seq *s)
{
    drop(kv, s, 0);
    free(s->page);
    *s = (struct kv_seq){ 0 };
}

bool kv_reserve(struct kv *kv, struct kv_seq *s, uint32_t n_tok)
{
    uint32_t need = kv_pages_for(kv, n_tok);
    if (need <= s->n_page)
        return true;
    if (need > s->max_page || need - s->n_page > kv->n_free)
        return false;
    while (s->n_page < need) {
        int32_t page = kv->free_page[--kv->n_free];
        assert(kv->count[page] == 0);
        kv->count[page] = 1;
        s->page[s->n_page++] = page;
    }
    return true;
}

void kv_trim(struct kv *kv, struct kv_seq *s, uint32_t n_tok)
{
    drop(kv, s, kv_pages_for(kv, n_tok));
}

void kv_append(struct kv *kv, struct kv_seq *s, int32_t page)
{
    assert(s->n_page < s->max_page);
    kv_hold(kv, page);
    s->page[s->n_page++] = page;
}

void kv_replace(struct kv *kv, struct kv_seq *s, uint32_t i, int32_t page)
{
    assert(i < s->n_page && !kv->cached[s->page[i]]);
    kv_hold(kv, page);
    kv_drop(kv, s->page[i]);
    s->page[i] = page;
}

void kv_cache_hold(struct kv *kv, int32_t page)
{
    assert(!kv->cached[page]);
    kv_hold(kv, page);
    kv->cached[page] = true;
}

void kv_cache_drop(struct kv *kv, int32_t page)
{
    assert(kv->cached[page]);
    kv->n_idle -= kv_is_idle(kv, page);
    kv->cached[page] = false;
    kv_drop(kv, page);
}
