/* point.c - small work on rows: norm, rope, gate, add, pick. */
#include "num.h"
#include "ref.h"
#include "plugins/kit/check_point.h"

#include <string.h>

int ref_point_query(bnp_device *dev, const bnp_point_desc *d, bnp_offer *offer)
{
    return kit_point_query(dev, d, offer);
}

/* ss = sum64(x*x), r = 1 / sqrt(ss / n + eps), y = x * (r * w) */
static void norm_group(const float *x, const float *w, uint32_t n, float eps, float *y)
{
    float lane[64] = { 0 };
    for (uint32_t i = 0; i < n; i++)
        lane[i % 64] = fma32(x[i], x[i], lane[i % 64]);
    const float ss = sum64_tree(lane);
    const float r = 1.0f / sqrt32(ss / (float)n + eps);
    for (uint32_t i = 0; i < n; i++)
        y[i] = x[i] * (r * w[i]);
}

int ref_point_rmsnorm(bnp_stream *s, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y)
{
    uint32_t n;
    int rc = kit_norm_check(s, norm, x, y, &n);
    if (rc || (rc = kit_need_finite(s, "rmsnorm", x)))
        return rc;
    const float *w = span_at(norm->weight);
    for (uint32_t t = 0; t < x->n_tok; t++)
        for (uint32_t at = 0; at < x->cols; at += n)
            norm_group(rows_at(x, t) + at, w, n, norm->eps, rows_at(y, t) + at);
    return BNP_OK;
}

/* The i-th pair of a head is elements i and i + n_rot/2, or 2i and 2i + 1. */
static void rope_head(float *x, const float *table, uint32_t n_rot, uint32_t style)
{
    const uint32_t half = n_rot / 2;
    for (uint32_t i = 0; i < half; i++) {
        float *a = &x[style == BNP_ROPE_HALVES ? i : 2 * i];
        float *b = &x[style == BNP_ROPE_HALVES ? i + half : 2 * i + 1];
        const float c = table[i], sn = table[half + i], x0 = *a, x1 = *b;
        *a = fma32(x0, c, -(x1 * sn));
        *b = fma32(x1, c, x0 * sn);
    }
}

int ref_point_rope(bnp_stream *s, const bnp_rope *rope, const bnp_rows *x)
{
    const int rc = kit_rope_check(s, rope, x);
    for (uint32_t t = 0; !rc && t < x->n_tok; t++)
        for (uint32_t at = 0; at < x->cols; at += rope->head_dim)
            rope_head(rows_at(x, t) + at, kit_rope_row(s, rope, t), rope->n_rot, rope->style);
    return rc;
}

/* RELU2: t = max(g, 0), y = (t * t) * u. SILU: y = (g / (1 + exp32(-g))) * u.
 * GELU: the same with z = g * (A + B * g^2) in the exponent's place. */
static float glu(uint32_t f, float g, float u)
{
    if (f == BNP_GLU_SILU)
        return (g / (1.0f + exp32(-g))) * u;
    if (f == BNP_GLU_GELU) {
        const float z = g * fma32(g * g, BNP_GELU_B, BNP_GELU_A);
        return (g / (1.0f + exp32(-z))) * u;
    }
    const float t = g > 0.0f ? g : 0.0f;
    return (t * t) * u;
}

int ref_point_glu(bnp_stream *s, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y)
{
    const int rc = kit_glu_check(s, f, gate, up, y);
    for (uint32_t t = 0; !rc && t < y->n_tok; t++)
        for (uint32_t i = 0; i < y->cols; i++)
            rows_at(y, t)[i] = glu(f, rows_at(gate, t)[i], rows_at(up, t)[i]);
    return rc;
}

int ref_point_add(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    const int rc = kit_add_check(s, x, y);
    for (uint32_t t = 0; !rc && t < y->n_tok; t++)
        for (uint32_t i = 0; i < y->cols; i++)
            rows_at(y, t)[i] = rows_at(x, t)[i] + rows_at(y, t)[i];
    return rc;
}

int ref_point_pick(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    const int rc = kit_pick_check(s, x, y);
    for (uint32_t i = 0; !rc && i < y->n_tok; i++)
        memcpy(rows_at(y, i), rows_at(x, (uint32_t)s->step.out_row[i]), (size_t)rows_width(x));
    return rc;
}
