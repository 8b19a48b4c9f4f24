/* probe_run.h - a stream, some memory and a step: what every probe needs.
 *
 * Works on devices with and without host memory. Functions return 0 or fill
 * err; everything given is freed by run_close. */
#ifndef BITNET_PLUG_PROBE_RUN_H
#define BITNET_PLUG_PROBE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/plug/probe.h"

#define RUN_SPANS 32

struct probe_run {
    struct dev *dev;
    struct probe *probe;
    struct err *e;
    bnp_stream *stream;
    bool in_step;
    bnp_span span[RUN_SPANS];
    unsigned n_span;
};

int run_open(struct probe_run *, struct dev *, struct probe *, const bnp_limits *, struct err *);
/* Ends a step that was cut short; what is said about that is not kept. */
void run_abandon(struct probe_run *);
void run_close(struct probe_run *);

/* 0, or the status as our error: "id: what: sentence". */
int run_status(struct probe_run *, int status, const char *what);

/* Zero-filled where the device has host memory, unspecified elsewhere. A size
 * of 0 gives an empty span. */
int run_span(struct probe_run *, uint32_t kind, uint64_t size, uint64_t align, bnp_span *out);
int run_put(struct probe_run *, bnp_span dst, const void *src);     /* dst.size bytes */
int run_get(struct probe_run *, void *dst, bnp_span src);           /* src.size bytes */

/* Rows with values of the fill, and NaN in the padding behind them. */
int run_rows(struct probe_run *, uint32_t n_tok, uint32_t cols, bnp_rows *out);
int run_fill(struct probe_run *, const bnp_rows *, enum probe_fill, uint64_t seed);
/* Appends the values to out and notes the part that they are. */
int run_take(struct probe_run *, const bnp_rows *, const char *op, struct buf *out);
int run_take_span(struct probe_run *, bnp_span, const char *op, uint32_t n_row, uint32_t cols,
                  struct buf *out);

int run_begin(struct probe_run *, const bnp_step *);
int run_end(struct probe_run *);                                    /* and waits      */

/* The best of up to RUN_BEST calls of once(ctx), three at least, as long as
 * the budget lasts. */
#define RUN_BEST 32u
int run_best(double budget_us, int (*once)(void *ctx), void *ctx, double *us);

/* The i-th number of a seed, and the i-th value of a fill: the same on every
 * machine, in any order. */
uint64_t probe_number(uint64_t seed, uint64_t i);
float probe_value(enum probe_fill, uint64_t seed, uint64_t i);

#endif
