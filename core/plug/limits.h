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

/* 1e9 multiply-adds of bytes per second, in registers, by the best instructions
 * among topo.isa: what no kernel of that instruction set can pass. Measured by
 * the core and not by a plugin, so that every plugin stands beside the same
 * number. The name says which instructions: "avx2 vpmaddubsw+vpaddw". */
double limits_int8_gmacs(struct plug *);
const char *limits_int8_name(const struct plug *);

/* The same two, not at best but on average over some 30 ms: what a machine that
 * others use too leaves at the moment. Memory for it is taken and given back. */
struct limits_now {
    double read_gbs, int8_gmacs;
};
struct limits_now limits_sample(struct plug *);
double limits_int8_mean(struct plug *);         /* the half of it that multiplies */

#endif
