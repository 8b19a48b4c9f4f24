/* tern_dot_2bit.c - two bits a weight with the dot product instruction.
 *
 *   acc[t][r] = sum over columns i of (code[r][i] - 1) * q[t][i]
 *
 * One vector is four columns of sixteen rows (tern_pack.h), four rows in each
 * field of two bits. Shifted down by 2f bits, as int8, it is
 *
 *   x_f = c_f + 4 c_(f+1) + ... + 4^(3-f) w_3     c: code 0..2, w_3 = c_3 - 1
 *
 * and SDOT with four activations adds X_f = sum x_f q to a lane for each row, so
 *
 *   W_3 = X_3,  W_f = X_f - 4 X_(f+1) - sum q     (f = 0, 1, 2)
 *
 * without a mask or a bound on the columns. Three shifts and four SDOT are 64
 * weights of one token.
 *
 * Where code 3 occurs the top field does not hold weight 2, so it is taken out
 * of the byte plus 64, which is the plain number of four codes: x_3 is c_3, and
 * x_0..x_2 are without it. Two operations more. */
#include "plugins/cpu-neon/tern.h"

#define MAX_TOK 6               /* 24 sums, 6 q, the vector and its shifts   */
#define PREFETCH 2048           /* bytes ahead                               */

struct sums {                   /* of four rows in each field                */
    int32x4_t x[4];
};

/* x_(f+1) from x_f, of the vector w. */
TERN_INLINE int8x16_t next(int8x16_t w, int8x16_t x, const int f, const bool plus2)
{
    if (plus2 && f == 3)
        return vreinterpretq_s8_u8(vshrq_n_u8(vaddq_u8(vreinterpretq_u8_s8(w), vdupq_n_u8(64)), 6));
    return vshrq_n_s8(x, 2);
}

TERN_INLINE int8x16_t start(int8x16_t w, const bool plus2)
{
    return plus2 ? vandq_s8(w, vdupq_n_s8(0x3f)) : w;
}

/* Quad k of a run: a vector of each group against every token. */
#define QUAD(k)                                                                  \
    TERN_UNROLL                                                                  \
    for (unsigned g = 0; g < n_group; g++) {                                     \
        const int8x16_t w = vld1q_s8((const int8_t *)p + g * 64 + (k) * 16);     \
        int8x16_t x = start(w, plus2);                                           \
        TERN_UNROLL                                                              \
        for (int f = 0; f < 4; f++) {                                            \
            if (f)                                                               \
                x = next(w, x, f, plus2);                                        \
            TERN_UNROLL                                                          \
            for (unsigned t = 0; t < n_tok; t++)                                 \
                TERN_SDOT(s[g][t].x[f], x, q[t], k);                             \
        }                                                                        \
    }

TERN_INLINE void put(const struct sums *s, int32_t sum, int32_t *to, const bool plus2)
{
    const int32x4_t minus = vdupq_n_s32(sum), top = plus2 ? vdupq_n_s32(0) : s->x[3];
    const int32x4_t above[4] = { s->x[1], s->x[2], top, vdupq_n_s32(0) };
    TERN_UNROLL
    for (unsigned f = 0; f < 4; f++) {
        const int32x4_t codes = vmlsq_n_s32(s->x[f], above[f], 4);
        vst1q_s32(to + 4 * f, f == 3 && !plus2 ? codes : vsubq_s32(codes, minus));
    }
}

/* n_group groups of sixteen rows from group first on, n_tok tokens from tok on. */
TERN_INLINE void tile(const struct tern_call *c, uint32_t tok, uint32_t first,
                      const unsigned n_group, const unsigned n_tok, const bool plus2)
{
    struct sums s[2][MAX_TOK];
    TERN_UNROLL
    for (unsigned g = 0; g < n_group; g++)
        TERN_UNROLL
        for (unsigned t = 0; t < n_tok; t++)
            TERN_UNROLL
            for (unsigned f = 0; f < 4; f++)
                s[g][t].x[f] = vdupq_n_s32(0);
    const uint8_t *p = tern_panel(c, TERN_2BIT_RUN_SIZE) + first * 64;
    const int8_t *from = tern_q(c, tok);
    for (uint32_t run = tern_runs(c); run; run--) {
        int8x16_t q[MAX_TOK];
        TERN_UNROLL
        for (unsigned t = 0; t < n_tok; t++)
            q[t] = vld1q_s8(from + t * c->act_stride);
        TERN_UNROLL
        for (unsigned g = 0; g < n_group; g++)
            __builtin_prefetch(p + PREFETCH + g * 64);
        QUAD(0) QUAD(1) QUAD(2) QUAD(3)
        p += TERN_2BIT_RUN_SIZE;
        from += TERN_RUN;
    }
    TERN_UNROLL
    for (unsigned g = 0; g < n_group; g++)
        TERN_UNROLL
        for (unsigned t = 0; t < n_tok; t++)
            put(&s[g][t], c->sum[tok + t],
                c->acc + (size_t)(tok + t) * TERN_2BIT_ROWS + (first + g) * 16, plus2);
}

/* Few tokens: both groups at once, for enough independent sums. */
#define TILE(name, n, together, plus2)                                           \
    static void name(const struct tern_call *c, uint32_t tok)                    \
    {                                                                            \
        for (uint32_t g = 0; g < 2; g += together)                               \
            tile(c, tok, g, together, n, plus2);                                 \
    }
TILE(tile_1, 1, 2, false)
TILE(tile_2, 2, 2, false)
TILE(tile_3, 3, 1, false)
TILE(tile_4, 4, 1, false)
TILE(tile_5, 5, 1, false)
TILE(tile_6, 6, 1, false)
TILE(plus2_1, 1, 2, true)
TILE(plus2_2, 2, 2, true)
TILE(plus2_3, 3, 1, true)
TILE(plus2_4, 4, 1, true)
TILE(plus2_5, 5, 1, true)

static void dot(const struct tern_call *c)
{
    static tern_tile_fn *const plain[MAX_TOK] = { tile_1, tile_2, tile_3, tile_4, tile_5, tile_6 };
    static tern_tile_fn *const plus2[MAX_TOK - 1] = { plus2_1, plus2_2, plus2_3, plus2_4,
                                                      plus2_5 };
    if (c->plus2)                               /* two registers for constants */
        tern_tiles(c, plus2, MAX_TOK - 1, 1);
    else
        tern_tiles(c, plain, MAX_TOK, 1);
}

const struct tern tern_dot_2bit = {
    .name = "2-bit", .layout = TERN_2BIT_LAYOUT, .panel_rows = TERN_2BIT_ROWS, .step = TERN_RUN,
    .plus2 = true, .panel_size = tern_2bit_size, .pack = tern_2bit_pack,
    .unpack = tern_2bit_unpack, .dot = dot,
};
