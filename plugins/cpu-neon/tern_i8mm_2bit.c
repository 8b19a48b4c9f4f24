/* tern_i8mm_2bit.c - two bits a weight with the 8-bit matrix multiply.
 *
 *   acc[t][r] = sum over columns i of (code[r][i] - 1) * q[t][i]
 *
 * One vector is eight columns of eight rows (tern_pack.h), two rows in each
 * field of two bits. Shifted down by 2f bits, as unsigned bytes, it is
 *
 *   x_f = c_f + 4 c_(f+1) + ... + 4^(3-f) c_3
 *
 * USMMLA takes it as a matrix of two rows by eight columns, times eight columns
 * of two tokens, and adds the four products to X_f = sum x_f q:
 *
 *   { row 0 token 0, row 0 token 1, row 1 token 0, row 1 token 1 }
 *
 *   C_3 = X_3,  C_f = X_f - 4 X_(f+1),  W_f = C_f - sum q
 *
 * for all codes 0..3, without a mask or a bound on the columns. So tokens go in
 * pairs; behind an odd number the last one stands twice. A single token is
 * served by USDOT on the same bytes, with half the work of a wasted pair. */
#include "plugins/cpu-neon/tern.h"

#define MAX_PAIR 3              /* 24 sums, 3 pairs of q, the vector         */
#define PREFETCH 2048           /* bytes ahead                               */

TERN_INLINE uint8x16_t shifted(uint8x16_t x)
{
    return vshrq_n_u8(x, 2);
}

TERN_INLINE void codes(const int32x4_t x[4], int32x4_t c[4])
{
    TERN_UNROLL
    for (unsigned f = 0; f < 4; f++)
        c[f] = f < 3 ? vmlsq_n_s32(x[f], x[f + 1], 4) : x[f];
}

/* ---------------------------------------------------------------- a token */

TERN_INLINE void put_one(const int32x4_t x[4], int32_t sum, int32_t *to)
{
    int32x4_t c[4];
    codes(x, c);
    vst1q_s32(to, vsubq_s32(vpaddq_s32(c[0], c[1]), vdupq_n_s32(sum)));
    vst1q_s32(to + 4, vsubq_s32(vpaddq_s32(c[2], c[3]), vdupq_n_s32(sum)));
}

static void one(const struct tern_call *c)
{
    int32x4_t s[4][4];
    TERN_UNROLL
    for (unsigned v = 0; v < 4; v++)
        TERN_UNROLL
        for (unsigned f = 0; f < 4; f++)
            s[v][f] = vdupq_n_s32(0);
    const uint8_t *p = tern_panel(c, TERN_I8MM_RUN_SIZE);
    const int8_t *from = tern_q(c, 0);
    for (uint32_t run = tern_runs(c); run; run--) {
        const int64x2_t q = vreinterpretq_s64_s8(vld1q_s8(from));
        const int64x2_t half[2] = { vdupq_laneq_s64(q, 0), vdupq_laneq_s64(q, 1) };
        __builtin_prefetch(p + PREFETCH);
        __builtin_prefetch(p + PREFETCH + 64);
        TERN_UNROLL
        for (unsigned v = 0; v < 8; v++) {      /* [group][columns][8 rows] */
            uint8x16_t x = vld1q_u8(p + v * 16);
            TERN_UNROLL
            for (unsigned f = 0; f < 4; f++) {
                TERN_USDOT(s[v / 4 * 2 + v % 2][f], x, half[v / 2 % 2]);
                x = shifted(x);
            }
        }
        p += TERN_I8MM_RUN_SIZE;
        from += TERN_RUN;
    }
    TERN_UNROLL
    for (unsigned v = 0; v < 4; v++)
        put_one(s[v], c->sum[0], c->acc + 8 * v);
}

/* ------------------------------------------------------------------ pairs */

/* Eight rows of two tokens; the second one's only when it is there. */
TERN_INLINE void put_pair(const int32x4_t x[4], const int32_t *sum, int32_t *to, bool second)
{
    int32x4_t c[4];
    codes(x, c);
    const int32x4_t a = vdupq_n_s32(sum[0]);
    vst1q_s32(to, vsubq_s32(vuzp1q_s32(c[0], c[1]), a));
    vst1q_s32(to + 4, vsubq_s32(vuzp1q_s32(c[2], c[3]), a));
    if (!second)
        return;
    const int32x4_t b = vdupq_n_s32(sum[1]);
    vst1q_s32(to + TERN_I8MM_ROWS, vsubq_s32(vuzp2q_s32(c[0], c[1]), b));
    vst1q_s32(to + TERN_I8MM_ROWS + 4, vsubq_s32(vuzp2q_s32(c[2], c[3]), b));
}

/* A group of sixteen rows, pairs of tokens from tok on. */
TERN_INLINE void tile(const struct tern_call *c, uint32_t tok, uint32_t group,
                      const unsigned n_pair)
{
    const int8_t *q[2 * MAX_PAIR];
    int32x4_t s[2][MAX_PAIR][4];
    TERN_UNROLL
    for (unsigned t = 0; t < 2 * n_pair; t++)
        q[t] = tern_q(c, tok + t < c->n_tok ? tok + t : tok + t - 1);
    TERN_UNROLL
    for (unsigned v = 0; v < 2; v++)
        TERN_UNROLL
        for (unsigned i = 0; i < n_pair; i++)
            TERN_UNROLL
            for (unsigned f = 0; f < 4; f++)
                s[v][i][f] = vdupq_n_s32(0);
    const uint8_t *p = tern_panel(c, TERN_I8MM_RUN_SIZE) + group * 64;
    const size_t end = (size_t)tern_runs(c) * TERN_RUN;
    for (size_t k = 0; k < end; k += 8) {
        int8x16_t y[MAX_PAIR];
        TERN_UNROLL
        for (unsigned i = 0; i < n_pair; i++)
            y[i] = vcombine_s8(vld1_s8(q[2 * i] + k), vld1_s8(q[2 * i + 1] + k));
        TERN_UNROLL
        for (unsigned v = 0; v < 2; v++) {
            uint8x16_t x = vld1q_u8(p + v * 16);
            TERN_UNROLL
            for (unsigned f = 0; f < 4; f++) {
                TERN_UNROLL
                for (unsigned i = 0; i < n_pair; i++)
                    TERN_USMMLA(s[v][i][f], x, y[i]);
                x = shifted(x);
            }
        }
        p += k % TERN_RUN ? TERN_I8MM_RUN_SIZE - 32 : 32;
    }
    TERN_UNROLL
    for (unsigned v = 0; v < 2; v++)
        TERN_UNROLL
        for (unsigned i = 0; i < n_pair; i++)
            put_pair(s[v][i], c->sum + tok + 2 * i,
                     c->acc + (size_t)(tok + 2 * i) * TERN_I8MM_ROWS + group * 16 + v * 8,
                     tok + 2 * i + 1 < c->n_tok);
}

#define TILE(n)                                                                  \
    static void pairs_##n(const struct tern_call *c, uint32_t tok)               \
    {                                                                            \
        tile(c, tok, 0, n);                                                      \
        tile(c, tok, 1, n);                                                      \
    }
TILE(1)
TILE(2)
TILE(3)

static void dot(const struct tern_call *c)
{
    static tern_tile_fn *const fn[MAX_PAIR] = { pairs_1, pairs_2, pairs_3 };
    if (c->n_tok == 1)
        one(c);
    else
        tern_tiles(c, fn, MAX_PAIR, 2);
}

const struct tern tern_i8mm_2bit = {
    .name = "2-bit", .layout = TERN_I8MM_LAYOUT, .panel_rows = TERN_I8MM_ROWS, .step = TERN_RUN,
    .plus2 = true, .panel_size = tern_i8mm_size, .pack = tern_i8mm_pack,
    .unpack = tern_i8mm_unpack, .dot = dot,
};
