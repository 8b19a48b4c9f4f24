/* enc_ternary.c - weights -1, 0, 1 to all ternary encodings but those in tiles.
 *
 * A code is the weight plus one. An encoding with a scale for each block or row
 * gives one of nothing but zeros the scale 0, as its quantizer does, which takes
 * the largest weight. */
#include <string.h>

#include "core/base/f16.h"
#include "tools/write/enc.h"

static bool any(const int8_t *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (w[i])
            return true;
    return false;
}

/* Layout A: 128 elements, stride 32, first field highest. */
static void i2s_codes(const int8_t *w, float scale, uint8_t *out)
{
    (void)scale;
    for (unsigned j = 0; j < 32; j++)
        out[j] = (uint8_t)((w[j] + 1) << 6 | (w[j + 32] + 1) << 4 | (w[j + 64] + 1) << 2 |
                           (w[j + 96] + 1));
}

/* Layout B: 64 elements, stride 16. */
static void i2s_b_codes(const int8_t *w, float scale, uint8_t *out)
{
    (void)scale;
    for (unsigned j = 0; j < 16; j++)
        out[j] = (uint8_t)((w[j] + 1) << 6 | (w[j + 16] + 1) << 4 | (w[j + 32] + 1) << 2 |
                           (w[j + 48] + 1));
}

/* Layout C: a byte holds one column of four rows, the first highest. */
static bool i2s_c_whole(uint32_t rows, uint32_t cols, uint64_t *size)
{
    *size = (uint64_t)rows * cols / 4;
    return rows % 4 == 0;
}

static void i2s_c_row(const struct enc_tensor *t, uint32_t row, const int8_t *w, uint8_t *out)
{
    out += (uint64_t)(row / 4) * t->cols;
    for (uint32_t k = 0; k < t->cols; k++)
        out[k] = (uint8_t)(out[k] | (w[k] + 1) << (6 - 2 * (row % 4)));
}

size_t enc_scale_tail(float scale, uint8_t out[ENC_MAX_TAIL])
{
    memset(out, 0, ENC_MAX_TAIL);
    memcpy(out, &scale, sizeof scale);
    return ENC_MAX_TAIL;
}

/* Two halves of 128 elements, stride 32, first field lowest; then d. */
static void tq2_codes(const int8_t *w, float scale, uint8_t *out)
{
    enc_put_half(any(w, 256) ? scale : 0, out + 64);
    for (unsigned half = 0; half < 2; half++, w += 128, out += 32)
        for (unsigned j = 0; j < 32; j++)
            out[j] = (uint8_t)((w[j] + 1) | (w[j + 32] + 1) << 2 | (w[j + 64] + 1) << 4 |
                               (w[j + 96] + 1) << 6);
}

/* n_bytes bytes of n_digits base-3 digits, n_bytes elements apart, the first
 * digit most significant of five; N as ceil(N * 256 / 243). */
static void tq1_bytes(const int8_t *w, unsigned n_bytes, unsigned n_digits, uint8_t *out)
{
    for (unsigned j = 0; j < n_bytes; j++) {
        unsigned n = 0;
        for (unsigned d = 0; d < 5; d++)
            n = 3 * n + (d < n_digits ? (unsigned)(w[d * n_bytes + j] + 1) : 0);
        out[j] = (uint8_t)((n * 256 + 242) / 243);
    }
}

static void tq1_codes(const int8_t *w, float scale, uint8_t *out)
{
    tq1_bytes(w, 32, 5, out);
    tq1_bytes(w + 160, 16, 5, out + 32);
    tq1_bytes(w + 240, 4, 4, out + 48);
    enc_put_half(any(w, 256) ? scale : 0, out + 52);
}

/* f16 d, then four codes in a byte, the first lowest. */
static void q2_0_codes(const int8_t *w, float scale, uint8_t *out)
{
    enc_put_half(any(w, 64) ? scale : 0, out);
    for (unsigned j = 0; j < 64; j += 4)
        out[2 + j / 4] = (uint8_t)((w[j] + 1) | (w[j + 1] + 1) << 2 | (w[j + 2] + 1) << 4 |
                                   (w[j + 3] + 1) << 6);
}

/* ---------------------------------------------------- a scale before each row */

enum { BN_BLOCK = 64, BN1_SIZE = 13, BN2_SIZE = 16 };

static float row_scale(const struct enc_tensor *t, const int8_t *w)
{
    return any(w, t->cols) ? t->scale : 0;
}

/* f32 d, then blocks of 64 elements, stride 16, first field lowest. */
static bool iq2_bn_whole(uint32_t rows, uint32_t cols, uint64_t *size)
{
    *size = (uint64_t)rows * (4 + cols / 4);
    return cols % BN_BLOCK == 0;
}

static void iq2_bn_row(const struct enc_tensor *t, uint32_t row, const int8_t *w, uint8_t *out)
{
    const float d = row_scale(t, w);
    out += (uint64_t)row * (4 + t->cols / 4);
    memcpy(out, &d, sizeof d);
    out += sizeof d;
    for (uint32_t k = 0; k < t->cols; k += BN_BLOCK, w += BN_BLOCK, out += BN2_SIZE)
        for (unsigned j = 0; j < 16; j++)
            out[j] = (uint8_t)((w[j] + 1) | (w[j + 16] + 1) << 2 | (w[j + 32] + 1) << 4 |
                               (w[j + 48] + 1) << 6);
}

/* Four rows: their four d, then blocks of 64 columns of all of them. Column j of
 * row r is field j % 16 / 4 of byte 16 * (j / 16) + 4 * r + j % 4. */
static bool iq2_bn_r4_whole(uint32_t rows, uint32_t cols, uint64_t *size)
{
    return iq2_bn_whole(rows, cols, size) && rows % 4 == 0;
}

static void iq2_bn_r4_row(const struct enc_tensor *t, uint32_t row, const int8_t *w, uint8_t *out)
{
    const float d = row_scale(t, w);
    const unsigned r = row % 4;
    out += (uint64_t)(row / 4) * (16 + t->cols);
    memcpy(out + 4 * r, &d, sizeof d);
    out += 16;
    for (uint32_t k = 0; k < t->cols; k += BN_BLOCK, w += BN_BLOCK, out += 4 * BN2_SIZE)
        for (unsigned j = 0; j < BN_BLOCK; j++) {
            uint8_t *p = out + 16 * (j / 16) + 4 * r + j % 4;
            *p = (uint8_t)(*p | (w[j] + 1) << 2 * (j % 16 / 4));
        }
}

/* f16 d, then blocks of 64: twelve bytes of five base-3 digits and one of four,
 * the first digit least significant; N as ceil(N * 256 / 243). */
static bool iq1_bn_whole(uint32_t rows, uint32_t cols, uint64_t *size)
{
    *size = (uint64_t)rows * (2 + cols / BN_BLOCK * BN1_SIZE);
    return cols % BN_BLOCK == 0;
}

static uint8_t bn1_byte(const int8_t *w, unsigned n_digits, unsigned stride)
{
    unsigned n = 0;
    for (unsigned d = n_digits; d-- > 0;)
        n = 3 * n + (unsigned)(w[d * stride] + 1);
    return (uint8_t)((n * 256 + 242) / 243);
}

static void iq1_bn_row(const struct enc_tensor *t, uint32_t row, const int8_t *w, uint8_t *out)
{
    out += (uint64_t)row * (2 + t->cols / BN_BLOCK * BN1_SIZE);
    enc_put_half(row_scale(t, w), out);
    out += 2;
    for (uint32_t k = 0; k < t->cols; k += BN_BLOCK, w += BN_BLOCK, out += BN1_SIZE) {
        for (unsigned i = 0; i < 12; i++)
            out[i] = bn1_byte(w + 16 * (i / 3) + 5 * (i % 3), 5, 1);
        out[12] = bn1_byte(w + 15, 4, 16);
    }
}

/* File types as llama.cpp numbers them; 40 is bitnet.cpp's for I2_S, those over
 * 100 are ik_llama.cpp's. */
const struct enc enc_ternary[] = {
    { .name = "i2_s", .id = 36, .file_type = 40, .block = 128, .block_size = 32, .ternary = true,
      .flat = true, .codes = i2s_codes, .tail = enc_scale_tail },
    { .name = "tq1_0", .id = 34, .file_type = 36, .block = 256, .block_size = 54, .ternary = true,
      .scale_cols = 256, .half_scale = true, .codes = tq1_codes },
    { .name = "tq2_0", .id = 35, .file_type = 37, .block = 256, .block_size = 66, .ternary = true,
      .scale_cols = 256, .half_scale = true, .codes = tq2_codes },
    { .name = "q2_0", .id = 42, .file_type = 41, .block = 64, .block_size = 18, .ternary = true,
      .scale_cols = 64, .half_scale = true, .codes = q2_0_codes },
    { .name = "i2_s-b", .id = 36, .file_type = 40, .block = 64, .block_size = 16, .ternary = true,
      .flat = true, .codes = i2s_b_codes, .tail = enc_scale_tail },
    { .name = "i2_s-c", .id = 36, .file_type = 40, .ternary = true, .whole = i2s_c_whole,
      .row = i2s_c_row, .tail = enc_scale_tail },
    { .name = "iq1_bn", .id = 134, .file_type = 136, .ternary = true,
      .scale_cols = UINT32_MAX, .half_scale = true, .whole = iq1_bn_whole, .row = iq1_bn_row },
    { .name = "iq2_bn", .id = 135, .file_type = 137, .ternary = true,
      .scale_cols = UINT32_MAX, .whole = iq2_bn_whole, .row = iq2_bn_row },
    { .name = "iq2_bn_r4", .id = 335, .file_type = 337, .ternary = true,
      .scale_cols = UINT32_MAX, .whole = iq2_bn_r4_whole, .row = iq2_bn_r4_row },
    { .name = NULL }
};
