/* route.h - which device does what.
 *
 * A candidate is a device whose offer meets the determinism floor. With more
 * than one, the stopwatch decides; a pin from the configuration wins and needs
 * no measuring. Results are kept per description, so equal layers are measured
 * once, and from one start to the next where a file is named for it. Which
 * device is chosen changes how fast an answer comes, and no bit of it. Main
 * thread, before the engine starts.
 *
 * What is measured: calls of 1, 8, 64 and 512 rows (as far as the description
 * allows them) on a weight of the real shape, each call on another copy of it,
 * so that it comes from memory as in a model much larger than the caches.
 *
 * What is compared: cost = sum over the row counts of share * time per row,
 * with shares 1, 1, 2, 2: as if of six tokens one were generated alone, one in
 * a batch of eight, two read in pieces of 64 rows and two in pieces of 512.
 * scalar-ref's cost counts a quarter more than it is: it wins only when clearly
 * faster. Costs within 2 % are equal, or within what measuring them twice
 * differed, but 5 % at most. Among equals what was chosen at the last start
 * wins, whose packing may be kept, else the first in the registry's order.
 *
 * A time that something else on the machine disturbed (stopwatch.h) is `unsure`:
 * it serves this start, and the next one measures again.
 *
 * Places. All devices that compute on host memory share one place; a device
 * with memory of its own is one. The residual stream, and with it the pointwise
 * family, has a home place; what another place does costs crossings there and
 * back. So for a given home every question's choice is its own: least cost plus
 * crossings; and the home is the place with the least sum of those over all
 * uses. Layers with a pin of their own have a home of their own. */
#ifndef BITNET_PLUG_ROUTE_H
#define BITNET_PLUG_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/plug/plug.h"
#include "core/plug/stopwatch.h"

#define ROUTE_N_CLASS STOPWATCH_N /* row counts that are timed                 */

enum route_family { ROUTE_LINEAR, ROUTE_ATTN, ROUTE_POINT, ROUTE_N_FAMILY };

struct route_opts {
    uint32_t min_det;             /* BNP_DET_*: the floor                      */
    bool strict;                  /* scalar-ref is no fallback unless pinned   */
                                  /* or the only plugin installed              */
    /* A pin is a plugin's id, or one device of it, "org.x#1"; NULL: none. It
     * binds until all it means were lost while serving; strict: even then. */
    const char *pin_linear, *pin_attn, *pin_point;
    const char *layers;           /* "0-14:org.x#0 15:org.y": pins of layers,  */
                                  /* for all families, or NULL                 */
    const char *exclude;          /* parity failed: not this plugin, or NULL   */
    const char *timings;          /* file of measurements (timings.h), or NULL */
    bool measure_all;             /* also where there is no choice, to show it */
    bool measure_anew;            /* do not believe the file, renew it         */
};

struct route_time {               /* of one candidate, one row count           */
    uint32_t n_tok;
    double us;                    /* one call; 0: not measured                 */
    bool guessed;                 /* as long a row as with fewer: no budget    */
    bool unsure;                  /* disturbed: the next start measures again  */
};

struct route_candidate {
    struct dev *dev;
    char name[160];               /* id, "#1 (its name)" where it has several  */
    bnp_offer offer;
    bool fit;
    bool kept;                    /* the times come from the file              */
    bool cold;                    /* from memory, not from caches              */
    struct route_time time[ROUTE_N_CLASS];
    uint64_t weight_size;         /* bytes, prepared, all rows; linear only    */
    double cost;                  /* microseconds; 0: not measured             */
    double doubt;                 /* 0 to 1: part of it that may be wrong      */
    bool before;                  /* was chosen when that was asked last       */
    double crossing;              /* the same, of copies from home and back    */
    const char *why;              /* why it is not fit, or lost; "" if it won  */
};

union route_desc {
    bnp_weight_desc linear;
    bnp_attn_desc attn;
    bnp_point_desc point;
};

struct route_question {
    enum route_family family;
    union route_desc d;           /* without its name, unused bytes zero       */
    const char *shape;            /* "2560x2560 t2/tensor"                     */
    const char *pin;              /* which device it must be, or NULL          */
    const char *layers_pin;       /* the pin of its layers, or NULL            */
    uint32_t n_asked;
    uint32_t n_class;             /* row counts that count                     */
    unsigned n;                   /* candidates, in the registry's order       */
    const struct route_candidate *candidate;
    const struct route_candidate *chosen;    /* NULL: missing                  */
};

struct route_home {               /* a place where the pointwise family could be */
    const struct dev *dev;        /* whose memory it is; NULL: the host's      */
    char name[160];
    const char *layers_pin;       /* the pin of the layers it is for, or NULL  */
    double cost;                  /* of a step with all its crossings          */
    bool chosen;
};

struct route;

/* ERR_ARG: opts->layers is not what it should be, or min_det. */
int route_open(struct route **out, struct plug *, const struct route_opts *, struct err *);
void route_close(struct route *);

/* Registers a question, or one use more of it. Layer -1: outside the layers
 * (embedding, output norm, head). ERR_ARG, ERR_NOMEM. */
int route_want_linear(struct route *, int32_t layer, const struct bnp_weight_desc *, struct err *);
int route_want_attn(struct route *, int32_t layer, const struct bnp_attn_desc *, struct err *);
int route_want_point(struct route *, int32_t layer, const struct bnp_point_desc *, struct err *);

/* After the last want: decides every question that has no answer, or whose
 * device was lost. Questions without a candidate do not keep the others from
 * being decided; the error is the first one's. ERR_PLUGIN too when opts->layers
 * names a device that is not there, ERR_ARG a layer that nobody wanted. */
int route_decide(struct route *, struct err *);

/* The device for it, and its offer: as decided, or, for a question that nobody
 * wanted, decided now, with the home chosen so far. When its device was lost all
 * that lost theirs are decided again, as by route_decide. ERR_PLUGIN when there is no candidate; the text names
 * each device and why it is none. */
int route_linear(struct route *, int32_t layer, const struct bnp_weight_desc *, struct dev **,
                 struct bnp_offer *, struct err *);
int route_attn(struct route *, int32_t layer, const struct bnp_attn_desc *, struct dev **,
               struct bnp_offer *, struct err *);
int route_point(struct route *, int32_t layer, const struct bnp_point_desc *, struct dev **,
                struct bnp_offer *, struct err *);

/* After the last question for now: gives back the memory that measuring took,
 * and keeps new measurements in the file. */
void route_settle(struct route *);

/* The table of what was asked, what was chosen or "missing", what each
 * candidate measured and why each loser lost; one line each. */
void route_explain(const struct route *, struct buf *out);
/* The same for programs: every question, in the order in which they came. */
typedef void route_visit(void *ctx, const struct route_question *);
void route_each(const struct route *, route_visit *, void *ctx);
const char *route_family_name(enum route_family);
/* The places that could be home, host memory first. None before a pointwise
 * question was decided. */
typedef void route_home_visit(void *ctx, const struct route_home *);
void route_each_home(const struct route *, route_home_visit *, void *ctx);

#endif
