/* route_parts.h - what the files of the route share, and nobody else. */
#ifndef BITNET_PLUG_ROUTE_PARTS_H
#define BITNET_PLUG_ROUTE_PARTS_H

#include "core/base/arena.h"
#include "core/plug/route.h"
#include "core/plug/timings.h"

struct question {
    struct question *next;
    struct route_question q;
    uint32_t n_want, n_answer;    /* uses registered, answers given            */
    struct dev *dev;              /* the answer, NULL: none yet                */
    bnp_offer offer;
};

struct route {
    struct plug *plug;
    struct route_opts opts;       /* its strings are the arena's               */
    const char *pin[ROUTE_N_FAMILY];    /* NULL: none                          */
    struct arena arena;
    struct question *first, **last;
    struct timings *timings;      /* NULL: nothing is kept                     */
    bnp_span cold;                /* where copies of weights lie; empty: none  */
};

bool route_is_ref(const struct dev *);
/* A copy in the route's arena; "" when there is no memory. */
const char *route_keep(struct route *, const char *text);

/* Gives every fit candidate its times and its cost; one that fails is not fit
 * any more. measured: whether any was to be timed. */
void route_measure(struct route *, struct route_question *, struct route_candidate *);
/* Row counts that a description allows, into n_tok[]; how many. */
uint32_t route_classes(enum route_family, const union route_desc *, uint32_t n_tok[PROBE_N_CLASS]);
void route_release_cold(struct route *);
/* Fills every why that is NULL, once something was chosen. */
void route_say_why(struct route *, struct route_question *, struct route_candidate *);

#endif
