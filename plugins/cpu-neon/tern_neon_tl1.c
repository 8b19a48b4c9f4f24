/* tern_neon_tl1.c - look-up tables of the sums of two weights.
 *
 *   acc[t][r] = sum over pairs of columns of T[t][pair][index[r][pair]]
 *
 * Two codes are an index of four bits: c_0 + 4 c_1, just as canonical bytes have
 * them. For each pair of columns, build makes the table of its 16 partial sums
 * (9 of them ternary)
 *
 *   v = (c_0 - 1) q_0 + (c_1 - 1) q_1 = 32 h + l,   0 <= l < 32
 *
 * as two tables of bytes, so that TBL looks up sixteen rows at once, and both
 * halves can be added as bytes for a whole run:
 *
 * Range: |q| <= 128 and weights -1..2 give -512 <= v <= 508, so -16 <= h <= 15.
 * A run has eight pairs: l sums to at most 8 * 31 = 248, h to -128 .. 120. Over
 * SPAN = 32 runs that is at most 7936 and 4096 in 16 bits. The columns are cut
 * into spans so that the tables of one (8 KB) stay near while all tokens and
 * rows use them; between spans sums are 32 bits wide. */
#include "plugins/cpu-neon/tern.h"

#define RUN_TABLE 256u          /* bytes of the tables of a run              */
#define SPAN 32u                /* runs                                      */
#define PREFETCH 2048           /* bytes ahead                               */

/* ------------------------------------------------------------------ build */

static uint64_t act_size(uint32_t cols)
{
    return ((uint64_t)cols + TERN_RUN - 1) / TERN_RUN * RUN_TABLE;
}

/* [pair][l of 16 indices, h of 16 indices] */
static void build(const int8_t *q, uint32_t cols, uint8_t *act)
{
    const int8x8_t first = vcreate_s8(UINT64_C(0x020100ff020100ff));
    const int8x8_t second[2] = { vcreate_s8(UINT64_C(0x00000000ffffffff)),
                                 vcreate_s8(UINT64_C(0x0202020201010101)) };
    const uint32_t pairs = (uint32_t)(act_size(cols) / 32);
    for (uint32_t i = 0; i < pairs; i++, act += 32) {
        const int16x8_t one = vmull_s8(first, vdup_n_s8(q[2 * i]));
        const int8x8_t two = vdup_n_s8(q[2 * i + 1]);
        const int16x8_t a = vmlal_s8(one, second[0], two), b = vmlal_s8(one, second[1], two);
        const int8x16_t low = vcombine_s8(vmovn_s16(a), vmovn_s16(b));
        vst1q_u8(act, vandq_u8(vreinterpretq_u8_s8(low), vdupq_n_u8(31)));
        vst1q_s8((int8_t *)act + 16, vcombine_s8(vshrn_n_s16(a, 5), vshrn_n_s16(b, 5)));
    }
}

/* -------------------------------------------------------------------- dot */

struct bytes {                  /* of sixteen rows, in a run                 */
    uint8x16_t l;
    int8x16_t h;
};

struct words {                  /* of sixteen rows, in a span                */
    uint16x8_t l[2];
    int16x8_t h[2];
};

TERN_INLINE void look_up(struct bytes *s, const uint8_t *table, uint8x16_t index)
{
    s->l = vaddq_u8(s->l, vqtbl1q_u8(vld1q_u8(table), index));
    s->h = vaddq_s8(s->h, vqtbl1q_s8(vld1q_s8((const int8_t *)table + 16), index));
    /* Added one after the other: a tree of sums does not fit the registers. */
    __asm__("" : "+w"(s->l), "+w"(s->h));
}

TERN_INLINE void widen(struct words *to, const struct bytes *s)
{
    to->l[0] = vaddw_u8(to->l[0], vget_low_u8(s->l));
    to->l[1] = vaddw_high_u8(to->l[1], s->l);
    to->h[0] = vaddw_s8(to->h[0], vget_low_s8(s->h));
    to->h[1] = vaddw_high_s8(to->h[1], s->h);
}

TERN_INLINE void add(int32_t *to, uint16x4_t l, int16x4_t h, bool fresh)
{
    const int32x4_t v = vaddq_s32(vreinterpretq_s32_u32(vmovl_u16(l)), vshll_n_s16(h, 5));
    vst1q_s32(to, fresh ? v : vaddq_s32(v, vld1q_s32(to)));
}

/* 32 rows of one token over n runs. */
static void half(const uint8_t *p, const uint8_t *table, uint32_t n, int32_t *to, bool fresh)
{
    struct words sum[2] = { 0 };
    for (; n; n--) {
        struct bytes s[2] = { 0 };
        __builtin_prefetch(p + PREFETCH);
        __builtin_prefetch(p + PREFETCH + 64);
        TERN_UNROLL
        for (unsigned k = 0; k < 4; k++)
            TERN_UNROLL
            for (unsigned v = 0; v < 2; v++) {
                const uint8x16_t w = vld1q_u8(p + k * 32 + v * 16);
                look_up(&s[v], table + k * 64, vandq_u8(w, vdupq_n_u8(15)));
                look_up(&s[v], table + k * 64 + 32, vshrq_n_u8(w, 4));
            }
        TERN_UNROLL
        for (unsigned v = 0; v < 2; v++)
            widen(&sum[v], &s[v]);
        p += TERN_TL1_RUN_SIZE;
        table += RUN_TABLE;
    }
    for (unsigned i = 0; i < 4; i++, to += 8) {
        const struct words *s = &sum[i / 2];
        add(to, vget_low_u16(s->l[i % 2]), vget_low_s16(s->h[i % 2]), fresh);
        add(to + 4, vget_high_u16(s->l[i % 2]), vget_high_s16(s->h[i % 2]), fresh);
    }
}

static void dot(const struct tern_call *c)
{
    const uint32_t runs = tern_runs(c);
    const uint8_t *table = c->act + (size_t)(c->first / TERN_RUN) * RUN_TABLE;
    for (uint32_t from = 0; from < runs; from += SPAN) {
        const uint32_t n = runs - from < SPAN ? runs - from : SPAN;
        const uint8_t *p = tern_panel(c, TERN_TL1_RUN_SIZE) + (size_t)from * TERN_TL1_RUN_SIZE;
        for (uint32_t t = 0; t < c->n_tok; t++)
            for (uint32_t h = 0; h < 2; h++)
                half(p + h * 128, table + t * c->act_stride + (size_t)from * RUN_TABLE, n,
                     c->acc + (size_t)t * TERN_TL1_ROWS + h * 32, !from);
    }
}

const struct tern tern_neon_tl1 = {
    .name = "tl1", .layout = TERN_TL1_LAYOUT, .panel_rows = TERN_TL1_ROWS, .step = TERN_RUN,
    .plus2 = true, .panel_size = tern_tl1_size, .pack = tern_tl1_pack,
    .unpack = tern_tl1_unpack, .dot = dot, .act_size = act_size, .build = build,
};
