/* route_parts.h - what the files of the route share, and nobody else.
 *
 * A place is the device whose memory it is; NULL is the host's. */
#ifndef BITNET_PLUG_ROUTE_PARTS_H
#define BITNET_PLUG_ROUTE_PARTS_H

#include "core/base/arena.h"
#include "core/plug/route.h"
#include "core/plug/timings.h"

/* Costs this close are equal: a stopwatch knows no better. */
#define ROUTE_EQUAL     1.02
#define ROUTE_EQUAL_MAX 1.05      /* where it says that it knows less          */
/* Microseconds for what is disturbed, of all that one route measures. */
#define ROUTE_EXTRA_US  500e3

struct group {                    /* layers with the same pin: one home        */
    struct group *next;
    const char *pin;              /* NULL: all that have none                  */
    bool settled;                 /* home is chosen                            */
    const struct dev *home;
    unsigned n_home;
    struct route_home *homes;     /* [n_home] the host's first                 */
};

struct layers {                   /* an item of opts.layers                    */
    struct layers *next;
    int32_t first, last;
    const char *text;
    struct group *group;
};

struct crossing {                 /* copies into and out of one device's memory */
    struct crossing *next;
    const struct dev *dev;
    const char *why;              /* why it could not be measured, or NULL     */
    double wait_us;               /* a step without work, waited for           */
    double in_us, out_us;         /* one copy of nothing, without that wait    */
    double in_byte_us, out_byte_us;
};

struct question {
    struct question *next;
    struct route_question q;
    struct group *group;
    uint32_t n_want, n_answer;    /* uses registered, answers given            */
    struct dev *dev;              /* the answer, NULL: none yet                */
    bool lost;                    /* an earlier answer was disabled            */
    bnp_offer offer;
    struct route_candidate *candidate;    /* q.candidate, to write             */
};

struct route {
    struct plug *plug;
    struct route_opts opts;       /* its strings are the arena's               */
    const char *pin[ROUTE_N_FAMILY];    /* NULL: none                          */
    struct group general;         /* first of all groups                       */
    struct layers *layers;
    int32_t last_layer;           /* the largest that was wanted; -1: none     */
    struct arena arena;
    struct question *first, **last;
    struct crossing *crossing;
    struct timings *timings;      /* NULL: nothing is kept                     */
    bnp_span cold;                /* where copies of weights lie; empty: none  */
    double extra_us;              /* what is left of ROUTE_EXTRA_US            */
    struct buf cpuinfo;           /* what route_key reads of it, once          */
};

/* ------------------------------------------------------------------- route.c */

bool route_is_ref(const struct dev *);
const struct dev *route_place(const struct dev *);
/* A copy in the route's arena; "" when there is no memory. */
const char *route_keep(struct route *, const char *text);

/* --------------------------------------------------------------- route_pin.c */

/* Reads opts.layers. */
int route_pin_layers(struct route *, const char *text, struct err *);
struct group *route_pin_group(struct route *, int32_t layer);
bool route_pin_is(const struct dev *, const char *pin);
/* The pin that binds this question now, or NULL. */
const char *route_pin_of(const struct route *, const struct question *);
/* That the items of opts.layers mean devices and layers that are there. */
int route_pin_check(const struct route *, struct err *);

/* --------------------------------------------------------------- route_ask.c */

/* Asks every device; those that may or will not are not fit. */
int route_ask(struct route *, struct question *, struct err *);
unsigned route_count_fit(const struct question *);
/* ERR_PLUGIN, with every candidate's reason. */
int route_no_candidate(const struct question *, struct err *);

/* ------------------------------------------------------------ route_decide.c */

/* Decides what has no answer: of all questions, or so that this one has. */
int route_decide_open(struct route *, struct question *only, struct err *);

/* ----------------------------------------------------------- route_measure.c */

/* Gives every fit candidate its times and its cost, from the file or side by
 * side; one that fails is not fit any more. ERR_NOMEM. */
int route_measure(struct route *, struct route_question *, struct route_candidate *, struct err *);
/* Notes in the file which of those that were timed won. */
void route_note_choice(struct route *, const struct route_question *);
/* How much more than the least a cost may be to be equal, by the doubt of both. */
double route_equal(const struct route_candidate *, const struct route_candidate *);
/* Row counts that a description allows, into n_tok[]; how many. */
uint32_t route_classes(enum route_family, const union route_desc *, uint32_t n_tok[ROUTE_N_CLASS]);
/* Microseconds of calls with these row counts, as one cost. */
double route_cost(uint32_t n_class, const double us[ROUTE_N_CLASS]);
void route_release_cold(struct route *);
/* A digest of everything that a time of this device depends on, and of what
 * was measured. False without memory. */
bool route_key(struct route *, const struct dev *, uint32_t what, const void *desc, size_t n,
               uint8_t key[TIMINGS_KEY]);

/* ------------------------------------------------------------- route_cross.c */

/* Measures a private device's copies, once; NULL without memory. */
const struct crossing *route_cross(struct route *, struct dev *);
/* What the candidate's crossings cost with that home; 0 where nothing was
 * measured. */
double route_cross_price(const struct route *, const struct route_question *,
                         const struct route_candidate *, const struct dev *home);

/* ----------------------------------------------------------- route_explain.c */

/* Fills every why that is NULL, once something was chosen. */
void route_say_why(struct route *, struct route_question *, struct route_candidate *);

#endif
