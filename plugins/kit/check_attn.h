/* check_attn.h - are these calls of the attention family as bitnet_plugin.h
 * says? Each gives BNP_OK, BNP_E_UNSUPPORTED, or a status after its report.
 * After a check of append or attend every page that the step needs lies in the
 * pool. What pages hold is the plugin's own affair, so is their size. */
#ifndef BITNET_KIT_CHECK_ATTN_H
#define BITNET_KIT_CHECK_ATTN_H

#include "plugins/kit/check.h"

struct kit_attn {               /* a call                                    */
    bnp_stream *s;
    const bnp_attn_desc *d;
    char *pool;
    uint64_t page_size;         /* bytes                                     */
};

int kit_attn_desc_check(bnp_device *, const bnp_attn_desc *);
/* An exact offer, and the size of a page: bytes(d) of a description that holds. */
typedef uint64_t kit_attn_bytes(const bnp_attn_desc *);
int kit_attn_query(bnp_device *, const bnp_attn_desc *, kit_attn_bytes *scratch, bnp_offer *);
int kit_attn_page_size(bnp_device *, const bnp_attn_desc *, kit_attn_bytes *page, uint64_t *size);
/* The description was checked; page_size is the plugin's own. a is filled. */
int kit_append_check(bnp_stream *, const bnp_attn_desc *, bnp_span pool, uint64_t page_size,
                     const bnp_rows *k, const bnp_rows *v, struct kit_attn *a);
int kit_attend_check(bnp_stream *, const bnp_attn_desc *, bnp_span pool, uint64_t page_size,
                     const bnp_rows *q, const bnp_rows *out, struct kit_attn *a);
int kit_copy_page_check(bnp_stream *, const bnp_attn_desc *, bnp_span pool, uint64_t page_size,
                        uint32_t dst, uint32_t src, uint32_t n_tok, struct kit_attn *a);

/* BNP_E_NUMERIC with row and column of the first element that d's format cannot
 * hold: NaN, Inf, for f16 what rounds to 65520 or more. */
int kit_need_kv(bnp_stream *, const char *what, const bnp_attn_desc *, const bnp_rows *);

/* Elements of a k or v row. */
static inline uint64_t kit_kv_width(const bnp_attn_desc *d)
{
    return (uint64_t)d->n_head_kv * d->head_dim;
}

/* The oldest key that a row at pos sees. */
static inline uint32_t kit_first_visible(const bnp_attn_desc *d, uint32_t pos)
{
    return d->window && pos >= d->window ? pos - d->window + 1 : 0;
}

/* The page that holds position pos of row r's sequence. */
static inline char *kit_page_at(const struct kit_attn *a, uint32_t r, uint32_t pos)
{
    const int32_t *page = a->s->step.page + (size_t)a->s->seq_of[r] * a->s->step.max_pages;
    return a->pool + (uint64_t)page[pos / a->d->page_tok] * a->page_size;
}

#endif
