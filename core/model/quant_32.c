/* quant_32.c - Q4_0, Q4_1, Q5_0, Q5_1 and IQ4_NL: blocks of 32 elements.
 *
 * Element e of a block is the low nibble of byte e, or the high one of byte
 * e - 16; Q5 takes a fifth bit from bit e of a word. Where a weight is an
 * integer times the block's d, rows are int8 and the value is exact: q has at
 * most 8 bits, d 11. Q4_1 and Q5_1 add an offset m, so their rows are f32:
 * d * q has at most 16 bits and is exact, and only the sum rounds. So the order
 * of the two steps, or one fma for both, changes no bit, and every program
 * that follows the formula gets these numbers. */
#include <inttypes.h>

#include "core/base/f16.h"
#include "core/model/quant.h"

#define BLOCK 32

static void nibbles(const uint8_t qs[16], uint8_t q[BLOCK])
{
    for (unsigned i = 0; i < 16; i++) {
        q[i] = qs[i] & 15;
        q[16 + i] = qs[i] >> 4;
    }
}

static void fifth_bits(const uint8_t qh[4], uint8_t q[BLOCK])
{
    for (unsigned e = 0; e < BLOCK; e++)
        q[e] |= (uint8_t)((qh[e / 8] >> e % 8 & 1) << 4);
}

/* ------------------------------------------------- an integer times a scale */

static void q4_0_block(const uint8_t *p, int8_t *out)       /* d, qs[16] */
{
    uint8_t q[BLOCK];
    nibbles(p + 2, q);
    for (unsigned e = 0; e < BLOCK; e++)
        out[e] = (int8_t)(q[e] - 8);
}

static void q5_0_block(const uint8_t *p, int8_t *out)       /* d, qh[4], qs[16] */
{
    uint8_t q[BLOCK];
    nibbles(p + 6, q);
    fifth_bits(p + 2, q);
    for (unsigned e = 0; e < BLOCK; e++)
        out[e] = (int8_t)(q[e] - 16);
}

static void iq4_nl_block(const uint8_t *p, int8_t *out)     /* d, qs[16] */
{
    static const int8_t level[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                      1, 13, 25, 38, 53, 69, 89, 113 };
    uint8_t q[BLOCK];
    nibbles(p + 2, q);
    for (unsigned e = 0; e < BLOCK; e++)
        out[e] = level[q[e]];
}

void q4_0_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_int8_row(w, row, dst, q4_0_block);
}

void q5_0_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_int8_row(w, row, dst, q5_0_block);
}

void iq4_nl_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_int8_row(w, row, dst, iq4_nl_block);
}

/* -------------------------------------------------------------- and an offset */

static void affine(const uint8_t *p, const uint8_t q[BLOCK], float *out)
{
    const float d = f16_to_f32(wtype_u16(p)), m = f16_to_f32(wtype_u16(p + 2));
    for (unsigned e = 0; e < BLOCK; e++)
        out[e] = d * (float)q[e] + m;
}

static void q4_1_block(const uint8_t *p, float *out)        /* d, m, qs[16] */
{
    uint8_t q[BLOCK];
    nibbles(p + 4, q);
    affine(p, q, out);
}

static void q5_1_block(const uint8_t *p, float *out)        /* d, m, qh[4], qs[16] */
{
    uint8_t q[BLOCK];
    nibbles(p + 8, q);
    fifth_bits(p + 4, q);
    affine(p, q, out);
}

void q4_1_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_float_row(w, row, dst, q4_1_block);
}

void q5_1_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_float_row(w, row, dst, q5_1_block);
}

/* Scale and offset of every block, two halves at byte `at` of it. */
int quant_check_halves(struct wsrc *w, unsigned at, struct err *e)
{
    const uint64_t n = (uint64_t)w->rows * (w->cols / w->type->block);
    const uint8_t *p = w->t->data + at;
    for (uint64_t b = 0; b < n; b++, p += w->type->block_size)
        if ((p[1] & 0x7c) == 0x7c || (p[3] & 0x7c) == 0x7c)
            return err_set(e, ERR_DATA, "tensor %s: the scale or the offset of block %" PRIu64
                           " is NaN or infinite, expected numbers", w->name, b);
    return 0;
}

int quant_affine_open(struct wsrc *w, struct err *e)
{
    return quant_check_halves(w, 0, e);
}
