/* attn.c - keys and values in pages, and attention over them.
 *
 * Inside a page: page_tok key rows, then page_tok value rows, each
 * n_head_kv * head_dim f16. Chunks of BNP_ATTN_CHUNK are cut at absolute
 * positions, so what a row sees is summed in the same order however the
 * sequence was batched, chunked or shared. */
#include "num.h"
#include "ref.h"

#include <string.h>

struct view {                   /* one kv head of one sequence, for attend   */
    const bnp_attn_desc *d;
    const int32_t *page;        /* the sequence's row of the step's table    */
    const char *pool;
    uint64_t page_size;
    uint32_t kv_head;
};

static uint64_t kv_width(const bnp_attn_desc *d)        /* elements of a k row */
{
    return (uint64_t)d->n_head_kv * d->head_dim;
}

static uint64_t page_bytes(const bnp_attn_desc *d)
{
    return align_up(2 * d->page_tok * kv_width(d) * sizeof(uint16_t), BNP_ALIGN);
}

static uint64_t scratch_bytes(const bnp_attn_desc *d)   /* scores, o_c, O */
{
    return align_up(((uint64_t)d->max_kv + 2 * (uint64_t)d->head_dim) * sizeof(float), BNP_ALIGN);
}

static int desc_check(bnp_device *dev, const bnp_attn_desc *d)
{
    if (d->struct_size < sizeof(bnp_attn_desc))
        return kit_fail(dev, BNP_E_INVALID, "attention description of %u bytes, expected %zu",
                        d->struct_size, sizeof(bnp_attn_desc));
    if (d->kv_format != BNP_KV_F16)
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

int ref_attn_query(bnp_device *dev, const bnp_attn_desc *d, bnp_offer *offer)
{
    const int rc = desc_check(dev, d);
    if (rc)
        return rc;
    const bnp_offer mine = { .det = BNP_DET_EXACT, .scratch_size = scratch_bytes(d) };
    sized_fill(offer, &mine, sizeof mine);
    return BNP_OK;
}

int ref_attn_page_size(bnp_device *dev, const bnp_attn_desc *d, uint64_t *size)
{
    const int rc = desc_check(dev, d);
    if (rc)
        return rc;
    *size = page_bytes(d);
    return BNP_OK;
}

static bool page_in_pool(const bnp_attn_desc *d, bnp_span pool, int64_t number)
{
    return number >= 0 && (uint64_t)number < pool.size / page_bytes(d);
}

/* Row r of the step may touch the pages of positions from..pos[r]. */
static int pages_check(bnp_stream *s, const char *what, const bnp_attn_desc *d, bnp_span pool,
                       uint32_t r, uint32_t from)
{
    const uint32_t pos = (uint32_t)s->step.pos[r];
    if (s->seq_of[r] < 0 || pos >= d->max_kv || pos / d->page_tok >= s->step.max_pages)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "%s: row %u is at position %u of sequence %d, expected a sequence, below "
                        "%u keys and %u pages of %u", what, r, pos, s->seq_of[r], d->max_kv,
                        s->step.max_pages, d->page_tok);
    const int32_t *page = s->step.page + (size_t)s->seq_of[r] * s->step.max_pages;
    for (uint32_t i = from / d->page_tok; i <= pos / d->page_tok; i++) {
        if (!page_in_pool(d, pool, page[i]))
            return kit_fail(s->dev, BNP_E_INVALID,
                            "%s: page %u of sequence %d is number %d of %llu", what, i,
                            s->seq_of[r], page[i],
                            (unsigned long long)(pool.size / page_bytes(d)));
    }
    return BNP_OK;
}

static uint32_t first_visible(const bnp_attn_desc *d, uint32_t pos)
{
    return d->window && pos >= d->window ? pos - d->window + 1 : 0;
}

/* Rows as wide as expected, one for each row of the step, finite. */
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

static int begin(bnp_stream *s, const char *what, const bnp_attn_desc *d, bnp_span pool)
{
    int rc = kit_need_step(s, what);
    if (rc || (rc = desc_check(s->dev, d)))
        return rc;
    return kit_need_span(s, what, pool, 0);
}

static int fits_f16(bnp_stream *s, const char *what, const bnp_rows *x)
{
    for (uint32_t r = 0; r < x->n_tok; r++) {
        for (uint32_t i = 0; i < x->cols; i++) {
            if ((f16_of_f32(rows_at(x, r)[i]) & 0x7c00) == 0x7c00)
                return kit_fail(s->dev, BNP_E_NUMERIC,
                                "%s: row %u column %u is %g, which f16 cannot hold", what, r, i,
                                (double)rows_at(x, r)[i]);
        }
    }
    return BNP_OK;
}

static void store_row(char *pool, const bnp_attn_desc *d, int32_t page, uint32_t slot,
                      const float *x)
{
    const uint64_t width = kv_width(d);
    uint16_t *to = (uint16_t *)(pool + (uint64_t)page * page_bytes(d)) + slot * width;
    for (uint64_t i = 0; i < width; i++)
        to[i] = f16_of_f32(x[i]);
}

int ref_attn_append(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *k,
                    const bnp_rows *v)
{
    int rc = begin(s, "append: pool", d, pool);
    if (rc || (rc = step_rows(s, "append: k", d, k, kv_width(d))) ||
        (rc = step_rows(s, "append: v", d, v, kv_width(d))) ||
        (rc = fits_f16(s, "append: k", k)) || (rc = fits_f16(s, "append: v", v)))
        return rc;
    for (uint32_t r = 0; r < k->n_tok; r++) {
        if ((rc = pages_check(s, "append", d, pool, r, (uint32_t)s->step.pos[r])))
            return rc;
    }
    for (uint32_t r = 0; r < k->n_tok; r++) {
        const uint32_t pos = (uint32_t)s->step.pos[r], slot = pos % d->page_tok;
        const int32_t *page = s->step.page + (size_t)s->seq_of[r] * s->step.max_pages;
        store_row(span_at(pool), d, page[pos / d->page_tok], slot, rows_at(k, r));
        store_row(span_at(pool), d, page[pos / d->page_tok], d->page_tok + slot, rows_at(v, r));
    }
    return BNP_OK;
}

/* Key row j of the view; the value row is page_tok rows further on. */
static const uint16_t *key_row(const struct view *w, uint32_t j)
{
    const bnp_attn_desc *d = w->d;
    const char *page = w->pool + (uint64_t)w->page[j / d->page_tok] * w->page_size;
    return (const uint16_t *)page + (j % d->page_tok) * kv_width(d) +
           (uint64_t)w->kv_head * d->head_dim;
}

/* Scores of keys from..pos into score[0..], their maximum; NaN when one is not
 * finite. */
static float scores(const struct view *w, const float *q, uint32_t from, uint32_t pos, float *score)
{
    const bnp_attn_desc *d = w->d;
    float max = f32_of(0xff800000u), sick = 0.0f;
    for (uint32_t j = from; j <= pos; j++) {
        const uint16_t *k = key_row(w, j);
        float dot = 0.0f;
        for (uint32_t i = 0; i < d->head_dim; i++)
            dot = fma32(q[i], f32_of_f16(k[i]), dot);
        const float x = dot * d->scale;
        score[j - from] = x;
        max = x > max ? x : max;
        sick += x - x;                          /* +0, or NaN from a NaN or Inf */
    }
    return max + sick;
}

/* One chunk: keys from..to with scores score[0..]. o[head_dim] is o_c. */
static void chunk(const struct view *w, uint32_t from, uint32_t to, const float *score, float *m_c,
                  float *l_c, float *o)
{
    const bnp_attn_desc *d = w->d;
    float lane[64] = { 0 }, m = score[0];
    for (uint32_t j = from; j <= to; j++)
        m = score[j - from] > m ? score[j - from] : m;
    for (uint32_t i = 0; i < d->head_dim; i++)
        o[i] = 0.0f;
    for (uint32_t j = from; j <= to; j++) {
        const float e = exp32(score[j - from] - m);
        const uint16_t *v = key_row(w, j) + d->page_tok * kv_width(d);
        lane[j % BNP_ATTN_CHUNK % 64] += e;
        for (uint32_t i = 0; i < d->head_dim; i++)
            o[i] = fma32(e, f32_of_f16(v[i]), o[i]);
    }
    *m_c = m;
    *l_c = sum64_tree(lane);
}

/* One head of one row. tmp holds the scores, then o_c, then O. */
static bool head(const struct view *w, const float *q, uint32_t pos, float *tmp, float *out)
{
    const uint32_t dim = w->d->head_dim, from = first_visible(w->d, pos);
    float *score = tmp, *o_c = tmp + w->d->max_kv, *o = o_c + dim, sum = 0.0f;
    const float max = scores(w, q, from, pos, score);
    if (row_not_finite(&max, 1) >= 0)
        return false;
    memset(o, 0, dim * sizeof *o);
    for (uint32_t j = from; j <= pos;) {
        const uint32_t end = j - j % BNP_ATTN_CHUNK + BNP_ATTN_CHUNK - 1;
        const uint32_t to = end < pos ? end : pos;
        float m_c, l_c;
        chunk(w, j, to, score + (j - from), &m_c, &l_c, o_c);
        const float weight = exp32(m_c - max);
        sum = fma32(weight, l_c, sum);
        for (uint32_t i = 0; i < dim; i++)
            o[i] = fma32(weight, o_c[i], o[i]);
        j = to + 1;
    }
    const float inverse = 1.0f / sum;
    for (uint32_t i = 0; i < dim; i++)
        out[i] = o[i] * inverse;
    return true;
}

int ref_attn_attend(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                    const bnp_rows *out, bnp_span scratch)
{
    const uint64_t cols = (uint64_t)d->n_head * d->head_dim;
    int rc = begin(s, "attend: pool", d, pool);
    if (rc || (rc = step_rows(s, "attend: q", d, q, cols)) ||
        (rc = step_rows(s, "attend: out", d, out, cols)) ||
        (rc = kit_need_finite(s, "attend: q", q)) ||
        (rc = kit_need_span(s, "attend: scratch", scratch, scratch_bytes(d))))
        return rc;
    for (uint32_t r = 0; r < q->n_tok; r++) {
        if ((rc = pages_check(s, "attend", d, pool, r,
                              first_visible(d, (uint32_t)s->step.pos[r]))))
            return rc;
    }
    for (uint32_t r = 0; r < q->n_tok; r++) {
        for (uint32_t h = 0; h < d->n_head; h++) {
            const struct view w = {
                .d = d, .page = s->step.page + (size_t)s->seq_of[r] * s->step.max_pages,
                .pool = span_at(pool), .page_size = page_bytes(d),
                .kv_head = h / (d->n_head / d->n_head_kv),
            };
            const size_t at = (size_t)h * d->head_dim;
            if (!head(&w, rows_at(q, r) + at, (uint32_t)s->step.pos[r], span_at(scratch),
                      rows_at(out, r) + at))
                return kit_fail(s->dev, BNP_E_NUMERIC,
                                "attend: row %u head %u has a score that is NaN or Inf", r, h);
        }
    }
    return BNP_OK;
}

int ref_attn_copy_page(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, uint32_t dst,
                       uint32_t src, uint32_t n_tok)
{
    const int rc = begin(s, "copy_page: pool", d, pool);
    if (rc)
        return rc;
    if (!page_in_pool(d, pool, dst) || !page_in_pool(d, pool, src) || n_tok > d->page_tok)
        return kit_fail(s->dev, BNP_E_INVALID, "copy_page: %u tokens of page %u into %u, of %llu",
                        n_tok, src, dst, (unsigned long long)(pool.size / page_bytes(d)));
    if (dst == src)
        return BNP_OK;
    char *base = span_at(pool), *to = base + dst * page_bytes(d);
    const char *from = base + src * page_bytes(d);
    const size_t row = (size_t)kv_width(d) * sizeof(uint16_t), values = row * d->page_tok;
    memcpy(to, from, row * n_tok);
    memcpy(to + values, from + values, row * n_tok);
    return BNP_OK;
}
