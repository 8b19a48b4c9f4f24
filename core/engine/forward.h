/* forward.h - a model on its devices, and one step through it.
 *
 * forward_open chooses devices, checks the memory table against the limits,
 * prepares every weight, and allocates all that a step needs. forward_run is
 * the forward pass: straight-line code to read beside the paper. After an
 * error the step's sequences may be run again; nothing of the step is kept.
 * After ERR_DEVICE forward_recover goes on without the device. Engine thread
 * only (open and close: main thread). */
#ifndef BITNET_ENGINE_FORWARD_H
#define BITNET_ENGINE_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/engine/batch.h"
#include "core/engine/kv.h"
#include "core/model/model.h"
#include "core/plug/plug.h"
#include "core/plug/route.h"

struct forward_conf {
    uint32_t n_ctx;               /* longest sequence, tokens; 0: the model's  */
    uint32_t max_tok;             /* rows in a step                            */
    uint32_t max_seq;             /* sequences in a step                       */
    uint32_t max_out;             /* rows with logits in a step                */
    uint32_t kv_tok;              /* tokens of KV in all; 0: max_seq * n_ctx   */
    uint32_t page_tok;            /* 16, 32 or 64                              */
    uint32_t kv_format;           /* BNP_KV_*; 0: f16                          */
    uint64_t max_mem;             /* bytes of all in mem_plan; 0: the memory   */
                                  /* that is free now                          */
    uint64_t other_size;          /* bytes that the caller will need besides   */
    uint32_t n_request;           /* requests that may be open at once, and    */
    bool prefix_cache;            /*   a prefix cache: for the plan            */
    struct route_opts route;
    const char *weight_cache;     /* folder of prepared weights, or NULL       */
    uint64_t weight_cache_size;   /* bytes it may hold                         */
    bool dry;                     /* choose and plan only: prepare nothing     */
    struct buf *missing;          /* or NULL: when something has no device, it */
                                  /* gets the route's table of everything      */
    /* called while weights are prepared, or NULL */
    void (*progress)(void *ctx, uint64_t done_size, uint64_t all_size);
    void *progress_ctx;
};

struct mem_place {                /* a device's own memory, bytes              */
    char name[160];               /* "org.x#1 (its name)"                      */
    uint64_t weights, kv, work, rope, total;
    uint64_t limit;               /* 0: the device does not say                */
};

struct mem_plan {                 /* the host's memory, bytes                  */
    uint64_t weights, kv, work, rope, serve, total, limit;
    struct mem_place *place;      /* [n_place] memory of devices besides       */
    uint32_t n_place;
};

struct forward_cross {            /* copies between places of memory           */
    uint64_t n_in, n_out;         /* to, from a device's own memory            */
    uint64_t in_size, out_size;   /* bytes                                     */
    uint64_t n_wait;              /* times a step stood still for one          */
};

struct head_count {               /* outputs of steps                          */
    uint64_t n_full, n_top;       /* with all logits; with the largest only    */
    uint64_t n_exact;             /* rows of the head computed for the latter  */
};

struct forward_out {              /* one output of the last step               */
    const float *logits;          /* all of them, or NULL:                     */
    const int32_t *id;            /* [k] the largest, by value, then by id     */
    const float *top;             /* [k]                                       */
    uint32_t k;                   /* as many as out_k wanted, or more          */
};

struct forward {
    struct model *model;
    struct plug *plug;
    struct route *route;
    struct forward_conf conf;     /* with every 0 replaced by the value used   */
    struct bnp_limits limits;
    struct mem_plan mem;
    struct kv kv;
    const float *logits;          /* [n_out][logits_stride] of the last step,  */
    uint64_t logits_stride;       /*   f32 elements, when it wanted all: else  */
                                  /*   see forward_out                         */
    struct head_count head;       /* since open                                */
    struct forward_cross cross;   /* since open                                */
    struct forward_state *state;  /* weights, streams, work memory             */
};

int forward_open(struct forward **out, struct model *, struct plug *, const struct forward_conf *,
                 struct err *);
void forward_close(struct forward *);

/* Logits of the rows in b->step.out_row: all of them, or where b->out_k allows
 * it, and the head's device can, the largest. submit hands the step to its
 * devices, and returns when all is submitted (or, after an error, when nothing
 * is under way any more); after 0, finish waits for it, and makes its outputs
 * valid. run: both. */
int forward_submit(struct forward *, const struct batch *b, struct err *);
int forward_finish(struct forward *, struct err *);
int forward_run(struct forward *, const struct batch *b, struct err *);
/* After ERR_DEVICE, no step under way: asks the route again without lost
 * devices, and prepares anew what lay on them. *kv_lost: so did keys and values,
 * all of them have to be computed again from the tokens. ERR_DEVICE: nobody can
 * take over, and no step may run any more. */
int forward_recover(struct forward *, bool *kv_lost, struct err *);
/* The hidden state behind the output norm of a row of the last step, [n_embd];
 * until the next. The step's batch wanted them. */
const float *forward_hidden(const struct forward *, uint32_t row);
/* Output i of the last step, in the order of its out_row; until the next. */
struct forward_out forward_out(const struct forward *, uint32_t i);

/* [any] The call of a device that is under way, in words: "linear of blk.3 on
 * org.x#0"; "none" between calls. Returns when the last one began or ended, in
 * microseconds of the monotonic clock, 0 before the first. */
uint64_t forward_where(const struct forward *, char out[160]);
/* A batch may ask for copies of pages: every layer's device has copy_page. */
bool forward_can_copy(const struct forward *);
/* Bytes of one page of keys and values, in all layers. */
uint64_t forward_page_size(const struct forward *);

/* The memory table, a line each, for people. */
void forward_mem_table(const struct forward *, struct buf *out);

#endif
