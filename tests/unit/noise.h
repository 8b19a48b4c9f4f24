/* noise.h - numbers that look random and are the same at every run: the
 * xorshift of Marsaglia, 2003. */
#ifndef TESTS_UNIT_NOISE_H
#define TESTS_UNIT_NOISE_H

#include <stdint.h>

#define NOISE_SEED 0x9e3779b97f4a7c15u

/* *state is not 0. */
static inline uint64_t noise_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

/* 0 to n - 1. */
static inline uint32_t noise_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((noise_next(state) >> 33) % n);
}

#endif
