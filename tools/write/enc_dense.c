/* enc_dense.c - any numbers to floats and to blocks of small integers.
 *
 * The rules of rounding are those of the encodings' reference quantizers, in
 * the same single float operations, so that the bytes are the same. */
#include <math.h>
#include <string.h>

#include "core/base/f16.h"
#include "tools/write/enc.h"

static void f32_floats(const float *x, uint8_t *out)
{
    memcpy(out, x, sizeof *x);
}

static void f16_floats(const float *x, uint8_t *out)
{
    enc_put_half(*x, out);
}

/* Nearest even. */
static void bf16_floats(const float *x, uint8_t *out)
{
    const uint32_t u = f32_bits(*x);
    const uint16_t h = (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    memcpy(out, &h, sizeof h);
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
    enc_put_half(d, out);
    for (unsigned i = 0; i < 32; i++)
        out[2 + i] = (uint8_t)(int8_t)nearest(x[i] * inverse);
}

/* f16 d, 4-bit q[32] of 0 .. 15 for -8 .. 7: of the number that is largest
 * without its sign, d is the -8th part. One rounding for product and sum, as
 * compilers make of the reference where the machine has it. */
static void q4_0_floats(const float *x, uint8_t *out)
{
    float most = 0, signed_most = 0;
    for (unsigned i = 0; i < 32; i++) {
        const float a = x[i] < 0 ? -x[i] : x[i];
        if (a > most)
            most = a, signed_most = x[i];
    }
    const float d = signed_most / -8, inverse = d != 0 ? 1 / d : 0;
    enc_put_half(d, out);
    for (unsigned i = 0; i < 16; i++) {
        const int lo = (int)fmaf(x[i], inverse, 8.5f), hi = (int)fmaf(x[i + 16], inverse, 8.5f);
        out[2 + i] = (uint8_t)((lo < 15 ? lo : 15) | (hi < 15 ? hi : 15) << 4);
    }
}

/* f16 d, f16 m, fifth bits, 4-bit q[32]: from the smallest number in 31 steps to
 * the largest. */
static void q5_1_floats(const float *x, uint8_t *out)
{
    float lo = x[0], hi = x[0];
    uint32_t fifth = 0;
    for (unsigned i = 1; i < 32; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    const float d = (hi - lo) / 31, inverse = d != 0 ? 1 / d : 0;
    enc_put_half(d, out);
    enc_put_half(lo, out + 2);
    memset(out + 8, 0, 16);
    for (unsigned i = 0; i < 32; i++) {
        const uint32_t q = (uint32_t)((x[i] - lo) * inverse + 0.5f);
        fifth |= (q >> 4 & 1) << i;
        out[8 + i % 16] = (uint8_t)(out[8 + i % 16] | (q & 15) << 4 * (i / 16));
    }
    memcpy(out + 4, &fifth, sizeof fifth);
}

/* -------------------------------------------------------------------- Q6_K
 *
 * The reference quantizer's search: the scale of sixteen numbers is first -32nd
 * of the one that is largest without its sign, and then those of 18 steps near
 * it are tried, -31.1 to -32.9. For each the weighted least squares give the
 * best scale for the q that come out, weights x^2, and the one that leaves the
 * smallest error stays. */

enum { Q6_GROUP = 16, Q6_MAX = 32 };

/* Nearest even, |v| < 2^22, as the reference has it: with the bits of a sum. */
static int nearest_even(float v)
{
    return (int)(f32_bits(v + 12582912.0f) & 0x7fffff) - 0x400000;
}

static int q6_level(float v)
{
    const int q = nearest_even(v);
    return q < -Q6_MAX ? -Q6_MAX : q > Q6_MAX - 1 ? Q6_MAX - 1 : q;
}

struct q6_group {
    float x[Q6_GROUP], xx[Q6_GROUP], xxx[Q6_GROUP];      /* powers: the weights */
};

/* Least squares of x against the levels that `inverse` gives: their best scale
 * is *xq / *qq. Two loops, for vectors do the first. */
static void q6_fit(const struct q6_group *g, float inverse, float *xq, float *qq)
{
    float q[Q6_GROUP];
    for (unsigned i = 0; i < Q6_GROUP; i++)
        q[i] = (float)q6_level(inverse * g->x[i]);
    *xq = *qq = 0;
    for (unsigned i = 0; i < Q6_GROUP; i++) {
        *xq += g->xxx[i] * q[i];
        *qq += g->xx[i] * q[i] * q[i];
    }
}

/* The scale of sixteen numbers, signed; 0 for next to nothing. *inverse: what
 * gave the levels that it was fitted to. */
static float q6_scale(const float *x, float *inverse)
{
    struct q6_group g;
    float most = 0, signed_most = 0, xq, qq;
    for (unsigned i = 0; i < Q6_GROUP; i++) {
        const float a = x[i] < 0 ? -x[i] : x[i];
        if (a > most)
            most = a, signed_most = x[i];
        g.x[i] = x[i];
        g.xx[i] = x[i] * x[i];
        g.xxx[i] = g.xx[i] * x[i];
    }
    *inverse = 0;
    if (most < 1e-15f)
        return 0;
    *inverse = -(float)Q6_MAX / signed_most;
    q6_fit(&g, *inverse, &xq, &qq);
    float scale = qq != 0 ? xq / qq : 0, best = scale * xq;
    for (int step = -9; step <= 9; step++) {
        const float other = -((float)Q6_MAX + 0.1f * (float)step) / signed_most;
        if (!step)
            continue;
        q6_fit(&g, other, &xq, &qq);
        if (qq > 0 && xq * xq > best * qq) {
            scale = xq / qq;
            best = scale * xq;
            *inverse = other;
        }
    }
    return scale;
}

/* ql[128], qh[64], int8 sc[16], f16 d: element i is d * sc[i / 16] * q, q of
 * -32 .. 31. */
void enc_q6_k_block(const uint8_t level[256], const int8_t scale[16], uint16_t d, uint8_t out[210])
{
    memset(out, 0, 192);
    memcpy(out + 192, scale, 16);
    memcpy(out + 208, &d, sizeof d);
    for (unsigned i = 0; i < 256; i++) {
        const unsigned part = i / 128, quarter = i % 128 / 32, l = i % 32;
        out[64 * part + 32 * (quarter % 2) + l] |= (uint8_t)((level[i] & 15) << 4 * (quarter / 2));
        out[128 + 32 * part + l] |= (uint8_t)(level[i] >> 4 << 2 * quarter);
    }
}

static void q6_k_floats(const float *x, uint8_t *out)
{
    float scale[Q6_GROUP], inverse[Q6_GROUP], most = 0, signed_most = 0;
    uint8_t level[256];
    int8_t sc[16];
    for (unsigned k = 0; k < Q6_GROUP; k++) {
        scale[k] = q6_scale(x + Q6_GROUP * k, &inverse[k]);
        const float a = scale[k] < 0 ? -scale[k] : scale[k];
        if (a > most)
            most = a, signed_most = scale[k];
    }
    memset(out, 0, 210);
    if (most < 1e-15f)
        return;
    const float steps = -128 / signed_most;
    const uint16_t half = f16_from_f32(1 / steps);
    for (unsigned i = 0; i < 256; i++) {
        const unsigned k = i / Q6_GROUP;
        const int whole = nearest_even(steps * scale[k]);
        sc[k] = (int8_t)(whole < 127 ? whole : 127);
        const float d = f16_to_f32(half) * (float)sc[k];
        level[i] = (uint8_t)(q6_level(d != 0 ? x[i] / d : inverse[k] * x[i]) + Q6_MAX);
    }
    enc_q6_k_block(level, sc, half, out);
}

const struct enc enc_dense[] = {
    { .name = "f32", .id = 0, .file_type = 0, .block = 1, .block_size = 4, .floats = f32_floats },
    { .name = "f16", .id = 1, .file_type = 1, .block = 1, .block_size = 2, .floats = f16_floats },
    { .name = "q8_0", .id = 8, .file_type = 7, .block = 32, .block_size = 34,
      .floats = q8_0_floats },
    { .name = "q6_k", .id = 14, .file_type = 18, .block = 256, .block_size = 210,
      .floats = q6_k_floats },
    { .name = "bf16", .id = 30, .file_type = 32, .block = 1, .block_size = 2,
      .floats = bf16_floats },
    { .name = "q4_0", .id = 2, .file_type = 2, .block = 32, .block_size = 18,
      .floats = q4_0_floats },
    { .name = "q5_1", .id = 7, .file_type = 9, .block = 32, .block_size = 24,
      .floats = q5_1_floats },
    { .name = NULL }
};
