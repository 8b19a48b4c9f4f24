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

/* Of struct room. */
static uint64_t scratch_bytes(const bnp_attn_desc *d)
{
    return align_up(((uint64_t)d->max_kv + 4 * (uint64_t)d->head_dim) * sizeof(float), BNP_ALIGN);
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

static float largest(const float *x, uint32_t n, float least)
{
    float m = least;
    for (uint32_t i = 0; i < n; i++) {
        const float a = f32_of(bits_of(x[i]) & 0x7fffffffu);
        m = a > m ? a : m;
    }
    return m;
}

/* m = max(max|x|, 1e-30), d = m / 127, q = clamp(rint(x * (127 / m))). Neither d
 * nor 127 / m leaves the normal floats. */
static float store_i8(const float *x, uint32_t n, int8_t *to)
{
    const float m = largest(x, n, BNP_KV_I8_MIN), inverse = 127.0f / m;
    for (uint32_t i = 0; i < n; i++) {
        float v = rint32(x[i] * inverse);
        v = v > 127.0f ? 127.0f : v;
        v = v < -127.0f ? -127.0f : v;
        to[i] = (int8_t)v;
    }
    return m / 127.0f;
}

/* The same with 32767: x * (32767 / m) is at most 32767 and two roundings. m is
 * at least 2^-107, a step of 1e-30f / 127 for a weight of 1. */
static float to_i16(const float *x, uint32_t n, float m, int32_t *to)
{
    const float inverse = 32767.0f / m;
    for (uint32_t i = 0; i < n; i++)
        to[i] = (int32_t)rint32(x[i] * inverse);
    return m / 32767.0f;
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

/* The k or v of position j. */
static const char *stored(const struct view *w, enum part part, uint32_t j)
{
    const bnp_attn_desc *d = w->a->d;
    return kit_page_at(w->a, w->row, j) + elems_at(d, part, j % d->page_tok) +
           w->kv_head * (uint64_t)d->head_dim * elem_size(d);
}

static float step_of(const struct view *w, enum part part, uint32_t j)
{
    const bnp_attn_desc *d = w->a->d;
    const char *page = kit_page_at(w->a, w->row, j);
    return ((const float *)(page + steps_at(d, part, j % d->page_tok)))[w->kv_head];
}

static float f16_at(const char *x, uint32_t i)
{
    return f32_of_f16(((const uint16_t *)(const void *)x)[i]);
}

static int32_t i8_at(const char *x, uint32_t i)
{
    return ((const int8_t *)x)[i];
}

static bool is_i8(const struct view *w)
{
    return w->a->d->kv_format == BNP_KV_I8;
}

/* Where a head of a row is computed, in the scratch span. */
struct room {
    float *o_c, *o;             /* [head_dim]                                */
    int32_t *q, *sum;           /* [head_dim], int8 only                     */
    float *score;               /* [max_kv]; from..pos are used              */
};

static float score_f16(const struct view *w, const float *q, uint32_t j)
{
    const char *k = stored(w, KEY, j);
    float dot = 0.0f;
    for (uint32_t i = 0; i < w->a->d->head_dim; i++)
        dot = fma32(q[i], f16_at(k, i), dot);
    return dot * w->a->d->scale;
}

static float score_i8(const struct view *w, const int32_t *q, float by, uint32_t j)
{
    const char *k = stored(w, KEY, j);
    int32_t dot = 0;
    for (uint32_t i = 0; i < w->a->d->head_dim; i++)
        dot += q[i] * i8_at(k, i);
    return ((float)dot * step_of(w, KEY, j)) * by;
}

/* Scores of keys from..pos, their maximum; NaN when one is not finite. */
static float scores(const struct view *w, const float *q, uint32_t from, uint32_t pos,
                    const struct room *t)
{
    const uint32_t dim = w->a->d->head_dim;
    float max = f32_of(0xff800000u), sick = 0.0f, by = 0.0f;
    if (is_i8(w))
        by = to_i16(q, dim, largest(q, dim, BNP_KV_I8_MIN), t->q) * w->a->d->scale;
    for (uint32_t j = from; j <= pos; j++) {
        const float x = is_i8(w) ? score_i8(w, t->q, by, j) : score_f16(w, q, j);
        t->score[j - from] = x;
        max = x > max ? x : max;
        sick += x - x;                          /* +0, or NaN from a NaN or Inf */
    }
    return max + sick;
}

/* o_c from the weights e[] of keys from..to. */
static void values_f16(const struct view *w, uint32_t from, uint32_t to, const float *e, float *o)
{
    const uint32_t dim = w->a->d->head_dim;
    memset(o, 0, dim * sizeof *o);
    for (uint32_t j = from; j <= to; j++) {
        const char *v = stored(w, VALUE, j);
        for (uint32_t i = 0; i < dim; i++)
            o[i] = fma32(e[j - from], f16_at(v, i), o[i]);
    }
}

static void values_i8(const struct view *w, uint32_t from, uint32_t to, const float *e,
                      const struct room *t)
{
    const uint32_t dim = w->a->d->head_dim, n = to - from + 1;
    float weight[BNP_ATTN_CHUNK];
    int32_t whole[BNP_ATTN_CHUNK];
    for (uint32_t j = from; j <= to; j++)
        weight[j - from] = e[j - from] * step_of(w, VALUE, j);
    const float step = to_i16(weight, n, largest(weight, n, 0.0f), whole);
    memset(t->sum, 0, dim * sizeof *t->sum);
    for (uint32_t j = from; j <= to; j++) {
        const char *v = stored(w, VALUE, j);
        for (uint32_t i = 0; i < dim; i++)
            t->sum[i] += whole[j - from] * i8_at(v, i);
    }
    for (uint32_t i = 0; i < dim; i++)
        t->o_c[i] = (float)t->sum[i] * step;
}

/* One chunk, from its scores to t->o_c. */
static void chunk(const struct view *w, uint32_t from, uint32_t to, const float *score,
                  const struct room *t, float *m_c, float *l_c)
{
    float lane[64] = { 0 }, e[BNP_ATTN_CHUNK], m = score[0];
    for (uint32_t j = from; j <= to; j++)
        m = score[j - from] > m ? score[j - from] : m;
    for (uint32_t j = from; j <= to; j++) {
        e[j - from] = exp32(score[j - from] - m);
        lane[j % BNP_ATTN_CHUNK % 64] += e[j - from];
    }
    if (is_i8(w))
        values_i8(w, from, to, e, t);
    else
        values_f16(w, from, to, e, t->o_c);
    *m_c = m;
    *l_c = sum64_tree(lane);
}

/* One head of one row. */
static bool head(const struct view *w, const float *q, const struct room *t, float *out)
{
    const uint32_t dim = w->a->d->head_dim, pos = (uint32_t)w->a->s->step.pos[w->row];
    const uint32_t from = kit_first_visible(w->a->d, pos);
    const float max = scores(w, q, from, pos, t);
    float sum = 0.0f;
    if (row_not_finite(&max, 1) >= 0)
        return false;
    memset(t->o, 0, dim * sizeof *t->o);
    for (uint32_t j = from; j <= pos;) {
        const uint32_t end = j - j % BNP_ATTN_CHUNK + BNP_ATTN_CHUNK - 1;
        const uint32_t to = end < pos ? end : pos;
        float m_c, l_c;
        chunk(w, j, to, t->score + (j - from), t, &m_c, &l_c);
        const float weight = exp32(m_c - max);
        sum = fma32(weight, l_c, sum);
        for (uint32_t i = 0; i < dim; i++)
            t->o[i] = fma32(weight, t->o_c[i], t->o[i]);
        j = to + 1;
    }
    const float inverse = 1.0f / sum;
    for (uint32_t i = 0; i < dim; i++)
        out[i] = t->o[i] * inverse;
    return true;
}

static struct room room_in(const bnp_attn_desc *d, bnp_span scratch)
{
    float *at = span_at(scratch);
    return (struct room){ .o_c = at, .o = at + d->head_dim, .q = (int32_t *)(at + 2 * d->head_dim),
                          .sum = (int32_t *)(at + 3 * d->head_dim), .score = at + 4 * d->head_dim };
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
    const struct room room = room_in(d, scratch);
    for (uint32_t r = 0; r < q->n_tok; r++) {
        for (uint32_t h = 0; h < d->n_head; h++) {
            const struct view w = { .a = &a, .row = r, .kv_head = h / (d->n_head / d->n_head_kv) };
            const size_t at = (size_t)h * d->head_dim;
            if (!head(&w, rows_at(q, r) + at, &room, rows_at(out, r) + at))
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
