/* hist.h - how often which value came: counts between fixed bounds, and a sum.
 *
 * The bounds are the same for every histogram of a kind, so two of them can be
 * compared and added, and none needs memory of its own. Zero-initialise to
 * start: then it counts times. */
#ifndef BITNET_BASE_HIST_H
#define BITNET_BASE_HIST_H

#include <stdatomic.h>
#include <stdint.h>

enum hist_kind {
    HIST_TIME,                    /* microseconds, 100 us to 10 minutes        */
    HIST_COUNT                    /* whole numbers, 1 to 65,536 by doubling    */
};

enum { HIST_MAX_BOUND = 21 };

struct hist {
    enum hist_kind kind;
    _Atomic uint64_t n[HIST_MAX_BOUND + 1];   /* [i] values over bound i-1, up to */
                                  /* and with bound i; the last: over all of them */
    _Atomic uint64_t sum;
};

struct hist_view {                /* a histogram at one moment                 */
    const uint64_t *bound;        /* [n_bound] ascending                       */
    unsigned n_bound;
    uint64_t below[HIST_MAX_BOUND + 1];   /* [i] values up to and with bound i; */
                                  /* [n_bound]: all of them                    */
    uint64_t sum;
};

void hist_add(struct hist *, uint64_t v);                     /* [any] wait-free */
/* [any] While others add: below is monotone whatever they do, sum may be a few
 * values ahead or behind. */
void hist_look(const struct hist *, struct hist_view *);

#endif
