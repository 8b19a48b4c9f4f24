/* attn.c - keys and values in pages, and attention over them.
 *
 * Inside a page: page_tok key rows, then page_tok value rows, each
 * n_head_kv * head_dim f16 or int8; for int8 then as many rows of n_head_kv
 * f32, the steps d of the keys and of the values. Chunks of BNP_ATTN_CHUNK are
 * cut at absolute positions, so what a row sees is summed in the same order
 * however the sequence was batched, chunked or shared. */
#include "num.h"
#include "ref.h"
#include "plugins/kit/check_attn.h"

#include <string.h>

enum part { KEY, VALUE };

struct view {                   /* one kv head, as one row of the step sees it */
    const struct kit_attn *a;
    uint32_t row, kv_head;
};

static uint64_t elem_size(const bnp_attn_desc *d)
{
    return d->kv_format == BNP_KV_I8 ? sizeof(int8_t) : sizeof(uint16_t);
}

/* Where a part's row of a token begins; the steps stand behind both parts. */
static uint64_t elems_at(const bnp_attn_desc *d, enum part part, uint32_t slot)
{
    return (part * (uint64_t)d->page_tok + slot) * kit_kv_width(d) * elem_size(d);
}

static uint64_t steps_at(const bnp_attn_desc *d, enum part part, uint32_t slot)
{
    return elems_at(d, 2, 0) + (part * (uint64_t)d->page_tok + slot) * d->n_head_kv * sizeof(float);
}

static uint64_t page_bytes(const bnp_attn_desc *d)
{
    return align_up(d->kv_format == BNP_KV_I8 ? steps_at(d, 2, 0) : elems_at(d, 2, 0), BNP_ALIGN);
}

static uint64_t scratch_bytes(const bnp_attn_desc *d)   /* scores, o_c, O, a k or v */
{
    return align_up(((uint64_t)d->max_kv + 3 * (uint64_t)d->head_dim) * sizeof(float), BNP_ALIGN);
}

int ref_attn_query(bnp_device *dev, const bnp_attn_desc *d, bnp_offer *offer)
{
    return kit_attn_query(dev, d, scratch_bytes, offer);
}

int ref_attn_page_size(bnp_device *dev, const bnp_attn_desc *d, uint64_t *size)
{
    return kit_attn_page_size(dev, d, page_bytes, size);
}

static void store_f16(const float *x, uint32_t n, uint16_t *to)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = f16_of_f32(x[i]);
}

/* m = max(max|x|, 1e-30), d = m / 127, q = clamp(rint(x * (127 / m))). Neither d
 * nor 127 / m leaves the normal floats. */
static float store_i8(const float *x, uint32_t n, int8_t *to)
{
    float m = BNP_KV_I8_MIN;
    for (uint32_t i = 0; i < n; i++) {
        const float a = f32_of(bits_of(x[i]) & 0x7fffffffu);
        m = a > m ? a : m;
    }
    const float inverse = 127.0f / m;
    for (uint32_t i = 0; i < n; i++) {
        float v = rint32(x[i] * inverse);
        v = v > 127.0f ? 127.0f : v;
        v = v < -127.0f ? -127.0f : v;
        to[i] = (int8_t)v;
    }
    return m / 127.0f;
}

static void store_row(char *page, const bnp_attn_desc *d, enum part part, uint32_t slot,
                      const float *x)
{
    char *to = page + elems_at(d, part, slot);
    float *step = (float *)(page + steps_at(d, part, slot));
    for (uint32_t h = 0; h < d->n_head_kv; h++) {
        const size_t at = (size_t)h * d->head_dim;
        if (d->kv_format == BNP_KV_I8)
            step[h] = store_i8(x + at, d->head_dim, (int8_t *)to + at);
        else
            store_f16(x + at, d->head_dim, (uint16_t *)to + at);
    }
}

int ref_attn_append(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *k,
                    const bnp_rows *v)
{
    struct kit_attn a;
    int rc = kit_attn_desc_check(s->dev, d);
    if (rc || (rc = kit_append_check(s, d, pool, page_bytes(d), k, v, &a)) ||
        (rc = kit_need_kv(s, "append: k", d, k)) || (rc = kit_need_kv(s, "append: v", d, v)))
        return rc;
    for (uint32_t r = 0; r < k->n_tok; r++) {
        const uint32_t pos = (uint32_t)s->step.pos[r], slot = pos % d->page_tok;
        char *page = kit_page_at(&a, r, pos);
        store_row(page, d, KEY, slot, rows_at(k, r));
        store_row(page, d, VALUE, slot, rows_at(v, r));
    }
    return BNP_OK;
}

/* The k or v of position j without its step, which is returned: 1 for f16. */
static float load(const struct view *w, enum part part, uint32_t j, float *x)
{
    const bnp_attn_desc *d = w->a->d;
    const char *page = kit_page_at(w->a, w->row, j);
    const char *from = page + elems_at(d, part, j % d->page_tok);
    const size_t at = (size_t)w->kv_head * d->head_dim;
    if (d->kv_format == BNP_KV_I8) {
        for (uint32_t i = 0; i < d->head_dim; i++)
            x[i] = (float)((const int8_t *)from)[at + i];
        return ((const float *)(page + steps_at(d, part, j % d->page_tok)))[w->kv_head];
    }
    for (uint32_t i = 0; i < d->head_dim; i++)
        x[i] = f32_of_f16(((const uint16_t *)from)[at + i]);
    return 1.0f;
}

/* Scores of keys from..pos into score[0..], their maximum; NaN when one is not
 * finite. k has room for a key. */
static float scores(const struct view *w, const float *q, uint32_t from, uint32_t pos, float *k,
                    float *score)
{
    const bnp_attn_desc *d = w->a->d;
    float max = f32_of(0xff800000u), sick = 0.0f;
    for (uint32_t j = from; j <= pos; j++) {
        const float step = load(w, KEY, j, k);
        float dot = 0.0f;
        for (uint32_t i = 0; i < d->head_dim; i++)
            dot = fma32(q[i], k[i], dot);
        const float x = (dot * step) * d->scale;
        score[j - from] = x;
        max = x > max ? x : max;
        sick += x - x;                          /* +0, or NaN from a NaN or Inf */
    }
    return max + sick;
}

/* One chunk: keys from..to with scores score[0..]. o[head_dim] is o_c, v has
 * room for a value. */
static void chunk(const struct view *w, uint32_t from, uint32_t to, const float *score, float *m_c,
                  float *l_c, float *v, float *o)
{
    const uint32_t dim = w->a->d->head_dim;
    float lane[64] = { 0 }, m = score[0];
    for (uint32_t j = from; j <= to; j++)
        m = score[j - from] > m ? score[j - from] : m;
    for (uint32_t i = 0; i < dim; i++)
        o[i] = 0.0f;
    for (uint32_t j = from; j <= to; j++) {
        const float e = exp32(score[j - from] - m), p = e * load(w, VALUE, j, v);
        lane[j % BNP_ATTN_CHUNK % 64] += e;
        for (uint32_t i = 0; i < dim; i++)
            o[i] = fma32(p, v[i], o[i]);
    }
    *m_c = m;
    *l_c = sum64_tree(lane);
}

/* One head of one row. tmp holds the scores, then o_c, O, and a k or v. */
static bool head(const struct view *w, const float *q, float *tmp, float *out)
{
    const bnp_attn_desc *d = w->a->d;
    const uint32_t dim = d->head_dim, pos = (uint32_t)w->a->s->step.pos[w->row];
    const uint32_t from = kit_first_visible(d, pos);
    float *score = tmp, *o_c = tmp + d->max_kv, *o = o_c + dim, *kv = o + dim, sum = 0.0f;
    const float max = scores(w, q, from, pos, kv, score);
    if (row_not_finite(&max, 1) >= 0)
        return false;
    memset(o, 0, dim * sizeof *o);
    for (uint32_t j = from; j <= pos;) {
        const uint32_t end = j - j % BNP_ATTN_CHUNK + BNP_ATTN_CHUNK - 1;
        const uint32_t to = end < pos ? end : pos;
        float m_c, l_c;
        chunk(w, j, to, score + (j - from), &m_c, &l_c, kv, o_c);
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
    struct kit_attn a;
    int rc = kit_attn_desc_check(s->dev, d);
    if (rc || (rc = kit_attend_check(s, d, pool, page_bytes(d), q, out, &a)) ||
        (rc = kit_need_finite(s, "attend: q", q)) ||
        (rc = kit_need_span(s, "attend: scratch", scratch, scratch_bytes(d))))
        return rc;
    for (uint32_t r = 0; r < q->n_tok; r++) {
        for (uint32_t h = 0; h < d->n_head; h++) {
            const struct view w = { .a = &a, .row = r, .kv_head = h / (d->n_head / d->n_head_kv) };
            const size_t at = (size_t)h * d->head_dim;
            if (!head(&w, rows_at(q, r) + at, span_at(scratch), rows_at(out, r) + at))
                return kit_fail(s->dev, BNP_E_NUMERIC,
                                "attend: row %u head %u has a score that is NaN or Inf", r, h);
        }
    }
    return BNP_OK;
}

int ref_attn_copy_page(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, uint32_t dst,
                       uint32_t src, uint32_t n_tok)
{
    struct kit_attn a;
    int rc = kit_attn_desc_check(s->dev, d);
    if (rc || (rc = kit_copy_page_check(s, d, pool, page_bytes(d), dst, src, n_tok, &a)) ||
        dst == src)
        return rc;
    char *to = a.pool + dst * a.page_size;
    const char *from = a.pool + src * a.page_size;
    for (enum part part = KEY; part <= VALUE; part++) {
        memcpy(to + elems_at(d, part, 0), from + elems_at(d, part, 0), elems_at(d, 0, n_tok));
        if (d->kv_format == BNP_KV_I8)
            memcpy(to + steps_at(d, part, 0), from + steps_at(d, part, 0),
                   (size_t)n_tok * d->n_head_kv * sizeof(float));
    }
    return BNP_OK;
}
