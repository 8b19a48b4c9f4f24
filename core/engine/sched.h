/* sched.h - who is served, and which rows go into the next step.
 *
 * Rank. A sequence stands before another if its level is higher, or if it came
 * earlier. Its level is its priority, one more for every SCHED_PASS later ones
 * that were admitted while it waited; so nobody waits for ever. A running one
 * keeps the level that it was admitted with.
 *
 * Pages. Admitted is the first rank of the waiting, when there are pages for
 * what it has to read, and one more for each that runs; nobody overtakes it.
 * Pages for what is drawn are taken step by step. When they are short, in this
 * order: idle pages of the prefix cache; those of parked sequences; those of
 * waiting ones that still have some; and, for one that runs, those of running
 * ones behind it, the last rank first. If there are none it waits. The first
 * rank of the running can always go on, since it may take all pages, and no
 * sequence is longer than they are; and with nobody running the first rank of
 * the waiting is admitted.
 * Who lost its pages is preempted: it waits in its old rank, and reads its ids
 * again, as far as the prefix cache has not kept them.
 *
 * Who shares only the beginning of a page with the prefix cache gets a copy of
 * it in the step, from a page that is held until the step has succeeded.
 *
 * Rows. In a step every decoding sequence has one row; then their guesses get
 * rows, as far as outputs and free pages are left; prompts share what is
 * left of the budget evenly, whoever needs less leaves the rest to the others.
 * Of prompts with the same next page only the first computes it, the others
 * take it from the prefix cache. Once in a step, all running ones are equal.
 *
 * Pure bookkeeping: no clock, no model, no memory. Engine thread only. */
#ifndef BITNET_ENGINE_SCHED_H
#define BITNET_ENGINE_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/engine/batch.h"
#include "core/engine/kv.h"
#include "core/engine/prefix.h"
#include "core/engine/seq.h"

enum {
    SCHED_PART = 4,               /* tokens of a page that are worth a copy    */
    SCHED_PASS = 16,              /* overtaken so often, a level higher        */
    SCHED_TOP = 2                 /* the highest level: enum priority's        */
};

struct seq_list {
    struct seq *head, **tail;
    uint32_t n;
};

struct sched {
    struct kv *kv;
    struct prefix *prefix;
    bool can_copy;                /* a step can copy the beginning of a page   */
    uint32_t max_seq;             /* sequences running at once                 */
    uint32_t row_budget;          /* rows in a step, at least max_seq          */
    uint32_t prefill_chunk;       /* rows of one prompt in a step, at most     */
    struct seq_list waiting;      /* oldest first                              */
    struct seq_list running;      /* first rank first                          */
    struct seq_list parked;       /* oldest first; keep their pages, have no   */
                                  /*   place, and no rows                      */
    uint64_t n_order;             /* sequences that ever came                  */
    uint64_t n_preempt;
    uint64_t n_query, n_hit;      /* tokens looked up in the prefix cache, and */
                                  /*   found; those read again do not count    */
};

void sched_open(struct sched *, struct kv *, struct prefix *, uint32_t max_seq,
                uint32_t row_budget, uint32_t prefill_chunk);

void sched_add(struct sched *, struct seq *);
/* The first rank of the waiting, moved to the running ones with pages for its
 * ids; NULL when there is none, or no room for it yet. Legal while a step is
 * under way. */
struct seq *sched_admit(struct sched *);
/* Takes it out of its list and gives its pages back. */
void sched_remove(struct sched *, struct seq *);
/* From the running to the parked; from the parked back to the waiting. */
void sched_park(struct sched *, struct seq *);
void sched_unpark(struct sched *, struct seq *);
/* Keys and values are gone, in all pages: all read their ids again, and what
 * ran waits; the prefix cache is empty. */
void sched_lose_kv(struct sched *);

/* The next step's rows of every running sequence, into n_row and, when it
 * reaches the last known token, out; and into the (cleared) batch. Preempts.
 * Returns the number of rows; 0 only when nothing runs. */
uint32_t sched_fill(struct sched *, struct batch *);
/* The rows that sched_fill gave to this sequence, alone. */
void sched_fill_one(struct seq *, struct batch *);
/* n of its rows are computed, and their ids will stay: pages that are full now
 * go into the prefix cache. */
void sched_advance(struct sched *, struct seq *, uint32_t n);

#endif
