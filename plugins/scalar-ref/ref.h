/* ref.h - scalar-ref inside: its weights, and the functions behind its tables.
 * Signatures and promises are those of bitnet_plugin.h. */
#ifndef SCALAR_REF_REF_H
#define SCALAR_REF_REF_H

#include <stdbool.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "plugins/kit/check.h"

/* Prepared weights are the canonical rows, row_size bytes apart, then the
 * scales on a 64-byte boundary. */
struct bnp_weight {
    struct kit_weight k;
    uint64_t row_size;
    const uint8_t *data;
    const float *scale;
};

/* device.c */
int ref_device_count(const bnp_host *, uint32_t *n);
int ref_device_open(const bnp_host *, uint32_t index, bnp_device **out);
int ref_device_info(bnp_device *, bnp_device_info *);

/* pack.c */
int ref_linear_query(bnp_device *, const bnp_weight_desc *, bnp_offer *);
int ref_linear_layout(bnp_device *, const bnp_weight_desc *, bnp_weight_layout *);
int ref_linear_prepare(bnp_device *, const bnp_weight_desc *, const bnp_weight_src *, bnp_span,
                       bnp_weight **out);
int ref_linear_adopt(bnp_device *, const bnp_weight_desc *, bnp_span, bnp_weight **out);
void ref_linear_release(bnp_weight *);

/* act.c: a row of int8 is 64 bytes that begin with its factor, then the values. */
enum { REF_ACT_INT8 = 1, REF_ACT_F32 = 2 };

uint32_t ref_act_kind(uint32_t format);
int ref_act_size(bnp_device *, uint32_t kind, uint32_t cols, uint32_t n_tok, uint64_t *size);
int ref_act_prepare(bnp_stream *, uint32_t kind, const bnp_rows *x, bnp_span act);
/* Row t: int8 values and their factor s, or f32 values. */
const int8_t *ref_act_int8(const struct kit_act *, uint32_t t, float *s);
const float *ref_act_f32(const struct kit_act *, uint32_t t);

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
                     const struct kit_act *, uint32_t t, float *y);
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
