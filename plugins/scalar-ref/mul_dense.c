/* mul_dense.c - f32, f16, bf16 and int8 weights with f32 activations.
 *
 *   y = +0; for i ascending: y = fma(w[i], x[i], y)
 *
 * Each output is one long chain of fma. REF_PANEL outputs go side by side, so
 * that the processor has something to do while one of them waits:
 * panel[cols][REF_PANEL] holds the f32 values of one column of all of them. */
#include "num.h"
#include "ref.h"

static float element(const bnp_weight *w, uint32_t row, uint32_t i)
{
    const uint8_t *at = w->data + row * w->row_size;
    switch (w->k.format) {
    case BNP_FMT_F32: return ((const float *)at)[i];
    case BNP_FMT_F16: return f32_of_f16(((const uint16_t *)at)[i]);
    case BNP_FMT_BF16: return f32_of_bf16(((const uint16_t *)at)[i]);
    default: break;
    }
    const float q = (float)((const int8_t *)at)[i];
    switch (w->k.scale_kind) {
    case BNP_SCALE_TENSOR: return q * w->scale[0];
    case BNP_SCALE_ROW: return q * w->scale[row];
    case BNP_SCALE_BLOCK: return q * w->scale[(uint64_t)row * w->k.n_block + i / w->k.block_cols];
    default: return q;
    }
}

void ref_dense_unpack(const bnp_weight *w, uint32_t first, uint32_t n, float *panel)
{
    for (uint32_t k = 0; k < REF_PANEL; k++)
        for (uint32_t i = 0; i < w->k.cols; i++)
            panel[(size_t)i * REF_PANEL + k] = k < n ? element(w, first + k, i) : 0.0f;
}

void ref_dense_mul(uint32_t cols, uint32_t n, const float *panel, const float *x, float *y)
{
    float sum[REF_PANEL] = { 0 };
    for (uint32_t i = 0; i < cols; i++)
        for (uint32_t k = 0; k < REF_PANEL; k++)
            sum[k] = fma32(panel[(size_t)i * REF_PANEL + k], x[i], sum[k]);
    for (uint32_t k = 0; k < n; k++)
        y[k] = sum[k];
}

void ref_dense_row(const bnp_weight *w, uint32_t row, float *y)
{
    for (uint32_t i = 0; i < w->k.cols; i++)
        y[i] = element(w, row, i);
}
