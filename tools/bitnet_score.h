/* bitnet_score.h - a text's logits, step by step, for verbs that judge a model.
 *
 * No engine and no sampler: the forward pass alone, one sequence at a time. A
 * step has as many rows with logits as fit SCORE_OUT_SIZE, so memory does not
 * grow with the vocabulary; whoever wants a row takes it while the step's
 * logits are there. How a sequence is cut into steps changes no bit.
 *
 *     load_model, or load_model_as
 *     score_open                    plugins, weights, one sequence's pages
 *     score_begin                   an empty sequence
 *     score_feed ...                tokens behind those that are there
 *     score_close; load_unload      the next model; plugins stay open
 *     load_close
 *
 * Main thread only. */
#ifndef BITNET_TOOLS_SCORE_H
#define BITNET_TOOLS_SCORE_H

#include <stdint.h>

#include "core/engine/batch.h"
#include "core/engine/kv.h"
#include "tools/bitnet.h"

enum {
    SCORE_CHUNK = 256,            /* rows in a step                            */
    SCORE_OUT_SIZE = 32 << 20     /* bytes of logits in a step, at most; one   */
                                  /* row always fits                           */
};

struct score_rows {               /* logits of positions pos .. pos + n - 1    */
    uint32_t pos, n;
    const float *logits;          /* [n][stride], the first n_vocab of each;   */
    uint64_t stride;              /*   until take returns                      */
};

/* Anything but 0 ends the run, and is what score_feed returns. */
typedef int score_take(void *ctx, const struct score_rows *, struct err *);

struct score {
    struct forward *f;            /* borrowed                                  */
    struct batch b;
    struct kv_seq s;
    uint32_t n_tok;               /* tokens that the sequence may have,        */
    uint32_t pos;                 /*   and those it has                        */
};

/* Plugins (unless they are open) and weights of l's model, for a sequence of
 * n_tok tokens at most; chunk: rows in a step, 0: SCORE_CHUNK. Binds the caller
 * to the plugins' workers. score_close is legal after a failure. */
int score_open(struct score *, struct loaded *l, uint32_t n_tok, uint32_t chunk, struct err *);
void score_close(struct score *);

void score_begin(struct score *);
/* Appends id[0..n), each below n_vocab; take gets the logits of positions from
 * `first` on, counted from the sequence's beginning, in order; NULL: nobody
 * wants any. ERR_ARG: more than n_tok tokens. */
int score_feed(struct score *, const int32_t *id, uint32_t n, uint32_t first, score_take *take,
               void *ctx, struct err *);
/* fn for task 0 .. n - 1, on all workers: for the arithmetic of take. */
void score_share(struct score *, uint32_t n, bnp_task_fn *fn, void *arg);

/* -ln p of id[i + 1] after id[0..i], summed over first <= i < n - 1 in that
 * order: equal bits whatever the plugins, threads and steps. ERR_NUMERIC: a
 * NaN among the logits. */
int score_nll(struct score *, const int32_t *id, uint32_t n, uint32_t first, double *nll,
              struct err *);

#endif
