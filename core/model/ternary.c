/* ternary.c - I2_S, TQ1_0 and TQ2_0 to canonical two-bit rows.
 *
 * All three store the codes 0,1,2 for -1,0,+1. I2_S and TQ2_0 already have
 * four two-bit codes in a byte, but the four are `stride` elements apart:
 * decoding is a regrouping. TQ1_0 has five base-3 digits in a byte. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/ternary.h"
#include "core/model/wtype.h"

#define TQ_BLOCK 256
#define TQ1_SIZE 54
#define TQ2_SIZE 66

/* Fields with value 3 in n bytes. The usual answer, none, is found quickly. */
uint64_t ternary_count_threes(const uint8_t *p, uint64_t n)
{
    uint64_t any = 0, count = 0, i = 0;
    for (; n - i >= 32; i += 32) {
        uint64_t v[4];
        memcpy(v, p + i, sizeof v);
        any |= (v[0] & v[0] >> 1) | (v[1] & v[1] >> 1) | (v[2] & v[2] >> 1) | (v[3] & v[3] >> 1);
    }
    if (!(any & 0x5555555555555555))
        p += i, n -= i;
    for (; n; n--, p++)
        count += (uint64_t)__builtin_popcount(*p & *p >> 1 & 0x55u);
    return count;
}

/* ------------------------------------------------------------------- I2_S */

static uint64_t elements(const struct wsrc *w)
{
    return (uint64_t)w->rows * w->cols;
}

static unsigned i2s_stride(const struct wsrc *w)
{
    return w->layout == I2S_B ? 16 : 32;
}

int i2s_open(struct wsrc *w, struct err *e)
{
    uint64_t n = elements(w);
    if (w->layout == I2S_C ? w->rows % 4 != 0 : n % (4 * i2s_stride(w)) != 0)
        return err_set(e, ERR_DATA, "tensor %s: %u x %u does not fill the blocks of I2_S layout %c",
                       w->name, w->rows, w->cols, "ABC"[w->layout]);
    uint32_t bits;
    memcpy(&bits, w->t->data + n / 4, sizeof bits);
    w->scale_kind = BNP_SCALE_TENSOR;
    w->scale = f32_from_bits(bits);
    if (!(isfinite(w->scale) && w->scale > 0))
        return err_set(e, ERR_DATA, "tensor %s: its I2_S scale is %g, expected a positive number",
                       w->name, (double)w->scale);
    return 0;
}

int i2s_check(const struct wsrc *w, struct err *e)
{
    uint64_t threes = ternary_count_threes(w->t->data, elements(w) / 4);
    if (threes)
        return err_set(e, ERR_DATA, "tensor %s: %" PRIu64 " codes are 3, which I2_S never holds: "
                       "another encoding under this type number, or a corrupt file; "
                       "model.i2s_layout cannot mend this", w->name, threes);
    return 0;
}

static unsigned i2s_code(const struct wsrc *w, uint32_t row, uint32_t col)
{
    const uint8_t *p = w->t->data;
    if (w->layout == I2S_C)
        return p[(uint64_t)(row / 4) * w->cols + col] >> (6 - 2 * (row % 4)) & 3u;
    unsigned stride = i2s_stride(w);
    uint64_t at = (uint64_t)row * w->cols + col;
    unsigned r = (unsigned)(at % (4 * stride));
    return p[at / (4 * stride) * stride + r % stride] >> (6 - 2 * (r / stride)) & 3u;
}

/* Blocks run over the flattened tensor: a row whose start or length is not a
 * multiple of a block shares bytes with its neighbours, and what is not a
 * whole block is read code by code. */
void i2s_row(const struct wsrc *w, uint32_t row, void *dst)
{
    uint8_t *out = dst;
    unsigned stride = i2s_stride(w);
    uint64_t start = (uint64_t)row * w->cols;
    uint32_t col = 0;
    if (w->layout != I2S_C && start % (4 * stride) == 0)
        for (; w->cols - col >= 4 * stride; col += 4 * stride, out += stride) {
            const uint8_t *in = w->t->data + (start + col) / 4;
            if (stride == 32)
                ternary_regroup(in, out, 32, true);
            else
                ternary_regroup(in, out, 16, true);
        }
    for (; col < w->cols; col += 4) {
        unsigned byte = 0x55;                       /* tail codes are 1 */
        for (unsigned i = 0; i < 4 && col + i < w->cols; i++)
            byte = (byte & ~(3u << 2 * i)) | i2s_code(w, row, col + i) << 2 * i;
        *out++ = (uint8_t)byte;
    }
}

/* ------------------------------------------------------------------ TQx_0 */

int ternary_scale(struct wsrc *w, unsigned d_at,
                  bool (*is_zero)(const struct wtype *, const uint8_t *), struct err *e)
{
    const uint64_t n = elements(w) / w->type->block;
    const uint8_t *p = w->t->data;
    uint16_t one = wtype_u16(p + d_at);
    bool found = false;
    w->scale_kind = BNP_SCALE_TENSOR;
    for (uint64_t b = 0; b < n; b++, p += w->type->block_size) {
        uint16_t d = wtype_u16(p + d_at);
        if ((d & 0x7c00) == 0x7c00)
            return err_set(e, ERR_DATA, "tensor %s: the scale of block %" PRIu64 " is NaN or "
                           "infinite, expected a number", w->name, b);
        if ((found && d == one) || w->scale_kind == BNP_SCALE_BLOCK ||
            (is_zero && is_zero(w->type, p)))
            continue;
        if (found)
            w->scale_kind = BNP_SCALE_BLOCK;
        found = true;
        one = d;
    }
    if (w->scale_kind == BNP_SCALE_BLOCK)
        w->block_cols = w->type->scale_cols;
    else
        w->scale = f16_to_f32(one);
    return 0;
}

static void tq_scales(const struct wsrc *w, size_t size, uint64_t first, uint64_t n, float *dst)
{
    const uint8_t *p = w->t->data + first * size + size - 2;
    for (uint64_t i = 0; i < n; i++)
        dst[i] = f16_to_f32(wtype_u16(p + i * size));
}

/* TQ1_0: qs[48], qh[4], d. The first digit is the most significant: a byte
 * holds ceil(N * 256 / 243), N the number of five digits, so that each
 * multiplication by 3 pushes the next digit out at the top. */
static void tq1_digits(const uint8_t *p, unsigned n_bytes, unsigned n_digits, uint8_t *code)
{
    static const uint8_t pow3[5] = { 1, 3, 9, 27, 81 };
    for (unsigned d = 0; d < n_digits; d++)
        for (unsigned j = 0; j < n_bytes; j++) {
            uint8_t x = (uint8_t)(p[j] * pow3[d]);
            *code++ = (uint8_t)(3 * x >> 8);
        }
}

static void tq1_codes(const uint8_t *block, uint8_t code[TQ_BLOCK])
{
    tq1_digits(block, 32, 5, code);
    tq1_digits(block + 32, 16, 5, code + 160);
    tq1_digits(block + 48, 4, 4, code + 240);
}

static bool tq1_is_zero(const struct wtype *type, const uint8_t *block)
{
    (void)type;
    uint8_t code[TQ_BLOCK];
    tq1_codes(block, code);
    for (unsigned i = 0; i < TQ_BLOCK; i++)
        if (code[i] != 1)
            return false;
    return true;
}

int tq1_open(struct wsrc *w, struct err *e)
{
    return ternary_scale(w, TQ1_SIZE - 2, tq1_is_zero, e);
}

void tq1_row(const struct wsrc *w, uint32_t row, void *dst)
{
    uint32_t n = w->cols / TQ_BLOCK;
    const uint8_t *p = w->t->data + (uint64_t)row * n * TQ1_SIZE;
    uint8_t *out = dst, code[TQ_BLOCK];
    for (uint32_t b = 0; b < n; b++, p += TQ1_SIZE) {
        tq1_codes(p, code);
        for (unsigned i = 0; i < TQ_BLOCK; i += 4)
            *out++ = (uint8_t)(code[i] | code[i + 1] << 2 | code[i + 2] << 4 | code[i + 3] << 6);
    }
}

void tq1_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    tq_scales(w, TQ1_SIZE, first, n, dst);
}

/* TQ2_0: qs[64], d. Two halves of 128 elements, stride 32, low bits first. */
static bool tq2_is_zero(const struct wtype *type, const uint8_t *block)
{
    (void)type;
    for (unsigned i = 0; i < TQ_BLOCK / 4; i++)
        if (block[i] != 0x55)
            return false;
    return true;
}

int tq2_open(struct wsrc *w, struct err *e)
{
    uint64_t n = elements(w) / TQ_BLOCK;
    for (uint64_t b = 0; b < n && !w->flags; b++)
        if (ternary_count_threes(w->t->data + b * TQ2_SIZE, TQ_BLOCK / 4))
            w->flags = BNP_W_PLUS2;
    return ternary_scale(w, TQ2_SIZE - 2, tq2_is_zero, e);
}

void tq2_row(const struct wsrc *w, uint32_t row, void *dst)
{
    uint32_t n = w->cols / TQ_BLOCK;
    const uint8_t *p = w->t->data + (uint64_t)row * n * TQ2_SIZE;
    uint8_t *out = dst;
    for (uint32_t b = 0; b < n; b++, p += TQ2_SIZE, out += TQ_BLOCK / 4) {
        ternary_regroup(p, out, 32, false);
        ternary_regroup(p + 32, out + 32, 32, false);
    }
}

void tq2_scales(const struct wsrc *w, uint64_t first, uint64_t n, float *dst)
{
    tq_scales(w, TQ2_SIZE, first, n, dst);
}
