/* check_point.c - see check_point.h. */
#include "plugins/kit/check_point.h"

#define ALL_OPS (BNP_POINT_RMSNORM | BNP_POINT_ROPE | BNP_POINT_RELU2 | BNP_POINT_SILU | \
                 BNP_POINT_ADD | BNP_POINT_PICK | BNP_POINT_GELU)

int kit_point_query(bnp_device *dev, const bnp_point_desc *d, bnp_offer *offer)
{
    if (d->struct_size < sizeof(bnp_point_desc) || !d->cols || !d->max_tok)
        return kit_fail(dev, BNP_E_INVALID, "pointwise: rows of %u columns, at most %u of them",
                        d->cols, d->max_tok);
    if (d->ops & ~(uint32_t)ALL_OPS)
        return BNP_E_UNSUPPORTED;
    const bnp_offer mine = { .det = BNP_DET_EXACT };
    sized_fill(offer, &mine, sizeof mine);
    return BNP_OK;
}

/* Two sets of rows of one shape. */
static int same_shape(bnp_stream *s, const char *what, const bnp_rows *x, const bnp_rows *y)
{
    int rc = kit_need_step(s, what);
    if (rc || (rc = kit_need_rows(s, what, x)) || (rc = kit_need_rows(s, what, y)))
        return rc;
    if (x->cols == y->cols && x->n_tok == y->n_tok)
        return BNP_OK;
    return kit_fail(s->dev, BNP_E_INVALID, "%s: %u rows of %u columns into %u of %u", what,
                    x->n_tok, x->cols, y->n_tok, y->cols);
}

int kit_norm_check(bnp_stream *s, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y,
                   uint32_t *n)
{
    const int rc = same_shape(s, "rmsnorm", x, y);
    if (rc)
        return rc;
    *n = norm->group_cols ? norm->group_cols : x->cols;
    if (norm->struct_size < sizeof(bnp_norm) || x->cols % *n || !(norm->eps > 0.0f) ||
        row_not_finite(&norm->eps, 1) >= 0)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "rmsnorm: groups of %u in %u columns, eps %g: expected whole groups and a "
                        "positive eps", *n, x->cols, (double)norm->eps);
    return kit_need_span(s, "rmsnorm: weight", norm->weight, (uint64_t)*n * sizeof(float));
}

int kit_rope_check(bnp_stream *s, const bnp_rope *rope, const bnp_rows *x)
{
    int rc = kit_need_step(s, "rope");
    if (rc || (rc = kit_need_rows(s, "rope: x", x)))
        return rc;
    if (rope->style != BNP_ROPE_HALVES && rope->style != BNP_ROPE_PAIRS)
        return BNP_E_UNSUPPORTED;
    if (rope->struct_size < sizeof(bnp_rope) || !rope->head_dim || x->cols % rope->head_dim ||
        rope->n_rot > rope->head_dim || rope->n_rot % 2 || x->n_tok != s->step.n_tok)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "rope: %u rows of %u columns, heads of %u, %u turned: expected the step's "
                        "%u rows, whole heads, an even part of them", x->n_tok, x->cols,
                        rope->head_dim, rope->n_rot, s->step.n_tok);
    if (rope->n_rot > UINT32_MAX / 4)
        return kit_fail(s->dev, BNP_E_INVALID, "rope: %u turned", rope->n_rot);
    if ((rc = kit_need_span(s, "rope: table", rope->table,
                            (uint64_t)rope->n_pos * (rope->n_rot * 4))))
        return rc;
    for (uint32_t t = 0; t < x->n_tok; t++) {
        if ((uint32_t)s->step.pos[t] >= rope->n_pos)
            return kit_fail(s->dev, BNP_E_INVALID, "rope: row %u at position %d of %u", t,
                            s->step.pos[t], rope->n_pos);
    }
    return BNP_OK;
}

int kit_glu_check(bnp_stream *s, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y)
{
    if (f < BNP_GLU_RELU2 || f > BNP_GLU_GELU)
        return BNP_E_UNSUPPORTED;
    const int rc = same_shape(s, "glu: gate", gate, y);
    return rc ? rc : same_shape(s, "glu: up", up, y);
}

int kit_add_check(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    return same_shape(s, "add", x, y);
}

int kit_pick_check(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    int rc = kit_need_step(s, "pick");
    if (rc || (rc = kit_need_rows(s, "pick: x", x)) || (rc = kit_need_rows(s, "pick: y", y)))
        return rc;
    if (x->cols == y->cols && x->n_tok == s->step.n_tok && y->n_tok == s->step.n_out)
        return BNP_OK;
    return kit_fail(s->dev, BNP_E_INVALID,
                    "pick: %u of %u rows, %u of %u columns; expected the step's %u of %u",
                    y->n_tok, x->n_tok, y->cols, x->cols, s->step.n_out, s->step.n_tok);
}
