/* tern_tile.c - many tokens: 16 rows by up to six of them at a time.
 *
 * Such a tile has twelve sums of 16 bits in registers; two vectors of codes, one
 * of activations and a product fill the other four. For every step it loads
 * eight vectors and does twelve products, so products are what it waits for.
 *
 * Tokens are the outer loop and pairs of eight rows the inner one: a run of
 * codes (8 or 20 KB) and the activations of six tokens stay in the first cache.
 * Tiles get nearly equal numbers of tokens, since small ones pay most for loads. */
#include "plugins/cpu-avx2/tern.h"

enum { TOK = 6, AHEAD = 2048 };

struct tile {
    const uint8_t *w;
    uint32_t n_pair, n_step;
    const int8_t *q;            /* of the first token, at the first step     */
    size_t stride;
    int32_t *acc;
};

enum from { CODES, LOW, HIGH }; /* LOW, HIGH: the fields of rows 0-15, 16-31 */

/* The codes of two times eight rows. */
TERN_INLINE void pair(const uint8_t *w, enum from from, __m256i *w0, __m256i *w1)
{
    const __m256i mask = _mm256_set1_epi8(3), x = tern_load(w);
    switch (from) {
    case CODES:
        *w0 = x;
        *w1 = tern_load(w + 32);
        break;
    case LOW:
        _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
        *w0 = _mm256_and_si256(x, mask);
        *w1 = _mm256_and_si256(_mm256_srli_epi16(x, 2), mask);
        break;
    case HIGH:
        *w0 = _mm256_and_si256(_mm256_srli_epi16(x, 4), mask);
        *w1 = _mm256_and_si256(_mm256_srli_epi16(x, 6), mask);
        break;
    }
}

/* 16 rows by n tokens, acc_stride sums from token to token. */
TERN_INLINE void tile(const struct tile *t, enum from from, const uint8_t *w, unsigned n,
                      int32_t *acc, size_t acc_stride)
{
    const int8_t *q = t->q;
    __m256i s[TOK][2];
    TERN_UNROLL
    for (unsigned k = 0; k < n; k++)
        s[k][0] = s[k][1] = _mm256_setzero_si256();
    for (uint32_t i = t->n_step; i; i--, w += from == CODES ? 64 : 32, q += TERN_STEP) {
        __m256i w0, w1;
        pair(w, from, &w0, &w1);
        TERN_UNROLL
        for (unsigned k = 0; k < n; k++) {
            const __m256i v = tern_four(q + k * t->stride);
            s[k][0] = tern_mac(s[k][0], w0, v);
            s[k][1] = tern_mac(s[k][1], w1, v);
        }
    }
    TERN_UNROLL
    for (unsigned k = 0; k < n; k++) {
        tern_widen(acc + k * acc_stride, s[k][0]);
        tern_widen(acc + k * acc_stride + 8, s[k][1]);
    }
}

typedef void tile_fn(const struct tile *);

#define TILES(n)                                                                               \
    static void codes_##n(const struct tile *t)                                                \
    {                                                                                          \
        for (uint32_t p = 0; p < t->n_pair; p++)                                               \
            tile(t, CODES, t->w + p * TERN_PAIR, n, t->acc + 16 * p, 16 * t->n_pair);          \
    }                                                                                          \
    static void fields_##n(const struct tile *t)                                               \
    {                                                                                          \
        tile(t, LOW, t->w, n, t->acc, 32);                                                     \
        tile(t, HIGH, t->w, n, t->acc + 16, 32);                                               \
    }
TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) TILES(6)

static tile_fn *const fns[][TOK] = {
    [TERN_CODES] = { codes_1, codes_2, codes_3, codes_4, codes_5, codes_6 },
    [TERN_FIELDS] = { fields_1, fields_2, fields_3, fields_4, fields_5, fields_6 },
};

void tern_tiles(const struct tern_call *c, enum tern_from from, const uint8_t *w, uint32_t n_pair,
                uint32_t col, uint32_t n_step)
{
    struct tile t = { w, n_pair, n_step, (const int8_t *)c->act + col, c->act_stride, c->acc };
    uint32_t todo = c->n_tok;
    for (uint32_t tiles = (todo - 1) / TOK + 1; tiles; tiles--) {
        const uint32_t n = (todo - 1) / tiles + 1;
        fns[from][n - 1](&t);
        todo -= n;
        t.q += n * c->act_stride;
        t.acc += n * 16 * n_pair;
    }
}
