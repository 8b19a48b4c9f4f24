/* bitnet_synth.h - the parts of `bitnet synth`.
 *
 * A shape says which tensors and keys a published model has; an encoding turns
 * numbers into the bytes of a file; the rest is written from those two and a
 * seed. Equal inputs give equal files on every machine: integers, and single
 * float operations. */
#ifndef BITNET_TOOLS_SYNTH_H
#define BITNET_TOOLS_SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/gguf_put.h"
#include "tools/write/enc.h"

/* ------------------------------------------------------------------ shapes */

/* Whose checkpoints and tokenizers a shape has. */
enum synth_family {
    SYNTH_MICROSOFT,              /* 2B-4T                                     */
    SYNTH_1BITLLM,
    SYNTH_LLAMA3,                 /* HF1BitLLM                                 */
    SYNTH_FALCON3,
    SYNTH_FALCON_E,
    SYNTH_QWEN3,                  /* embedding models                          */
    SYNTH_GEMMA3
};

struct synth_shape {
    const char *name;             /* of --shape                                */
    const char *title;            /* general.name                              */
    const char *arch;             /* general.architecture, and keys' prefix    */
    const char *glu;              /* "relu2", "silu"                           */
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv;
    uint32_t n_vocab;
    uint32_t n_special;           /* control tokens at the end of a vocabulary */
                                  /* of our own                                */
    uint32_t n_ctx;               /* positions                                 */
    float eps, rope_base;
    bool sub_norm;                /* attn_sub_norm, ffn_sub_norm               */
    bool tied;                    /* no output.weight                          */
    bool embedding;               /* for vectors of texts: F16 norms of every  */
                                  /* projection's input and every head         */
    bool post_norm;               /* and of what a layer adds, as gemma3 has   */
    uint32_t head_dim;            /* 0: n_embd / n_head, and no key says so    */
    enum synth_family family;
};

uint32_t synth_head_dim(const struct synth_shape *);
/* NULL, err naming all shapes, when there is none of this name. */
const struct synth_shape *synth_shape_find(const char *name, struct err *);

/* --------------------------------------------------------------- encodings */

/* enc_find, but q8_0 and q6_k round to the nearest step without searching for a
 * better one: of random numbers a search makes nothing better, and it takes
 * longer than everything else. */
const struct enc *synth_enc_find(const char *name);

/* ----------------------------------------------------------------- tensors */

enum synth_kind {
    SYNTH_NORM,                   /* gains, around 1                           */
    SYNTH_TABLE,                  /* embedding or head, around 0               */
    SYNTH_MATRIX                  /* ternary                                   */
};

struct synth_tensor {
    char name[48];
    enum synth_kind kind;
    const struct enc *enc;
    uint32_t rows, cols;          /* rows 0: a vector                          */
    uint64_t size;                /* bytes                                     */
};

/* All tensors in the order of the file; free *t. */
int synth_tensors(const struct synth_shape *, const struct enc *type, const struct enc *head,
                  struct synth_tensor **t, uint32_t *n, struct err *);

/* ---------------------------------------------------------------- metadata */

/* All tokenizer keys of another file, which must have n_vocab tokens. */
int synth_vocab_copy(struct gguf_put *, const char *path, uint32_t n_vocab, struct err *);
/* A vocabulary as the family has: byte-level BPE (256 bytes, merges of letters,
 * control tokens), or SPM with the same words. */
void synth_vocab_make(struct gguf_put *, enum synth_family, uint32_t n_vocab, uint32_t n_special);

/* ----------------------------------------------------------------- numbers */

struct synth_random {
    uint64_t state;
};

enum { SYNTH_PIECE = 1 << 16 };   /* elements that are drawn at once           */

/* The numbers of one piece of one tensor. */
struct synth_random synth_random_at(uint64_t seed, uint32_t tensor, uint64_t piece);
/* Weights -1, 0, 1: 108 of 256 are 0, as in the published 2B-4T model (42.2 %),
 * and as many are 1 as -1. */
void synth_random_codes(struct synth_random *, int8_t *w, size_t n);
/* Bell-shaped around mean. */
void synth_random_floats(struct synth_random *, float mean, float deviation, float *x, size_t n);
/* The scale of a matrix with so many columns, and the deviation of a table. */
float synth_matrix_scale(uint32_t cols);
float synth_table_deviation(uint32_t cols);

/* -------------------------------------------------------- a whole directory */

struct synth_hf {
    const struct synth_shape *shape;
    const char *dir;              /* made when it is not there                 */
    const char *vocab;            /* a GGUF whose tokenizer is taken, or NULL  */
    uint64_t seed;
    uint64_t shard_size;          /* bytes of tensors in a file, at most       */
    bool latent;                  /* floats instead of packed weights          */
};

/* config.json, tokenizer.json and its like, and safetensors files of the
 * shape's family. Each file appears when it is complete, config.json last. */
int synth_hf(const struct synth_hf *, struct err *);

#endif
