/* tern.h - what the ternary kernels of this folder share: a call cut into tiles.
 *
 * A tile is one panel by a few tokens whose sums all stay in registers. A call
 * is tiles of nearly equal numbers of tokens, since small tiles pay most for
 * decoding, over runs of at most TERN_RUN_COLS columns.
 *
 * Range of a run: a byte is at most 255 and |q| at most 128, so a raw sum is at
 * most 255 * 128 * 65536 < 2^31; and a field that stands at weight 64 (or 16, 4)
 * comes out as an exact difference shifted down: 3 * 128 * 65536 * 64 < 2^31.
 * Over runs the sums are of weights -1..2, and at most 254 * 2^23 < 2^31 at the
 * end; in between they may wrap and come back, which vector integers do. */
#ifndef CPU_AVX512_TERN_H
#define CPU_AVX512_TERN_H

#include <immintrin.h>
#include <string.h>

#include "plugins/cpu-avx512/tern_pack.h"

#define TERN_INLINE static inline __attribute__((always_inline))

/* Before loops of a number of turns known after inlining: none may be left,
 * since arrays of vectors then become registers. */
#if defined(__clang__)
#define TERN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TERN_UNROLL _Pragma("GCC unroll 8")
#endif

#define TERN_RUN_COLS 65536u

/* GCC 12 moves accumulators about between registers, and to memory, around the
 * intrinsics that change them; it leaves an asm alone. */
#if !defined(__clang__) && !defined(TERN_NO_ASM)
#define TERN_ASM 1
#endif

struct tile {
    const uint8_t *panel;       /* at the run's first step                   */
    uint32_t n_step;
    const uint8_t *q;           /* the run's first column of the first token */
    size_t q_stride;
    const int32_t *minus;       /* sums to begin with, negated; NULL: add to */
                                /* what acc holds                            */
    int32_t *acc;               /* [tokens][panel rows]                      */
    bool plus2;
};

typedef void tile_fn(const struct tile *);

/* fn[n - 1] is the tile of n tokens, up to max. */
TERN_INLINE void tern_tiles(const struct tern_call *c, tile_fn *const *fn, uint32_t max,
                            uint32_t panel_rows)
{
    for (uint32_t k = 0; k < c->n_cols; k += TERN_RUN_COLS) {
        const uint32_t left = c->n_cols - k, n = left < TERN_RUN_COLS ? left : TERN_RUN_COLS;
        struct tile t = {
            .panel = c->panel + (size_t)((c->first + k) / TERN_STEP_COLS) * TERN_STEP_SIZE,
            .n_step = (n - 1) / TERN_STEP_COLS + 1,
            .q_stride = c->act_stride,
            .plus2 = c->plus2,
        };
        uint32_t done = 0;
        for (uint32_t tiles = (c->n_tok - 1) / max + 1; tiles; tiles--) {
            const uint32_t tok = (c->n_tok - done - 1) / tiles + 1;
            t.q = c->act + done * c->act_stride + c->first + k;
            t.minus = k ? NULL : c->sum + done;
            t.acc = c->acc + (size_t)done * panel_rows;
            fn[tok - 1](&t);
            done += tok;
        }
    }
}

/* Four columns of one token, in every lane. */
TERN_INLINE __m512i tern_four(const uint8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Sixteen rows of token t, from index i of its acc on. */
TERN_INLINE void tern_put(const struct tile *c, unsigned t, size_t i, __m512i sum)
{
    int32_t *to = c->acc + i;
    const __m512i old = c->minus ? _mm512_sub_epi32(_mm512_setzero_si512(),
                                                    _mm512_set1_epi32(c->minus[t]))
                                 : _mm512_loadu_si512(to);
    _mm512_storeu_si512(to, _mm512_add_epi32(old, sum));
}

#endif
