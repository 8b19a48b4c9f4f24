/* kv.h - pages of keys and values: who holds which.
 *
 * A page number names the same slot in every layer's pool. Pages are counted,
 * not owned: sequences that share a prefix share its full pages, and the prefix
 * cache holds pages that no sequence holds any more. A page is free, idle (the
 * cache's alone) or in use, and is written only while its count is 1 and it is
 * not the cache's. Engine thread only. */
#ifndef BITNET_ENGINE_KV_H
#define BITNET_ENGINE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct kv {
    uint32_t n_page, page_tok;    /* pages, tokens in a page                   */
    uint32_t n_free;
    uint32_t n_idle;              /* pages that only the prefix cache holds    */
    uint32_t *count;              /* [n_page] sequences that hold it, and one  */
                                  /*   when the prefix cache does              */
    bool *cached;                 /* [n_page] the prefix cache holds it        */
    int32_t *free_page;           /* [n_free] a stack                          */
};

struct kv_seq {                   /* one sequence's pages, oldest first        */
    int32_t *page;                /* [max_page]                                */
    uint32_t n_page, max_page;
    uint32_t n_cached;            /* the first of them, which the prefix cache */
                                  /*   holds too                               */
};

int kv_open(struct kv *, uint32_t n_page, uint32_t page_tok, struct err *);
void kv_close(struct kv *);
int kv_seq_open(struct kv_seq *, const struct kv *, uint32_t max_tok, struct err *);
void kv_seq_close(struct kv *, struct kv_seq *);   /* drops its pages too */
uint64_t kv_table_size(uint32_t n_page);           /* bytes that kv_open takes */

uint32_t kv_pages_for(const struct kv *, uint32_t n_tok);
/* Makes room for n_tok tokens in all; false when pages are short (nothing
 * changes) or max_page would be exceeded. */
bool kv_reserve(struct kv *, struct kv_seq *, uint32_t n_tok);
/* Keeps the first n_tok tokens' pages, drops the others. Pages that the prefix
 * cache holds too are not among them: see prefix_drop. */
void kv_trim(struct kv *, struct kv_seq *, uint32_t n_tok);

/* For prefix.c. The sequence holds the page too, behind those it has. */
void kv_append(struct kv *, struct kv_seq *, int32_t page);
/* The sequence's page i becomes another one, which holds the same. */
void kv_replace(struct kv *, struct kv_seq *, uint32_t i, int32_t page);
/* One holder more, one less. */
void kv_hold(struct kv *, int32_t page);
void kv_drop(struct kv *, int32_t page);
void kv_cache_hold(struct kv *, int32_t page);     /* once per page */
void kv_cache_drop(struct kv *, int32_t page);
/* Nobody but the prefix cache holds it. */
static inline bool kv_is_idle(const struct kv *kv, int32_t page)
{
    return kv->cached[page] && kv->count[page] == 1;
}

#endif
