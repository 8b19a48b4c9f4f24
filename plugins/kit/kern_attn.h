/* kern_attn.h - struct attn_kern of attn.h: a template over the vector of
 * simd.h.
 *
 * Up to ATTN_GROUP queries share every load of K and V; the sums of a pass over
 * K (queries times keys) or V (queries times dimensions) stay in registers:
 * eight of eight floats for AVX2, whose fma has a latency of four and a
 * throughput of two. The V of a chunk is fetched while its K is used, and the
 * next K while this V is. */
#ifndef BITNET_KIT_KERN_ATTN_H
#define BITNET_KIT_KERN_ATTN_H

#include "plugins/kit/attn.h"
#include "plugins/kit/kern_math.h"

#define ATTN_GROUP 4u
#define ATTN_INLINE static inline __attribute__((always_inline))

ATTN_INLINE uint32_t attn_elem(uint32_t format)         /* bytes             */
{
    return format == BNP_KV_I8 ? 1 : 2;
}

ATTN_INLINE vf attn_load(uint32_t format, const char *p)
{
    return format == BNP_KV_I8 ? vf_load_i8((const int8_t *)p)
                               : vf_load_f16((const uint16_t *)(const void *)p);
}

/* Into the second cache, a line at a time between the sums: in a burst they
 * would fill the queue that loads wait in, and nothing would overlap. */
ATTN_INLINE void attn_fetch(const char *p)
{
    __builtin_prefetch(p, 0, 2);
}

/* ------------------------------------------------------------------ scores */

/* Vectors of keys in a pass for n queries: eight sums at least. */
#define ATTN_KEY_VECS(n) ((n) == 1 ? 8u : (n) == 2 || VL == 4 ? 4u : 2u)

/* Blocks that such a pass takes part of, at most. */
#define ATTN_KEY_BLOCKS(n) ((ATTN_KEY_VECS(n) * VL + ATTN_BLOCK - 1) / ATTN_BLOCK)

/* Scores of n queries for the keys of one pass, key j on; keys of blocks
 * outside the chunk are replaced by others and mean nothing. The values of the
 * same blocks are fetched, if they are wanted. */
ATTN_INLINE void attn_scores_pass(const struct attn_call *c, uint32_t format, uint32_t n,
                                  const struct attn_query *query, uint32_t j, bool fetch,
                                  float (*s)[BNP_ATTN_CHUNK])
{
    const uint32_t n_vec = ATTN_KEY_VECS(n), elem = attn_elem(format), dim = c->head_dim;
    const struct attn_block *block[8] = { 0 };
    const char *k[8] = { 0 }, *ahead[8] = { 0 };
    const float *q[ATTN_GROUP] = { 0 };
    vf acc[ATTN_GROUP][8];
    for (uint32_t v = 0; v < n_vec; v++) {
        const uint32_t at = j + v * VL, want = at / ATTN_BLOCK, last = c->chunk->end - 1;
        const uint32_t b = want < c->chunk->first ? c->chunk->first : want < last ? want : last;
        block[v] = &c->chunk->block[b];
        k[v] = block[v]->k + at % ATTN_BLOCK * elem;
    }
    for (uint32_t b = 0; b < ATTN_KEY_BLOCKS(n); b++) {
        const struct attn_block *same = block[b * ATTN_BLOCK / VL];
        ahead[b] = fetch ? same->v : same->k;
    }
    for (uint32_t h = 0; h < n; h++) {
        q[h] = query[h].q;
        for (uint32_t v = 0; v < n_vec; v++)
            acc[h][v] = vf_zero();
    }
    for (uint32_t i = 0; i < dim; i++) {
        vf key[8];
        for (uint32_t b = 0; b < ATTN_KEY_BLOCKS(n); b++)
            attn_fetch(ahead[b] + (size_t)i * (ATTN_BLOCK * elem));
        for (uint32_t v = 0; v < n_vec; v++)
            key[v] = attn_load(format, k[v] + (size_t)i * (ATTN_BLOCK * elem));
        for (uint32_t h = 0; h < n; h++) {
            const vf by = vf_set1(q[h][i]);
            for (uint32_t v = 0; v < n_vec; v++)
                acc[h][v] = vf_fma(by, key[v], acc[h][v]);
        }
    }
    for (uint32_t v = 0; v < n_vec; v++) {
        const uint32_t at = j + v * VL;
        for (uint32_t h = 0; h < n; h++) {
            vf x = acc[h][v];
            if (format == BNP_KV_I8)
                x = vf_mul(x, vf_load(block[v]->kstep + at % ATTN_BLOCK));
            vf_store(&s[h][at], vf_mul(x, vf_set1(c->scale)));
        }
    }
}

/* ------------------------------------------------------------------ values */

/* Adds keys from..to-1 of one block to n_vec vectors of dimensions, i on, and
 * fetches as much of a block of K from ahead on. */
ATTN_INLINE void attn_values_strip(uint32_t format, uint32_t n, uint32_t n_vec, uint32_t dim,
                                   const struct attn_query *query, const char *v,
                                   const char *ahead, uint32_t i,
                                   const float (*p)[BNP_ATTN_CHUNK], uint32_t from, uint32_t to)
{
    const uint32_t elem = attn_elem(format), size = n_vec * VL * elem;
    vf acc[ATTN_GROUP][8];
    for (uint32_t h = 0; h < n; h++)
        for (uint32_t k = 0; k < n_vec; k++)
            acc[h][k] = vf_load(query[h].part + ATTN_O + i + k * VL);
    v += ((size_t)(from % ATTN_BLOCK) * dim + i) * elem;
    ahead += (size_t)i * ATTN_BLOCK * elem;
    for (uint32_t j = from; j < to; j++, v += (size_t)dim * elem, ahead += size) {
        vf by[ATTN_GROUP];
        for (uint32_t k = 0; k < size; k += 64)
            attn_fetch(ahead + k);
        for (uint32_t h = 0; h < n; h++)
            by[h] = vf_set1(p[h][j]);
        for (uint32_t k = 0; k < n_vec; k++) {
            const vf value = attn_load(format, v + k * VL * elem);
            for (uint32_t h = 0; h < n; h++)
                acc[h][k] = vf_fma(by[h], value, acc[h][k]);
        }
    }
    for (uint32_t h = 0; h < n; h++)
        for (uint32_t k = 0; k < n_vec; k++)
            vf_store(query[h].part + ATTN_O + i + k * VL, acc[h][k]);
}

/* All dimensions. The last vectors of a row may reach into the next one; those
 * lanes of part mean nothing. */
ATTN_INLINE void attn_values_pass(const struct attn_call *c, uint32_t format, uint32_t n,
                                  const struct attn_query *query, const float (*p)[BNP_ATTN_CHUNK],
                                  uint32_t from, uint32_t to, bool fetch)
{
    const uint32_t dim = c->head_dim, wide = n == 1 ? 8 : n == 2 ? 4 : 2, b = from / ATTN_BLOCK;
    const char *v = c->chunk->block[b].v;
    const char *ahead = fetch && c->next && b >= c->next->first && b < c->next->end
                            ? c->next->block[b].k : v;
    uint32_t i = 0;
    for (; i + wide * VL <= dim; i += wide * VL)
        attn_values_strip(format, n, wide, dim, query, v, ahead, i, p, from, to);
    for (; i < dim; i += 2 * VL)
        attn_values_strip(format, n, 2, dim, query, v, ahead, i, p, from, to);
}

/* ------------------------------------------------------- one of each count */

/* Functions of their own, so that a loop has the registers to itself. */
#define ATTN_PASSES(name, format, n)                                                          \
    static __attribute__((noinline)) void attn_scores_##name##n(                              \
        const struct attn_call *c, const struct attn_query *query, uint32_t j, bool fetch,    \
        float (*s)[BNP_ATTN_CHUNK])                                                           \
    {                                                                                         \
        attn_scores_pass(c, format, n, query, j, fetch, s);                                   \
    }                                                                                         \
    static __attribute__((noinline)) void attn_values_##name##n(                              \
        const struct attn_call *c, const struct attn_query *query,                            \
        const float (*p)[BNP_ATTN_CHUNK], uint32_t from, uint32_t to, bool fetch)             \
    {                                                                                         \
        attn_values_pass(c, format, n, query, p, from, to, fetch);                            \
    }
ATTN_PASSES(f16_, BNP_KV_F16, 1)
ATTN_PASSES(f16_, BNP_KV_F16, 2)
ATTN_PASSES(f16_, BNP_KV_F16, 3)
ATTN_PASSES(f16_, BNP_KV_F16, 4)
ATTN_PASSES(i8_, BNP_KV_I8, 1)
ATTN_PASSES(i8_, BNP_KV_I8, 2)
ATTN_PASSES(i8_, BNP_KV_I8, 3)
ATTN_PASSES(i8_, BNP_KV_I8, 4)

static const struct attn_pass {
    void (*scores)(const struct attn_call *, const struct attn_query *, uint32_t j, bool fetch,
                   float (*s)[BNP_ATTN_CHUNK]);
    void (*values)(const struct attn_call *, const struct attn_query *,
                   const float (*p)[BNP_ATTN_CHUNK], uint32_t from, uint32_t to, bool fetch);
    uint32_t step;              /* keys of a pass over K                     */
} attn_pass[2][ATTN_GROUP] = {
    { { attn_scores_f16_1, attn_values_f16_1, ATTN_KEY_VECS(1) * VL },
      { attn_scores_f16_2, attn_values_f16_2, ATTN_KEY_VECS(2) * VL },
      { attn_scores_f16_3, attn_values_f16_3, ATTN_KEY_VECS(3) * VL },
      { attn_scores_f16_4, attn_values_f16_4, ATTN_KEY_VECS(4) * VL } },
    { { attn_scores_i8_1, attn_values_i8_1, ATTN_KEY_VECS(1) * VL },
      { attn_scores_i8_2, attn_values_i8_2, ATTN_KEY_VECS(2) * VL },
      { attn_scores_i8_3, attn_values_i8_3, ATTN_KEY_VECS(3) * VL },
      { attn_scores_i8_4, attn_values_i8_4, ATTN_KEY_VECS(4) * VL } },
};

static const struct attn_pass *attn_pass_of(const struct attn_call *c, uint32_t n)
{
    return &attn_pass[c->format == BNP_KV_I8][n - 1];
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

/* Scores of keys from..to-1, of the vectors begin..end-1, become what their
 * values are multiplied by; m_c and l_c go to part. False: a score is NaN or
 * Inf. Lanes outside take the first score, and +0 for their e: what a lane of
 * sum64 does not notice. */
ATTN_INLINE bool attn_softmax(const struct attn_call *c, const struct attn_query *query, float *s,
                              uint32_t from, uint32_t to, uint32_t begin, uint32_t end)
{
    vf lane[SUM64_VECS];
    float m;
    for (uint32_t j = begin; j < end; j++)
        s[j] = j < from || j >= to ? s[from] : s[j];
    if (!attn_max(s, begin, end, &m))
        return false;
    for (uint32_t j = begin; j < end; j += VL)
        vf_store(s + j, vf_exp32(vf_sub(vf_load(s + j), vf_set1(m))));
    for (uint32_t j = begin; j < end; j++)
        s[j] = j < from || j >= to ? 0.0f : s[j];
    for (uint32_t l = 0; l < SUM64_VECS; l++)
        lane[l] = vf_zero();
    for (uint32_t j = begin; j < end; j += VL)
        lane[j / VL % SUM64_VECS] = vf_add(lane[j / VL % SUM64_VECS], vf_load(s + j));
    query->part[0] = m;
    query->part[1] = vf_sum64(lane);
    for (uint32_t j = begin; c->format == BNP_KV_I8 && j < end; j += VL) {
        const float *step = c->chunk->block[j / ATTN_BLOCK].vstep + j % ATTN_BLOCK;
        vf_store(s + j, vf_mul(vf_load(s + j), vf_load(step)));
    }
    return true;
}

/* Nearly every chunk is seen whole; that one has loops of known length. */
static bool attn_softmax_whole(const struct attn_call *c, const struct attn_query *query, float *s)
{
    return attn_softmax(c, query, s, 0, BNP_ATTN_CHUNK, 0, BNP_ATTN_CHUNK);
}

static bool attn_softmax_part(const struct attn_call *c, const struct attn_query *query, float *s)
{
    const uint32_t begin = query->from / VL * VL, end = (query->to + VL - 1) / VL * VL;
    return attn_softmax(c, query, s, query->from, query->to, begin, end);
}

/* ------------------------------------------------------------------- chunk */

/* Scores of keys from..to-1, all that one of n queries sees. */
static void attn_scores(const struct attn_call *c, uint32_t n, const struct attn_query *query,
                        uint32_t from, uint32_t to, bool fetch, float (*s)[BNP_ATTN_CHUNK])
{
    const struct attn_pass *pass = attn_pass_of(c, n);
    for (uint32_t j = from / pass->step * pass->step; j < to; j += pass->step)
        pass->scores(c, query, j, fetch, s);
}

/* Adds keys from..to-1, which all n queries see. */
static void attn_values(const struct attn_call *c, uint32_t n, const struct attn_query *query,
                        const float (*p)[BNP_ATTN_CHUNK], uint32_t from, uint32_t to, bool fetch)
{
    const struct attn_pass *pass = attn_pass_of(c, n);
    for (uint32_t j = from, stop; j < to; j = stop) {
        const uint32_t end = (j / ATTN_BLOCK + 1) * ATTN_BLOCK;
        stop = end < to ? end : to;
        pass->values(c, query, p, j, stop, fetch);
    }
}

/* Keys that not every query sees are added for one query at a time. */
static uint32_t attn_group(const struct attn_call *c, uint32_t n, const struct attn_query *query,
                           bool fetch)
{
    float s[ATTN_GROUP][BNP_ATTN_CHUNK];
    uint32_t from = BNP_ATTN_CHUNK, to = 0, all_from = 0, all_to = BNP_ATTN_CHUNK;
    for (uint32_t h = 0; h < n; h++) {
        from = query[h].from < from ? query[h].from : from;
        to = query[h].to > to ? query[h].to : to;
        all_from = query[h].from > all_from ? query[h].from : all_from;
        all_to = query[h].to < all_to ? query[h].to : all_to;
    }
    attn_scores(c, n, query, from, to, fetch, s);
    for (uint32_t h = 0; h < n; h++) {
        const bool whole = query[h].to - query[h].from == BNP_ATTN_CHUNK;
        if (!(whole ? attn_softmax_whole : attn_softmax_part)(c, &query[h], s[h]))
            return h;
        memset(query[h].part + ATTN_O, 0, (attn_stride(c->head_dim) - ATTN_O) * sizeof(float));
    }
    const float (*p)[BNP_ATTN_CHUNK] = (const float (*)[BNP_ATTN_CHUNK])s;
    if (all_from >= all_to)
        all_from = all_to = to;
    for (uint32_t h = 0; h < n; h++) {
        const uint32_t stop = all_from < query[h].to ? all_from : query[h].to;
        attn_values(c, 1, &query[h], p + h, query[h].from, stop, false);
    }
    attn_values(c, n, query, p, all_from, all_to, fetch);
    for (uint32_t h = 0; h < n; h++)
        attn_values(c, 1, &query[h], p + h, all_to, query[h].to, false);
    return n;
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
    vf max = vf_set1(BNP_KV_I8_MIN);
    for (uint32_t i = 0; i < n; i += VL)
        max = vf_max(vf_abs(vf_load_upto(x + i, n - i)), max);
    const float m = vf_max_lane(max);
    *step = m / 127.0f;
    return vf_set1(127.0f / m);
}

/* Value d goes to to[d * apart]. */
ATTN_INLINE bool attn_put(uint32_t format, const float *x, uint32_t n, uint32_t apart, char *to,
                          float *step)
{
    const uint32_t elem = attn_elem(format);
    const vf by = format == BNP_KV_I8 ? attn_i8_steps(x, n, step) : vf_zero();
    bool good = true;
    for (uint32_t i = 0; i < n; i += VL) {
        const uint32_t left = n - i < VL ? n - i : VL;
        uint16_t t[VL];
        const char *from = (const char *)t;
        good &= attn_narrow(format, x + i, n - i, by, (char *)t);
        for (uint32_t l = 0; l < left; l++)
            memcpy(to + (size_t)(i + l) * apart * elem, from + l * elem, elem);
    }
    return good;
}

static bool attn_put_k(uint32_t format, const float *x, uint32_t head_dim, uint32_t slot, char *k,
                       float *kstep)
{
    return format == BNP_KV_I8
               ? attn_put(BNP_KV_I8, x, head_dim, ATTN_BLOCK, k + slot, kstep)
               : attn_put(BNP_KV_F16, x, head_dim, ATTN_BLOCK, k + slot * sizeof(uint16_t), NULL);
}

static bool attn_put_v(uint32_t format, const float *x, uint32_t head_dim, char *v, float *vstep)
{
    return format == BNP_KV_I8 ? attn_put(BNP_KV_I8, x, head_dim, 1, v, vstep)
                               : attn_put(BNP_KV_F16, x, head_dim, 1, v, NULL);
}

static const struct attn_kern attn_kern = {
    .chunk = attn_chunk_kern,
    .combine = attn_combine,
    .put_k = attn_put_k,
    .put_v = attn_put_v,
};

#endif
