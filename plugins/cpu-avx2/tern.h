/* tern.h - what the ternary kernels of this folder share.
 *
 * Row fields: a step is four columns of a panel. Byte 4*l + j of a vector of 32
 * belongs to column j of the step and holds codes (weight + 1, unsigned) of
 * several rows, l + 8*f for field f. The same four activations stand in every
 * lane, so the eight 32-bit lanes of a sum are eight rows, and nothing is ever
 * added across lanes. The row's sum of q is what the codes are too much.
 *
 * Range: maddubs adds two products, for codes up to 2 at most 2 * 2 * 127 = 508
 * in magnitude, so TERN_RUN = 64 steps make at most 32512, which 16 bits hold;
 * 65 would not. For codes up to 3 it is 762, and 32 steps make 24384. Only the
 * sum that is wanted needs to fit: on the way to it 16-bit adds may wrap. */
#ifndef CPU_AVX2_TERN_H
#define CPU_AVX2_TERN_H

#include <immintrin.h>
#include <string.h>

#include "plugins/cpu-avx2/tern_pack.h"

#define TERN_INLINE static inline __attribute__((always_inline))

/* Before loops of a number of turns known after inlining: none may be left,
 * since arrays of vectors then become registers. */
#if defined(__clang__)
#define TERN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TERN_UNROLL _Pragma("GCC unroll 16")
#endif

#define TERN_RUN 64u            /* steps whose sums fit 16 bits              */
#define TERN_RUN_PLUS2 32u

/* Codes taken apart, a byte each, as tiles read them: pairs of eight rows, and
 * in a pair 64 bytes a step. Pairs are not 4096 bytes apart, which caches take
 * for the same place. */
#define TERN_PAIR (TERN_RUN * 64u + 64u)        /* bytes                     */

/* tern_tile.c: adds n_step steps, from column col on, to the sums of all tokens
 * of a call. TERN_CODES: w is n_pair pairs of codes. TERN_FIELDS: w is steps of
 * a "2-bit" panel, read where they are; n_pair is 2. */
enum tern_from { TERN_CODES, TERN_FIELDS };
void tern_tiles(const struct tern_call *, enum tern_from, const uint8_t *w, uint32_t n_pair,
                uint32_t col, uint32_t n_step);

TERN_INLINE __m256i tern_load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

TERN_INLINE void tern_store(uint8_t *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v);
}

/* Four columns of one token, in every lane. */
TERN_INLINE __m256i tern_four(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm256_set1_epi32(four);
}

/* sum + w . v, sums of pairs. The statement without instructions keeps gcc from
 * doing all products first, for which there are no registers. */
TERN_INLINE __m256i tern_mac(__m256i sum, __m256i w, __m256i v)
{
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, v));
    __asm__("" : "+x"(sum));
    return sum;
}

/* 16-bit sums of pairs of columns, of eight rows, into their 32-bit sums. */
TERN_INLINE void tern_widen(int32_t *acc, __m256i s)
{
    __m256i *to = (__m256i *)(void *)acc;
    const __m256i wide = _mm256_madd_epi16(s, _mm256_set1_epi16(1));
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), wide));
}

/* All sums start at what codes are too much. */
TERN_INLINE void tern_start(const struct tern_call *c, uint32_t panel_rows)
{
    for (uint32_t t = 0; t < c->n_tok; t++)
        for (uint32_t r = 0; r < panel_rows; r++)
            c->acc[(size_t)t * panel_rows + r] = -c->sum[t];
}

#endif
