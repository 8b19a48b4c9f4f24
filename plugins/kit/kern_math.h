/* kern_math.h - what the kernel templates share: parts of vectors, sum64 and
 * exp32 of bitnet_plugin.h over the vector of simd.h. */
#ifndef BITNET_KIT_KERN_MATH_H
#define BITNET_KIT_KERN_MATH_H

#include <string.h>

#include "bitnet_plugin.h"
#include "plugins/kit/simd.h"

/* The first n < VL floats, +0 behind them: what lies there is not looked at. */
static inline vf vf_load_part(const float *p, uint32_t n)
{
    float t[VL] = { 0 };
    for (uint32_t i = 0; i < n; i++)
        t[i] = p[i];
    return vf_load(t);
}

static inline void vf_store_part(float *p, vf v, uint32_t n)
{
    float t[VL];
    vf_store(t, v);
    for (uint32_t i = 0; i < n; i++)
        p[i] = t[i];
}

/* VL floats from p on, or the left < VL that there are. */
static inline vf vf_load_upto(const float *p, uint32_t left)
{
    return left >= VL ? vf_load(p) : vf_load_part(p, left);
}

static inline void vf_store_upto(float *p, vf v, uint32_t left)
{
    if (left >= VL)
        vf_store(p, v);
    else
        vf_store_part(p, v, left);
}

static inline float vf_max_lane(vf v)           /* no NaN */
{
    float t[VL], m;
    vf_store(t, v);
    m = t[0];
    for (int i = 1; i < VL; i++)
        m = t[i] > m ? t[i] : m;
    return m;
}

/* The largest magnitude of n floats, or least. */
static inline float vf_largest(const float *x, uint32_t n, float least)     /* no NaN */
{
    vf m[2] = { vf_set1(least), vf_set1(least) };
    uint32_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        m[0] = vf_max(m[0], vf_abs(vf_load(x + i)));
        m[1] = vf_max(m[1], vf_abs(vf_load(x + i + VL)));
    }
    for (; i < n; i += VL)
        m[0] = vf_max(m[0], vf_abs(vf_load_upto(x + i, n - i)));
    return vf_max_lane(vf_max(m[0], m[1]));
}

static inline float vf_first(vf v)
{
    float t[VL];
    vf_store(t, v);
    return t[0];
}

#define SUM64_VECS (64 / VL)

static inline void vf_fold(vf *lane, uint32_t w)
{
    for (uint32_t l = 0; l < w; l++)
        lane[l] = vf_add(lane[l], lane[l + w]);
}

/* The tree at the end of sum64; lane[] is used up. */
static inline float vf_sum64(vf *lane)
{
    if (SUM64_VECS > 8)
        vf_fold(lane, 8);
    if (SUM64_VECS > 4)
        vf_fold(lane, 4);
    vf_fold(lane, 2);
    vf_fold(lane, 1);
    float t[VL];
    vf_store(t, lane[0]);
    for (int w = VL / 2; w; w /= 2)
        for (int l = 0; l < w; l++)
            t[l] += t[l + w];
    return t[0];
}

/* rint(x) for |x| <= 2^22: one ulp of 1.5 * 2^23 is 1. Below -87 the number
 * that comes out of the polynomial means nothing and is replaced. Step by step
 * for n vectors: each is a chain of twenty operations, and a core looks no
 * further ahead than three of them. */
static inline __attribute__((always_inline)) void vf_exp32_of(vf *x, uint32_t n)
{
    static const float c[] = { BNP_EXP_C5, BNP_EXP_C4, BNP_EXP_C3, BNP_EXP_C2, BNP_EXP_C1,
                               BNP_EXP_C0 };
    const vf magic = vf_set1(12582912.0f);
    vf e[4], r[4], p[4];
    for (uint32_t k = 0; k < n; k++)
        r[k] = vf_min(x[k], vf_set1(88.0f));
    for (uint32_t k = 0; k < n; k++)
        e[k] = vf_add(vf_mul(r[k], vf_set1(BNP_EXP_LOG2E)), magic);
    for (uint32_t k = 0; k < n; k++)
        e[k] = vf_sub(e[k], magic);
    for (uint32_t k = 0; k < n; k++)
        r[k] = vf_fma(e[k], vf_set1(-BNP_EXP_LN2_HI), r[k]);
    for (uint32_t k = 0; k < n; k++)
        r[k] = vf_fma(e[k], vf_set1(-BNP_EXP_LN2_LO), r[k]);
    for (uint32_t k = 0; k < n; k++)
        p[k] = vf_set1(BNP_EXP_C6);
    for (uint32_t i = 0; i < sizeof c / sizeof *c; i++)
        for (uint32_t k = 0; k < n; k++)
            p[k] = vf_fma(p[k], r[k], vf_set1(c[i]));
    for (uint32_t k = 0; k < n; k++)
        x[k] = vf_ge(x[k], vf_set1(-87.0f), vf_scale(p[k], e[k]));
}

static inline vf vf_exp32(vf x)
{
    vf_exp32_of(&x, 1);
    return x;
}

#endif
