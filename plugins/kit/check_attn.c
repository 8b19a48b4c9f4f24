/* check_attn.c - see check_attn.h. */
#include "plugins/kit/check_attn.h"

int kit_attn_desc_check(bnp_device *dev, const bnp_attn_desc *d)
{
    if (d->struct_size < sizeof(bnp_attn_desc))
        return kit_fail(dev, BNP_E_INVALID, "attention description of %u bytes, expected %zu",
                        d->struct_size, sizeof(bnp_attn_desc));
    if (d->kv_format != BNP_KV_F16 && d->kv_format != BNP_KV_I8)
        return BNP_E_UNSUPPORTED;
    if (d->kv_format == BNP_KV_I8 && d->head_dim > BNP_KV_I8_DIM)
        return BNP_E_UNSUPPORTED;
    const bool widths = d->n_head && d->n_head_kv && d->head_dim && d->n_head <= 1u << 16 &&
                        d->head_dim <= 1u << 14 && d->n_head % d->n_head_kv == 0;
    const bool page = d->page_tok == 16 || d->page_tok == 32 || d->page_tok == 64;
    if (!widths || !page || !d->max_kv || d->max_kv > INT32_MAX || !d->max_tok ||
        row_not_finite(&d->scale, 1) >= 0)
        return kit_fail(dev, BNP_E_INVALID,
                        "attention: %u heads over %u of %u, pages of %u, %u keys, %u rows: "
                        "expected whole groups of heads, pages of 16, 32 or 64, a finite scale",
                        d->n_head, d->n_head_kv, d->head_dim, d->page_tok, d->max_kv, d->max_tok);
    return BNP_OK;
}

int kit_attn_query(bnp_device *dev, const bnp_attn_desc *d, kit_attn_bytes *scratch,
                   bnp_offer *offer)
{
    const int rc = kit_attn_desc_check(dev, d);
    if (rc)
        return rc;
    const bnp_offer mine = { .det = BNP_DET_EXACT, .scratch_size = scratch(d) };
    sized_fill(offer, &mine, sizeof mine);
    return BNP_OK;
}

int kit_attn_page_size(bnp_device *dev, const bnp_attn_desc *d, kit_attn_bytes *page,
                       uint64_t *size)
{
    const int rc = kit_attn_desc_check(dev, d);
    if (!rc)
        *size = page(d);
    return rc;
}

static bool page_in_pool(bnp_span pool, uint64_t page_size, int64_t number)
{
    return number >= 0 && (uint64_t)number < pool.size / page_size;
}

/* Row r of the step may touch the pages of positions from..pos[r]. */
static int pages_check(bnp_stream *s, const char *what, const bnp_attn_desc *d, bnp_span pool,
                       uint64_t page_size, uint32_t r, uint32_t from)
{
    const uint32_t pos = (uint32_t)s->step.pos[r];
    if (s->seq_of[r] < 0 || pos >= d->max_kv || pos / d->page_tok >= s->step.max_pages)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "%s: row %u is at position %u of sequence %d, expected a sequence, below "
                        "%u keys and %u pages of %u", what, r, pos, s->seq_of[r], d->max_kv,
                        s->step.max_pages, d->page_tok);
    const int32_t *page = s->step.page + (size_t)s->seq_of[r] * s->step.max_pages;
    for (uint32_t i = from / d->page_tok; i <= pos / d->page_tok; i++) {
        if (!page_in_pool(pool, page_size, page[i]))
            return kit_fail(s->dev, BNP_E_INVALID,
                            "%s: page %u of sequence %d is number %d of %llu", what, i,
                            s->seq_of[r], page[i], (unsigned long long)(pool.size / page_size));
    }
    return BNP_OK;
}

/* Rows as wide as expected, one for each row of the step. */
static int step_rows(bnp_stream *s, const char *what, const bnp_attn_desc *d, const bnp_rows *x,
                     uint64_t cols)
{
    if (x->cols != cols || x->n_tok != s->step.n_tok || x->n_tok > d->max_tok)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "%s: %u rows of %u columns, expected the step's %u (at most %u) of %llu",
                        what, x->n_tok, x->cols, s->step.n_tok, d->max_tok,
                        (unsigned long long)cols);
    return kit_need_rows(s, what, x);
}

static int begin(bnp_stream *s, const char *what, const bnp_attn_desc *d, bnp_span pool,
                 uint64_t page_size, struct kit_attn *a)
{
    int rc = kit_need_step(s, what);
    if (rc || (rc = kit_need_span(s, what, pool, 0)))
        return rc;
    *a = (struct kit_attn){ s, d, span_at(pool), page_size };
    return BNP_OK;
}

int kit_append_check(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, uint64_t page_size,
                     const bnp_rows *k, const bnp_rows *v, struct kit_attn *a)
{
    int rc = begin(s, "append: pool", d, pool, page_size, a);
    if (rc || (rc = step_rows(s, "append: k", d, k, kit_kv_width(d))) ||
        (rc = step_rows(s, "append: v", d, v, kit_kv_width(d))))
        return rc;
    for (uint32_t r = 0; r < k->n_tok && !rc; r++)
        rc = pages_check(s, "append", d, pool, page_size, r, (uint32_t)s->step.pos[r]);
    return rc;
}

/* Rows of one sequence stand at consecutive positions: the pages of a row that
 * its predecessor did not need are the last few. */
int kit_attend_check(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, uint64_t page_size,
                     const bnp_rows *q, const bnp_rows *out, struct kit_attn *a)
{
    const uint64_t cols = (uint64_t)d->n_head * d->head_dim;
    int rc = begin(s, "attend: pool", d, pool, page_size, a);
    if (rc || (rc = step_rows(s, "attend: q", d, q, cols)) ||
        (rc = step_rows(s, "attend: out", d, out, cols)))
        return rc;
    for (uint32_t r = 0; r < q->n_tok && !rc; r++) {
        const uint32_t pos = (uint32_t)s->step.pos[r];
        const bool follows = r && s->seq_of[r] >= 0 && s->seq_of[r] == s->seq_of[r - 1];
        rc = pages_check(s, "attend", d, pool, page_size, r,
                         follows ? pos : kit_first_visible(d, pos));
    }
    return rc;
}

int kit_need_kv(bnp_stream *s, const char *what, const bnp_attn_desc *d, const bnp_rows *x)
{
    if (d->kv_format != BNP_KV_F16)
        return kit_need_finite(s, what, x);
    for (uint32_t r = 0; r < x->n_tok; r++) {
        for (uint32_t i = 0; i < x->cols; i++) {
            const float v = rows_at(x, r)[i];
            if (!(v > -65520.0f && v < 65520.0f))       /* half way from 65504 to 2^16 */
                return kit_fail(s->dev, BNP_E_NUMERIC,
                                "%s: row %u column %u is %g, which f16 cannot hold", what, r, i,
                                (double)v);
        }
    }
    return BNP_OK;
}

int kit_copy_page_check(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, uint64_t page_size,
                        uint32_t dst, uint32_t src, uint32_t n_tok, struct kit_attn *a)
{
    const int rc = begin(s, "copy_page: pool", d, pool, page_size, a);
    if (rc)
        return rc;
    if (page_in_pool(pool, page_size, dst) && page_in_pool(pool, page_size, src) &&
        n_tok <= d->page_tok)
        return BNP_OK;
    return kit_fail(s->dev, BNP_E_INVALID, "copy_page: %u tokens of page %u into %u, of %llu",
                    n_tok, src, dst, (unsigned long long)(pool.size / page_size));
}
