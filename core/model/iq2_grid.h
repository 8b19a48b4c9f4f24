/* iq2_grid.h - the code books of IQ2_XS and IQ2_S.
 *
 * Eight magnitudes in 16 bits: bits 2k+1:2k are 0, 1, 2 for the magnitude 8,
 * 25, 43 of element k. The tables are part of the formats: a file holds row
 * numbers. */
#ifndef BITNET_MODEL_IQ2_GRID_H
#define BITNET_MODEL_IQ2_GRID_H

#include <stdint.h>

extern const uint16_t iq2_grid_xs[512], iq2_grid_s[1024];

#endif
