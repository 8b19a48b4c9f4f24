/* point.c - small work on rows: norm, rope, gate, add, pick. */
#include "num.h"
#include "ref.h"

#include <string.h>

#define ALL_OPS (BNP_POINT_RMSNORM | BNP_POINT_ROPE | BNP_POINT_RELU2 | BNP_POINT_SILU | \
                 BNP_POINT_ADD | BNP_POINT_PICK)

int ref_point_query(bnp_device *dev, const bnp_point_desc *d, bnp_offer *offer)
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

/* ss = sum64(x*x), r = 1 / sqrt(ss / n + eps), y = x * (r * w) */
static void norm_group(const float *x, const float *w, uint32_t n, float eps, float *y)
{
    float lane[64] = { 0 };
    for (uint32_t i = 0; i < n; i++)
        lane[i % 64] = fma32(x[i], x[i], lane[i % 64]);
    const float ss = sum64_tree(lane);
    const float r = 1.0f / sqrt32(ss / (float)n + eps);
    for (uint32_t i = 0; i < n; i++)
        y[i] = x[i] * (r * w[i]);
}

int ref_point_rmsnorm(bnp_stream *s, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y)
{
    int rc = same_shape(s, "rmsnorm", x, y);
    if (rc)
        return rc;
    const uint32_t n = norm->group_cols ? norm->group_cols : x->cols;
    if (norm->struct_size < sizeof(bnp_norm) || x->cols % n || !(norm->eps > 0.0f) ||
        row_not_finite(&norm->eps, 1) >= 0)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "rmsnorm: groups of %u in %u columns, eps %g: expected whole groups and a "
                        "positive eps", n, x->cols, (double)norm->eps);
    if ((rc = kit_need_span(s, "rmsnorm: weight", norm->weight, (uint64_t)n * sizeof(float))) ||
        (rc = kit_need_finite(s, "rmsnorm", x)))
        return rc;
    const float *w = span_at(norm->weight);
    for (uint32_t t = 0; t < x->n_tok; t++)
        for (uint32_t at = 0; at < x->cols; at += n)
            norm_group(rows_at(x, t) + at, w, n, norm->eps, rows_at(y, t) + at);
    return BNP_OK;
}

/* The i-th pair of a head is elements i and i + n_rot/2, or 2i and 2i + 1. */
static void rope_head(float *x, const float *table, uint32_t n_rot, uint32_t style)
{
    const uint32_t half = n_rot / 2;
    for (uint32_t i = 0; i < half; i++) {
        float *a = &x[style == BNP_ROPE_HALVES ? i : 2 * i];
        float *b = &x[style == BNP_ROPE_HALVES ? i + half : 2 * i + 1];
        const float c = table[i], sn = table[half + i], x0 = *a, x1 = *b;
        *a = fma32(x0, c, -(x1 * sn));
        *b = fma32(x1, c, x0 * sn);
    }
}

int ref_point_rope(bnp_stream *s, const bnp_rope *rope, const bnp_rows *x)
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
    if (rope->n_rot > UINT32_MAX / 4 ||
        (rc = kit_need_span(s, "rope: table", rope->table,
                            (uint64_t)rope->n_pos * (rope->n_rot * 4))))
        return rc ? rc : kit_fail(s->dev, BNP_E_INVALID, "rope: %u turned", rope->n_rot);
    for (uint32_t t = 0; t < x->n_tok; t++) {
        if ((uint32_t)s->step.pos[t] >= rope->n_pos)
            return kit_fail(s->dev, BNP_E_INVALID, "rope: row %u at position %d of %u", t,
                            s->step.pos[t], rope->n_pos);
    }
    for (uint32_t t = 0; t < x->n_tok; t++) {
        const float *table = (const float *)span_at(rope->table) +
                             (size_t)s->step.pos[t] * rope->n_rot;
        for (uint32_t at = 0; at < x->cols; at += rope->head_dim)
            rope_head(rows_at(x, t) + at, table, rope->n_rot, rope->style);
    }
    return BNP_OK;
}

/* RELU2: t = max(g, 0), y = (t * t) * u. SILU: y = (g / (1 + exp32(-g))) * u. */
static float glu(uint32_t f, float g, float u)
{
    if (f == BNP_GLU_SILU)
        return (g / (1.0f + exp32(-g))) * u;
    const float t = g > 0.0f ? g : 0.0f;
    return (t * t) * u;
}

int ref_point_glu(bnp_stream *s, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y)
{
    if (f != BNP_GLU_RELU2 && f != BNP_GLU_SILU)
        return BNP_E_UNSUPPORTED;
    int rc = same_shape(s, "glu: gate", gate, y);
    if (rc || (rc = same_shape(s, "glu: up", up, y)))
        return rc;
    for (uint32_t t = 0; t < y->n_tok; t++)
        for (uint32_t i = 0; i < y->cols; i++)
            rows_at(y, t)[i] = glu(f, rows_at(gate, t)[i], rows_at(up, t)[i]);
    return BNP_OK;
}

int ref_point_add(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    const int rc = same_shape(s, "add", x, y);
    if (rc)
        return rc;
    for (uint32_t t = 0; t < y->n_tok; t++)
        for (uint32_t i = 0; i < y->cols; i++)
            rows_at(y, t)[i] = rows_at(x, t)[i] + rows_at(y, t)[i];
    return BNP_OK;
}

int ref_point_pick(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    int rc = kit_need_step(s, "pick");
    if (rc || (rc = kit_need_rows(s, "pick: x", x)) || (rc = kit_need_rows(s, "pick: y", y)))
        return rc;
    if (x->cols != y->cols || x->n_tok != s->step.n_tok || y->n_tok != s->step.n_out)
        return kit_fail(s->dev, BNP_E_INVALID,
                        "pick: %u of %u rows, %u of %u columns; expected the step's %u of %u",
                        y->n_tok, x->n_tok, y->cols, x->cols, s->step.n_out, s->step.n_tok);
    for (uint32_t i = 0; i < y->n_tok; i++)
        memcpy(rows_at(y, i), rows_at(x, (uint32_t)s->step.out_row[i]), (size_t)rows_width(x));
    return BNP_OK;
}
