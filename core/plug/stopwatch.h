/* stopwatch.h - how long calls take, of several candidates, on a machine that
 * has other things to do.
 *
 * Candidates run in lanes, side by side: a few calls of the first, a few of the
 * second, and so on, round after round, so that what disturbs one disturbs all.
 * Three things tell a figure from an accident:
 *
 * - The rounds fall into two halves, the even ones and the odd ones. What else
 *   ran can only add, and adds at different moments: where the halves differ,
 *   nothing was measured yet.
 * - A call in which a worker waited for a processor was disturbed. It counts
 *   with the processor time that it took, spread over as many processors as the
 *   best calls kept busy; over all workers, where most calls that gave all of
 *   them work were disturbed.
 * - Rows are work: many times more for a row than with fewer rows is no figure.
 *
 * What is not settled so is measured further, on a second budget that all who
 * measure share, and is called unsure if that was not enough. */
#ifndef BITNET_PLUG_STOPWATCH_H
#define BITNET_PLUG_STOPWATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/plug/workers.h"

#define STOPWATCH_N     4u        /* row counts, at most                       */
#define STOPWATCH_CALLS 256u      /* of one row count, at most                 */

struct stopwatch_time {
    double us;                    /* of one call; the lowest eighth            */
    double gap_us;                /* how far the halves are apart              */
    bool guessed;                 /* as long a row as with fewer: no budget    */
    bool unsure;                  /* disturbed, or guessed from what was       */
};

struct stopwatch_lane {
    int (*set)(void *ctx, uint32_t n_tok);    /* the calls to come are of n_tok rows */
    int (*ready)(void *ctx);      /* before every call, untimed; NULL: nothing */
    int (*once)(void *ctx);       /* the call                                  */
    void *ctx;
    uint32_t n_turn;              /* calls of a round, at most; 0: no limit    */
    int rc;                       /* out: what set, ready or once returned     */
    struct stopwatch_time time[STOPWATCH_N];  /* out                           */
};

struct stopwatch {
    uint32_t n, n_tok[STOPWATCH_N];           /* row counts, ascending         */
    double budget_us;             /* of a lane, for all row counts, as if each */
                                  /* call took what the best one does          */
    double *extra_us;             /* real time for what is not settled within  */
                                  /* it; shared, and used up                   */
    struct workers *workers;      /* who compute; NULL: not known              */
    uint32_t n_worker;
};

/* ERR_NOMEM. A lane that fails leaves the others alone. */
int stopwatch_run(const struct stopwatch *, struct stopwatch_lane *, unsigned n_lane, struct err *);

#endif
