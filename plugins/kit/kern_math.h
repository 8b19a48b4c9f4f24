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

static inline float vf_first(vf v)
{
    float t[VL];
    vf_store(t, v);
    return t[0];
}

#define SUM64_VECS (64 / VL)

/* The tree at the end of sum64; lane[] is used up. */
static inline float vf_sum64(vf *lane)
{
    for (int w = SUM64_VECS / 2; w; w /= 2)
        for (int l = 0; l < w; l++)
            lane[l] = vf_add(lane[l], lane[l + w]);
    float t[VL];
    vf_store(t, lane[0]);
    for (int w = VL / 2; w; w /= 2)
        for (int l = 0; l < w; l++)
            t[l] += t[l + w];
    return t[0];
}

/* rint(x) for |x| <= 2^22: one ulp of 1.5 * 2^23 is 1. Below -87 the number
 * that comes out of the polynomial means nothing and is replaced. */
static inline vf vf_exp32(vf x)
{
    const vf magic = vf_set1(12582912.0f);
    const vf top = vf_min(x, vf_set1(88.0f));
    const vf n = vf_sub(vf_add(vf_mul(top, vf_set1(BNP_EXP_LOG2E)), magic), magic);
    vf r = vf_fma(n, vf_set1(-BNP_EXP_LN2_HI), top);
    r = vf_fma(n, vf_set1(-BNP_EXP_LN2_LO), r);
    vf p = vf_set1(BNP_EXP_C6);
    p = vf_fma(p, r, vf_set1(BNP_EXP_C5));
    p = vf_fma(p, r, vf_set1(BNP_EXP_C4));
    p = vf_fma(p, r, vf_set1(BNP_EXP_C3));
    p = vf_fma(p, r, vf_set1(BNP_EXP_C2));
    p = vf_fma(p, r, vf_set1(BNP_EXP_C1));
    p = vf_fma(p, r, vf_set1(BNP_EXP_C0));
    return vf_ge(x, vf_set1(-87.0f), vf_scale(p, n));
}

#endif
