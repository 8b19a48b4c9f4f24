/* mul_ternary.c - ternary weights with int8 activations.
 *
 *   acc = sum of (code - 1) * q over a block of columns, exact in 32 bits:
 *         |code - 1| <= 2 and |q| <= 127, and 2^23 * 254 < 2^31
 *   one scale:     y = (float)acc * (scale / s)
 *   block scales:  y = fma((float)acc[g], d[g], y) for g ascending, then
 *                  y * (1 / s)
 *
 * panel[n][cols]: the values code - 1 of n weight rows. */
#include "num.h"
#include "ref.h"

void ref_ternary_unpack(const bnp_weight *w, uint32_t first, uint32_t n, int8_t *panel)
{
    for (uint32_t k = 0; k < n; k++) {
        const uint8_t *row = w->data + (first + (uint64_t)k) * w->row_size;
        int8_t *out = panel + (size_t)k * w->k.cols;
        for (uint32_t i = 0; i < w->k.cols; i++)
            out[i] = (int8_t)((row[i / 4] >> 2 * (i % 4) & 3) - 1);
    }
}

static int32_t dot(const int8_t *w, const int8_t *q, uint32_t n)
{
    int32_t acc = 0;
    for (uint32_t i = 0; i < n; i++)
        acc += w[i] * q[i];
    return acc;
}

static float one_scale(const bnp_weight *w, uint32_t row)
{
    switch (w->k.scale_kind) {
    case BNP_SCALE_TENSOR: return w->scale[0];
    case BNP_SCALE_ROW: return w->scale[row];
    default: return 1.0f;
    }
}

static float block_sum(const bnp_weight *w, uint32_t row, const int8_t *v, const int8_t *q)
{
    const float *d = w->scale + (uint64_t)row * w->k.n_block;
    float y = 0.0f;
    for (uint32_t g = 0; g < w->k.n_block; g++) {
        const uint32_t from = g * w->k.block_cols, left = w->k.cols - from;
        const uint32_t n = left < w->k.block_cols ? left : w->k.block_cols;
        y = fma32((float)dot(v + from, q + from, n), d[g], y);
    }
    return y;
}

void ref_ternary_mul(const bnp_weight *w, uint32_t first, uint32_t n, const int8_t *panel,
                     const struct kit_act *act, uint32_t t, float *y)
{
    float s;
    const int8_t *q = ref_act_int8(act, t, &s);
    for (uint32_t k = 0; k < n; k++) {
        const int8_t *v = panel + (size_t)k * w->k.cols;
        if (w->k.scale_kind == BNP_SCALE_BLOCK)
            y[k] = block_sum(w, first + k, v, q) * (1.0f / s);
        else
            y[k] = (float)dot(v, q, w->k.cols) * (one_scale(w, first + k) / s);
    }
}

void ref_ternary_row(const bnp_weight *w, uint32_t row, float *y)
{
    const uint8_t *codes = w->data + row * w->row_size;
    const float *d = w->scale + (uint64_t)row * w->k.n_block;
    for (uint32_t i = 0; i < w->k.cols; i++) {
        const int code = codes[i / 4] >> 2 * (i % 4) & 3;
        const float scale = w->k.scale_kind == BNP_SCALE_BLOCK ? d[i / w->k.block_cols]
                                                             : one_scale(w, row);
        y[i] = (float)(code - 1) * scale;
    }
}
