/* wtype.h - the table of tensor encodings behind wsrc.h.
 *
 * An encoding is one row: its size formula, the canonical form it decodes to,
 * and three functions. Adding one is a decoder, a row and a golden block. */
#ifndef BITNET_MODEL_WTYPE_H
#define BITNET_MODEL_WTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/wsrc.h"

/* Tensors of Hugging Face directories (hf.h), whose encodings no GGUF file has. */
enum {
    WTYPE_INTERNAL = 0x10000,    /* no file has a type from here on            */
    HF_U8 = WTYPE_INTERNAL,      /* byte [p][k]: two bits of each of the rows  */
                                 /* p, p + R, p + 2R, p + 3R of 4R, low first, */
                                 /* code + 1 */
    HF_LATENT_BF16,              /* floats that absmean makes ternary          */
    HF_LATENT_F16,
    HF_LATENT_F32
};

struct wtype {
    uint32_t id;                 /* ggml type                                  */
    const char *name;
    uint32_t block, block_size;  /* elements and bytes of a block; rows hold   */
                                 /* whole ones, unless flat                    */
    uint32_t tail_size;          /* bytes behind the last block                */
    bool flat;                   /* blocks run over the whole tensor, not rows */
    uint32_t format;             /* BNP_FMT_*                                  */
    uint32_t scale_cols;         /* columns per scale; 0: one or none          */
    const char *shared;          /* other encodings seen under this id, or NULL */

    /* Checks the content; sets scale_kind, scale and flags. Everything else
     * of the wsrc is set and the size is known to be right. */
    int (*open)(struct wsrc *, struct err *);
    /* Row `row` in canonical form: row_size bytes at dst. */
    void (*row)(const struct wsrc *, uint32_t row, void *dst);
    /* n scales from index first on, without extra_scale; NULL if !scale_cols. */
    void (*scales)(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
};

const struct wtype *wtype_find(uint32_t ggml_type);     /* NULL: none of ours */

/* Bytes of a canonical row of cols elements. */
size_t wtype_row_size(uint32_t format, uint32_t cols);

static inline uint16_t wtype_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

/* ternary.c */
int i2s_open(struct wsrc *, struct err *);
void i2s_row(const struct wsrc *, uint32_t row, void *dst);
int tq1_open(struct wsrc *, struct err *);
void tq1_row(const struct wsrc *, uint32_t row, void *dst);
void tq1_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
int tq2_open(struct wsrc *, struct err *);
void tq2_row(const struct wsrc *, uint32_t row, void *dst);
void tq2_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);

/* dense.c */
int float_open(struct wsrc *, struct err *);
void float_row(const struct wsrc *, uint32_t row, void *dst);
int int8_open(struct wsrc *, struct err *);
void q8_0_row(const struct wsrc *, uint32_t row, void *dst);
void q8_0_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
void q6_k_row(const struct wsrc *, uint32_t row, void *dst);
void q6_k_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);

#endif
