/* point.c - the pointwise family: the kit checks, a kernel computes. */
#include "ocl.h"
#include "plugins/kit/check_point.h"

int ocl_point_query(bnp_device *d, const bnp_point_desc *p, bnp_offer *offer)
{
    return kit_point_query(d, p, offer);
}

int ocl_point_rmsnorm(bnp_stream *s, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y)
{
    uint32_t n;
    struct ocl_ref xr, yr, wr;
    int rc = kit_norm_check(s, norm, x, y, &n);
    if (rc || (rc = ocl_rows_ref(s->dev, "rmsnorm: x", x, &xr)) ||
        (rc = ocl_rows_ref(s->dev, "rmsnorm: y", y, &yr)) ||
        (rc = ocl_ref(s->dev, "rmsnorm: weight", norm->weight, n * 4ull, &wr)) || !x->n_tok)
        return rc;
    struct ocl_call c = ocl_call(s, OCL_rmsnorm);
    ocl_arg_step(&c);
    ocl_arg_rows(&c, xr, x);
    ocl_arg_ref(&c, wr);
    ocl_arg_rows(&c, yr, y);
    ocl_arg_u32(&c, n);
    ocl_arg_f32(&c, norm->eps);
    return ocl_run(&c, ocl_groups(x->cols / n, x->n_tok));
}

int ocl_point_rope(bnp_stream *s, const bnp_rope *rope, const bnp_rows *x)
{
    struct ocl_ref xr, tr;
    int rc = kit_rope_check(s, rope, x);
    if (rc || (rc = ocl_rows_ref(s->dev, "rope: x", x, &xr)) ||
        (rc = ocl_ref(s->dev, "rope: table", rope->table, (uint64_t)rope->n_pos * rope->n_rot * 4,
                      &tr)) || !x->n_tok || !rope->n_rot)
        return rc;
    struct ocl_call c = ocl_call(s, OCL_rope);
    ocl_arg_step(&c);
    ocl_arg_u32(&c, ocl_own(s)->pos_at);
    ocl_arg_rows(&c, xr, x);
    ocl_arg_ref(&c, tr);
    ocl_arg_u32(&c, x->cols);
    ocl_arg_u32(&c, rope->head_dim);
    ocl_arg_u32(&c, rope->n_rot);
    ocl_arg_u32(&c, rope->style == BNP_ROPE_PAIRS);
    return ocl_run(&c, ocl_over(x->cols / rope->head_dim * (rope->n_rot / 2), x->n_tok));
}

int ocl_point_glu(bnp_stream *s, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y)
{
    struct ocl_ref gr, ur, yr;
    int rc = kit_glu_check(s, f, gate, up, y);
    if (rc || (rc = ocl_rows_ref(s->dev, "glu: gate", gate, &gr)) ||
        (rc = ocl_rows_ref(s->dev, "glu: up", up, &ur)) ||
        (rc = ocl_rows_ref(s->dev, "glu: y", y, &yr)) || !y->n_tok)
        return rc;
    struct ocl_call c = ocl_call(s, OCL_glu);
    ocl_arg_rows(&c, gr, gate);
    ocl_arg_rows(&c, ur, up);
    ocl_arg_rows(&c, yr, y);
    ocl_arg_u32(&c, y->cols);
    ocl_arg_u32(&c, f);
    return ocl_run(&c, ocl_over(y->cols, y->n_tok));
}

int ocl_point_add(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    struct ocl_ref xr, yr;
    int rc = kit_add_check(s, x, y);
    if (rc || (rc = ocl_rows_ref(s->dev, "add: x", x, &xr)) ||
        (rc = ocl_rows_ref(s->dev, "add: y", y, &yr)) || !y->n_tok)
        return rc;
    struct ocl_call c = ocl_call(s, OCL_add);
    ocl_arg_rows(&c, xr, x);
    ocl_arg_rows(&c, yr, y);
    ocl_arg_u32(&c, y->cols);
    return ocl_run(&c, ocl_over(y->cols, y->n_tok));
}

int ocl_point_pick(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    struct ocl_ref xr, yr;
    int rc = kit_pick_check(s, x, y);
    if (rc || (rc = ocl_rows_ref(s->dev, "pick: x", x, &xr)) ||
        (rc = ocl_rows_ref(s->dev, "pick: y", y, &yr)) || !y->n_tok)
        return rc;
    struct ocl_call c = ocl_call(s, OCL_pick);
    ocl_arg_step(&c);
    ocl_arg_u32(&c, ocl_own(s)->out_at);
    ocl_arg_rows(&c, xr, x);
    ocl_arg_rows(&c, yr, y);
    ocl_arg_u32(&c, y->cols);
    return ocl_run(&c, ocl_over(y->cols, y->n_tok));
}
