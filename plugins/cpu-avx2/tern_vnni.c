/* tern_vnni.c - "2-bit" panels with vpdpbusd in 256 bits (layout: tern_pack.c).
 *
 * A vector of codes is not taken apart: with x its bytes and f its fields,
 *
 *   S1 = dot(x & 3), S2 = dot(x & 15):   field 0 = S1,  field 1 = (S2 - S1) / 4
 *
 * and with all four, x & 63 and x itself, field 2 = (S3 - S2) / 16 and field 3 =
 * (S4 - S3) / 64. Differences are exact modulo 2^32, so sums may wrap; what is
 * shifted must not: 64 * 3 * 127 times RUN_MAX * 4 columns is below 2^31.
 *
 * One token: four sums for even steps and four for odd ones, since a sum waits
 * five cycles for itself. More: half a panel by up to six tokens, as in
 * tern_tile.c; the high half is shifted down once and then read as the low one. */
#include "plugins/cpu-avx2/tern.h"

enum { ROWS = 32, STEP_SIZE = 32, AHEAD = 2048, TOK = 6 };
enum { RUN = 256, RUN_MAX = 16384 };    /* steps: in the first cache; range  */

/* GCC 12 moves every sum to another register and to memory around the intrinsic,
 * and leaves an asm alone. */
#ifndef TERN_DPBUSD             /* a test puts plain C here                  */
#define TERN_DPBUSD dpbusd
TERN_INLINE __m256i dpbusd(__m256i sum, __m256i w, __m256i v)
{
#if defined(__clang__)
    return _mm256_dpbusd_avx_epi32(sum, w, v);
#else
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(v));
    return sum;
#endif
}
#endif

TERN_INLINE void add_rows(int32_t *acc, __m256i v)
{
    __m256i *to = (__m256i *)(void *)acc;
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), v));
}

/* -------------------------------------------------------------- one token */

TERN_INLINE void one_step(const uint8_t *w, const int8_t *q, __m256i s[4])
{
    const __m256i x = tern_load(w), v = tern_four(q);
    s[0] = TERN_DPBUSD(s[0], _mm256_and_si256(x, _mm256_set1_epi8(3)), v);
    s[1] = TERN_DPBUSD(s[1], _mm256_and_si256(x, _mm256_set1_epi8(15)), v);
    s[2] = TERN_DPBUSD(s[2], _mm256_and_si256(x, _mm256_set1_epi8(63)), v);
    s[3] = TERN_DPBUSD(s[3], x, v);
}

/* Adds n steps, at most RUN_MAX, to the sums of all rows. */
static void one(const uint8_t *w, const int8_t *q, uint32_t n, int32_t *acc)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i s[2][4] = { { zero, zero, zero, zero }, { zero, zero, zero, zero } };
    for (; n > 1; n -= 2, w += 2 * STEP_SIZE, q += 2 * TERN_STEP) {
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        one_step(w, q, s[0]);
        one_step(w + STEP_SIZE, q + TERN_STEP, s[1]);
    }
    if (n)
        one_step(w, q, s[0]);
    TERN_UNROLL
    for (unsigned f = 0; f < 4; f++)
        s[0][f] = _mm256_add_epi32(s[0][f], s[1][f]);
    add_rows(acc, s[0][0]);
    add_rows(acc + 8, _mm256_srai_epi32(_mm256_sub_epi32(s[0][1], s[0][0]), 2));
    add_rows(acc + 16, _mm256_srai_epi32(_mm256_sub_epi32(s[0][2], s[0][1]), 4));
    add_rows(acc + 24, _mm256_srai_epi32(_mm256_sub_epi32(s[0][3], s[0][2]), 6));
}

/* ------------------------------------------------------------ more tokens */

struct tile {
    const uint8_t *w;
    uint32_t n_step;
    const int8_t *q;            /* of the first token, at the first step     */
    size_t stride;
    int32_t *acc;
};

/* Rows 16*half .. 16*half + 15 by n tokens. */
TERN_INLINE void half_tile(const struct tile *t, unsigned half, unsigned n)
{
    const uint8_t *w = t->w;
    const int8_t *q = t->q;
    __m256i s[TOK][2];
    TERN_UNROLL
    for (unsigned k = 0; k < n; k++)
        s[k][0] = s[k][1] = _mm256_setzero_si256();
    for (uint32_t i = t->n_step; i; i--, w += STEP_SIZE, q += TERN_STEP) {
        const __m256i x = tern_load(w), h = half ? _mm256_srli_epi16(x, 4) : x;
        const __m256i w0 = _mm256_and_si256(h, _mm256_set1_epi8(3));
        const __m256i w1 = _mm256_and_si256(h, _mm256_set1_epi8(15));
        if (!half)
            _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        TERN_UNROLL
        for (unsigned k = 0; k < n; k++) {
            const __m256i v = tern_four(q + k * t->stride);
            s[k][0] = TERN_DPBUSD(s[k][0], w0, v);
            s[k][1] = TERN_DPBUSD(s[k][1], w1, v);
        }
    }
    TERN_UNROLL
    for (unsigned k = 0; k < n; k++) {
        int32_t *acc = t->acc + k * ROWS + 16 * half;
        add_rows(acc, s[k][0]);
        add_rows(acc + 8, _mm256_srai_epi32(_mm256_sub_epi32(s[k][1], s[k][0]), 2));
    }
}

typedef void tile_fn(const struct tile *);

#define TILE(n)                                                                                \
    static void tile_##n(const struct tile *t)                                                 \
    {                                                                                          \
        half_tile(t, 0, n);                                                                    \
        half_tile(t, 1, n);                                                                    \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)

static void many(const struct tern_call *c, uint32_t s, uint32_t n)
{
    static tile_fn *const fns[TOK] = { tile_1, tile_2, tile_3, tile_4, tile_5, tile_6 };
    struct tile t = { c->panel + (size_t)s * STEP_SIZE, n,
                      (const int8_t *)c->act + s * TERN_STEP, c->act_stride, c->acc };
    uint32_t todo = c->n_tok;
    for (uint32_t tiles = (todo - 1) / TOK + 1; tiles; tiles--) {
        const uint32_t tok = (todo - 1) / tiles + 1;
        fns[tok - 1](&t);
        todo -= tok;
        t.q += tok * c->act_stride;
        t.acc += tok * ROWS;
    }
}

static void dot(const struct tern_call *c)
{
    const uint32_t end = tern_steps(c->first + c->n_cols), run = c->n_tok > 1 ? RUN : RUN_MAX;
    tern_start(c, ROWS);
    for (uint32_t s = c->first / TERN_STEP, n; s < end; s += n) {
        n = end - s < run ? end - s : run;
        if (c->n_tok > 1)
            many(c, s, n);
        else
            one(c->panel + (size_t)s * STEP_SIZE, (const int8_t *)c->act + s * TERN_STEP, n,
                c->acc);
    }
}

const struct tern tern_vnni = {
    .name = "2-bit",
    .layout = TERN_2BIT_LAYOUT,
    .panel_rows = ROWS,
    .step = TERN_STEP,
    .plus2 = true,
    .panel_size = tern_2bit_size,
    .pack = tern_2bit_pack,
    .unpack = tern_2bit_unpack,
    .dot = dot,
};
