/* weights.h - every matrix and norm vector of the model, where it computes.
 *
 * The only room that knows both a GGUF tensor and a device. In this order:
 * weights_open describes (nothing is read, sizes are known), weights_want and
 * weights_ask put it to the route and the plugins, weights_load allocates,
 * prepares, and lets the file's pages go. The last three concern what has no
 * device, or no handle: weights_drop takes both from what lay on a device, and
 * they may be called again. */
#ifndef BITNET_ENGINE_WEIGHTS_H
#define BITNET_ENGINE_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"
#include "core/base/file.h"
#include "core/model/model.h"
#include "core/plug/plug.h"
#include "core/plug/route.h"

enum weight_slot { W_Q, W_K, W_V, W_OUT, W_GATE, W_UP, W_DOWN, W_LAYER_N };
enum norm_slot {
    N_ATTN, N_Q_IN, N_K_IN, N_V_IN, N_Q_HEAD, N_K_HEAD, N_ATTN_SUB, N_ATTN_POST,
    N_FFN, N_GATE_IN, N_UP_IN, N_FFN_SUB, N_FFN_POST, N_LAYER_N
};

struct wcache;

struct weight {                   /* one matrix on its device                  */
    const struct wsrc *src;
    char name[64];                /* "blk.3.ffn_down"                          */
    const char *tensor;           /* "ffn_down", within name                   */
    struct bnp_weight_desc desc;  /* desc.name is name                         */
    struct bnp_offer offer;
    struct bnp_weight_layout layout;
    struct dev *dev;              /* NULL: none yet                            */
    uint64_t act_size;            /* its prepared input                        */
    bnp_span storage;             /* the device's memory, or kept              */
    struct file_map kept;         /* p NULL: no file is the storage            */
    bool found;                   /* the storage is filled, as it was kept     */
    bool in_block;                /* the storage is part of weights.block      */
    bnp_weight *handle;
};

struct weights {
    const struct model *model;
    struct plug *plug;
    struct weight *w;             /* [n] layer by layer, then embd, then head  */
    uint32_t n;
    struct weight *embd, *head;   /* the same one when the head is tied        */
    bnp_span *norm;               /* [n_layer * N_LAYER_N] within a copy of    */
    bnp_span output_norm;         /*   norm_mem; base NULL; size 0: none       */
    struct wcache *cache;         /* prepared weights of earlier starts, or    */
                                  /* NULL; set before weights_load             */
    bnp_span norm_mem;            /* all norms, in the host's memory           */
    uint64_t norm_size;           /* bytes                                     */
    struct dev *failed;           /* the device that weights_load failed on    */
    bnp_span block;               /* most of what the first load prepared      */
};

int weights_open(struct weights *, const struct model *, struct plug *, const struct bnp_limits *,
                 struct err *);
int weights_want(struct weights *, struct route *, struct err *);
/* Asks for all even after one has no device, for the route's table; the error
 * is the first one's. */
int weights_ask(struct weights *, struct route *, struct err *);
/* progress (may be NULL) counts bytes of the file. */
int weights_load(struct weights *, void (*progress)(void *, uint64_t done, uint64_t all),
                 void *progress_ctx, struct err *);
/* What lies on d is released, and has no device any more. */
void weights_drop(struct weights *, struct dev *d);
void weights_free(struct weights *);
/* Bytes that prepared matrices take on d, NULL: on all of the host's memory. */
uint64_t weights_size(const struct weights *, const struct dev *d);

static inline struct weight *weights_at(const struct weights *ws, uint32_t layer, unsigned slot)
{
    return &ws->w[(uint64_t)layer * W_LAYER_N + slot];
}

static inline bnp_span weights_norm(const struct weights *ws, uint32_t layer, unsigned slot)
{
    return ws->norm[(uint64_t)layer * N_LAYER_N + slot];
}

/* The rows of a matrix, as plugins pull them. */
struct bnp_weight_src weights_src(const struct wsrc *);

#endif
