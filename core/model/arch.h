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

struct arch {
    const char *name;
    uint32_t rope_style;         /* BNP_ROPE_*                                */
    bool sub_norm;               /* layers have attn_sub_norm, ffn_sub_norm   */
    bool own_head;               /* output.weight, if present, is the head;   */
                                 /* else the embedding is, whatever is there  */
    uint32_t glu;                /* BNP_GLU_* of a file that does not say     */
    bool glu_sure;               /* no known file of it means another         */
};

/* By general.architecture. */
int arch_find(const struct arch **out, const struct gguf *, struct err *);

/* Sets hp->glu from, in this order: the caller's override (or NULL), the key
 * hidden_activation, what is known about models of hp's shape, the row.
 * *sure: whether the last of these was a guess. */
int arch_glu(const struct arch *, const struct gguf *, const char *override, struct hparams *hp,
             bool *sure, struct err *);

#endif
