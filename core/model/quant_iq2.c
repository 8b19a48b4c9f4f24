/* quant_iq2.c - IQ2_XS and IQ2_S: blocks of 256 elements, from code books.
 *
 * Eight elements are a row of the code book, whose magnitudes are 8, 25 or 43,
 * and eight signs; 16 elements share a 4-bit scale. Rows become int8 with a
 * scale of its own for every 16 columns, exactly: the scale is
 * d * (2 * nibble + 1) / 8, 11 + 5 bits, and a magnitude 6 more. */
#include "core/base/f16.h"
#include "core/model/iq2_grid.h"
#include "core/model/quant.h"

static void put_eight(unsigned grid, unsigned signs, int8_t *out)
{
    static const int8_t magnitude[4] = { 8, 25, 43, 0 };    /* the books hold no 3 */
    for (unsigned k = 0; k < 8; k++) {
        const int8_t v = magnitude[grid >> 2 * k & 3];
        out[k] = (int8_t)(signs >> k & 1 ? -v : v);
    }
}

/* d, 32 words: 9 bits of row, 7 of signs; the eighth sign makes their number
 * even. Then 8 bytes of scales. */
static void iq2_xs_block(const uint8_t *p, int8_t *out)
{
    for (unsigned g = 0; g < 32; g++) {
        const unsigned word = wtype_u16(p + 2 + 2 * g), seven = word >> 9;
        const unsigned eighth = (unsigned)__builtin_parity(seven);
        put_eight(iq2_grid_xs[word & 511], seven | eighth << 7, out + 8 * g);
    }
}

/* d, the rows' low bytes [32], signs [32], two high bits of each row [8], then
 * 8 bytes of scales. */
static void iq2_s_block(const uint8_t *p, int8_t *out)
{
    for (unsigned g = 0; g < 32; g++) {
        const unsigned high = p[66 + g / 4] >> 2 * (g % 4) & 3u;
        put_eight(iq2_grid_s[p[2 + g] | high << 8], p[34 + g], out + 8 * g);
    }
}

void iq2_xs_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_int8_row(w, row, dst, iq2_xs_block);
}

void iq2_s_row(const struct wsrc *w, uint32_t row, void *dst)
{
    quant_int8_row(w, row, dst, iq2_s_block);
}

/* The last 8 bytes of either block: the low nibble of byte i is the scale of
 * columns 32i.., the high one that of 32i + 16... */
void iq2_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    const uint32_t size = w->type->block_size;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *p = w->t->data + (first + i) / 16 * size;
        const unsigned at = (unsigned)((first + i) % 16);
        const unsigned nibble = p[size - 8 + at / 2] >> 4 * (at % 2) & 15u;
        dst[i] = f16_to_f32(wtype_u16(p)) * ((float)(2 * nibble + 1) * 0.125f);
    }
}
