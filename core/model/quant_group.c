/* quant_group.c - Q1_0 and Q2_0: two-bit rows with a scale per group.
 *
 * A block is an f16 d and its codes, low bits first. Q2_0's codes are the
 * canonical ones already, so its rows are copied, for groups of 64 and of 128
 * alike. Q1_0 has one bit, +d or -d. When all groups have one scale, as files
 * made from ternary weights do, the tensor has one. */
#include <string.h>

#include "bitnet_plugin.h"
#include "core/model/wtype.h"

int q1_0_open(struct wsrc *w, struct err *e)
{
    return ternary_scale(w, 0, NULL, e);
}

/* Bits i of a byte are codes 2 (set) and 0 at bits 2i: each is bit 2i + 1 of the
 * result. */
static uint16_t spread(uint8_t bits)
{
    unsigned x = bits;
    x = (x | x << 4) & 0x0f0f;
    x = (x | x << 2) & 0x3333;
    x = (x | x << 1) & 0x5555;
    return (uint16_t)(x << 1);
}

void q1_0_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const uint8_t *p = wtype_row_at(w, row);
    const uint32_t size = w->type->block_size;
    uint8_t *out = dst;
    for (uint32_t col = 0; col < w->cols; col += w->type->block, p += size)
        for (uint32_t i = 2; i < size; i++) {
            const uint16_t two = spread(p[i]);
            *out++ = (uint8_t)two;
            *out++ = (uint8_t)(two >> 8);
        }
}

static bool q2_0_is_zero(const struct wtype *type, const uint8_t *block)
{
    for (uint32_t i = 2; i < type->block_size; i++)
        if (block[i] != 0x55)
            return false;
    return true;
}

int q2_0_open(struct wsrc *w, struct err *e)
{
    const uint32_t size = w->type->block_size;
    const uint64_t n = (uint64_t)w->rows * (w->cols / w->type->block);
    for (uint64_t b = 0; b < n && !w->flags; b++)
        if (ternary_count_threes(w->t->data + b * size + 2, size - 2))
            w->flags = BNP_W_PLUS2;
    return ternary_scale(w, 0, q2_0_is_zero, e);
}

void q2_0_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const uint8_t *p = wtype_row_at(w, row);
    const uint32_t size = w->type->block_size;
    uint8_t *out = dst;
    for (uint32_t col = 0; col < w->cols; col += w->type->block, p += size, out += size - 2)
        memcpy(out, p + 2, size - 2);
}
