/* metrics_put.h - Prometheus' text format, a family at a time.
 *
 * A family is announced once (HELP, TYPE), then its samples follow. Times are
 * seconds, written from whole micro- or nanoseconds without a rounding. */
#ifndef BITNET_SERVE_METRICS_PUT_H
#define BITNET_SERVE_METRICS_PUT_H

#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/hist.h"

enum metrics_unit { METRICS_ONE, METRICS_US, METRICS_NS };

struct metrics_label {
    const char *name, *value;     /* value: any bytes                          */
};

/* name without "bitnetd_"; type "counter", "gauge", "histogram". */
void metrics_family(struct buf *, const char *name, const char *type, const char *help);
void metrics_sample(struct buf *, const char *name, const struct metrics_label *, unsigned n_label,
                    uint64_t v, enum metrics_unit);
/* A family of one sample without labels. */
void metrics_one(struct buf *, const char *name, const char *type, const char *help, uint64_t v,
                 enum metrics_unit);
/* A family that is one histogram; HIST_TIME is written in seconds. */
void metrics_hist(struct buf *, const char *name, const char *help, const struct hist *);

#endif
