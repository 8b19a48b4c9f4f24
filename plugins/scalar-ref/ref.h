/* ref.h - scalar-ref inside: its device, stream and weights, and the functions
 * behind its tables. Signatures and promises are those of bitnet_plugin.h. */
#ifndef SCALAR_REF_REF_H
#define SCALAR_REF_REF_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "plugins/kit/span.h"

struct bnp_device {
    const bnp_host *host;
};

struct bnp_stream {
    bnp_device *dev;
    bnp_limits lim;
    bool in_step;
    uint64_t ticket;
    bnp_step step;              /* its arrays are the copies that follow     */
    int32_t *id, *pos;          /* [max_tok]                                 */
    int32_t *seq_of;            /* [max_tok] the sequence of a row           */
    int32_t *page;              /* [max_seq][max_pages]                      */
    int32_t *out_row;           /* [max_out]                                 */
};

/* Prepared weights are the canonical rows, row_size bytes apart, then the
 * scales on a 64-byte boundary. */
struct bnp_weight {
    bnp_device *dev;
    uint32_t format, scale_kind, flags, rows, cols, block_cols, max_tok;
    uint32_t n_block;           /* scales in a row; 1 unless BNP_SCALE_BLOCK */
    uint64_t row_size;
    const uint8_t *data;
    const float *scale;
};

/* The one reason for the status about to be returned, by printf; returns it. */
int ref_fail(bnp_device *, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* BNP_OK inside a step; otherwise reported and BNP_E_INVALID. */
int ref_need_step(bnp_stream *, const char *what);
/* Rows inside their memory; otherwise reported and BNP_E_INVALID. */
int ref_need_rows(bnp_stream *, const char *what, const bnp_rows *);
int ref_need_span(bnp_stream *, const char *what, bnp_span, uint64_t size);
int ref_need_finite(bnp_stream *, const char *what, const bnp_rows *);

/* device.c */
int ref_device_count(const bnp_host *, uint32_t *n);
int ref_device_open(const bnp_host *, uint32_t index, bnp_device **out);
void ref_device_close(bnp_device *);
int ref_device_info(bnp_device *, bnp_device_info *);
extern const bnp_device_ops ref_device_ops;

/* pack.c */
int ref_linear_query(bnp_device *, const bnp_weight_desc *, bnp_offer *);
int ref_linear_layout(bnp_device *, const bnp_weight_desc *, bnp_weight_layout *);
int ref_linear_prepare(bnp_device *, const bnp_weight_desc *, const bnp_weight_src *, bnp_span,
                       bnp_weight **out);
int ref_linear_adopt(bnp_device *, const bnp_weight_desc *, bnp_span, bnp_weight **out);
void ref_linear_release(bnp_weight *);

/* act.c: prepared activations are a header, then rows stride bytes apart. */
enum { REF_ACT_INT8 = 1, REF_ACT_F32 = 2 };

struct ref_act {                /* 64 bytes, the first of the span          */
    uint32_t magic, kind, n_tok, cols;
    uint64_t stride;
    uint8_t rest[40];
};

uint32_t ref_act_kind(uint32_t format);
int ref_act_size(bnp_device *, uint32_t kind, uint32_t cols, uint32_t n_tok, uint64_t *size);
int ref_act_prepare(bnp_stream *, uint32_t kind, const bnp_rows *x, bnp_span act);
/* The span as rows prepared for w; NULL after a report. */
const struct ref_act *ref_act_of(bnp_stream *, bnp_span act, const bnp_weight *, uint32_t n_tok);
/* Row t: int8 values and their factor s, or f32 values. */
const int8_t *ref_act_int8(const struct ref_act *, uint32_t t, float *s);
const float *ref_act_f32(const struct ref_act *, uint32_t t);

/* mul.c walks a weight in panels of rows; the two forms fill and use them. */
#define REF_PANEL 8             /* weight rows                               */

uint64_t ref_panel_size(const bnp_weight_desc *);
int ref_linear_mul(bnp_stream *, bnp_span act, uint32_t n_items, const bnp_linear_item *,
                   bnp_span scratch);
int ref_linear_gather(bnp_stream *, const bnp_weight *, const bnp_rows *y);
int ref_linear_topk(bnp_stream *, bnp_span act, const bnp_weight *, const bnp_topk *,
                    bnp_span scratch);

/* mul_ternary.c, mul_dense.c: rows first .. first+n-1 of w, n <= REF_PANEL,
 * unpacked into panel; then their products with row t of act into y[n]. */
void ref_ternary_unpack(const bnp_weight *, uint32_t first, uint32_t n, int8_t *panel);
void ref_ternary_mul(const bnp_weight *, uint32_t first, uint32_t n, const int8_t *panel,
                     const struct ref_act *, uint32_t t, float *y);
void ref_ternary_row(const bnp_weight *, uint32_t row, float *y);
void ref_dense_unpack(const bnp_weight *, uint32_t first, uint32_t n, float *panel);
void ref_dense_mul(uint32_t cols, uint32_t n, const float *panel, const float *x, float *y);
void ref_dense_row(const bnp_weight *, uint32_t row, float *y);

/* attn.c */
int ref_attn_query(bnp_device *, const bnp_attn_desc *, bnp_offer *);
int ref_attn_page_size(bnp_device *, const bnp_attn_desc *, uint64_t *size);
int ref_attn_append(bnp_stream *, const bnp_attn_desc *, bnp_span pool, const bnp_rows *k,
                    const bnp_rows *v);
int ref_attn_attend(bnp_stream *, const bnp_attn_desc *, bnp_span pool, const bnp_rows *q,
                    const bnp_rows *out, bnp_span scratch);
int ref_attn_copy_page(bnp_stream *, const bnp_attn_desc *, bnp_span pool, uint32_t dst,
                       uint32_t src, uint32_t n_tok);

/* point.c */
int ref_point_query(bnp_device *, const bnp_point_desc *, bnp_offer *);
int ref_point_rmsnorm(bnp_stream *, const bnp_norm *, const bnp_rows *x, const bnp_rows *y);
int ref_point_rope(bnp_stream *, const bnp_rope *, const bnp_rows *x);
int ref_point_glu(bnp_stream *, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y);
int ref_point_add(bnp_stream *, const bnp_rows *x, const bnp_rows *y);
int ref_point_pick(bnp_stream *, const bnp_rows *x, const bnp_rows *y);

#endif
