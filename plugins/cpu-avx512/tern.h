/* tern.h - what the ternary kernels of this folder share: a call cut into tiles.
 *
 * A tile is one panel by a few tokens whose sums all stay in registers. A call
 * is tiles of nearly equal numbers of tokens, since small tiles pay most for
 * decoding, over runs of columns.
 *
 * From TERN_KEEP_FROM tokens on, the first tile of a run writes the vectors that
 * it makes of the panel to the call's scratch, and the others load them from
 * there: where 512-bit arithmetic has two pipes for everything, decoding takes
 * turns from the products. Such runs are short enough that what is kept stays in
 * a core's second cache. The vectors are the same, and so are the sums.
 *
 * Why 32, which was counted and not measured: a step of "2-bit" by 6 tokens is 27
 * operations with decoding and 24 without, on two pipes 13.5 and 12 cycles. The
 * first tile's four stores a step hide behind its products, but 256 bytes a step
 * also leave the first cache and come back for each tile, 21 bytes a cycle, and
 * what that costs no count says. At 32 tokens the other five tiles gain 7.5 cycles
 * a step, nearly two for each line stored. "base-3" gains 26 and more.
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

#define TERN_KEEP_FROM 32u
/* 2560 columns of 64 rows, 2048 of 80. Second caches of servers begin at 1 MiB,
 * which two threads may share, and activations pass through them too. */
#define TERN_KEEP_SIZE (160u << 10)

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
    uint8_t *kept;              /* scratch: [n_step][fields] vectors         */
};

typedef void tile_fn(const struct tile *);

/* What a tile does with the vectors of a step. */
enum tern_how {
    TERN_DECODE,                /* makes them of the panel                   */
    TERN_KEEP,                  /* and writes them to kept                   */
    TERN_KEPT,                  /* loads them from there                     */
};

/* The tiles of a kernel. */
struct tern_tiles {
    uint32_t panel_rows;
    uint32_t max, kept_max;     /* tokens of the largest                     */
    tile_fn *const *fn;         /* fn[n - 1] is that of n tokens, up to max  */
    tile_fn *keep;              /* of max tokens                             */
    tile_fn *kept[2];           /* of kept_max - 1 and kept_max tokens       */
};

/* On to the token that is n further. */
TERN_INLINE void tern_skip(const struct tern_tiles *k, struct tile *t, uint32_t n)
{
    t->q += n * t->q_stride;
    t->minus = t->minus ? t->minus + n : NULL;
    t->acc += (size_t)n * k->panel_rows;
}

/* One run; t is that of its first token. Nearly equal parts of 20 or more, each
 * at most 6 (or 5), are sixes and fives (fives and fours), so two tiles do for
 * what is behind the first. */
_Static_assert(TERN_KEEP_FROM - 6 >= 20, "tern_tiles.kept has two tiles");
TERN_INLINE void tern_run(const struct tern_tiles *k, struct tile t, uint32_t n_tok)
{
    const bool keep = n_tok >= TERN_KEEP_FROM;
    const uint32_t max = keep ? k->kept_max : k->max;
    if (keep) {
        k->keep(&t);
        tern_skip(k, &t, k->max);
        n_tok -= k->max;
    }
    for (uint32_t tiles = (n_tok - 1) / max + 1; tiles; tiles--) {
        const uint32_t tok = (n_tok - 1) / tiles + 1;
        (keep ? k->kept[tok + 1 - max] : k->fn[tok - 1])(&t);
        tern_skip(k, &t, tok);
        n_tok -= tok;
    }
}

/* Columns of a run. Those that are kept are nearly equal, for each has its ends. */
TERN_INLINE uint32_t tern_run_cols(const struct tern_tiles *k, const struct tern_call *c)
{
    const uint32_t most = TERN_KEEP_SIZE / (k->panel_rows * TERN_STEP_COLS) * TERN_STEP_COLS;
    if (c->n_tok < TERN_KEEP_FROM)
        return TERN_RUN_COLS;
    const uint32_t runs = (c->n_cols - 1) / most + 1;
    return ((c->n_cols - 1) / (runs * TERN_STEP_COLS) + 1) * TERN_STEP_COLS;
}

TERN_INLINE void tern_tiles(const struct tern_call *c, const struct tern_tiles *k)
{
    const uint32_t cols = tern_run_cols(k, c);
    for (uint32_t i = 0; i < c->n_cols; i += cols) {
        const uint32_t left = c->n_cols - i, n = left < cols ? left : cols;
        tern_run(k, (struct tile){
            .panel = c->panel + (size_t)((c->first + i) / TERN_STEP_COLS) * TERN_STEP_SIZE,
            .n_step = (n - 1) / TERN_STEP_COLS + 1,
            .q = c->act + c->first + i,
            .q_stride = c->act_stride,
            .minus = i ? NULL : c->sum,
            .acc = c->acc,
            .plus2 = c->plus2,
            .kept = c->scratch,
        }, c->n_tok);
    }
}

/* A step's 64 bytes of a panel as vectors. The kernel's own, as is FIELDS. */
TERN_INLINE void fields(const uint8_t *panel, __m512i x[FIELDS]);

/* The vectors of a step. */
TERN_INLINE void tern_fields(const uint8_t *panel, uint8_t *kept, __m512i x[FIELDS],
                             const enum tern_how how)
{
    if (how != TERN_KEPT)
        fields(panel, x);
    TERN_UNROLL
    for (unsigned f = 0; f < FIELDS && how == TERN_KEPT; f++)
        x[f] = _mm512_loadu_si512(kept + f * 64);
    TERN_UNROLL
    for (unsigned f = 0; f < FIELDS && how == TERN_KEEP; f++)
        _mm512_storeu_si512(kept + f * 64, x[f]);
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
