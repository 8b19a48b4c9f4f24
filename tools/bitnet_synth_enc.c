/* bitnet_synth_enc.c - the numbers of random tensors, and quick encoders for
 * them. */
#include "tools/bitnet_synth.h"

#include <math.h>
#include <string.h>

#include "core/base/exact.h"
#include "core/base/f16.h"

/* --------------------------------------------------- the nearest step, no search */

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

/* d makes the largest of the sixteen scales 127. */
static void q6_k_floats(const float *x, uint8_t *out)
{
    uint8_t level[256];
    int8_t sc[16];
    const uint16_t half = f16_from_f32(largest(x, 256) / 31 / 127);
    const float d = f16_to_f32(half);
    for (unsigned k = 0; k < 16; k++) {
        sc[k] = (int8_t)nearest(largest(x + 16 * k, 16) / 31, d, 0, 127);
        for (unsigned i = 16 * k; i < 16 * k + 16; i++)
            level[i] = (uint8_t)(nearest(x[i], d * (float)sc[k], -32, 31) + 32);
    }
    enc_q6_k_block(level, sc, half, out);
}

static const struct enc encs[] = {
    { .name = "q8_0", .id = 8, .file_type = 7, .block = 32, .block_size = 34,
      .floats = q8_0_floats },
    { .name = "q6_k", .id = 14, .file_type = 18, .block = 256, .block_size = 210,
      .floats = q6_k_floats },
};

const struct enc *synth_enc_find(const char *name)
{
    for (unsigned i = 0; i < sizeof encs / sizeof *encs; i++)
        if (!strcmp(name, encs[i].name))
            return &encs[i];
    return enc_find(name);
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

/* Rows of norm-1 inputs give outputs of about norm 1: of k weights 148 of 256
 * are not 0. Rounded to half, so that every encoding holds the same numbers. */
float synth_matrix_scale(uint32_t cols)
{
    return f16_to_f32(f16_from_f32((float)(1.0 / sqrt(cols * (148.0 / 256.0)))));
}

/* One and a half as the deviation of a logit, which is a sum over the row. */
float synth_table_deviation(uint32_t cols)
{
    return (float)(1.5 / sqrt(cols));
}
