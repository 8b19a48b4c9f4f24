/* forward_parts.h - what forward_open builds and forward_run uses.
 *
 * A lane is one device with its stream. Work on a lane is in order. A place is
 * memory that lanes compute on: place 0 is the host's, every device with memory
 * of its own is another. `valid` says which areas of the step are up to date at
 * a place; an op brings to its lane's place what it reads. */
#ifndef BITNET_ENGINE_FORWARD_PARTS_H
#define BITNET_ENGINE_FORWARD_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/engine/forward.h"
#include "core/engine/weights.h"
#include "core/engine/work.h"
#include "core/engine/workmem.h"

enum { PLACE_HOST = 0, LANE_MAX = 64 };

/* Hardware that needs longer for one step is lost. */
#define LANE_WAIT_NS UINT64_C(60000000000)

struct lane {
    struct dev *dev;
    bnp_stream *stream;           /* NULL: not open yet                        */
    uint32_t place;
    bool in_step;                 /* between step_begin and step_end           */
    bool owes;                    /* the ticket has not been waited for        */
    uint64_t ticket;
};

struct place {
    struct dev *dev;              /* NULL: the host's, or nobody's             */
    bool point, head;             /* who computes here: pointwise ops, head    */
    struct work_mem work, plan;   /* what is there; what has to be             */
    bnp_span norm, rope;          /* the model's vectors, its table            */
    uint32_t valid;               /* bits 1 << area, of the step under way     */
};

struct layer_devs {               /* besides the matrices                      */
    struct dev *attn, *point;     /* NULL: none yet                            */
    struct bnp_offer attn_offer, point_offer;
    uint64_t page_size;           /* bytes                                     */
    bnp_span pool;                /* KV pages, attn's memory                   */
};

struct forward_state {
    struct weights weights;
    struct work work;
    struct lane *lane;            /* [n_lane], room for every device           */
    uint32_t n_lane;
    struct place *place;          /* [n_place], room for every device          */
    uint32_t n_place;
    struct layer_devs *layer;     /* [n_layer], and outside: point only        */
    struct layer_devs *outside;
    struct bnp_attn_desc attn;
    struct bnp_point_desc point;
    struct bnp_rope rope;         /* table: the host's                         */
    struct dev *failed;           /* whom the last error of open is about      */
    bool mem_fixed;               /* the limit is the configuration's          */

    /* The step: */
    uint64_t size[AREA_N];        /* bytes in use                              */
    struct lane *host_busy;       /* computes on the host's memory still       */
    /* Outputs in the order in which they are computed: n_full of them in full,
     * then those whose top_k largest logits are enough. */
    int32_t *out_row;             /* [max_out]                                 */
    uint32_t *out_at;             /* [max_out] where the batch's outputs went  */
    uint32_t n_out, n_full, top_k;
    bool hidden;                  /* AREA_H goes to the host, behind the norm  */
    bool submitted;               /* forward_finish has to come                */
    bool ready;                   /* weights are prepared: steps may run       */

    uint64_t clock_ns;            /* when the last call of the step ended; 0: look */
    /* The call that is under way, for other threads to read when it never ends: */
    _Atomic(struct dev *) at_dev; /* NULL: none                                */
    _Atomic uint32_t at_call;     /* enum dev_call                             */
    _Atomic int32_t at_layer;
    _Atomic uint64_t at_us;       /* monotonic: the last call began or ended   */
};

/* One step on its way. */
struct run {
    struct forward_state *s;
    struct forward_cross *cross;
    const struct bnp_step *step;
    const struct batch_copy *copy;   /* [n_copy] of pages                      */
    uint32_t n_copy;
    struct err *err;
    int32_t layer;                /* -1: outside the layers                    */
};

/* Rows of an area: `first` on, n of them. */
struct part {
    enum area area;
    uint32_t first, n;
};

/* Where the layer of the run computes. */
static inline const struct layer_devs *run_layer(const struct run *r)
{
    return r->layer < 0 ? r->s->outside : &r->s->layer[r->layer];
}

/* The ops of a step, each on the device that the route chose. 0, or one of
 * our codes with err filled: device, layer, op, and the plugin's sentence. */
int op_gather(struct run *, struct part y);
/* A weight shorter than the rows is for each of their groups of that length. */
int op_norm(struct run *, const char *what, bnp_span weight, struct part x, struct part y);
/* Turns q and k; v comes along where attention reads all three. */
int op_rope(struct run *, struct part q, struct part k, struct part v);
int op_glu(struct run *, struct part gate, struct part up, struct part y);
int op_add(struct run *, struct part x, struct part y);              /* y += x */
int op_pick(struct run *, struct part x, struct part y);
/* Keys and values into their pages; then out, which may be q. */
int op_attend(struct run *, struct part q, struct part k, struct part v, struct part out);
/* y[i] of w[i], all from the same x (y += with BNP_ADD). */
int op_mul(struct run *, struct part x, uint32_t n, struct weight *const *w, const struct part *y,
           uint32_t flags);
/* The k largest logits of each row of x, into AREA_TOP_*. */
int op_topk(struct run *, struct part x, uint32_t k);
/* Starts bringing areas (bits 1 << area) to the host: there after op_end. */
int op_out(struct run *, uint32_t areas);
/* Nothing of the step is valid anywhere yet. ERR_DEVICE when a device is lost. */
int op_begin(struct run *);
/* Ends the step on every lane; op_wait waits for all of them. Both are for
 * after an error too: rc is what went wrong before, or 0. */
int op_end(struct run *, int rc);
int op_wait(struct run *, int rc);

/* forward_lane.c: a lane's calls of its device, as statuses of the ABI. */
bool lane_async(const struct lane *);
int lane_begin(struct lane *, const struct bnp_step *);
int lane_end(struct lane *);      /* the work is under way; lane_wait: done     */
int lane_wait(struct lane *);
/* size bytes into dst, outside a step; they are there when it returns. */
int lane_put(struct lane *, bnp_span dst, const void *src);
struct lane *lane_of(struct forward_state *, const struct dev *);

/* forward_place.c. choose: a device for whatever has none, and its lane. plan:
 * memory of every place against its limit. provide: allocates and prepares
 * what is missing. After an error s->failed is the device it is about, if any.
 * drop: whatever is on d is given back, and has no device any more; whether
 * keys and values were among it. */
int place_choose(struct forward *, struct err *);
int place_plan(struct forward *, struct err *);
int place_provide(struct forward *, struct err *);
bool place_drop(struct forward *, struct dev *d);
void place_close(struct forward *);

#endif
