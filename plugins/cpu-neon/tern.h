/* tern.h - the ternary kernels of this folder, and what they share.
 *
 * All sums are of weights times int8, modulo 2^32: where a sum has fields on top
 * of each other it may wrap, and the difference that is wanted is right again,
 * since it fits (254 * 2^23 < 2^31). So no kernel with 32-bit accumulators
 * needs a bound on the number of columns. */
#ifndef CPU_NEON_TERN_H
#define CPU_NEON_TERN_H

#include <arm_neon.h>

#include "plugins/cpu-neon/tern_pack.h"

#define TERN_INLINE static inline __attribute__((always_inline))

/* Loops over sums in registers must be gone before registers are given out. */
#ifdef __clang__
#define TERN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TERN_UNROLL _Pragma("GCC unroll 8")
#endif

/* vmlal_s8, vmlal_high_s8, vdotq_laneq_s32, vusdotq_s32 and vusmmlaq_s32: sum is
 * read and written. Around the intrinsics GCC copies sums from register to
 * register and to memory. */
#define TERN_SMLAL(sum, w, q)                                                    \
    __asm__("smlal %0.8h, %1.8b, %2.8b" : "+w"(sum) : "w"(w), "w"(q))
#define TERN_SMLAL2(sum, w, q)                                                   \
    __asm__("smlal2 %0.8h, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(q))
#define TERN_SDOT(sum, w, q, lane)                                               \
    __asm__("sdot %0.4s, %1.16b, %2.4b[" #lane "]" : "+w"(sum) : "w"(w), "w"(q))
#define TERN_USDOT(sum, w, q)                                                    \
    __asm__("usdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(q))
#define TERN_USMMLA(sum, w, q)                                                   \
    __asm__("usmmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(q))

/* What a plugin's table of variants is made of. */
extern const struct tern tern_neon_2bit;    /* baseline                      */
extern const struct tern tern_neon_tl1;     /* baseline                      */
extern const struct tern tern_dot_2bit;     /* DOTPROD                       */
extern const struct tern tern_dot_base3;    /* DOTPROD                       */
extern const struct tern tern_i8mm_2bit;    /* DOTPROD and I8MM              */

/* From token tok on: as many tokens as the function's name or table says. */
typedef void tern_tile_fn(const struct tern_call *, uint32_t tok);

/* fn[n - 1] does n units of `unit` tokens, up to max; the last unit of a call may
 * lack tokens. Tiles are of nearly equal size, since small ones pay most for
 * decoding. */
TERN_INLINE void tern_tiles(const struct tern_call *c, tern_tile_fn *const *fn, uint32_t max,
                            uint32_t unit)
{
    const uint32_t units = (c->n_tok - 1) / unit + 1;
    uint32_t done = 0;
    for (uint32_t tiles = (units - 1) / max + 1; tiles; tiles--) {
        const uint32_t n = (units - done - 1) / tiles + 1;
        fn[n - 1](c, done * unit);
        done += n;
    }
}

/* Runs of TERN_RUN columns that cover the range. */
TERN_INLINE uint32_t tern_runs(const struct tern_call *c)
{
    return (c->n_cols - 1) / TERN_RUN + 1;
}

/* q of a token from column first on. */
TERN_INLINE const int8_t *tern_q(const struct tern_call *c, uint32_t tok)
{
    return (const int8_t *)c->act + tok * c->act_stride + c->first;
}

/* The first run of the panel, whose runs are run_size bytes. */
TERN_INLINE const uint8_t *tern_panel(const struct tern_call *c, uint32_t run_size)
{
    return c->panel + (size_t)(c->first / TERN_RUN) * run_size;
}

#endif
