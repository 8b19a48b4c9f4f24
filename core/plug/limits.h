/* limits.h - what this machine can do at most, measured: the yardsticks beside
 * which the times of kernels are printed.
 *
 * Each is measured by all workers together when it is first asked for, takes
 * about 0.2 s, and is remembered in the registry. Main thread, while no step
 * runs. 0: could not be measured, so nothing can be said about fractions. */
#ifndef BITNET_PLUG_LIMITS_H
#define BITNET_PLUG_LIMITS_H

#include "core/plug/plug.h"

/* 1e9 bytes per second read from memory, from a range several times the size
 * of the last cache. */
double limits_read_gbs(struct plug *);

#endif
