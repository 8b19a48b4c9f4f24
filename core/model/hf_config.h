/* hf_config.h - config.json of a Hugging Face directory: which graph, how
 * large, and what its weights mean.
 *
 * An entry that would change the graph in a way this program does not compute
 * is refused, never ignored; so is one that is missing or contradicts another. */
#ifndef BITNET_MODEL_HF_CONFIG_H
#define BITNET_MODEL_HF_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/gguf_put.h"

enum hf_graph {                  /* bits, so that a name can be of several    */
    HF_BITNET = 1, HF_LLAMA = 2, HF_QWEN3 = 4, HF_GEMMA3 = 8
};

enum hf_weights {
    HF_UNSAID,                   /* the file does not say that they are       */
                                 /* ternary                                   */
    HF_DIVIDE,                   /* packed U8; weight_scale is 1 / scale      */
    HF_MULTIPLY,                 /* packed U8; weight_scale is the scale      */
    HF_LATENT                    /* floats, ternary by absmean at load        */
};

struct hf_config {
    const char *name;            /* of the file, for messages                 */
    const json_t *root;          /* borrowed                                  */
    const char *arch;            /* general.architecture of the same as GGUF  */
    enum hf_graph graph;
    bool embedding;              /* a model without a head: Qwen3Model        */
    enum hf_weights weights;
    const json_t *as_floats;     /* modules_to_not_convert, or NULL           */
    const char *activation;      /* as the key hidden_activation has it       */
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_ctx, n_vocab;
    double rope_base, eps;
    int tied;                    /* tie_word_embeddings; -1: not said         */
    bool rope_llama3;            /* Llama 3's long context:                   */
    double rope_factor, rope_low, rope_high, rope_n_ctx;
};

/* root, which must stay, was read from a file of that name, which must stay. */
int hf_config_read(struct hf_config *, const json_t *root, const char *name, struct err *);

/* The model's keys; general.name is title. */
void hf_config_put(const struct hf_config *, const char *title, struct gguf_put *);

/* head_dim / 2 divisors of rope's angles where rope_llama3 is set. */
void hf_config_rope(const struct hf_config *, float *factor);

/* Whether modules_to_not_convert names this module ("layers.3.mlp.up_proj"). */
bool hf_config_as_floats(const struct hf_config *, const char *module, size_t n);

#endif
