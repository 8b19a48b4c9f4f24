/* bitnet_synth_enc.c - numbers to the bytes of a file's tensors, a block at a
 * time, and the numbers themselves.
 *
 * The layouts are those that core/model reads (ternary.c, dense.c), which is
 * also what checks them: tests/unit/test_synth.c. I2_S is in layout A. */
#include "tools/bitnet_synth.h"

#include <string.h>

#include "core/base/exact.h"
#include "core/base/f16.h"

/* ----------------------------------------------------------------- ternary */

static void put_half(float v, uint8_t *out)
{
    const uint16_t h = f16_from_f32(v);
    memcpy(out, &h, sizeof h);
}

/* 128 elements, stride 32, first field highest. The scale is the tail's. */
static void i2s_codes(const int8_t *w, float scale, uint8_t *out)
{
    (void)scale;
    for (unsigned j = 0; j < 32; j++)
        out[j] = (uint8_t)((w[j] + 1) << 6 | (w[j + 32] + 1) << 4 | (w[j + 64] + 1) << 2 |
                           (w[j + 96] + 1));
}

/* Two halves of 128 elements, stride 32, first field lowest; then d. */
static void tq2_codes(const int8_t *w, float scale, uint8_t *out)
{
    for (unsigned half = 0; half < 2; half++, w += 128, out += 32)
        for (unsigned j = 0; j < 32; j++)
            out[j] = (uint8_t)((w[j] + 1) | (w[j + 32] + 1) << 2 | (w[j + 64] + 1) << 4 |
                               (w[j + 96] + 1) << 6);
    put_half(scale, out);
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
    put_half(scale, out + 52);
}

/* ------------------------------------------------------------------- dense */

static void f32_floats(const float *x, uint8_t *out)
{
    memcpy(out, x, sizeof *x);
}

static void f16_floats(const float *x, uint8_t *out)
{
    put_half(*x, out);
}

static float largest(const float *x, unsigned n)
{
    float m = 0;
    for (unsigned i = 0; i < n; i++) {
        const float a = x[i] < 0 ? -x[i] : x[i];
        m = a > m ? a : m;
    }
    return m;
}

/* x / step to the nearest whole number, halves away from zero, within lo .. hi.
 * step 0: 0. */
static int nearest(float x, float step, int lo, int hi)
{
    if (step == 0)
        return 0;
    const float v = x / step;
    const int q = (int)(v < 0 ? v - 0.5f : v + 0.5f);
    return q < lo ? lo : q > hi ? hi : q;
}

/* f16 d, int8 q[32] */
static void q8_0_floats(const float *x, uint8_t *out)
{
    const uint16_t d = f16_from_f32(largest(x, 32) / 127);
    memcpy(out, &d, sizeof d);
    for (unsigned i = 0; i < 32; i++)
        out[2 + i] = (uint8_t)(int8_t)nearest(x[i], f16_to_f32(d), -127, 127);
}

/* ql[128], qh[64], int8 sc[16], f16 d: element i is d * sc[i / 16] * q, q of
 * -32 .. 31. d makes the largest of the sixteen scales 127. */
static void q6_k_floats(const float *x, uint8_t *out)
{
    uint8_t q[256];
    const uint16_t half = f16_from_f32(largest(x, 256) / 31 / 127);
    const float d = f16_to_f32(half);
    memset(out, 0, 192);
    for (unsigned k = 0; k < 16; k++) {
        const int sc = nearest(largest(x + 16 * k, 16) / 31, d, 0, 127);
        out[192 + k] = (uint8_t)sc;
        for (unsigned i = 16 * k; i < 16 * k + 16; i++)
            q[i] = (uint8_t)(nearest(x[i], d * (float)sc, -32, 31) + 32);
    }
    memcpy(out + 208, &half, sizeof half);
    for (unsigned i = 0; i < 256; i++) {
        const unsigned part = i / 128, quarter = i % 128 / 32, l = i % 32;
        out[64 * part + 32 * (quarter % 2) + l] |= (uint8_t)((q[i] & 15) << 4 * (quarter / 2));
        out[128 + 32 * part + l] |= (uint8_t)(q[i] >> 4 << 2 * quarter);
    }
}

/* ------------------------------------------------------------------- table
 *
 * File types as llama.cpp numbers them; 40 is bitnet.cpp's for I2_S. */
static const struct synth_enc encs[] = {
    { "i2_s", 36, 40, 128, 32, true, i2s_codes, NULL },
    { "tq1_0", 34, 36, 256, 54, true, tq1_codes, NULL },
    { "tq2_0", 35, 37, 256, 66, true, tq2_codes, NULL },
    { "f32", 0, 0, 1, 4, false, NULL, f32_floats },
    { "f16", 1, 1, 1, 2, false, NULL, f16_floats },
    { "q8_0", 8, 7, 32, 34, false, NULL, q8_0_floats },
    { "q6_k", 14, 18, 256, 210, false, NULL, q6_k_floats },
};
enum { N_ENCS = sizeof encs / sizeof *encs };

const struct synth_enc *synth_enc_find(const char *name, const char *option, struct err *e)
{
    for (unsigned i = 0; i < N_ENCS; i++)
        if (!strcmp(name, encs[i].name))
            return &encs[i];
    err_set(e, ERR_ARG, "--%s: %.100s, expected i2_s, tq1_0, tq2_0, f32, f16, q8_0 or q6_k", option,
            name);
    return NULL;
}

void synth_enc_floats(const struct synth_enc *c, const float *x, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i += c->block, out += c->block_size)
        c->floats(x + i, out);
}

void synth_enc_codes(const struct synth_enc *c, const int8_t *w, size_t n, float scale,
                     uint8_t *out)
{
    float x[256];
    for (size_t i = 0; i < n; i += c->block, out += c->block_size) {
        if (c->ternary) {
            c->codes(w + i, scale, out);
            continue;
        }
        for (unsigned k = 0; k < c->block; k++)
            x[k] = (float)w[i + k] * scale;
        c->floats(x, out);
    }
}

size_t synth_enc_tail(const struct synth_enc *c, float scale, uint8_t out[SYNTH_TAIL])
{
    if (c->codes != i2s_codes)
        return 0;
    memset(out, 0, SYNTH_TAIL);
    memcpy(out, &scale, sizeof scale);
    return SYNTH_TAIL;
}

/* ----------------------------------------------------------------- numbers */

struct synth_random synth_random_at(uint64_t seed, uint32_t tensor, uint64_t piece)
{
    const uint32_t counter[4] = { tensor, (uint32_t)piece, (uint32_t)(piece >> 32), 0x73796e74 };
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t out[4];
    exact_philox(counter, key, out);
    return (struct synth_random){ (uint64_t)out[1] << 32 | out[0] };
}

/* SplitMix64: fast enough for billions of weights. */
static uint64_t next(struct synth_random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void synth_random_codes(struct synth_random *r, int8_t *w, size_t n)
{
    uint64_t u = 0;
    for (size_t i = 0; i < n; i++, u >>= 8) {
        if (i % 8 == 0)
            u = next(r);
        const unsigned byte = u & 255;
        w[i] = (int8_t)((byte >= 182) - (byte < 74));
    }
}

/* The sum of four bytes has mean 510 and variance 4 * (256^2 - 1) / 12, which is
 * 147.8^2. */
void synth_random_floats(struct synth_random *r, float mean, float deviation, float *x, size_t n)
{
    const float step = deviation / 147.8f;
    uint64_t u = 0;
    for (size_t i = 0; i < n; i++, u >>= 32) {
        if (i % 2 == 0)
            u = next(r);
        const uint64_t sum = (u & 255) + (u >> 8 & 255) + (u >> 16 & 255) + (u >> 24 & 255);
        x[i] = mean + step * (float)((int)sum - 510);
    }
}
