/* enc_dense.c - any numbers to the encodings that core/model/dense.c reads.
 *
 * The rules of rounding are those of the encodings' reference quantizers, in
 * the same single float operations, so that the bytes are the same. */
#include <string.h>

#include "core/base/f16.h"
#include "tools/write/enc.h"

static void put_half(float v, uint8_t *out)
{
    const uint16_t h = f16_from_f32(v);
    memcpy(out, &h, sizeof h);
}

static void f32_floats(const float *x, uint8_t *out)
{
    memcpy(out, x, sizeof *x);
}

static void f16_floats(const float *x, uint8_t *out)
{
    put_half(*x, out);
}

/* Nearest, halves away from zero, as roundf(3): adding a half would round
 * 0.49999997 up. */
static int nearest(float v)
{
    const int whole = (int)v;
    const float rest = v - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

/* f16 d, int8 q[32]. d is the 127th part of the largest number; the q are found
 * with it before it is rounded to half. */
static void q8_0_floats(const float *x, uint8_t *out)
{
    float most = 0;
    for (unsigned i = 0; i < 32; i++) {
        const float a = x[i] < 0 ? -x[i] : x[i];
        most = a > most ? a : most;
    }
    const float d = most / 127, inverse = d != 0 ? 1 / d : 0;
    put_half(d, out);
    for (unsigned i = 0; i < 32; i++)
        out[2 + i] = (uint8_t)(int8_t)nearest(x[i] * inverse);
}

const struct enc enc_dense[] = {
    { .name = "f32", .id = 0, .file_type = 0, .block = 1, .block_size = 4, .floats = f32_floats },
    { .name = "f16", .id = 1, .file_type = 1, .block = 1, .block_size = 2, .floats = f16_floats },
    { .name = "q8_0", .id = 8, .file_type = 7, .block = 32, .block_size = 34,
      .floats = q8_0_floats },
    { .name = NULL }
};
