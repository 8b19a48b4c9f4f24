/* gen.h - inputs for parity and accuracy tests: same seed, same bytes.
 *
 * Random numbers never reach the limits where kernels break, so every fill
 * but the first is there to reach one: saturating sums, cancelling sums, a
 * maximum in one place, numbers below the normal range, sums whose low bits
 * depend on the order. */
#ifndef VERIFY_GEN_H
#define VERIFY_GEN_H

#include <stddef.h>
#include <stdint.h>

#include "bitnet_plugin.h"

enum fill {
    FILL_RANDOM, FILL_ZERO, FILL_MAX, FILL_MIN, FILL_SPIKE, FILL_DENORMAL, FILL_ALTERNATE,
    FILL_MIXED, N_FILL
};
const char *fill_name(enum fill);

/* The n-th number of a seed. */
uint64_t gen_u64(uint64_t seed, uint64_t n);
float gen_unit(uint64_t seed, uint64_t n);             /* [-1, 1) */

/* n values of magnitude up to max (MIXED: spread over 40 binary orders below
 * it; DENORMAL: below 2^-126 whatever max is). */
void gen_fill(enum fill, uint64_t seed, float max, float *x, uint32_t n);

struct gen_weight {             /* everything a description does not say     */
    bnp_weight_desc desc;
    enum fill fill;
    uint64_t seed;
};

/* Reads rows and scales of a struct gen_weight, ctx. */
bnp_weight_src gen_source(struct gen_weight *);
/* Element (row, col) without its scale, and its scale, for evaluating in
 * double precision. */
double gen_element(const struct gen_weight *, uint32_t row, uint32_t col);
float gen_scale(const struct gen_weight *, uint64_t index);
uint64_t gen_scale_index(const struct gen_weight *, uint32_t row, uint32_t col);

#endif
