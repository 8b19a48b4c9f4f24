/* hf_names.h - what a tensor of a Hugging Face checkpoint is, by its name. */
#ifndef BITNET_MODEL_HF_NAMES_H
#define BITNET_MODEL_HF_NAMES_H

#include "core/base/buf.h"
#include "core/model/hf_config.h"

enum hf_kind {
    HF_UNKNOWN,
    HF_SKIPPED,                  /* computed from config.json instead         */
    HF_EMBEDDING, HF_HEAD,
    HF_NORM,
    HF_NORM_LESS_1,              /* Gemma's own: the gain is the weight + 1   */
    HF_LINEAR, HF_SCALE          /* a projection's weight and weight_scale    */
};

struct hf_name {
    enum hf_kind kind;
    bool turns;                  /* q and k: rope turns what it gives         */
    struct str module;           /* of HF_LINEAR and HF_SCALE, in the name    */
                                 /* that was asked for: without its last part */
    char gguf[64];               /* "blk.3.attn_q.weight"; of HF_SCALE that   */
                                 /* of its scale                              */
};

/* The layer number is below n_layer, or the tensor is unknown. */
struct hf_name hf_name_of(const struct hf_config *, struct str name);

#endif
