/* wsrc.h - one tensor of a file, read as rows in a canonical form.
 *
 * The files have many encodings; a plugin sees four (bitnet_plugin.h, family
 * linear). A wsrc decides the form once, at open, and decodes rows on
 * request. N encodings + M plugins, not N x M. Reading is [any thread]. */
#ifndef BITNET_MODEL_WSRC_H
#define BITNET_MODEL_WSRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/gguf.h"

/* What number 36 holds (docs/formats.md). A file does not say, so the user must:
 * byte orders of I2_S, which have one size, and two encodings of BitNet.rs. */
enum i2s_layout { I2S_A = 0, I2S_B, I2S_C, I2S_RS_INLINE32, I2S_RS_QK256 };

struct wsrc_opts {
    enum i2s_layout i2s_layout;
    const char *tl_preset;          /* tiles of TL1 and TL2: NULL or "auto",    */
                                    /* or as docs/formats.md says               */
    bool unchecked;                 /* wsrc_check is called later, by whoever   */
                                    /* does not know the content to be good     */
};

struct wsrc_tiles {
    uint32_t rows, cols, step;      /* BM, BY and bm of docs/formats.md         */
};

struct wsrc {
    const struct gguf_tensor *t;    /* NULL: the model has no such tensor       */
    const struct gguf *file;
    char name[64];                  /* "blk.3.ffn_down.weight"                  */
    uint32_t rows, cols;            /* output features, input features          */
    uint32_t format;                /* BNP_FMT_*                                */
    uint32_t scale_kind;            /* BNP_SCALE_*                              */
    uint32_t block_cols;            /* columns per scale when BNP_SCALE_BLOCK   */
    uint32_t flags;                 /* BNP_W_PLUS2 or 0                         */
    float scale;                    /* the one scale when BNP_SCALE_TENSOR      */
    float extra_scale;              /* a separate blk.N.x.scale tensor; 1       */
    enum i2s_layout layout;
    struct wsrc_tiles tiles;        /* of TL1 and TL2; else 0                   */
    bool guessed;                   /* other tiles are in use for this shape    */
    const char *tl_preset;          /* only while wsrc_open runs                */
    const struct wtype *type;       /* the file encoding's decoder              */
};

/* Opens tensor t as a matrix [rows][cols] = [ne1][ne0] (a vector is one row).
 * Decides form and scale, hoisting equal scales of blocks or rows to one tensor
 * scale. Every scale is checked to be finite, and wsrc_check is called unless
 * opts say otherwise. opts may be NULL: the defaults. */
int wsrc_open(struct wsrc *, const struct gguf *, const struct gguf_tensor *t,
              const struct wsrc_opts *, struct err *);
/* Reads all of the tensor: every number must be finite, every code one that the
 * encoding allows. */
int wsrc_check(const struct wsrc *, struct err *);

/* n rows from row on into dst, canonical form, stride bytes apart. */
int wsrc_read_rows(const struct wsrc *, uint32_t row, uint32_t n, void *dst, size_t stride);
/* The canonical rows where they lie in the file's map, *stride bytes apart, or
 * NULL: encoded otherwise, or not on 4 bytes. Valid until gguf_close. */
const void *wsrc_rows(const struct wsrc *, size_t *stride);
/* n rows from row on have been read: their pages may go, and come back from the
 * file when they are touched. Nothing where a row is not a range of bytes. */
void wsrc_drop_rows(const struct wsrc *, uint32_t row, uint32_t n);
/* n scales from index first on, counted as scale_kind says. */
int wsrc_read_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
/* One row as f32, scales applied: for vectors (norms), inspection and tests. */
int wsrc_read_f32(const struct wsrc *, uint32_t row, float *dst);

/* The file's types: name ("I2_S") or NULL, of a number and of a tensor, whose size
 * decides where a number has several meanings. */
const char *wtype_name(uint32_t ggml_type);
const char *wtype_name_of(const struct gguf_tensor *);

#endif
