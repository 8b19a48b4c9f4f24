/* forward_parts.h - what forward_open builds and forward_run uses.
 *
 * A lane is one device with its stream. Work on a lane is in order; lanes
 * that compute asynchronously are drained before another device, or the host,
 * reads what they wrote. */
#ifndef BITNET_ENGINE_FORWARD_PARTS_H
#define BITNET_ENGINE_FORWARD_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/engine/forward.h"
#include "core/engine/weights.h"
#include "core/engine/work.h"

struct lane {
    struct dev *dev;
    bnp_stream *stream;
    bool in_step;                 /* between step_begin and step_end           */
};

struct forward_state {
    struct weights weights;
    struct work work;
    struct lane *lane;            /* [n_lane]                                  */
    uint32_t n_lane;
    struct dev *attn_dev, *point_dev;
    struct bnp_attn_desc attn;
    struct bnp_point_desc point;
    struct bnp_offer attn_offer, point_offer;
    struct bnp_rope rope;
    bnp_span *pool;               /* [n_layer] KV pages                        */
    uint64_t pool_size;           /* bytes of one                              */
    /* Outputs in the order in which they are computed: n_full of them in full,
     * then those whose top_k largest logits are enough. */
    int32_t *out_row;             /* [max_out]                                 */
    uint32_t *out_at;             /* [max_out] where the batch's outputs went  */
    uint32_t n_full, top_k;
    bool ready;                   /* weights are prepared: steps may run       */
};

/* One step on its way. */
struct run {
    struct forward_state *s;
    const struct bnp_step *step;
    struct err *err;
    int32_t layer;                /* for messages; -1: outside the layers      */
    struct lane *last;            /* where the last op went                    */
};

/* The ops of a step, each on the device that the route chose. 0, or one of
 * our codes with err filled: device, layer, op, and the plugin's sentence. */
int op_gather(struct run *, const bnp_rows *y);
int op_norm(struct run *, const char *what, bnp_span weight, const bnp_rows *x, const bnp_rows *y);
int op_rope(struct run *, const char *what, const bnp_rows *x);
int op_glu(struct run *, const bnp_rows *gate, const bnp_rows *up, const bnp_rows *y);
int op_pick(struct run *, const bnp_rows *x, const bnp_rows *y);
int op_append(struct run *, const bnp_rows *k, const bnp_rows *v);
int op_attend(struct run *, const bnp_rows *q, const bnp_rows *out);
/* y[i] of w[i], all from the same x (y += with BNP_ADD). */
int op_mul(struct run *, const bnp_rows *x, uint32_t n, struct weight *const *w,
           const bnp_rows *const *y, uint32_t flags);
/* The k largest logits of each row of x, into work.top_*. */
int op_topk(struct run *, const bnp_rows *x, uint32_t k);
/* Begins the step on every lane; ends it on all, waiting for their work.
 * op_end is for after an error too: rc is what went wrong before, or 0. */
int op_begin(struct run *);
int op_end(struct run *, int rc);

#endif
