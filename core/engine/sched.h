/* sched.h - who is served, and which rows go into the next step.
 *
 * First come, first served. A sequence is admitted when pages for all the
 * tokens it may ever have are reserved, so nothing runs out in mid-flight; it
 * never overtakes an earlier one. In a step every decoding sequence has one
 * row; prompts share what is left of the budget, the earliest first.
 * Pure bookkeeping: no clock, no model. Engine thread only. */
#ifndef BITNET_ENGINE_SCHED_H
#define BITNET_ENGINE_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/engine/batch.h"
#include "core/engine/kv.h"
#include "core/engine/seq.h"

struct seq_list {
    struct seq *head, **tail;
    uint32_t n;
};

struct sched {
    struct kv *kv;
    uint32_t max_seq;             /* sequences running at once                 */
    uint32_t row_budget;          /* rows in a step, at least max_seq          */
    uint32_t prefill_chunk;       /* rows of one prompt in a step, at most     */
    struct seq_list waiting, running;   /* oldest first                        */
};

void sched_open(struct sched *, struct kv *, uint32_t max_seq, uint32_t row_budget,
                uint32_t prefill_chunk);

void sched_add(struct sched *, struct seq *);
/* The oldest waiting sequence, moved to the running ones with its pages
 * reserved; NULL when there is none, or no room for it yet. */
struct seq *sched_admit(struct sched *);
/* Takes it out of its list and gives its pages back. */
void sched_remove(struct sched *, struct seq *);

/* The next step's rows of every running sequence, into n_row and, when it
 * reaches the last known token, out; and into the (cleared) batch. Returns the
 * number of rows; 0 only when nothing runs. */
uint32_t sched_fill(struct sched *, struct batch *);
/* The rows that sched_fill gave to this sequence, alone. */
void sched_fill_one(const struct seq *, struct batch *);

#endif
