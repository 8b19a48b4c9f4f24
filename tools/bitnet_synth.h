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

#include "core/base/buf.h"
#include "core/base/err.h"

/* ------------------------------------------------------------------ shapes */

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
};

/* NULL, err naming all shapes, when there is none of this name. */
const struct synth_shape *synth_shape_find(const char *name, struct err *);

/* --------------------------------------------------------------- encodings */

struct synth_enc {
    const char *name;             /* of --type and --head                      */
    uint32_t id;                  /* ggml type                                 */
    uint32_t file_type;           /* general.file_type of a file full of it    */
    uint32_t block, block_size;   /* elements and bytes                        */
    bool ternary;                 /* else any number can be written in it      */
    /* One block. codes: weights -1, 0, 1 times scale. */
    void (*codes)(const int8_t *w, float scale, uint8_t *out);
    void (*floats)(const float *x, uint8_t *out);
};

enum { SYNTH_TAIL = 32 };         /* bytes behind the last block of I2_S       */

/* NULL, err naming all encodings, when there is none of this name. option is
 * for the message. */
const struct synth_enc *synth_enc_find(const char *name, const char *option, struct err *);
/* n elements, whole blocks. Weights in an encoding that is not ternary become
 * numbers. */
void synth_enc_codes(const struct synth_enc *, const int8_t *w, size_t n, float scale,
                     uint8_t *out);
void synth_enc_floats(const struct synth_enc *, const float *x, size_t n, uint8_t *out);
/* What follows the last block: its bytes, 0 or SYNTH_TAIL. */
size_t synth_enc_tail(const struct synth_enc *, float scale, uint8_t out[SYNTH_TAIL]);

/* ----------------------------------------------------------------- tensors */

enum synth_kind {
    SYNTH_NORM,                   /* gains, around 1                           */
    SYNTH_TABLE,                  /* embedding or head, around 0               */
    SYNTH_MATRIX                  /* ternary                                   */
};

struct synth_tensor {
    char name[48];
    enum synth_kind kind;
    const struct synth_enc *enc;
    uint32_t rows, cols;          /* rows 0: a vector                          */
    uint64_t size, offset;        /* bytes; from the start of the first tensor */
};

enum { SYNTH_ALIGN = 32 };        /* of tensors: the format's default          */

/* All tensors in the order of the file; free *t. */
int synth_tensors(const struct synth_shape *, const struct synth_enc *type,
                  const struct synth_enc *head, struct synth_tensor **t, uint32_t *n,
                  struct err *);

/* ---------------------------------------------------------------- metadata */

struct synth_kv {                 /* keys as in the file, one behind the other */
    struct buf b;
    uint64_t n;
};

void synth_kv_u32(struct synth_kv *, const char *key, uint32_t v);
void synth_kv_f32(struct synth_kv *, const char *key, float v);
void synth_kv_bool(struct synth_kv *, const char *key, bool v);
void synth_kv_text(struct synth_kv *, const char *key, const char *v);
/* The start of an array of n elements, which the caller appends to b. */
void synth_kv_array(struct synth_kv *, const char *key, uint32_t type, uint64_t n);
/* A string as a value or an element. */
void synth_put_text(struct buf *, const char *p, size_t n);

/* All tokenizer keys of another file, which must have n_vocab tokens. */
int synth_vocab_copy(struct synth_kv *, const char *path, uint32_t n_vocab, struct err *);
/* A byte-level BPE vocabulary: 256 bytes, merges of letters, control tokens. */
void synth_vocab_make(struct synth_kv *, uint32_t n_vocab, uint32_t n_special);

/* ----------------------------------------------------------------- numbers */

struct synth_random {
    uint64_t state;
};

/* The numbers of one piece of one tensor. */
struct synth_random synth_random_at(uint64_t seed, uint32_t tensor, uint64_t piece);
/* Weights -1, 0, 1: 108 of 256 are 0, as in the published 2B-4T model (42.2 %),
 * and as many are 1 as -1. */
void synth_random_codes(struct synth_random *, int8_t *w, size_t n);
/* Bell-shaped around mean. */
void synth_random_floats(struct synth_random *, float mean, float deviation, float *x, size_t n);

#endif
