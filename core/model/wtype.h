/* wtype.h - the table of tensor encodings behind wsrc.h.
 *
 * An encoding is one row: its size formula, the canonical form it decodes to,
 * and three functions. Adding one is a decoder, a row and a golden block.
 *
 * Programs have given the same type number to different encodings, so a number
 * may have several rows: readings of it, told apart by the bytes that a tensor
 * of its shape takes. A reading without `open` is one that is recognised and
 * not read. */
#ifndef BITNET_MODEL_WTYPE_H
#define BITNET_MODEL_WTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
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
    const char *whose;           /* "ik_llama.cpp before October 2024": who    */
                                 /* means this by a shared number, or NULL     */
    uint32_t block, block_size;  /* elements and bytes of a block; rows hold   */
                                 /* whole ones, unless flat                    */
    uint32_t head_size;          /* bytes before a row's first block           */
    uint32_t tail_size;          /* bytes behind the tensor's last block       */
    bool flat;                   /* blocks run over the whole tensor, not rows */
    /* Bytes of rows x cols elements, instead of the five above; false when the
     * shape does not fit. rows * cols does not overflow. */
    bool (*size)(uint64_t rows, uint64_t cols, uint64_t *size);
    uint32_t format;             /* BNP_FMT_*                                  */
    uint32_t scale_cols;         /* columns per scale; 0: one, none, or a row's */
    bool needs_scale;            /* has no scale of its own: blk.N.x.scale     */
                                 /* must be there                              */
    uint32_t layout;             /* enum i2s_layout that asks for this reading; */
                                 /* 0: its size is enough                      */

    /* Sets scale_kind, scale and flags, and checks what it looks at for that.
     * Everything else of the wsrc is set and the size is known to be right. */
    int (*open)(struct wsrc *, struct err *);
    /* Reads all that the tensor holds: every code must be one of the encoding, every
     * number finite. NULL: `open` has done so, or any code will do. */
    int (*check)(const struct wsrc *, struct err *);
    /* Row `row` in canonical form: row_size bytes at dst. */
    void (*row)(const struct wsrc *, uint32_t row, void *dst);
    /* n scales from index first on, without extra_scale, as scale_kind counts
     * them; NULL if there is one scale at most. */
    void (*scales)(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
};

/* The first reading of a number; NULL: none of ours. */
const struct wtype *wtype_find(uint32_t ggml_type);
/* More than one reading: the size must decide. */
bool wtype_is_shared(uint32_t ggml_type);
/* The first reading of the number under which rows x cols elements take
 * `bytes`, less than `align` of which may be padding behind them. NULL: none
 * does. Readings that must be asked for (layout) are never picked. */
const struct wtype *wtype_pick(uint32_t ggml_type, uint64_t rows, uint64_t cols, uint64_t bytes,
                               uint64_t align);
/* The reading that `layout` asks for; NULL: it asks for none. */
const struct wtype *wtype_asked(uint32_t ggml_type, enum i2s_layout layout);
/* The bytes of rows x cols elements; false when the shape does not fit. */
bool wtype_bytes(const struct wtype *, uint64_t rows, uint64_t cols, uint64_t *size);
/* "I2_S takes 96, BitNet.rs's ...": every reading of a number, for a message. */
void wtype_put_readings(struct buf *, uint32_t ggml_type, uint64_t rows, uint64_t cols,
                        uint64_t bytes, uint64_t align);
/* "F32, F16, ... or TL2": everything that is read, for a message. */
void wtype_put_names(struct buf *);

/* Bytes of a canonical row of cols elements. */
size_t wtype_row_size(uint32_t format, uint32_t cols);

static inline uint16_t wtype_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t wtype_u32(const uint8_t *p)
{
    return wtype_u16(p) | (uint32_t)wtype_u16(p + 2) << 16;
}

/* Row `row` of an encoding whose rows are whole blocks and nothing else. */
static inline const uint8_t *wtype_row_at(const struct wsrc *w, uint32_t row)
{
    return w->t->data + (uint64_t)row * (w->cols / w->type->block) * w->type->block_size;
}

/* ternary.c */
/* For blocks with a half `d_at` bytes from their start: decides between one
 * scale and block scales. A block of zero weights gives nothing whatever its
 * scale, so it does not stand against one scale (is_zero NULL: none is zero). */
int ternary_scale(struct wsrc *, unsigned d_at,
                  bool (*is_zero)(const struct wtype *, const uint8_t *block), struct err *);
/* Two-bit fields with value 3 in n bytes. */
uint64_t ternary_count_threes(const uint8_t *, uint64_t n);
int i2s_open(struct wsrc *, struct err *);
int i2s_check(const struct wsrc *, struct err *);
void i2s_row(const struct wsrc *, uint32_t row, void *dst);
int tq1_open(struct wsrc *, struct err *);
void tq1_row(const struct wsrc *, uint32_t row, void *dst);
void tq1_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
int tq2_open(struct wsrc *, struct err *);
void tq2_row(const struct wsrc *, uint32_t row, void *dst);
void tq2_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);

/* hf_rows.c */
int hf_u8_open(struct wsrc *, struct err *);
int hf_u8_check(const struct wsrc *, struct err *);
void hf_u8_row(const struct wsrc *, uint32_t row, void *dst);
int hf_latent_open(struct wsrc *, struct err *);
void hf_latent_row(const struct wsrc *, uint32_t row, void *dst);

/* ternary_bn.c */
int iq1_bn_open(struct wsrc *, struct err *);
int iq1_bn_check(const struct wsrc *, struct err *);
void iq1_bn_row(const struct wsrc *, uint32_t row, void *dst);
void iq1_bn_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
int iq2_bn_open(struct wsrc *, struct err *);
int iq2_bn_check(const struct wsrc *, struct err *);
void iq2_bn_row(const struct wsrc *, uint32_t row, void *dst);
void iq2_bn_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
bool iq2_bn_r4_size(uint64_t rows, uint64_t cols, uint64_t *size);
int iq2_bn_r4_open(struct wsrc *, struct err *);
int iq2_bn_r4_check(const struct wsrc *, struct err *);
void iq2_bn_r4_row(const struct wsrc *, uint32_t row, void *dst);
void iq2_bn_r4_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);

/* ternary_tl.c */
int tl1_open(struct wsrc *, struct err *);
void tl1_row(const struct wsrc *, uint32_t row, void *dst);
int tl2_open(struct wsrc *, struct err *);
void tl2_row(const struct wsrc *, uint32_t row, void *dst);

/* ternary_rs.c */
int rs_inline_open(struct wsrc *, struct err *);
void rs_inline_row(const struct wsrc *, uint32_t row, void *dst);
void rs_inline_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
bool rs_qk256_size(uint64_t rows, uint64_t cols, uint64_t *size);
int rs_qk256_open(struct wsrc *, struct err *);
void rs_qk256_row(const struct wsrc *, uint32_t row, void *dst);

/* dense.c */
int float_open(struct wsrc *, struct err *);
int float_check(const struct wsrc *, struct err *);
void float_row(const struct wsrc *, uint32_t row, void *dst);
int int8_open(struct wsrc *, struct err *);
void q8_0_row(const struct wsrc *, uint32_t row, void *dst);
/* The half at the start of each block, where blocks have one scale. */
void wtype_d_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
void q6_k_row(const struct wsrc *, uint32_t row, void *dst);
void q6_k_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);

/* quant_32.c */
void q4_0_row(const struct wsrc *, uint32_t row, void *dst);
void q5_0_row(const struct wsrc *, uint32_t row, void *dst);
void iq4_nl_row(const struct wsrc *, uint32_t row, void *dst);
int quant_affine_open(struct wsrc *, struct err *);       /* blocks begin with scale and offset */
void q4_1_row(const struct wsrc *, uint32_t row, void *dst);
void q5_1_row(const struct wsrc *, uint32_t row, void *dst);

/* quant_k.c */
int q2_k_open(struct wsrc *, struct err *);
void q2_k_row(const struct wsrc *, uint32_t row, void *dst);
void q3_k_row(const struct wsrc *, uint32_t row, void *dst);
void q3_k_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);
void q4_k_row(const struct wsrc *, uint32_t row, void *dst);
void q5_k_row(const struct wsrc *, uint32_t row, void *dst);

/* quant_iq2.c */
void iq2_xs_row(const struct wsrc *, uint32_t row, void *dst);
void iq2_s_row(const struct wsrc *, uint32_t row, void *dst);
void iq2_scales(const struct wsrc *, uint64_t first, uint64_t n, float *dst);

/* quant_group.c */
int q1_0_open(struct wsrc *, struct err *);
void q1_0_row(const struct wsrc *, uint32_t row, void *dst);
int q2_0_open(struct wsrc *, struct err *);
void q2_0_row(const struct wsrc *, uint32_t row, void *dst);

#endif
