/* rope.h - cosines and sines for every position, with the same bits on every
 * machine.
 *
 * Pair i of a head turns by pos * base^(-2i / n_rot), divided by factor[i]
 * where the model stretches its frequencies. */
#ifndef BITNET_ENGINE_ROPE_H
#define BITNET_ENGINE_ROPE_H

#include <stdint.h>

#include "core/base/err.h"

/* Fills table, f32 [n_pos][n_rot]: n_rot/2 cosines, then n_rot/2 sines.
 * factor: [n_rot/2], or NULL for all 1. ERR_DATA: base or a factor is not a
 * positive number, or an angle is too large to reduce. */
int rope_fill(float *table, uint32_t n_pos, uint32_t n_rot, double base, const float *factor,
              struct err *);

#endif
