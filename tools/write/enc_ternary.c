/* enc_ternary.c - weights -1, 0, 1 to the encodings that core/model/ternary.c
 * reads.
 *
 * A code is the weight plus one. An encoding with block scales gives a block of
 * nothing but zeros the scale 0, as its quantizer does, which takes the block's
 * largest weight. */
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

static void put_half(float v, uint8_t *out)
{
    const uint16_t h = f16_from_f32(v);
    memcpy(out, &h, sizeof h);
}

/* Layout A: 128 elements, stride 32, first field highest. */
static void i2s_codes(const int8_t *w, float scale, uint8_t *out)
{
    (void)scale;
    for (unsigned j = 0; j < 32; j++)
        out[j] = (uint8_t)((w[j] + 1) << 6 | (w[j + 32] + 1) << 4 | (w[j + 64] + 1) << 2 |
                           (w[j + 96] + 1));
}

/* The scale, and 28 bytes that mean nothing. */
static size_t i2s_tail(float scale, uint8_t out[ENC_MAX_TAIL])
{
    memset(out, 0, ENC_MAX_TAIL);
    memcpy(out, &scale, sizeof scale);
    return ENC_MAX_TAIL;
}

/* Two halves of 128 elements, stride 32, first field lowest; then d. */
static void tq2_codes(const int8_t *w, float scale, uint8_t *out)
{
    put_half(any(w, 256) ? scale : 0, out + 64);
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
    put_half(any(w, 256) ? scale : 0, out + 52);
}

/* File types as llama.cpp numbers them; 40 is bitnet.cpp's for I2_S. */
const struct enc enc_ternary[] = {
    { .name = "i2_s", .id = 36, .file_type = 40, .block = 128, .block_size = 32, .ternary = true,
      .flat = true, .codes = i2s_codes, .tail = i2s_tail },
    { .name = "tq1_0", .id = 34, .file_type = 36, .block = 256, .block_size = 54, .ternary = true,
      .scale_cols = 256, .codes = tq1_codes },
    { .name = "tq2_0", .id = 35, .file_type = 37, .block = 256, .block_size = 66, .ternary = true,
      .scale_cols = 256, .codes = tq2_codes },
    { .name = NULL }
};
