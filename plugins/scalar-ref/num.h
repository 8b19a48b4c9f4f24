/* num.h - the arithmetic of docs/numerics.md, one function per definition.
 *
 * Every operation here is one binary32 operation, rounded once, or built from
 * operations that are exact. Nothing calls libm: its results differ between
 * versions. Compiled with -ffp-contract=off, so what is written is what is
 * rounded. */
#ifndef SCALAR_REF_NUM_H
#define SCALAR_REF_NUM_H

#include <stdint.h>
#include <string.h>

#include "bitnet_plugin.h"

static inline float f32_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* fma(a,b,c) where the processor has no such instruction: round to odd.
 *
 * The product of two 24-bit significands fits a double's 53, so p is exact and
 * never leaves a double's range. s + err is then the exact sum (TwoSum). When
 * err is not 0 and s is even, s steps to its odd neighbour on err's side; an
 * odd last bit says "inexact" to the second rounding, and with at least two
 * bits to spare (53 against 24) that one then rounds as if it saw the exact
 * sum. Most sums need no such care: away from the middle between two floats s
 * already rounds to the right one, and that test comes first because it is
 * cheap. Below the normal floats the middle is elsewhere, so they take the
 * long way. */
static inline float fma32_exact(float a, float b, float c)
{
    const double p = (double)a * (double)b, s = p + (double)c;
    uint64_t u;
    memcpy(&u, &s, sizeof u);
    const uint64_t exponent = u >> 52 & 0x7ff;
    if ((u & 0x1fffffff) != 0x10000000 && exponent >= 1023 - 126)
        return (float)s;
    const double t = s - p, err = (p - (s - t)) + ((double)c - t);
    if (!(u & 1) && (err > 0 || err < 0)) {     /* neither, when s is Inf or NaN */
        u += (err > 0) == (s > 0) ? 1 : UINT64_MAX;
        double odd;
        memcpy(&odd, &u, sizeof odd);
        return (float)odd;
    }
    return (float)s;
}

/* Only where it is an instruction, for libm's may be anything. */
static inline float fma32(float a, float b, float c)
{
#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return fma32_exact(a, b, c);
#endif
}

/* rint(x) for |x| <= 2^22: one ulp of 1.5 * 2^23 is 1, so adding it rounds to
 * an integer, nearest even, and taking it away again is exact. */
#define RINT_MAGIC 12582912.0f

static inline float rint32(float x)
{
    return (x + RINT_MAGIC) - RINT_MAGIC;
}

static inline float sqrt32(float x)
{
    return __builtin_sqrtf(x);              /* an instruction, rounded right */
}

/* n comes out of the magic sum's low bits rather than of a conversion, so that
 * a NaN gives some number and not undefined behaviour. */
static inline float exp32(float x)
{
    if (x < -87.0f)
        return 0.0f;
    if (x > 88.0f)
        x = 88.0f;
    const float magic = x * BNP_EXP_LOG2E + RINT_MAGIC, n = magic - RINT_MAGIC;
    float r = fma32(n, -BNP_EXP_LN2_HI, x);
    r = fma32(n, -BNP_EXP_LN2_LO, r);
    float p = BNP_EXP_C6;
    p = fma32(p, r, BNP_EXP_C5);
    p = fma32(p, r, BNP_EXP_C4);
    p = fma32(p, r, BNP_EXP_C3);
    p = fma32(p, r, BNP_EXP_C2);
    p = fma32(p, r, BNP_EXP_C1);
    p = fma32(p, r, BNP_EXP_C0);
    return f32_of(bits_of(p) + ((bits_of(magic) - bits_of(RINT_MAGIC)) << 23));
}

/* The tree at the end of sum64; lane[64] is used up. */
static inline float sum64_tree(float *lane)
{
    for (int w = 32; w; w /= 2)
        for (int l = 0; l < w; l++)
            lane[l] += lane[l + w];
    return lane[0];
}

static inline float f32_of_bf16(uint16_t h)
{
    return f32_of((uint32_t)h << 16);
}

static inline float f32_of_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
    if (e == 31)
        return f32_of(sign | 0x7f800000u | m << 13);
    if (e)
        return f32_of(sign | (e + 112) << 23 | m << 13);
    const float tiny = (float)m * 0x1p-24f;             /* exact: 10 bits times 2^-24 */
    return sign ? -tiny : tiny;
}

/* Nearest even; what rounds to 65520 or more gives Inf. */
static inline uint16_t f16_of_f32(float f)
{
    const uint32_t u = bits_of(f), mag = u & 0x7fffffffu, sign = u >> 16 & 0x8000u;
    uint32_t h;
    if (mag > 0x7f800000u)
        h = 0x7e00;
    else if (mag >= 0x477ff000u)                        /* 65520: half way to 2^16 */
        h = 0x7c00;
    else if (mag >= 0x38800000u)                        /* 2^-14: normal in f16 */
        h = (mag - (112u << 23) + 0xfff + (mag >> 13 & 1)) >> 13;
    else                                                /* one ulp of 0.5 is 2^-24 */
        h = bits_of(f32_of(mag) + 0.5f) - bits_of(0.5f);
    return (uint16_t)(sign | h);
}

#endif
