/* dense.c - F32, F16, BF16 as they are; Q8_0 and Q6_K to int8 rows.
 *
 * The int8 form is exact: a weight is q times one f32 scale, and d * sc of
 * Q6_K (11 by 8 bits) fits an f32. */
#include <inttypes.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/wtype.h"

#define Q8_0_SIZE 34
#define Q6_K_SIZE 210

/* An element's exponent field, all ones for NaN and Inf. */
static uint64_t count_not_finite(const uint8_t *p, uint64_t n, uint32_t format)
{
    uint64_t count = 0;
    if (format == BNP_FMT_F32) {
        for (uint64_t i = 0; i < n; i++) {
            uint32_t u;
            memcpy(&u, p + 4 * i, sizeof u);
            count += (u & 0x7f800000) == 0x7f800000;
        }
        return count;
    }
    uint16_t mask = format == BNP_FMT_F16 ? 0x7c00 : 0x7f80;
    for (uint64_t i = 0; i < n; i++) {
        uint16_t u;
        memcpy(&u, p + 2 * i, sizeof u);
        count += (u & mask) == mask;
    }
    return count;
}

int float_open(struct wsrc *w, struct err *e)
{
    (void)e;
    w->scale_kind = BNP_SCALE_NONE;
    return 0;
}

int float_check(const struct wsrc *w, struct err *e)
{
    uint64_t bad = count_not_finite(w->t->data, (uint64_t)w->rows * w->cols, w->type->format);
    if (bad)
        return err_set(e, ERR_DATA, "tensor %s: %" PRIu64 " of its values are NaN or infinite, "
                       "expected numbers", w->name, bad);
    return 0;
}

void float_row(const struct wsrc *w, uint32_t row, void *dst)
{
    size_t size = wtype_row_size(w->type->format, w->cols);
    memcpy(dst, w->t->data + row * size, size);
}

int int8_open(struct wsrc *w, struct err *e)
{
    (void)e;                            /* wsrc_open checks the scales of every type */
    w->scale_kind = BNP_SCALE_BLOCK;
    w->block_cols = w->type->scale_cols;
    return 0;
}

/* Q8_0: f16 d, int8 q[32]. */
void q8_0_row(const struct wsrc *w, uint32_t row, void *dst)
{
    uint32_t n = w->cols / 32;
    const uint8_t *p = w->t->data + (uint64_t)row * n * Q8_0_SIZE;
    uint8_t *out = dst;
    for (uint32_t b = 0; b < n; b++)
        memcpy(out + 32 * (size_t)b, p + (size_t)b * Q8_0_SIZE + 2, 32);
}

void wtype_d_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    const uint32_t size = w->type->block_size;
    for (uint64_t i = 0; i < n; i++)
        dst[i] = f16_to_f32(wtype_u16(w->t->data + (first + i) * size));
}

/* Q6_K: ql[128], qh[64], int8 sc[16], f16 d. Each half of 128 elements has 64
 * bytes of low nibbles and 32 bytes of high bit pairs; quarter k of a half
 * takes nibble k / 2 of bytes 32 * (k % 2).. and bit pair k. */
static void q6_k_block(const uint8_t *p, int8_t *out)
{
    for (unsigned half = 0; half < 2; half++)
        for (unsigned k = 0; k < 4; k++)
            for (unsigned i = 0; i < 32; i++) {
                unsigned lo = p[64 * half + 32 * (k % 2) + i] >> 4 * (k / 2) & 15u;
                unsigned hi = p[128 + 32 * half + i] >> 2 * k & 3u;
                *out++ = (int8_t)((int)(lo | hi << 4) - 32);
            }
}

void q6_k_row(const struct wsrc *w, uint32_t row, void *dst)
{
    uint32_t n = w->cols / 256;
    const uint8_t *p = w->t->data + (uint64_t)row * n * Q6_K_SIZE;
    for (uint32_t b = 0; b < n; b++)
        q6_k_block(p + (size_t)b * Q6_K_SIZE, (int8_t *)dst + 256 * (size_t)b);
}

void q6_k_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *p = w->t->data + (first + i) / 16 * Q6_K_SIZE;
        dst[i] = f16_to_f32(wtype_u16(p + 208)) * (float)(int8_t)p[192 + (first + i) % 16];
    }
}
