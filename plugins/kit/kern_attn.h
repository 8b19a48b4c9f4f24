/* kern_attn.h - struct attn_kern of attn.h: a template over the vector of
 * simd.h.
 *
 * Up to ATTN_GROUP queries share every load of K and V; the sums of a pass over
 * K (queries times keys) or V (queries times dimensions) stay in registers:
 * eight of eight floats at least for AVX2, whose fma has a latency of four and
 * a throughput of two. The V of a chunk is fetched while its K is used, and the
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

/* Dimension i, at bytes into the blocks. */
ATTN_INLINE void attn_scores_one(uint32_t format, uint32_t n, uint32_t n_vec, const char **k,
                                 size_t at, const float **q, uint32_t i, vf (*acc)[8])
{
    vf key[8];
    for (uint32_t v = 0; v < n_vec; v++)
        key[v] = attn_load(format, k[v] + at);
    for (uint32_t h = 0; h < n; h++) {
        const vf by = vf_set1(q[h][i]);
        for (uint32_t v = 0; v < n_vec; v++)
            acc[h][v] = vf_fma(by, key[v], acc[h][v]);
    }
}

/* Scores of n queries for the keys of one pass, key j on; keys of blocks
 * outside the chunk are replaced by others and mean nothing. The values of
 * blocks that begin here are fetched, if they are wanted. */
ATTN_INLINE void attn_scores_pass(const struct attn_call *c, uint32_t format, uint32_t n,
                                  const struct attn_query *query, uint32_t j, bool fetch,
                                  float (*s)[BNP_ATTN_CHUNK])
{
    const uint32_t n_vec = ATTN_KEY_VECS(n);
    const uint32_t elem = attn_elem(format), dim = c->head_dim, row = ATTN_BLOCK * elem;
    const uint32_t n_fetch = (n_vec * VL + ATTN_BLOCK - 1) / ATTN_BLOCK;
    const uint32_t run = 64 / row;              /* dimensions in a line      */
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
    attn_ahead(c->chunk, j, n_vec * VL, fetch, k[0], ahead, n_fetch);
    for (uint32_t h = 0; h < n; h++) {
        q[h] = query[h].q;
        for (uint32_t v = 0; v < n_vec; v++)
            acc[h][v] = vf_zero();
    }
    uint32_t i = 0;
    for (; i + run <= dim; i += run) {
        for (uint32_t f = 0; f < n_fetch; f++)
            attn_fetch(ahead[f] + (size_t)i * row);
        for (uint32_t u = 0; u < run; u++)
            attn_scores_one(format, n, n_vec, k, (size_t)(i + u) * row, q, i + u, acc);
    }
    for (; i < dim; i++)
        attn_scores_one(format, n, n_vec, k, (size_t)i * row, q, i, acc);
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

/* Vectors of dimensions in a strip for n queries. Three of int8 need every
 * register that AVX2 has. */
ATTN_INLINE uint32_t attn_dim_vecs(uint32_t format, uint32_t n)
{
    return n == 1 ? 8 : n == 2 ? 4 : format == BNP_KV_I8 && VL == 8 ? 3 : 2;
}

/* Key j, whose values are at v. Twelve sums leave room for one weight or one
 * value at a time. */
ATTN_INLINE void attn_values_one(uint32_t format, uint32_t n, uint32_t n_vec, const char *v,
                                 const float (*p)[BNP_ATTN_CHUNK], uint32_t j, vf (*acc)[8])
{
    const uint32_t size = VL * attn_elem(format);
    vf value[8], by[ATTN_GROUP];
    if (n * n_vec <= 8) {
        for (uint32_t h = 0; h < n; h++)
            by[h] = vf_set1(p[h][j]);
        for (uint32_t k = 0; k < n_vec; k++) {
            value[0] = attn_load(format, v + k * size);
            for (uint32_t h = 0; h < n; h++)
                acc[h][k] = vf_fma(by[h], value[0], acc[h][k]);
        }
        return;
    }
    for (uint32_t k = 0; k < n_vec; k++)
        value[k] = attn_load(format, v + k * size);
    for (uint32_t h = 0; h < n; h++) {
        by[0] = vf_set1(p[h][j]);
        for (uint32_t k = 0; k < n_vec; k++)
            acc[h][k] = vf_fma(by[0], value[k], acc[h][k]);
    }
}

/* A block of V, and the block of K that is fetched meanwhile. */
struct attn_place {
    const char *v, *ahead;
};

/* Adds keys from..to-1 of one block to n_vec vectors of dimensions, i on, and
 * fetches as much of the next chunk's K. */
ATTN_INLINE void attn_values_block(uint32_t format, uint32_t n, uint32_t n_vec, uint32_t dim,
                                   const struct attn_place *at, uint32_t i,
                                   const float (*p)[BNP_ATTN_CHUNK], uint32_t from, uint32_t to,
                                   vf (*acc)[8])
{
    const uint32_t elem = attn_elem(format), size = n_vec * VL * elem;
    const char *v = at->v + ((size_t)(from % ATTN_BLOCK) * dim + i) * elem;
    const char *ahead = at->ahead + (size_t)i * ATTN_BLOCK * elem;
    for (uint32_t j = from; j < to; j++, v += (size_t)dim * elem, ahead += size) {
        for (uint32_t k = 0; k < size; k += 64)
            attn_fetch(ahead + k);
        attn_values_one(format, n, n_vec, v, p, j, acc);
    }
}

/* Adds keys from..to-1 to n_vec vectors of dimensions, i on; to +0 if they are
 * the first. They are of one block, or int8. */
ATTN_INLINE void attn_values_strip(uint32_t format, uint32_t n, uint32_t n_vec, uint32_t dim,
                                   const struct attn_query *query, const struct attn_place *at,
                                   uint32_t i, const float (*p)[BNP_ATTN_CHUNK], uint32_t from,
                                   uint32_t to, bool first)
{
    vf acc[ATTN_GROUP][8];
    for (uint32_t h = 0; h < n; h++)
        for (uint32_t k = 0; k < n_vec; k++)
            acc[h][k] = first ? vf_zero() : vf_load(query[h].part + ATTN_O + i + k * VL);
    if (format == BNP_KV_F16)
        attn_values_block(format, n, n_vec, dim, at + from / ATTN_BLOCK, i, p, from, to, acc);
    for (uint32_t j = from, stop; format == BNP_KV_I8 && j < to; j = stop) {
        const uint32_t end = (j / ATTN_BLOCK + 1) * ATTN_BLOCK;
        stop = end < to ? end : to;
        attn_values_block(format, n, n_vec, dim, at + j / ATTN_BLOCK, i, p, j, stop, acc);
    }
    for (uint32_t h = 0; h < n; h++)
        for (uint32_t k = 0; k < n_vec; k++)
            vf_store(query[h].part + ATTN_O + i + k * VL, acc[h][k]);
}

/* All dimensions; a strip runs through as much of V as stays in the first
 * cache. The last vectors of a row may reach into the next one; those lanes of
 * part mean nothing. */
ATTN_INLINE void attn_values_pass(const struct attn_call *c, uint32_t format, uint32_t n,
                                  const struct attn_query *query, const float (*p)[BNP_ATTN_CHUNK],
                                  uint32_t from, uint32_t to, bool fetch, bool first)
{
    const uint32_t run = format == BNP_KV_I8 ? BNP_ATTN_CHUNK : ATTN_BLOCK;
    const uint32_t dim = c->head_dim, wide = attn_dim_vecs(format, n);
    const struct attn_chunk *next = fetch ? c->next : NULL;
    struct attn_place at[ATTN_BLOCKS];
    for (uint32_t b = from / ATTN_BLOCK; b * ATTN_BLOCK < to; b++) {
        at[b].v = c->chunk->block[b].v;
        at[b].ahead = next && b >= next->first && b < next->end ? next->block[b].k : at[b].v;
    }
    for (uint32_t j = from, stop; j < to; j = stop, first = false) {
        const uint32_t end = (j / run + 1) * run;
        uint32_t i = 0;
        stop = end < to ? end : to;
        for (; i + wide * VL <= dim && i + (wide + 1) * VL != dim; i += wide * VL)
            attn_values_strip(format, n, wide, dim, query, at, i, p, j, stop, first);
        for (; i < dim; i += 2 * VL)
            attn_values_strip(format, n, 2, dim, query, at, i, p, j, stop, first);
    }
}

/* ------------------------------------------------------- one of each count */

/* Functions of their own, so that a loop has the registers to itself. */
#define ATTN_PASSES(format, n)                                                                \
    static __attribute__((noinline)) void attn_scores_##format##_##n(                         \
        const struct attn_call *c, const struct attn_query *query, uint32_t j, bool fetch,    \
        float (*s)[BNP_ATTN_CHUNK])                                                           \
    {                                                                                         \
        attn_scores_pass(c, BNP_KV_##format, n, query, j, fetch, s);                          \
    }                                                                                         \
    static __attribute__((noinline)) void attn_values_##format##_##n(                         \
        const struct attn_call *c, const struct attn_query *query,                            \
        const float (*p)[BNP_ATTN_CHUNK], uint32_t from, uint32_t to, bool fetch, bool first) \
    {                                                                                         \
        attn_values_pass(c, BNP_KV_##format, n, query, p, from, to, fetch, first);            \
    }
ATTN_PASSES(F16, 1)
ATTN_PASSES(F16, 2)
ATTN_PASSES(F16, 3)
ATTN_PASSES(F16, 4)
ATTN_PASSES(I8, 1)
ATTN_PASSES(I8, 2)
ATTN_PASSES(I8, 3)
ATTN_PASSES(I8, 4)

static const struct attn_pass {
    void (*scores)(const struct attn_call *, const struct attn_query *, uint32_t j, bool fetch,
                   float (*s)[BNP_ATTN_CHUNK]);
    void (*values)(const struct attn_call *, const struct attn_query *,
                   const float (*p)[BNP_ATTN_CHUNK], uint32_t from, uint32_t to, bool fetch,
                   bool first);
    uint32_t step;              /* keys of a pass over K                     */
} attn_pass[2][ATTN_GROUP] = {
#define ATTN_PASS(format, n)                                                                  \
    { attn_scores_##format##_##n, attn_values_##format##_##n, ATTN_KEY_VECS(n) * VL }
    { ATTN_PASS(F16, 1), ATTN_PASS(F16, 2), ATTN_PASS(F16, 3), ATTN_PASS(F16, 4) },
    { ATTN_PASS(I8, 1), ATTN_PASS(I8, 2), ATTN_PASS(I8, 3), ATTN_PASS(I8, 4) },
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
        if (c->format == BNP_KV_I8 && (whole || (at < to && at + VL > from)))
            e[k] = vf_mul(e[k], vf_load(chunk->block[b].vstep + at % ATTN_BLOCK));
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

/* ------------------------------------------------------------------- chunk */

/* Scores of keys from..to-1, all that one of n queries sees. */
static void attn_scores(const struct attn_call *c, uint32_t n, const struct attn_query *query,
                        uint32_t from, uint32_t to, bool fetch, float (*s)[BNP_ATTN_CHUNK])
{
    const struct attn_pass *pass = attn_pass_of(c, n);
    for (uint32_t j = from / pass->step * pass->step; j < to; j += pass->step)
        pass->scores(c, query, j, fetch, s);
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
    const uint32_t good = attn_softmax(c, n, query, s);
    if (good < n)
        return good;
    const float (*p)[BNP_ATTN_CHUNK] = (const float (*)[BNP_ATTN_CHUNK])s;
    const bool first = all_from == from;
    if (all_from >= all_to)
        all_from = all_to = to;
    for (uint32_t h = 0; h < n && !first; h++) {
        const uint32_t stop = all_from < query[h].to ? all_from : query[h].to;
        memset(query[h].part + ATTN_O, 0, (attn_stride(c->head_dim) - ATTN_O) * sizeof(float));
        attn_pass_of(c, 1)->values(c, &query[h], p + h, query[h].from, stop, false, false);
    }
    attn_pass_of(c, n)->values(c, query, p, all_from, all_to, fetch, first);
    for (uint32_t h = 0; h < n; h++)
        attn_pass_of(c, 1)->values(c, &query[h], p + h, all_to, query[h].to, false, false);
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
