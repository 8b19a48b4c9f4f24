/* f16.c - IEEE half to and from binary32 in integer arithmetic. */
#include "core/base/f16.h"

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t e = (h >> 10) & 31, m = h & 0x3ff;
    if (e == 31)
        return f32_from_bits(sign | 0x7f800000u | m << 13);
    if (e)
        return f32_from_bits(sign | (e + 112) << 23 | m << 13);
    /* Subnormal or zero: m * 2^-24 is exact in binary32. */
    float v = (float)m * 0x1p-24f;
    return f32_from_bits(sign | f32_bits(v));
}

/* v >> shift, rounded to nearest, ties to even. 1 <= shift <= 31. */
static uint32_t shift_round(uint32_t v, uint32_t shift)
{
    uint32_t half = (uint32_t)1 << (shift - 1);
    return (v + half - 1 + ((v >> shift) & 1)) >> shift;
}

uint16_t f16_from_f32(float f)
{
    uint32_t u = f32_bits(f);
    uint16_t sign = (uint16_t)((u >> 16) & 0x8000);
    u &= 0x7fffffff;
    if (u > 0x7f800000)                 /* a NaN stays one, quiet */
        return (uint16_t)(sign | 0x7e00 | ((u >> 13) & 0x1ff));
    if (u >= 0x477ff000)                /* 65520 and up round to Inf */
        return (uint16_t)(sign | 0x7c00);
    if (u >= 0x38800000)                /* normal: rebias; a carry out of the mantissa is right */
        return (uint16_t)(sign | shift_round(u - 0x38000000, 13));
    if (u < 0x33000000)                 /* under half of the smallest subnormal */
        return sign;
    uint32_t m = (u & 0x7fffff) | 0x800000;
    return (uint16_t)(sign | shift_round(m, 126 - (u >> 23)));
}
