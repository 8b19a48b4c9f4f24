/* ternary_rs.c - two encodings that BitNet.rs stores under the number of I2_S.
 *
 * Neither is ternary: four codes are -2, -1, 0, +1 in the one and -2, -1, +1, +2
 * in the other. The canonical form has -1, 0, +1, +2, so the former is read
 * with all signs turned, scale included; the latter as int8. */
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/wtype.h"

/* rs-inline32: eight bytes of codes, low fields first, and an f16 scale for
 * every 32 weights; a weight is (code - 2) * scale. 3 - code means 2 - code in
 * the canonical form. */
enum { INLINE_BLOCK = 32, INLINE_SIZE = 10 };

int rs_inline_open(struct wsrc *w, struct err *e)
{
    (void)e;                            /* wsrc_open checks the scales of every type */
    const uint8_t *p = w->t->data;
    const uint64_t n = (uint64_t)w->rows * w->cols / INLINE_BLOCK;
    w->scale_kind = BNP_SCALE_BLOCK;
    w->block_cols = INLINE_BLOCK;
    for (uint64_t b = 0; b < n && !w->flags; b++, p += INLINE_SIZE)
        for (unsigned i = 0; i < 8; i++)
            if (~(p[i] | p[i] >> 1) & 0x55)                 /* a code of 0 */
                w->flags = BNP_W_PLUS2;
    return 0;
}

void rs_inline_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const uint32_t n = w->cols / INLINE_BLOCK;
    const uint8_t *p = w->t->data + (uint64_t)row * n * INLINE_SIZE;
    uint8_t *out = dst;
    for (uint32_t b = 0; b < n; b++, p += INLINE_SIZE)
        for (unsigned i = 0; i < 8; i++)
            *out++ = (uint8_t)~p[i];
}

void rs_inline_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    for (uint64_t i = 0; i < n; i++)
        dst[i] = -f16_to_f32(wtype_u16(w->t->data + (first + i) * INLINE_SIZE + 8));
}

/* rs-qk256: four codes in a byte, low fields first, no scale; rows are filled
 * up to whole blocks of 256. */
bool rs_qk256_size(uint64_t rows, uint64_t cols, uint64_t *size)
{
    uint64_t up;
    return !__builtin_add_overflow(cols, (uint64_t)255, &up) &&
           !__builtin_mul_overflow(up / 256 * 64, rows, size);
}

int rs_qk256_open(struct wsrc *w, struct err *e)
{
    (void)e;                            /* every code means a number */
    w->scale_kind = BNP_SCALE_TENSOR;
    w->scale = 1;
    return 0;
}

void rs_qk256_row(const struct wsrc *w, uint32_t row, void *dst)
{
    static const int8_t value[4] = { -2, -1, 1, 2 };
    const uint8_t *p = w->t->data + (uint64_t)row * ((w->cols + 255u) / 256 * 64);
    int8_t *out = dst;
    for (uint32_t i = 0; i < w->cols; i++)
        out[i] = value[p[i / 4] >> 2 * (i % 4) & 3];
}
