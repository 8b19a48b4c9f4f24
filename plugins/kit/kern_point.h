/* kern_point.h - struct point_kern of point.h: a template over the vector of
 * simd.h. Groups and heads lie inside rows, so nothing is written behind them. */
#ifndef BITNET_KIT_KERN_POINT_H
#define BITNET_KIT_KERN_POINT_H

#include "plugins/kit/kern_math.h"
#include "plugins/kit/point.h"

/* sum64(x*x). Lane i % 64 is lane i % VL of vector i / VL % SUM64_VECS; what is
 * missing in the last vector is +0, and fma(0, 0, lane) is lane, which is
 * never -0. */
static float point_sum_squares(const float *x, uint32_t n)
{
    vf lane[SUM64_VECS];
    uint32_t i = 0;
    for (uint32_t l = 0; l < SUM64_VECS; l++)
        lane[l] = vf_zero();
    for (; i + 64 <= n; i += 64) {
        for (uint32_t l = 0; l < SUM64_VECS; l++) {
            const vf v = vf_load(x + i + l * VL);
            lane[l] = vf_fma(v, v, lane[l]);
        }
    }
    for (uint32_t l = 0; i < n; i += VL, l++) {
        const vf v = vf_load_upto(x + i, n - i);
        lane[l] = vf_fma(v, v, lane[l]);
    }
    return vf_sum64(lane);
}

static void point_norm(const float *x, const float *w, uint32_t n, float eps, float *y)
{
    const float ss = point_sum_squares(x, n);
    const vf r = vf_set1(1.0f / __builtin_sqrtf(ss / (float)n + eps));
    for (uint32_t i = 0; i < n; i += VL) {
        const vf gain = vf_mul(r, vf_load_upto(w + i, n - i));
        vf_store_upto(y + i, vf_mul(vf_load_upto(x + i, n - i), gain), n - i);
    }
}

static void point_rope_halves(const float *c, const float *s, uint32_t half, float *x)
{
    float *x1 = x + half;
    for (uint32_t i = 0; i < half; i += VL) {
        const uint32_t left = half - i;
        const vf cos = vf_load_upto(c + i, left), sin = vf_load_upto(s + i, left);
        const vf a = vf_load_upto(x + i, left), b = vf_load_upto(x1 + i, left);
        vf_store_upto(x + i, vf_fms(a, cos, vf_mul(b, sin)), left);
        vf_store_upto(x1 + i, vf_fma(b, cos, vf_mul(a, sin)), left);
    }
}

/* Neighbours: left to the compiler, which knows each processor's shuffles. */
static void point_rope_pairs(const float *restrict c, const float *restrict s, uint32_t half,
                             float *restrict x)
{
    for (uint32_t i = 0; i < half; i++) {
        const float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = __builtin_fmaf(a, c[i], -(b * s[i]));
        x[2 * i + 1] = __builtin_fmaf(b, c[i], a * s[i]);
    }
}

static void point_rope(uint32_t style, uint32_t n_rot, const float *table, float *x)
{
    const uint32_t half = n_rot / 2;
    if (style == BNP_ROPE_HALVES)
        point_rope_halves(table, table + half, half, x);
    else
        point_rope_pairs(table, table + half, half, x);
}

static inline vf point_relu2(vf g, vf u)
{
    const vf t = vf_max(g, vf_zero());
    return vf_mul(vf_mul(t, t), u);
}

static inline vf point_silu(vf g, vf u)
{
    return vf_mul(vf_div(g, vf_add(vf_set1(1.0f), vf_exp32(vf_neg(g)))), u);
}

static inline vf point_gelu(vf g, vf u)
{
    const vf t = vf_fma(vf_mul(g, g), vf_set1(BNP_GELU_B), vf_set1(BNP_GELU_A));
    return vf_mul(vf_div(g, vf_add(vf_set1(1.0f), vf_exp32(vf_neg(vf_mul(g, t))))), u);
}

static inline vf point_glu_one(uint32_t f, vf g, vf u)
{
    return f == BNP_GLU_SILU ? point_silu(g, u) : f == BNP_GLU_GELU ? point_gelu(g, u)
                                                                    : point_relu2(g, u);
}

static void point_glu(uint32_t f, const float *gate, const float *up, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i += VL) {
        const vf g = vf_load_upto(gate + i, n - i), u = vf_load_upto(up + i, n - i);
        vf_store_upto(y + i, point_glu_one(f, g, u), n - i);
    }
}

static void point_add(const float *x, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i += VL)
        vf_store_upto(y + i, vf_add(vf_load_upto(x + i, n - i), vf_load_upto(y + i, n - i)), n - i);
}

static const struct point_kern point_kern = {
    .norm = point_norm,
    .rope = point_rope,
    .glu = point_glu,
    .add = point_add,
};

#endif
