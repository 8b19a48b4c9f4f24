/* quant_k.c - Q2_K, Q3_K, Q4_K and Q5_K: blocks of 256 elements.
 *
 * A block has sub-blocks, each with a small integer scale that multiplies the
 * block's d. Q3_K is an integer times that: int8 rows, exact, for d * scale has
 * 11 + 6 bits and the integer 3 more. The others subtract an offset,
 * dmin times a second small integer, and become f32 rows:
 *
 *   value = d * sc * q - dmin * mn
 *
 * d * sc * q has at most 11 + 6 + 5 bits and dmin * mn 11 + 6: both are exact
 * in an f32, and only the subtraction rounds. So no order of the steps and no
 * fma changes a bit, and every program that follows the formula gets these
 * numbers. */
#include "core/base/f16.h"
#include "core/model/quant.h"

#define BLOCK 256

/* Two bits each, 128 elements from 32 bytes: pair k of byte i is element
 * 32k + i. */
static void bit_pairs(const uint8_t qs[64], uint8_t q[BLOCK])
{
    for (unsigned half = 0; half < 2; half++)
        for (unsigned k = 0; k < 4; k++)
            for (unsigned i = 0; i < 32; i++)
                *q++ = qs[32 * half + i] >> 2 * k & 3;
}

/* ------------------------------------------------------------------- Q2_K */

/* sc[16]: a nibble of scale below one of offset; qs[64], d, dmin. */
static void q2_k_block(const uint8_t *p, float *out)
{
    const float d = f16_to_f32(wtype_u16(p + 80)), dmin = f16_to_f32(wtype_u16(p + 82));
    uint8_t q[BLOCK];
    bit_pairs(p + 16, q);
    for (unsigned s = 0; s < 16; s++) {
        const float scale = d * (float)(p[s] & 15), offset = dmin * (float)(p[s] >> 4);
        for (unsigned e = 16 * s; e < 16 * s + 16; e++)
            out[e] = scale * (float)q[e] - offset;
    }
}

int q2_k_open(struct wsrc *w, struct err *e)
{
    return quant_check_halves(w, 80, e);
}

void q2_k_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_float_row(w, row, dst, q2_k_block);
}

/* ------------------------------------------------------------------- Q3_K */

/* hm[32]: bit 4 * half + k of byte i is the third bit of element
 * 128 * half + 32k + i, and counts -4 where it is clear; qs[64]; s[12]: sixteen
 * 6-bit scales, 32 too large; d. */
static void q3_k_block(const uint8_t *p, int8_t *out)
{
    uint8_t q[BLOCK];
    bit_pairs(p + 32, q);
    for (unsigned e = 0; e < BLOCK; e++)
        out[e] = (int8_t)(q[e] - (p[e % 32] >> e / 32 & 1 ? 0 : 4));
}

void q3_k_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_int8_row(w, row, dst, q3_k_block);
}

static int q3_k_scale(const uint8_t s[12], unsigned k)
{
    const unsigned low = k < 8 ? s[k] & 15 : s[k - 8] >> 4;
    const unsigned high = s[8 + k % 4] >> 2 * (k / 4) & 3;
    return (int)(low | high << 4) - 32;
}

void q3_k_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *p = w->t->data + (first + i) / 16 * w->type->block_size;
        dst[i] = f16_to_f32(wtype_u16(p + 108)) *
                 (float)q3_k_scale(p + 96, (unsigned)((first + i) % 16));
    }
}

/* ------------------------------------------------------------- Q4_K, Q5_K */

/* Eight pairs of 6-bit numbers in 12 bytes: the first four pairs lie in the
 * low bits of s[0..4) and s[4..8), the last four in the nibbles of s[8..12)
 * and the top bits of the others. */
static void pair_of(const uint8_t s[12], unsigned j, unsigned *sc, unsigned *mn)
{
    if (j < 4) {
        *sc = s[j] & 63;
        *mn = s[j + 4] & 63;
    } else {
        *sc = (s[j + 4] & 15u) | (s[j - 4] >> 6 & 3u) << 4;
        *mn = (s[j + 4] >> 4 & 15u) | (s[j] >> 6 & 3u) << 4;
    }
}

/* Both begin with d, dmin, s[12]. Sub-block j is a nibble, low when j is even,
 * of qs[32 * (j / 2)..], and in Q5_K bit j of qh[32] besides. */
static inline void pairs_block(const uint8_t *p, const uint8_t *qh, const uint8_t *qs, float *out)
{
    const float d = f16_to_f32(wtype_u16(p)), dmin = f16_to_f32(wtype_u16(p + 2));
    for (unsigned j = 0; j < 8; j++) {
        unsigned sc, mn;
        pair_of(p + 4, j, &sc, &mn);
        const float scale = d * (float)sc, offset = dmin * (float)mn;
        for (unsigned i = 0; i < 32; i++) {
            unsigned q = qs[32 * (j / 2) + i] >> 4 * (j % 2) & 15u;
            if (qh)
                q |= (qh[i] >> j & 1u) << 4;
            *out++ = scale * (float)q - offset;
        }
    }
}

static void q4_k_block(const uint8_t *p, float *out)        /* .., qs[128] */
{
    pairs_block(p, NULL, p + 16, out);
}

static void q5_k_block(const uint8_t *p, float *out)        /* .., qh[32], qs[128] */
{
    pairs_block(p, p + 16, p + 48, out);
}

void q4_k_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_float_row(w, row, dst, q4_k_block);
}

void q5_k_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_float_row(w, row, dst, q5_k_block);
}
