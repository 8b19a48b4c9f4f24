/* kern.h - what a CPU plugin's kernels are to the rest of it.
 *
 * A CPU plugin is three things: the kit (checks, memory, who computes what; the
 * same for all), float kernels (templates over the vector type of simd_*.h,
 * instantiated once per instruction set), and ternary kernels (written by hand
 * per instruction set). This file is the joint: a variant is a row of
 * pointers, and nothing else of the kit knows an instruction set.
 *
 * Kernels get checked arguments, allocate nothing, fail never and touch
 * nothing but what they were given. The formulas are those of
 * bitnet_plugin.h, bit for bit. Spans may be over-read by BNP_SLACK. */
#ifndef BITNET_KIT_KERN_H
#define BITNET_KIT_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bitnet_plugin.h"

/* The most tokens (rows of activations) that a kernel gets in one call. */
#define KERN_TOK 128

/* ---------------------------------------------------------------- ternary
 *
 * A packing cuts a matrix into panels of panel_rows output rows. A panel is
 * one linear stream of bytes, so a worker reads its share of a matrix front to
 * back. Rows behind the matrix's last, and columns behind cols, hold code 1,
 * which is weight 0. */

struct tern_call {
    const uint8_t *panel;
    uint32_t cols;              /* of the matrix                             */
    uint32_t first, n_cols;     /* columns to sum over; first is a multiple  */
                                /* of the packing's step; q is 0 behind cols */
    bool plus2;                 /* code 3 may occur                          */
    uint32_t n_tok;             /* 1 .. KERN_TOK                             */
    const uint8_t *act;         /* activation data of token 0 (int8 q, or    */
    size_t act_stride;          /* what build made), bytes to the next one's */
    const int32_t *sum;         /* [n_tok] sum of q over the range           */
    int32_t *acc;               /* out [n_tok][panel_rows]:                  */
                                /* sum over the range of (code - 1) * q      */
    uint8_t *scratch;           /* the packing's scratch bytes, on 64        */
};

struct tern {
    const char *name;           /* the packing: "2-bit", "base-3", "tl2"     */
    uint64_t layout;            /* names the packed bytes; equal where equal */
    uint32_t panel_rows;        /* a multiple of 16, at most 128             */
    uint32_t step;              /* columns come in multiples of this         */
    bool plus2;                 /* can hold code 3                           */
    uint32_t scratch;           /* bytes that one call of dot needs          */

    /* Bytes of a panel, a multiple of 64. */
    uint64_t (*panel_size)(uint32_t cols);
    /* rows: panel_rows canonical rows, row_size bytes apart. */
    void (*pack)(const uint8_t *rows, size_t row_size, uint32_t cols, uint8_t *panel);
    /* The weights -1..2 of row r of a panel. */
    void (*unpack)(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w);
    void (*dot)(const struct tern_call *);

    /* Kernels that read something else than int8 q: its bytes for cols
     * columns (a multiple of 64), and how to make it. NULL: q itself, padded
     * with zeros to a multiple of 64 bytes. */
    uint64_t (*act_size)(uint32_t cols);
    void (*build)(const int8_t *q, uint32_t cols, uint8_t *act);
};

/* ------------------------------------------------------------------ float */

struct row_kern {
    /* Column of the first NaN or Inf, or -1. */
    int64_t (*not_finite)(const float *x, uint32_t n);
    /* q[0..n), its factor s and its sum; q is padded with zeros to 64. */
    void (*quantize)(const float *x, uint32_t n, int8_t *q, float *s, int32_t *sum);
    /* y[r] = (float)acc[r] * (scale[r * step] / s), or added to y; step 0, 1. */
    void (*finish)(const int32_t *acc, const float *scale, uint32_t step, float s, bool add,
                   float *y, uint32_t n);
    /* t[r] = fma((float)acc[r], d[r], t[r]) */
    void (*block)(const int32_t *acc, const float *d, float *t, uint32_t n);
    /* y[r] = t[r] * inv_s, or added to y */
    void (*block_end)(const float *t, float inv_s, bool add, float *y, uint32_t n);
};

struct dense_call {
    uint32_t format;            /* BNP_FMT_F32, F16, BF16, I8                */
    uint32_t cols, n_rows;      /* n_rows at most dense_kern.rows            */
    const uint8_t *w;           /* canonical rows, w_stride bytes apart; not  */
    size_t w_stride;            /* over-read: they may end a file            */
    const int32_t *id;          /* [n_rows] which of them, with their scales; */
                                /* NULL: 0, 1, 2, ...                        */
    const float *scale;         /* I8: [n_rows] scale_step apart, each       */
    size_t scale_step;          /* n_block scales of block_cols columns      */
    uint32_t block_cols;
    uint32_t n_tok;
    const float *x;             /* [n_tok] rows, x_stride floats apart       */
    size_t x_stride;
    float *y;                   /* [n_tok] rows, y_stride floats apart       */
    size_t y_stride;
    bool add;
    uint8_t *scratch;           /* dense_kern.scratch bytes, on 64           */
};

struct dense_kern {
    uint32_t rows;              /* weight rows in one call, at most          */
    uint32_t scratch;           /* bytes that one call needs                 */
    void (*mul)(const struct dense_call *);
    /* One row as f32; scale as above, for this row. */
    void (*row)(uint32_t format, const uint8_t *w, const float *scale, uint32_t block_cols,
                uint32_t cols, float *y);
};

struct screen_kern;             /* plugins/kit/topk.h                        */
struct attn_kern;               /* plugins/kit/attn.h                        */
struct point_kern;              /* plugins/kit/point.h                       */

struct float_kern {
    const struct row_kern *row;
    const struct dense_kern *dense;
    const struct screen_kern *screen;
    const struct attn_kern *attn;
    const struct point_kern *point;
};

/* ---------------------------------------------------------------- variant
 *
 * A plugin's table of variants. Every usable one is a device of the plugin, so
 * that the host's stopwatch chooses among them as it does among plugins. The
 * first usable one serves what is not ternary too. */
struct variant {
    const char *name;           /* "avx2 2-bit"                              */
    uint64_t isa;               /* all of these bits, beyond the plugin's    */
    const struct float_kern *f;
    const struct tern *tern;    /* NULL: dense weights only                  */
};

#endif
