/* gguf_check.c - the checks that look at the container as a whole: names that
 * occur twice, and where the tensors lie.
 *
 * A tensor's size comes from its type's formula, never from its neighbours;
 * the gap to the next tensor is what the formula is checked against. Some type
 * numbers are used by several programs for different encodings (wtype.c says
 * which): there the gap decides between them, and one that fits none means yet
 * another encoding, not a broken file, so the container opens and wsrc_open
 * refuses the tensor. */
#include "core/model/gguf_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/wtype.h"

int gguf_str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int by_key(const void *a, const void *b, void *ctx)
{
    const struct gguf_kv *kv = ctx;
    return gguf_str_cmp(kv[*(const uint32_t *)a].key, kv[*(const uint32_t *)b].key);
}

static int by_name(const void *a, const void *b, void *ctx)
{
    const struct gguf_tensor *t = ctx;
    return gguf_str_cmp(t[*(const uint32_t *)a].name, t[*(const uint32_t *)b].name);
}

static int by_offset(const void *a, const void *b, void *ctx)
{
    const struct gguf_tensor *t = ctx;
    uint64_t x = t[*(const uint32_t *)a].offset, y = t[*(const uint32_t *)b].offset;
    return (x > y) - (x < y);
}

/* 0..n-1 in the order of cmp, or NULL. */
static uint32_t *sorted(uint32_t n, int (*cmp)(const void *, const void *, void *), void *ctx)
{
    uint32_t *index = calloc((size_t)n + 1, sizeof *index);
    if (!index)
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        index[i] = i;
    qsort_r(index, n, sizeof *index, cmp, ctx);
    return index;
}

int gguf_check_names(struct gguf *g, struct err *e)
{
    g->kv_by_key = sorted(g->n_kv, by_key, g->kv);
    g->tensor_by_name = sorted(g->n_tensor, by_name, g->tensor);
    if (!g->kv_by_key || !g->tensor_by_name)
        return err_set(e, ERR_NOMEM, "%s: no memory for its index", g->name);
    for (uint32_t i = 1; i < g->n_kv; i++) {
        struct str a = g->kv[g->kv_by_key[i]].key;
        if (!gguf_str_cmp(a, g->kv[g->kv_by_key[i - 1]].key))
            return err_set(e, ERR_DATA, "%s: key %.*s occurs twice, expected once", g->name,
                           gguf_quote(a), a.p);
    }
    for (uint32_t i = 1; i < g->n_tensor; i++) {
        struct str a = g->tensor[g->tensor_by_name[i]].name;
        if (!gguf_str_cmp(a, g->tensor[g->tensor_by_name[i - 1]].name))
            return err_set(e, ERR_DATA, "%s: tensor %.*s occurs twice, expected once", g->name,
                           gguf_quote(a), a.p);
    }
    return 0;
}

static int fail_tensor(const struct gguf *g, const struct gguf_tensor *t, struct err *e,
                       const char *what)
{
    return err_set(e, ERR_DATA, "%s: tensor %.*s: %s", g->name, gguf_quote(t->name), t->name.p,
                   what);
}

/* offset: from the data section to the file. */
static int place(struct gguf *g, struct gguf_tensor *t, struct err *e)
{
    if (t->offset % g->align)
        return err_set(e, ERR_DATA, "%s: tensor %.*s: offset %" PRIu64 " is no multiple of the "
                       "alignment, %" PRIu64, g->name, gguf_quote(t->name), t->name.p, t->offset,
                       g->align);
    if (g->data >= g->n || t->offset >= g->n - g->data)
        return fail_tensor(g, t, e, "its data starts behind the end of the file: "
                           "the file is truncated, or the offset wrong");
    t->offset += g->data;
    return 0;
}

static int size_up(struct gguf *g, struct gguf_tensor *t, bool last, struct err *e)
{
    uint64_t rows = t->ne[1] * t->ne[2] * t->ne[3], size;    /* gguf.c proved: no overflow */
    const bool shared = wtype_is_shared(t->type);
    const struct wtype *type = wtype_pick(t->type, rows, t->ne[0], t->gap,
                                          shared ? g->align : UINT64_MAX);
    t->data = g->p + t->offset;
    t->size = t->gap;
    if (type) {
        wtype_bytes(type, rows, t->ne[0], &t->size);
        return 0;
    }
    type = wtype_find(t->type);
    if (!type || shared)
        return 0;
    const bool holds = wtype_bytes(type, rows, t->ne[0], &size);
    if (!holds && type->size)
        return fail_tensor(g, t, e, "its encoding does not hold this shape");
    if (!holds)
        return err_set(e, ERR_DATA, "%s: tensor %.*s: rows of %" PRIu64 " elements in %s, whose "
                       "blocks hold %u", g->name, gguf_quote(t->name), t->name.p, t->ne[0],
                       type->name, type->block);
    return err_set(e, ERR_DATA, "%s: tensor %.*s: %" PRIu64 " bytes as %s, and only %" PRIu64
                   " up to %s", g->name, gguf_quote(t->name), t->name.p, size, type->name, t->gap,
                   last ? "the end of the file: it is truncated" : "the next tensor: they overlap");
}

int gguf_check_tensors(struct gguf *g, struct err *e)
{
    for (uint32_t i = 0; i < g->n_tensor; i++) {
        int rc = place(g, &g->tensor[i], e);
        if (rc)
            return rc;
    }
    uint32_t *order = sorted(g->n_tensor, by_offset, g->tensor);
    if (!order)
        return err_set(e, ERR_NOMEM, "%s: no memory for its index", g->name);
    int rc = 0;
    for (uint32_t i = 0; i < g->n_tensor && !rc; i++) {
        struct gguf_tensor *t = &g->tensor[order[i]];
        bool last = i + 1 == g->n_tensor;
        t->gap = (last ? g->n : g->tensor[order[i + 1]].offset) - t->offset;
        if (!t->gap)
            rc = fail_tensor(g, t, e, "another tensor starts at the same offset: they overlap");
        else
            rc = size_up(g, t, last, e);
    }
    free(order);
    return rc;
}
