/* arch.h - the architectures this program knows: one row each.
 *
 * A row says what a file of that general.architecture cannot say itself: how
 * its heads turn, which norms its layers have, where its logits come from and
 * which activation it means when it is silent. */
#ifndef BITNET_MODEL_ARCH_H
#define BITNET_MODEL_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/model.h"

enum {
    ARCH_SUB_NORM = 1,           /* layers have attn_sub_norm, ffn_sub_norm   */
    ARCH_OWN_HEAD = 2,           /* output.weight, if present, is the head;   */
                                 /* else the embedding is, whatever is there  */
    ARCH_HEAD_NORM = 4,          /* attn_q_norm, attn_k_norm, for every head  */
    ARCH_PROJ_NORM = 8,          /* x_norm_in for every projection x, or none */
    ARCH_POST_NORM = 16,         /* post_attention_norm, post_ffw_norm        */
    ARCH_EMBD_SCALE = 32         /* embeddings times the root of their length */
};

struct arch {
    const char *name;
    uint32_t rope_style;         /* BNP_ROPE_*                                */
    uint32_t graph;              /* ARCH_* bits                               */
    uint32_t glu;                /* BNP_GLU_* of a file that does not say     */
    bool glu_sure;               /* no known file of it means another         */
};

/* By general.architecture. */
int arch_find(const struct arch **out, const struct gguf *, struct err *);

/* "relu2", "silu", "gelu_tanh": what the key hidden_activation, and arch_glu's
 * override, call a BNP_GLU_*. */
const char *arch_glu_name(uint32_t glu);

/* Sets hp->glu from, in this order: the caller's override (or NULL), the key
 * hidden_activation, what is known about models of hp's shape, the row.
 * *sure: whether the last of these was a guess. */
int arch_glu(const struct arch *, const struct gguf *, const char *override, struct hparams *hp,
             bool *sure, struct err *);

#endif
