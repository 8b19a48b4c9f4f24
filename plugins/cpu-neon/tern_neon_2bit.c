/* tern_neon_2bit.c - two bits a weight without the dot product instruction.
 *
 *   acc[t][r] = sum over columns i of (code[r][i] - 1) * q[t][i]
 *
 * The bytes are those of tern_dot_2bit.c: a vector is four columns of sixteen
 * rows, four rows in each field. Here the fields are taken apart, c = 0..3 (the
 * top one as the weight itself, or as its code where code 3 occurs), and SMLAL
 * multiplies them with four activations repeated four times: a 16-bit sum for
 * each column of the four, since there is no product that adds neighbours. SADALP
 * adds pairs of those to 32-bit sums from time to time, and at the end the two
 * pairs of a row meet.
 *
 * Range: a product is at most 3 * 128 = 384, and a lane gets one from each quad
 * of columns. FLUSH = 21 runs are 84 quads: 84 * 384 = 32256, which fits 16 bits;
 * 86 would not. Pairs of them, over all of 2^23 columns, are at most 2 * 2^21 *
 * 384 < 2^31. */
#include "plugins/cpu-neon/tern.h"

#define MAX_TOK 3               /* 24 sums, 3 q, the vector, a field, a mask */
#define FLUSH 21u               /* runs                                      */
#define PREFETCH 2048           /* bytes ahead                               */

struct fields {
    int8x16_t c[4];
};

TERN_INLINE struct fields fields(const uint8_t *p, const bool plus2)
{
    const uint8x16_t w = vld1q_u8(p), three = vdupq_n_u8(3);
    return (struct fields){ {
        vreinterpretq_s8_u8(vandq_u8(w, three)),
        vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(w, 2), three)),
        vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(w, 4), three)),
        plus2 ? vreinterpretq_s8_u8(vshrq_n_u8(vaddq_u8(w, vdupq_n_u8(64)), 6))
              : vshrq_n_s8(vreinterpretq_s8_u8(w), 6),
    } };
}

/* Runs of one group of sixteen rows, n_tok tokens; few enough for 16 bits. */
TERN_INLINE void runs(const uint8_t *p, const int8_t *q, size_t q_stride, uint32_t n_run,
                      int32x4_t (*total)[8], const unsigned n_tok, const bool plus2)
{
    int16x8_t s[MAX_TOK][8];                    /* [field][rows 0 1, rows 2 3] */
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++)
        TERN_UNROLL
        for (unsigned i = 0; i < 8; i++)
            s[t][i] = vdupq_n_s16(0);
    for (; n_run; n_run--) {
        __builtin_prefetch(p + PREFETCH);
        TERN_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            const struct fields w = fields(p + 16 * k, plus2);
            int8x16_t y[MAX_TOK];
            TERN_UNROLL
            for (unsigned t = 0; t < n_tok; t++)
                y[t] = vreinterpretq_s8_s32(
                    vld1q_dup_s32((const int32_t *)(const void *)(q + t * q_stride + 4 * k)));
            TERN_UNROLL
            for (unsigned f = 0; f < 4; f++)
                TERN_UNROLL
                for (unsigned t = 0; t < n_tok; t++) {
                    TERN_SMLAL(s[t][2 * f], w.c[f], y[t]);
                    TERN_SMLAL2(s[t][2 * f + 1], w.c[f], y[t]);
                }
        }
        p += TERN_2BIT_RUN_SIZE;
        q += TERN_RUN;
    }
    TERN_UNROLL
    for (unsigned t = 0; t < n_tok; t++)
        TERN_UNROLL
        for (unsigned i = 0; i < 8; i++)
            total[t][i] = vpadalq_s16(total[t][i], s[t][i]);
}

TERN_INLINE void put(const int32x4_t total[8], int32_t sum, int32_t *to, const bool plus2)
{
    TERN_UNROLL
    for (unsigned f = 0; f < 4; f++) {
        const int32x4_t four = vpaddq_s32(total[2 * f], total[2 * f + 1]);
        vst1q_s32(to + 4 * f, f == 3 && !plus2 ? four : vsubq_s32(four, vdupq_n_s32(sum)));
    }
}

TERN_INLINE void tile(const struct tern_call *c, uint32_t tok, uint32_t group,
                      const unsigned n_tok, const bool plus2)
{
    int32x4_t total[MAX_TOK][8];
    for (unsigned t = 0; t < n_tok; t++)
        for (unsigned i = 0; i < 8; i++)
            total[t][i] = vdupq_n_s32(0);
    const uint8_t *p = tern_panel(c, TERN_2BIT_RUN_SIZE) + group * 64;
    const int8_t *q = tern_q(c, tok);
    for (uint32_t left = tern_runs(c), n; left; left -= n) {
        n = left < FLUSH ? left : FLUSH;
        runs(p, q, c->act_stride, n, total, n_tok, plus2);
        p += (size_t)n * TERN_2BIT_RUN_SIZE;
        q += (size_t)n * TERN_RUN;
    }
    for (unsigned t = 0; t < n_tok; t++)
        put(total[t], c->sum[tok + t], c->acc + (size_t)(tok + t) * TERN_2BIT_ROWS + group * 16,
            plus2);
}

#define TILE(n)                                                                  \
    static void tile_##n(const struct tern_call *c, uint32_t tok)                \
    {                                                                            \
        for (uint32_t g = 0; g < 2; g++)                                         \
            tile(c, tok, g, n, false);                                           \
    }                                                                            \
    static void plus2_##n(const struct tern_call *c, uint32_t tok)               \
    {                                                                            \
        for (uint32_t g = 0; g < 2; g++)                                         \
            tile(c, tok, g, n, true);                                            \
    }
TILE(1)
TILE(2)
TILE(3)

static void dot(const struct tern_call *c)
{
    static tern_tile_fn *const plain[MAX_TOK] = { tile_1, tile_2, tile_3 };
    static tern_tile_fn *const plus2[MAX_TOK] = { plus2_1, plus2_2, plus2_3 };
    tern_tiles(c, c->plus2 ? plus2 : plain, MAX_TOK, 1);
}

const struct tern tern_neon_2bit = {
    .name = "2-bit", .layout = TERN_2BIT_LAYOUT, .panel_rows = TERN_2BIT_ROWS, .step = TERN_RUN,
    .plus2 = true, .panel_size = tern_2bit_size, .pack = tern_2bit_pack,
    .unpack = tern_2bit_unpack, .dot = dot,
};
