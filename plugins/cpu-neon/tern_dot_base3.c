/* tern_dot_base3.c - five weights in a byte with the dot product instruction.
 *
 *   acc[t][r] = sum over columns i of (code[r][i] - 1) * q[t][i]
 *
 * One vector is four columns of twenty rows (tern_pack.h), four rows for each of
 * five digits: U = c_0 + 3 c_1 + 9 c_2 + 27 c_3 + 81 c_4, stored as int8 U - 128.
 * With x_f = floor(U / 3^f) for f > 0, all at most 80, and x_0 the byte as it is,
 * SDOT gives X_f = sum x_f q in a lane for each row, and
 *
 *   W_4 = X_4 - sum q,  W_f = X_f - 3 X_(f+1) - sum q   (X_0 here with 128 sum q)
 *
 * U in 16 bits times M_f / 32768, the high half of a doubled product, is that
 * quotient: M_f = ceil(32768 / 3^f) is too large by less than 1/2 (1/3, 1/9,
 * 10/27, 37/81), so U <= 242 makes U M_f / 32768 too large by less than 1/270,
 * and that cannot reach the next integer, 1 / 3^f >= 1/81 away. Two widening
 * additions, eight products and four to narrow them again, five SDOT: 80 weights
 * of one token. */
#include "plugins/cpu-neon/tern.h"

#define MAX_TOK 4               /* 20 sums, 4 q, constants, the quotients    */
#define PREFETCH 2048           /* bytes ahead                               */

struct sums {                   /* of four rows for each digit               */
    int32x4_t x[5];
};

static const int16_t reciprocal[4] = { 10923, 3641, 1214, 405 };

#define QUOTIENT(f)                                                              \
    vuzp1q_s8(vreinterpretq_s8_s16(vqdmulhq_lane_s16(low, m, (f) - 1)),          \
              vreinterpretq_s8_s16(vqdmulhq_lane_s16(high, m, (f) - 1)))

#define DIGIT(k, f, value)                                                       \
    do {                                                                         \
        const int8x16_t x = value;                                               \
        TERN_UNROLL                                                              \
        for (unsigned t = 0; t < n_tok; t++)                                     \
            TERN_SDOT(s[v][t].x[f], x, q[t], k);                                 \
    } while (0)

/* Quad k of a run: every vector against every token. */
#define QUAD(k)                                                                  \
    TERN_UNROLL                                                                  \
    for (unsigned v = 0; v < n_vec; v++) {                                       \
        const int8x16_t w = vld1q_s8((const int8_t *)p + (k) * 64 + v * 16);     \
        const int16x8_t low = vaddw_s8(base, vget_low_s8(w));                    \
        const int16x8_t high = vaddw_high_s8(base, w);                           \
        DIGIT(k, 0, w);                                                          \
        DIGIT(k, 1, QUOTIENT(1));                                                \
        DIGIT(k, 2, QUOTIENT(2));                                                \
        DIGIT(k, 3, QUOTIENT(3));                                                \
        DIGIT(k, 4, QUOTIENT(4));                                                \
    }

TERN_INLINE void put(const struct sums *s, int32_t sum, int32_t *to)
{
    const int32x4_t minus = vdupq_n_s32(sum);
    TERN_UNROLL
    for (unsigned f = 0; f < 5; f++) {
        int32x4_t w = vsubq_s32(s->x[f], minus);
        if (f == 0)
            w = vmlaq_n_s32(w, minus, 128);
        if (f < 4)
            w = vmlsq_n_s32(w, s->x[f + 1], 3);
        vst1q_s32(to + 4 * f, w);
    }
}

/* n_vec vectors from number first on, n_tok tokens from tok on. */
TERN_INLINE void tile(const struct tern_call *c, uint32_t tok, uint32_t first,
                      const unsigned n_vec, const unsigned n_tok)
{
    const int16x8_t base = vdupq_n_s16(128);
    const int16x4_t m = vld1_s16(reciprocal);
    struct sums s[4][MAX_TOK];
    TERN_UNROLL
    for (unsigned v = 0; v < n_vec; v++)
        TERN_UNROLL
        for (unsigned t = 0; t < n_tok; t++)
            TERN_UNROLL
            for (unsigned f = 0; f < 5; f++)
                s[v][t].x[f] = vdupq_n_s32(0);
    const uint8_t *p = tern_panel(c, TERN_BASE3_RUN_SIZE) + first * 16;
    const int8_t *from = tern_q(c, tok);
    for (uint32_t run = tern_runs(c); run; run--) {
        int8x16_t q[MAX_TOK];
        TERN_UNROLL
        for (unsigned t = 0; t < n_tok; t++)
            q[t] = vld1q_s8(from + t * c->act_stride);
        TERN_UNROLL
        for (unsigned line = 0; line < n_vec; line++)
            __builtin_prefetch(p + PREFETCH + line * 64);
        QUAD(0) QUAD(1) QUAD(2) QUAD(3)
        p += TERN_BASE3_RUN_SIZE;
        from += TERN_RUN;
    }
    TERN_UNROLL
    for (unsigned v = 0; v < n_vec; v++)
        TERN_UNROLL
        for (unsigned t = 0; t < n_tok; t++)
            put(&s[v][t], c->sum[tok + t],
                c->acc + (size_t)(tok + t) * TERN_BASE3_ROWS + (first + v) * 20);
}

/* Few tokens: several vectors at once, for enough independent sums. */
#define TILE(n, together)                                                        \
    static void tile_##n(const struct tern_call *c, uint32_t tok)                \
    {                                                                            \
        for (uint32_t v = 0; v < 4; v += together)                               \
            tile(c, tok, v, together, n);                                        \
    }
TILE(1, 4)
TILE(2, 2)
TILE(3, 1)
TILE(4, 1)

static void dot(const struct tern_call *c)
{
    static tern_tile_fn *const fn[MAX_TOK] = { tile_1, tile_2, tile_3, tile_4 };
    tern_tiles(c, fn, MAX_TOK, 1);
}

const struct tern tern_dot_base3 = {
    .name = "base-3", .layout = TERN_BASE3_LAYOUT, .panel_rows = TERN_BASE3_ROWS, .step = TERN_RUN,
    .plus2 = false, .panel_size = tern_base3_size, .pack = tern_base3_pack,
    .unpack = tern_base3_unpack, .dot = dot,
};
