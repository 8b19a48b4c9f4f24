/* f16.h - IEEE half and bfloat16 against binary32, bit exact, no hardware needed. */
#ifndef BITNET_BASE_F16_H
#define BITNET_BASE_F16_H

#include <stdint.h>
#include <string.h>

static inline float f32_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float f16_to_f32(uint16_t h);
uint16_t f16_from_f32(float f);            /* nearest even; overflow gives Inf */

static inline float bf16_to_f32(uint16_t h)
{
    return f32_from_bits((uint32_t)h << 16);
}

#endif
