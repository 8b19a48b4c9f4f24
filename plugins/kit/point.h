/* point.h - kernels of pointwise work, on one group, head or row at a time.
 * Formulas: bitnet_plugin.h, family 3. y may be x, gate or up. */
#ifndef BITNET_KIT_POINT_H
#define BITNET_KIT_POINT_H

#include <stdint.h>

struct point_kern {
    /* One group of n columns. */
    void (*norm)(const float *x, const float *w, uint32_t n, float eps, float *y);
    /* One head; table holds n_rot/2 cosines, then as many sines. */
    void (*rope)(uint32_t style, uint32_t n_rot, const float *table, float *x);
    void (*glu)(uint32_t f, const float *gate, const float *up, uint32_t n, float *y);
    void (*add)(const float *x, uint32_t n, float *y);
};

#endif
