/* model.h - a model file understood: what it is, its numbers, its tensors.
 *
 * model_open reads a GGUF file or a Hugging Face directory (hf.h), recognises
 * the architecture, checks every tensor the graph needs (presence, shape, type)
 * and opens the tokenizer. Nothing is copied: weights stay in the map until a
 * device prepares them. */
#ifndef BITNET_MODEL_MODEL_H
#define BITNET_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/gguf.h"
#include "core/model/sums.h"
#include "core/model/vocab.h"
#include "core/model/wsrc.h"

enum model_pooling {             /* numbers of the key pooling_type           */
    POOLING_NONE = 0,            /* the model is for text                     */
    POOLING_MEAN = 1, POOLING_LAST = 3   /* for embeddings: all tokens, last  */
};

struct hparams {
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv;
    uint32_t head_dim;           /* n_head * head_dim need not be n_embd      */
    uint32_t n_rot;              /* elements of a head that rope turns        */
    uint32_t n_ctx;              /* positions the file claims                 */
    uint32_t n_vocab;            /* rows of the embedding                     */
    float eps;                   /* RMSNorm                                   */
    float eps_stream;            /* the same, of norms of the residual stream */
    float embd_scale;            /* the graph multiplies embeddings by it; 1.
                                    numerics.md: the stream is divided by it  */
    double rope_base;
    uint32_t rope_style;         /* BNP_ROPE_*                                */
    uint32_t glu;                /* BNP_GLU_*                                 */
    bool sub_norm;               /* attn_output and ffn_down norm their input */
    bool proj_norm;              /* every projection does, each with its gain */
    bool head_norm;              /* heads of q and k are normed, before rope  */
    bool post_norm;              /* what a layer adds to the stream is normed */
    bool tied_head;              /* logits come from the embedding            */
    enum model_pooling pooling;
    float attn_scale;            /* multiplies q.k                            */
};

/* Tensors of one layer. T_x_NORM_IN is a norm of the input of x; that of the
 * output projection is T_ATTN_SUB_NORM, called attn_output_norm_in where every
 * projection has one, and that of down is T_FFN_SUB_NORM, or ffn_down_norm_in.
 * T_ATTN_Q_NORM and T_ATTN_K_NORM have head_dim elements. */
enum model_slot {
    T_ATTN_NORM, T_ATTN_Q_NORM_IN, T_ATTN_Q, T_ATTN_K_NORM_IN, T_ATTN_K, T_ATTN_V_NORM_IN,
    T_ATTN_V, T_ATTN_Q_NORM, T_ATTN_K_NORM, T_ATTN_SUB_NORM, T_ATTN_OUT, T_ATTN_POST_NORM,
    T_FFN_NORM, T_FFN_GATE_NORM_IN, T_FFN_GATE, T_FFN_UP_NORM_IN, T_FFN_UP, T_FFN_SUB_NORM,
    T_FFN_DOWN, T_FFN_POST_NORM, T_LAYER_N
};

struct model_layer {
    struct wsrc t[T_LAYER_N];    /* t.t == NULL: this graph has none          */
};

struct model_opts {
    enum i2s_layout i2s_layout;
    const char *tl_preset;       /* tiles of TL1 and TL2 (wsrc.h), or NULL    */
    const char *pre;             /* pre-tokenizer override, or NULL           */
    const char *activation;      /* "relu2", "silu", "gelu_tanh", or NULL     */
    bool kept;                   /* prepared weights may be kept: the sums by */
                                 /* which they are known are begun, and what  */
                                 /* matrices hold is checked by weights_load, */
                                 /* where nothing good is kept                */
};

struct model {
    struct gguf *file;
    struct sums *sums;           /* NULL: not asked for (model_opts)          */
    bool unchecked;              /* wsrc_check of the matrices is still due   */
    struct vocab *vocab;
    const char *arch;            /* "bitnet-b1.58"                            */
    char name[128];              /* general.name, or the file's base name     */
    struct hparams hp;
    struct wsrc embd, output_norm, head;  /* head is embd again when tied     */
    float *rope_factor;          /* [n_rot/2] from rope_freqs.weight, or NULL */
    struct model_layer *layer;   /* [n_layer]                                 */
    char warning[8][256];        /* what a user should know, one line each    */
    unsigned n_warning;
};

int model_open(struct model **out, const char *path, const struct model_opts *, struct err *);
int model_open_mem(struct model **out, const void *p, size_t n, const char *name,
                   const struct model_opts *, struct err *);
void model_close(struct model *);

#endif
