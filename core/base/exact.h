/* exact.h - elementary functions with the same bits on every machine.
 *
 * libm differs between versions and architectures; these are polynomials in
 * plain double arithmetic, compiled without contraction. Used for the rope
 * table and the sampler: host-side values that reach a result. Errors stay
 * below 2^-50 relative, far under one f32 rounding. */
#ifndef BITNET_BASE_EXACT_H
#define BITNET_BASE_EXACT_H

#include <stdint.h>

double exact_exp(double x);                            /* |x| <= 700; below: 0, above: e^700 */
double exact_log(double x);                            /* x > 0, normal */
void exact_sincos(double x, double *s, double *c);     /* |x| <= 2^30 radians */

/* A counter-based generator (Philox 4x32-10): the n-th number of a seed needs
 * no state. Uniform in [0, 1), 53 bits: the first two words of Philox at
 * counter n, key seed. */
void exact_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
double exact_uniform(uint64_t seed, uint64_t n);

#endif
