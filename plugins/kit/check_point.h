/* check_point.h - are these pointwise calls as bitnet_plugin.h says? Each gives
 * BNP_OK, BNP_E_UNSUPPORTED, or a status after its report. NaN and Inf in the
 * rows of a norm are left to whoever walks them. */
#ifndef BITNET_KIT_CHECK_POINT_H
#define BITNET_KIT_CHECK_POINT_H

#include "plugins/kit/check.h"

/* Every op of this header, exactly; fills the offer. */
int kit_point_query(bnp_device *, const bnp_point_desc *, bnp_offer *);
/* *n: columns of a group. */
int kit_norm_check(bnp_stream *, const bnp_norm *, const bnp_rows *x, const bnp_rows *y,
                   uint32_t *n);
int kit_rope_check(bnp_stream *, const bnp_rope *, const bnp_rows *x);
int kit_glu_check(bnp_stream *, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y);
int kit_add_check(bnp_stream *, const bnp_rows *x, const bnp_rows *y);
int kit_pick_check(bnp_stream *, const bnp_rows *x, const bnp_rows *y);

/* n_rot/2 cosines and as many sines for row t of the step. */
static inline const float *kit_rope_row(const bnp_stream *s, const bnp_rope *rope, uint32_t t)
{
    return (const float *)span_at(rope->table) + (size_t)s->step.pos[t] * rope->n_rot;
}

#endif
