/* sched_parts.h - what sched.c and sched_fill.c share. */
#ifndef BITNET_ENGINE_SCHED_PARTS_H
#define BITNET_ENGINE_SCHED_PARTS_H

#include "core/engine/sched.h"

/* Pages for n_tok tokens of a running sequence, from whoever has to give them:
 * so those behind it may run no more. False: it has to wait. */
bool sched_grow(struct sched *, struct seq *, uint32_t n_tok);
/* Goes on with what the prefix cache has, where all that it did is there too.
 * Returns tokens. */
uint32_t sched_take_cached(struct sched *, struct seq *);
/* The page whose beginning it copies is not needed any more. */
void sched_let_part_go(struct sched *, struct seq *);
void sched_count_cached(struct sched *, struct seq *);    /* what it took counts as found */

#endif
