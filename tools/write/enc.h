/* enc.h - numbers to the bytes of a tensor, as the encoding's own quantizer
 * writes them.
 *
 * An encoding is a row of a table. Weights go in as a flat run, row after row,
 * in pieces of any size, and bytes come out in order through a function of the
 * caller. An encoding whose rows are not blocks one behind another holds the
 * encoded tensor until its end; all others hold ENC_PIECE bytes. */
#ifndef BITNET_TOOLS_WRITE_ENC_H
#define BITNET_TOOLS_WRITE_ENC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/f16.h"
#include "core/model/tl_tiles.h"

enum {
    ENC_PIECE = 1 << 16,          /* bytes handed on at once                   */
    ENC_MAX_BLOCK = 256,          /* elements                                  */
    ENC_MAX_TAIL = 32             /* bytes                                     */
};

struct enc_tensor;

struct enc {
    const char *name;             /* of --type and --head                      */
    uint32_t id;                  /* ggml type                                 */
    uint32_t file_type;           /* general.file_type of a file full of it    */
    uint32_t block, block_size;   /* elements and bytes; 0: no blocks, row is  */
                                  /* set                                       */
    bool ternary;                 /* else any number can be written in it      */
    bool flat;                    /* blocks run over the whole tensor, not rows */
    uint32_t scale_cols;          /* weights of a row that share a scale, at   */
                                  /* most all of it; 0: all of the tensor      */
    bool half_scale;              /* a ternary encoding's scale is rounded to  */
                                  /* a half                                    */
    /* One block of codes -1, 0, 1 times scale, or of any numbers. Only one of
     * the two: an encoding that is not ternary has floats. */
    void (*codes)(const int8_t *w, float scale, uint8_t *out);
    void (*floats)(const float *x, uint8_t *out);
    /* Instead of blocks: the bytes before the tail, false where rows x cols
     * cannot be written; and one row into all of them, which were zero. */
    bool (*whole)(uint32_t rows, uint32_t cols, uint64_t *size);
    void (*row)(const struct enc_tensor *, uint32_t row, const int8_t *w, uint8_t *out);
    bool tiled;                   /* in tiles, those of kind                   */
    enum tl_kind kind;
    /* What follows the last block or row: bytes written; or NULL. */
    size_t (*tail)(float scale, uint8_t out[ENC_MAX_TAIL]);
};

/* NULL: none of this name. */
const struct enc *enc_find(const char *name);

/* Bytes of rows x cols elements; false when they fill no whole blocks, or no
 * whole tiles. */
bool enc_size(const struct enc *, uint32_t rows, uint32_t cols, uint64_t *size);
/* The same for one who must know why not; of TL1 and TL2 also whether its tiles
 * are known (tl_tiles.h). The message names no tensor. */
int enc_check(const struct enc *, uint32_t rows, uint32_t cols, const char *tl_preset,
              uint64_t *size, struct err *);

/* Where bytes go. */
struct enc_sink {
    int (*write)(void *ctx, const void *p, size_t n, struct err *);
    void *ctx;
};

struct enc_tensor {
    const struct enc *enc;
    uint32_t rows, cols;
    uint64_t size;                /* bytes, as enc_size                        */
    float scale;                  /* of the codes, 1. The caller sets it, once */
                                  /* or after every scale_cols of them         */
    struct enc_sink sink;
    struct wsrc_tiles tiles;
    /* enc.c's: */
    uint32_t unit, n_part;        /* elements encoded at once, and how many of */
                                  /* them wait in part                         */
    void *part;                   /* [unit] codes or numbers                   */
    uint32_t n_row;               /* rows that are in out, where rows are put  */
    uint8_t *out;                 /* [ENC_PIECE], or the bytes before the tail */
    size_t n_out;
};

/* enc_check, and memory. tl_preset: NULL for all but TL1 and TL2. */
int enc_open(struct enc_tensor *, const struct enc *, uint32_t rows, uint32_t cols,
             const char *tl_preset, struct enc_sink, struct err *);
/* The next n elements. Codes in an encoding that is not ternary become numbers;
 * numbers need one that is not. */
int enc_codes(struct enc_tensor *, const int8_t *w, size_t n, struct err *);
int enc_floats(struct enc_tensor *, const float *x, size_t n, struct err *);
/* All elements are in: the rest of the bytes go out. */
int enc_finish(struct enc_tensor *, struct err *);
/* Legal after a failed enc_open and more than once. */
void enc_close(struct enc_tensor *);

/* ------------------------------------------------- rows of the table, by file */

extern const struct enc enc_ternary[], enc_tl[], enc_dense[];    /* a NULL name ends */

/* enc_ternary.c: the scale, and 28 bytes that mean nothing. */
size_t enc_scale_tail(float scale, uint8_t out[ENC_MAX_TAIL]);

/* enc_dense.c: a block of Q6_K: levels 0 .. 63 for -32 .. 31, scales of sixteen of
 * them each, and d as a half. */
void enc_q6_k_block(const uint8_t level[256], const int8_t scale[16], uint16_t d, uint8_t out[210]);

static inline void enc_put_half(float v, uint8_t *out)
{
    const uint16_t h = f16_from_f32(v);
    memcpy(out, &h, sizeof h);
}

#endif
