/* kv.h - pages of keys and values: who holds which.
 *
 * A page number names the same slot in every layer's pool. Pages are counted,
 * not owned: sequences that share a prefix share its full pages. A page is
 * written only while its count is 1. Engine thread only. */
#ifndef BITNET_ENGINE_KV_H
#define BITNET_ENGINE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct kv {
    uint32_t n_page, page_tok;    /* pages, tokens in a page                   */
    uint32_t n_free;
    uint16_t *count;              /* [n_page] sequences that hold it           */
    int32_t *free_page;           /* [n_free] a stack                          */
};

struct kv_seq {                   /* one sequence's pages, oldest first        */
    int32_t *page;                /* [max_page]                                */
    uint32_t n_page, max_page;
};

int kv_open(struct kv *, uint32_t n_page, uint32_t page_tok, struct err *);
void kv_close(struct kv *);
int kv_seq_open(struct kv_seq *, const struct kv *, uint32_t max_tok, struct err *);
void kv_seq_close(struct kv *, struct kv_seq *);   /* drops its pages too */

uint32_t kv_pages_for(const struct kv *, uint32_t n_tok);
/* Makes room for n_tok tokens in all; false when pages are short (nothing
 * changes) or max_page would be exceeded. */
bool kv_reserve(struct kv *, struct kv_seq *, uint32_t n_tok);
/* Keeps the first n_tok tokens' pages, drops the others. */
void kv_trim(struct kv *, struct kv_seq *, uint32_t n_tok);
/* dst (empty) holds src's first n_page pages too. They must be full. */
void kv_share(struct kv *, struct kv_seq *dst, const struct kv_seq *src, uint32_t n_page);

#endif
