/* kern_attn.h - struct attn_kern of attn.h: a template over the vector of
 * simd.h.
 *
 * Up to ATTN_GROUP queries share every load of K and V; the sums of a pass over
 * K (queries times keys) or V (queries times dimensions) stay in registers:
 * eight vectors at least for AVX2, whose fma has a latency of four and a
 * throughput of two. The V of a chunk is fetched while its K is used, and the
 * next K while this V is. The passes are kern_attn_pass.h's. */
#ifndef BITNET_KIT_KERN_ATTN_H
#define BITNET_KIT_KERN_ATTN_H

#include "plugins/kit/attn.h"
#include "plugins/kit/kern_math.h"
#include "plugins/kit/kern_row.h"

#define ATTN_GROUP 4u
#define ATTN_INLINE static inline __attribute__((always_inline))

/* Of a row of K, bytes: 16 keys of a dimension of f16 or of two of int8. */
#define ATTN_ROW 32u
/* Vectors of dimensions in a strip of values for n queries. */
#define ATTN_DIM_VECS(n) ((n) == 1 ? 8u : (n) == 2 ? 4u : 2u)

struct attn_group {             /* some queries of a call, over one chunk    */
    const struct attn_call *c;
    const struct attn_query *query;
    float (*s)[BNP_ATTN_CHUNK]; /* scores, then weights                      */
    /* int8 only: weights as integers, and m / 32767 of bitnet_plugin.h. */
    int16_t (*w)[BNP_ATTN_CHUNK];
    float wstep[ATTN_GROUP];
};

struct attn_pass {
    void (*scores)(const struct attn_group *, uint32_t j, bool fetch);
    void (*values)(const struct attn_group *, uint32_t from, uint32_t to, bool fetch, bool first);
    uint32_t step;              /* keys of a pass over K                     */
};

struct attn_place {             /* a block of V, and what is fetched meanwhile */
    const char *v, *ahead;
};

/* Into the second cache, a line at a time between the sums: in a burst they
 * would fill the queue that loads wait in, and nothing would overlap. */
ATTN_INLINE void attn_fetch(const char *p)
{
    __builtin_prefetch(p, 0, 2);
}

/* Where the values of blocks lie that begin among n_key keys from key j on,
 * n_fetch of them; behind them something that is in the cache. */
ATTN_INLINE void attn_ahead(const struct attn_chunk *chunk, uint32_t j, uint32_t n_key,
                            bool fetch, const char *here, const char **ahead, uint32_t n_fetch)
{
    for (uint32_t f = 0; f < n_fetch; f++) {
        const uint32_t b = (j + ATTN_BLOCK - 1) / ATTN_BLOCK + f;
        const bool good = fetch && b * ATTN_BLOCK < j + n_key && b >= chunk->first &&
                          b < chunk->end;
        ahead[f] = good ? chunk->block[b].v : here;
    }
}

#define PASS(name) attn_##name##_f16
#define PASS_PER 1u
#define PASS_VAL vf
#define PASS_LOAD(p) vf_load_f16((const uint16_t *)(const void *)(p))
#define PASS_NUM float
#define PASS_Q(g, h) (g)->query[h].q
#define PASS_W(g) (g)->s
#define PASS_SET(p) vf_set1(*(p))
#define PASS_SUM vf
#define PASS_ZERO vf_zero()
#define PASS_MAC(by, value, sum) vf_fma(by, value, sum)
#define PASS_OLD(p) vf_load(p)
#define PASS_SCORE(g, h, sum, kstep) vf_mul(sum, vf_set1((g)->c->scale))
#define PASS_OUT(g, h, sum) (sum)
#define PASS_RUN ATTN_BLOCK
#define PASS_KEY_VECS(n) ((n) == 1 ? 8u : (n) == 2 || VL == 4 ? 4u : 2u)
#include "plugins/kit/kern_attn_pass.h"

ATTN_INLINE vh attn_two(const int16_t *p)
{
    int32_t two;
    memcpy(&two, p, sizeof two);
    return vh_set2(two);
}

/* Integers do not mind the order, so a strip of values runs through a whole
 * chunk, and keys that a query does not see have the weight 0. */
#define PASS(name) attn_##name##_i8
#define PASS_PER 2u
#define PASS_VAL vh
#define PASS_LOAD(p) vh_load_i8((const int8_t *)(p))
#define PASS_NUM int16_t
#define PASS_Q(g, h) (g)->query[h].q16
#define PASS_W(g) (g)->w
#define PASS_SET(p) attn_two(p)
#define PASS_SUM vs
#define PASS_ZERO vs_zero()
#define PASS_MAC(by, value, sum) vs_dot(by, value, sum)
#define PASS_OLD(p) vs_zero()
#define PASS_SCORE(g, h, sum, kstep) \
    vf_mul(vf_mul(vs_float(sum), vf_load(kstep)), vf_set1((g)->query[h].qstep * (g)->c->scale))
#define PASS_OUT(g, h, sum) vf_mul(vs_float(sum), vf_set1((g)->wstep[h]))
#define PASS_RUN BNP_ATTN_CHUNK
#define PASS_KEY_VECS(n) ((n) == 1 ? 8u : (n) == 2 ? 4u : 2u)
#include "plugins/kit/kern_attn_pass.h"

static const struct attn_pass *attn_pass_of(const struct attn_call *c, uint32_t n)
{
    return c->format == BNP_KV_I8 ? &attn_pass_i8[n - 1] : &attn_pass_f16[n - 1];
}

/* ----------------------------------------------------------------- softmax */

/* The largest of keys begin..end-1, whole vectors; false: one is NaN or Inf. */
ATTN_INLINE bool attn_max(const float *s, uint32_t begin, uint32_t end, float *m)
{
    vf max[4], sick[4];
    for (uint32_t k = 0; k < 4; k++) {
        max[k] = vf_set1(s[begin]);
        sick[k] = vf_zero();
    }
    for (uint32_t j = begin; j < end; j += 4 * VL) {
        for (uint32_t k = 0; k < 4 && j + k * VL < end; k++) {
            const vf x = vf_load(s + j + k * VL);
            max[k] = vf_max(max[k], x);
            sick[k] = vf_fma(x, vf_zero(), sick[k]);
        }
    }
    *m = vf_max_lane(vf_max(vf_max(max[0], max[1]), vf_max(max[2], max[3])));
    return vf_finite(vf_add(vf_add(sick[0], sick[1]), vf_add(sick[2], sick[3])));
}

/* m_c of keys from..to-1, of the vectors begin..end-1, goes to part. False: a
 * score is NaN or Inf. Lanes outside take the first score. */
ATTN_INLINE bool attn_top(const struct attn_query *query, float *s, uint32_t from, uint32_t to,
                          uint32_t begin, uint32_t end)
{
    for (uint32_t j = begin; j < end; j++)
        s[j] = j < from || j >= to ? s[from] : s[j];
    return attn_max(s, begin, end, &query->part[0]);
}

/* +0 for keys outside from..to-1 of a vector, key j on; t is room for it. */
ATTN_INLINE vf attn_inside(vf e, float *t, uint32_t j, uint32_t from, uint32_t to)
{
    if (j >= from && j + VL <= to)
        return e;
    if (j + VL <= from || j >= to)
        return vf_zero();
    vf_store(t, e);
    for (uint32_t l = 0; l < VL; l++)
        t[l] = j + l < from || j + l >= to ? 0.0f : t[l];
    return vf_load(t);
}

/* Four vectors of scores, key j on. A block that is not there has no steps. */
ATTN_INLINE void attn_exp4(const struct attn_call *c, float *s, uint32_t from, uint32_t to,
                           uint32_t j, vf m, vf *sum)
{
    const bool whole = from == 0 && to == BNP_ATTN_CHUNK;       /* known, not tested */
    const struct attn_chunk *chunk = c->chunk;
    vf e[4];
    for (uint32_t k = 0; k < 4; k++) {
        const uint32_t at = j + k * VL;
        e[k] = whole || (at < to && at + VL > from) ? vf_sub(vf_load(s + at), m) : vf_zero();
    }
    vf_exp32_of(e, 4);
    for (uint32_t k = 0; k < 4; k++) {
        const uint32_t at = j + k * VL, b = at / ATTN_BLOCK;
        if (!whole)
            e[k] = attn_inside(e[k], s + at, at, from, to);
        sum[k] = vf_add(sum[k], e[k]);
        if (c->format == BNP_KV_I8 && (whole || (at < to && at + VL > from))) {
            e[k] = vf_mul(e[k], vf_load(chunk->block[b].vstep + at % ATTN_BLOCK));
            if (!whole)         /* the step of a key that is not there */
                e[k] = attn_inside(e[k], s + at, at, from, to);
        }
        vf_store(s + at, e[k]);
    }
}

/* Those scores become what their values are multiplied by; l_c goes to part.
 * Lanes outside count as +0 for their e, which a lane of sum64 does not
 * notice. */
ATTN_INLINE void attn_exp(const struct attn_call *c, const struct attn_query *query, float *s,
                          uint32_t from, uint32_t to, uint32_t begin, uint32_t end)
{
    const vf m = vf_set1(query->part[0]);
    vf lane[SUM64_VECS];
    for (uint32_t l = 0; l < SUM64_VECS; l += 4) {
        vf sum[4] = { vf_zero(), vf_zero(), vf_zero(), vf_zero() };
        for (uint32_t j = begin / 64 * 64 + l * VL; j < end; j += 64)
            attn_exp4(c, s, from, to, j, m, sum);
        for (uint32_t k = 0; k < 4; k++)
            lane[l + k] = sum[k];
    }
    query->part[1] = vf_sum64(lane);
}

/* The first query with a score that is NaN or Inf, or n. One step for all
 * queries, then the next: each is a chain of dependent operations. Nearly
 * every chunk is seen whole; that one has loops of known length. */
static uint32_t attn_softmax(const struct attn_call *c, uint32_t n, const struct attn_query *query,
                             float (*s)[BNP_ATTN_CHUNK])
{
    for (uint32_t h = 0; h < n; h++) {
        const struct attn_query *q = &query[h];
        const uint32_t begin = q->from / VL * VL, end = (q->to + VL - 1) / VL * VL;
        const bool good = q->to - q->from == BNP_ATTN_CHUNK
                              ? attn_top(q, s[h], 0, BNP_ATTN_CHUNK, 0, BNP_ATTN_CHUNK)
                              : attn_top(q, s[h], q->from, q->to, begin, end);
        if (!good)
            return h;
    }
    for (uint32_t h = 0; h < n; h++) {
        const struct attn_query *q = &query[h];
        const uint32_t begin = q->from / VL * VL, end = (q->to + VL - 1) / VL * VL;
        if (q->to - q->from == BNP_ATTN_CHUNK)
            attn_exp(c, q, s[h], 0, BNP_ATTN_CHUNK, 0, BNP_ATTN_CHUNK);
        else
            attn_exp(c, q, s[h], q->from, q->to, begin, end);
    }
    return n;
}

/* -------------------------------------------------------------- integers */

/* n floats, not a NaN or Inf among them and m the largest of their magnitudes,
 * as integers of at most 32767, and +0 up to a whole vector; gives what one of
 * them is. */
ATTN_INLINE float attn_i16(const float *x, uint32_t n, float m, int16_t *to)
{
    const vf by = vf_set1(32767.0f / m);
    for (uint32_t i = 0; i < n; i += VL)
        vi_store_i16(to + i, vf_rint(vf_mul(vf_load_upto(x + i, n - i), by)));
    return m / 32767.0f;
}

static float attn_narrow_q(const float *q, uint32_t head_dim, int16_t *to)
{
    if (row_first_bad(q, head_dim) < 0)
        return attn_i16(q, head_dim, vf_largest(q, head_dim, BNP_KV_I8_MIN), to);
    memset(to, 0, (head_dim + VL - 1) / VL * VL * sizeof *to);
    return __builtin_nanf("");
}

/* Weights of query h. Those of keys outside from..to-1 are 0. */
ATTN_INLINE void attn_i16_w(struct attn_group *g, uint32_t h)
{
    const uint32_t from = g->query[h].from, to = g->query[h].to, begin = from / VL * VL;
    const uint32_t n = (to + VL - 1) / VL * VL - begin;
    const float *w = &g->s[h][begin];
    if (to - from != BNP_ATTN_CHUNK)
        memset(g->w[h], 0, sizeof g->w[h]);
    g->wstep[h] = attn_i16(w, n, vf_largest(w, n, 0.0f), &g->w[h][begin]);
}

/* ------------------------------------------------------------------- chunk */

/* Scores of keys from..to-1, all that one of n queries sees. */
static void attn_scores(const struct attn_group *g, uint32_t n, uint32_t from, uint32_t to,
                        bool fetch)
{
    const struct attn_pass *pass = attn_pass_of(g->c, n);
    for (uint32_t j = from / pass->step * pass->step; j < to; j += pass->step)
        pass->scores(g, j, fetch);
}

/* f16: keys from..to-1, and those that not every query sees are added for one
 * query at a time, in their order. */
static void attn_values_f16(const struct attn_group *g, uint32_t n, uint32_t from, uint32_t to,
                            bool fetch)
{
    const struct attn_query *query = g->query;
    uint32_t all_from = 0, all_to = BNP_ATTN_CHUNK;
    for (uint32_t h = 0; h < n; h++) {
        all_from = query[h].from > all_from ? query[h].from : all_from;
        all_to = query[h].to < all_to ? query[h].to : all_to;
    }
    const bool first = all_from == from;
    if (all_from >= all_to)
        all_from = all_to = to;
    for (uint32_t h = 0; h < n && !first; h++) {
        const struct attn_group one = { .c = g->c, .query = query + h, .s = g->s + h };
        const uint32_t stop = all_from < query[h].to ? all_from : query[h].to;
        memset(query[h].part + ATTN_O, 0, (attn_stride(g->c->head_dim) - ATTN_O) * sizeof(float));
        attn_pass_f16[0].values(&one, query[h].from, stop, false, false);
    }
    attn_pass_f16[n - 1].values(g, all_from, all_to, fetch, first);
    for (uint32_t h = 0; h < n; h++) {
        const struct attn_group one = { .c = g->c, .query = query + h, .s = g->s + h };
        attn_pass_f16[0].values(&one, all_to, query[h].to, false, false);
    }
}

static uint32_t attn_group_f16(struct attn_group *g, uint32_t n, uint32_t from, uint32_t to,
                               bool fetch)
{
    attn_scores(g, n, from, to, fetch);
    const uint32_t good = attn_softmax(g->c, n, g->query, g->s);
    if (good == n)
        attn_values_f16(g, n, from, to, fetch);
    return good;
}

/* The steps of the chunk to come lie before its K, where nothing else fetches
 * them. */
static void attn_fetch_steps(const struct attn_chunk *next)
{
    for (uint32_t b = next->first; b < next->end; b++) {
        attn_fetch((const char *)next->block[b].kstep);
        attn_fetch((const char *)next->block[b].vstep);
    }
}

static uint32_t attn_group_i8(struct attn_group *g, uint32_t n, uint32_t from, uint32_t to,
                              bool fetch)
{
    int16_t w[ATTN_GROUP][BNP_ATTN_CHUNK];
    g->w = w;
    attn_scores(g, n, from, to, fetch);
    const uint32_t good = attn_softmax(g->c, n, g->query, g->s);
    for (uint32_t h = 0; h < good; h++)
        attn_i16_w(g, h);
    if (fetch && g->c->next)
        attn_fetch_steps(g->c->next);
    if (good == n)
        attn_pass_i8[n - 1].values(g, from, to, fetch, true);
    return good;
}

static uint32_t attn_group(const struct attn_call *c, uint32_t n, const struct attn_query *query,
                           bool fetch)
{
    float s[ATTN_GROUP][BNP_ATTN_CHUNK];
    struct attn_group g = { .c = c, .query = query, .s = s };
    uint32_t from = BNP_ATTN_CHUNK, to = 0;
    for (uint32_t h = 0; h < n; h++) {
        from = query[h].from < from ? query[h].from : from;
        to = query[h].to > to ? query[h].to : to;
    }
    return c->format == BNP_KV_I8 ? attn_group_i8(&g, n, from, to, fetch)
                                  : attn_group_f16(&g, n, from, to, fetch);
}

static uint32_t attn_chunk_kern(const struct attn_call *c)
{
    for (uint32_t i = 0, n; i < c->n_query; i += n) {
        const uint32_t left = c->n_query - i;
        n = left < ATTN_GROUP ? left : ATTN_GROUP;
        const uint32_t good = attn_group(c, n, &c->query[i], i == 0);
        if (good < n)
            return i + good;
    }
    return c->n_query;
}

/* ----------------------------------------------------------------- combine */

/* m_c of every part becomes its weight; gives L. */
static float attn_weights(float *part, uint32_t n_chunk, size_t stride)
{
    float max = part[0], sum = 0.0f;
    for (uint32_t c = 1; c < n_chunk; c++)
        max = part[c * stride] > max ? part[c * stride] : max;
    for (uint32_t c = 0; c < n_chunk; c += VL) {
        const uint32_t n = n_chunk - c < VL ? n_chunk - c : VL;
        float w[VL] = { 0 };
        for (uint32_t l = 0; l < n; l++)
            w[l] = part[(c + l) * stride];
        vf_store(w, vf_exp32(vf_sub(vf_load(w), vf_set1(max))));
        for (uint32_t l = 0; l < n; l++) {
            part[(c + l) * stride] = w[l];
            sum = __builtin_fmaf(w[l], part[(c + l) * stride + 1], sum);
        }
    }
    return sum;
}

static void attn_combine(float *part, uint32_t n_chunk, uint32_t head_dim, float *out)
{
    const size_t stride = attn_stride(head_dim);
    const vf inverse = vf_set1(1.0f / attn_weights(part, n_chunk, stride));
    for (uint32_t i = 0; i < head_dim; i += 4 * VL) {
        vf o[4] = { vf_zero(), vf_zero(), vf_zero(), vf_zero() };
        const uint32_t n_vec = (head_dim - i + VL - 1) / VL < 4 ? (head_dim - i + VL - 1) / VL : 4;
        for (uint32_t c = 0; c < n_chunk; c++) {
            const float *p = part + c * stride;
            for (uint32_t k = 0; k < n_vec; k++)
                o[k] = vf_fma(vf_set1(p[0]), vf_load(p + ATTN_O + i + k * VL), o[k]);
        }
        for (uint32_t k = 0; k < n_vec; k++)
            vf_store_upto(out + i + k * VL, vf_mul(o[k], inverse), head_dim - i - k * VL);
    }
}

/* ------------------------------------------------------------------ append */

/* VL values from x on as int8 or f16 into t; false: one is no number or does
 * not fit. */
ATTN_INLINE bool attn_narrow(uint32_t format, const float *x, uint32_t left, vf by, char *t)
{
    const vf v = vf_load_upto(x, left);
    if (format == BNP_KV_I8) {
        vi_store_i8((int8_t *)t, vf_rint(vf_mul(v, by)));
        return vf_finite(v);
    }
    vf_store_f16((uint16_t *)(void *)t, v);
    return vf_finite(vf_load_f16((const uint16_t *)(const void *)t));
}

/* Gives 127 / m, and the step m / 127. |x * (127 / m)| is at most 127 and a
 * rounding, so rint needs no clamp. */
static vf attn_i8_steps(const float *x, uint32_t n, float *step)
{
    const float m = vf_largest(x, n, BNP_KV_I8_MIN);
    *step = m / 127.0f;
    return vf_set1(127.0f / m);
}

/* Dimension d goes to d / per rows of `apart` bytes from `to` on, and d % per
 * elements into it. */
ATTN_INLINE bool attn_put(uint32_t format, const float *x, uint32_t n, uint32_t per, uint32_t apart,
                          char *to, float *step)
{
    const uint32_t elem = format == BNP_KV_I8 ? 1 : 2;
    const vf by = format == BNP_KV_I8 ? attn_i8_steps(x, n, step) : vf_zero();
    bool good = true;
    for (uint32_t i = 0; i < n; i += VL) {
        const uint32_t left = n - i < VL ? n - i : VL;
        uint16_t t[VL];
        const char *from = (const char *)t;
        good &= attn_narrow(format, x + i, n - i, by, (char *)t);
        for (uint32_t l = 0; l < left; l++)
            memcpy(to + (size_t)((i + l) / per) * apart + (i + l) % per * elem, from + l * elem,
                   elem);
    }
    return good;
}

static bool attn_put_k(uint32_t format, const float *x, uint32_t head_dim, uint32_t slot, char *k,
                       float *kstep)
{
    k += 2 * slot;
    return format == BNP_KV_I8 ? attn_put(BNP_KV_I8, x, head_dim, 2, ATTN_ROW, k, kstep + slot)
                               : attn_put(BNP_KV_F16, x, head_dim, 1, ATTN_ROW, k, NULL);
}

static bool attn_put_v(uint32_t format, const float *x, uint32_t head_dim, uint32_t slot, char *v,
                       float *vstep)
{
    if (format == BNP_KV_F16)
        return attn_put(BNP_KV_F16, x, head_dim, 1, 2, v + 2 * (size_t)slot * head_dim, NULL);
    v += 2 * (size_t)(slot / 2) * head_dim + slot % 2;
    return attn_put(BNP_KV_I8, x, head_dim, 1, 2, v, vstep + slot);
}

static const struct attn_kern attn_kern = {
    .chunk = attn_chunk_kern,
    .narrow = attn_narrow_q,
    .combine = attn_combine,
    .put_k = attn_put_k,
    .put_v = attn_put_v,
};

#endif
