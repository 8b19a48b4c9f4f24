/* mul.c - matrix times rows, rows of a matrix, and the k largest products.
 *
 * A weight is walked once, in panels of a few rows: unpack a panel into
 * scratch, multiply it with every row of the activations, go on. mul writes
 * the products, topk keeps the k best of them. */
#include "num.h"
#include "ref.h"

#include <string.h>

uint64_t ref_panel_size(const bnp_weight_desc *w)
{
    const uint64_t element = w->format == BNP_FMT_T2 ? sizeof(int8_t) : sizeof(float);
    return align_up(w->cols * element * REF_PANEL, BNP_ALIGN);
}

static uint64_t panel_size(const bnp_weight *w)
{
    return ref_panel_size(&(bnp_weight_desc){ .format = w->format, .cols = w->cols });
}

static void panel_unpack(const bnp_weight *w, uint32_t first, uint32_t n, void *panel)
{
    if (w->format == BNP_FMT_T2)
        ref_ternary_unpack(w, first, n, panel);
    else
        ref_dense_unpack(w, first, n, panel);
}

static void panel_mul(const bnp_weight *w, uint32_t first, uint32_t n, const void *panel,
                      const struct ref_act *act, uint32_t t, float y[REF_PANEL])
{
    if (w->format == BNP_FMT_T2)
        ref_ternary_mul(w, first, n, panel, act, t, y);
    else
        ref_dense_mul(w->cols, n, panel, ref_act_f32(act, t), y);
}

static uint32_t panel_rows(const bnp_weight *w, uint32_t first)
{
    return w->rows - first < REF_PANEL ? w->rows - first : REF_PANEL;
}

static int item_check(bnp_stream *s, const bnp_linear_item *it)
{
    const bnp_weight *w = it->weight;
    if (it->flags & BNP_MUST & ~BNP_ADD)
        return BNP_E_UNSUPPORTED;
    if (!(w->flags & BNP_W_MUL))
        return ref_fail(s->dev, BNP_E_INVALID, "mul: this weight was described without BNP_W_MUL");
    if (it->y.cols != w->rows || it->y.n_tok > w->max_tok)
        return ref_fail(s->dev, BNP_E_INVALID,
                        "mul: y is %u rows of %u columns, expected at most %u rows of %u",
                        it->y.n_tok, it->y.cols, w->max_tok, w->rows);
    return ref_need_rows(s, "mul: y", &it->y);
}

static void mul_item(const struct ref_act *act, const bnp_linear_item *it, void *panel)
{
    const bnp_weight *w = it->weight;
    float v[REF_PANEL];
    for (uint32_t j = 0; j < w->rows; j += REF_PANEL) {
        const uint32_t n = panel_rows(w, j);
        panel_unpack(w, j, n, panel);
        for (uint32_t t = 0; t < it->y.n_tok; t++) {
            float *y = rows_at(&it->y, t) + j;
            panel_mul(w, j, n, panel, act, t, v);
            for (uint32_t k = 0; k < n; k++)
                y[k] = it->flags & BNP_ADD ? y[k] + v[k] : v[k];
        }
        if (w->rows - j <= REF_PANEL)
            break;                              /* j + REF_PANEL might wrap */
    }
}

int ref_linear_mul(bnp_stream *s, bnp_span act, uint32_t n_items, const bnp_linear_item *item,
                   bnp_span scratch)
{
    int rc = ref_need_step(s, "mul");
    for (uint32_t i = 0; i < n_items && !rc; i++) {
        if ((rc = item_check(s, &item[i])) ||
            (rc = ref_need_span(s, "mul: scratch", scratch, panel_size(item[i].weight))))
            break;
        if (!ref_act_of(s, act, item[i].weight, item[i].y.n_tok))
            rc = BNP_E_INVALID;
    }
    for (uint32_t i = 0; i < n_items && !rc; i++)
        mul_item(span_at(act), &item[i], span_at(scratch));
    return rc;
}

int ref_linear_gather(bnp_stream *s, const bnp_weight *w, const bnp_rows *y)
{
    int rc = ref_need_step(s, "gather");
    if (rc || (rc = ref_need_rows(s, "gather: y", y)))
        return rc;
    if (!(w->flags & BNP_W_GATHER) || y->cols != w->cols || y->n_tok != s->step.n_tok)
        return ref_fail(s->dev, BNP_E_INVALID,
                        "gather: y is %u rows of %u columns, expected the step's %u rows of %u and "
                        "a weight described with BNP_W_GATHER", y->n_tok, y->cols, s->step.n_tok,
                        w->cols);
    for (uint32_t t = 0; t < y->n_tok; t++) {
        const int32_t id = s->step.id[t];
        if (id < 0 || (uint32_t)id >= w->rows)
            return ref_fail(s->dev, BNP_E_INVALID, "gather: row %u asks for token %d of %u", t, id,
                            w->rows);
    }
    for (uint32_t t = 0; t < y->n_tok; t++) {
        if (w->format == BNP_FMT_T2)
            ref_ternary_row(w, (uint32_t)s->step.id[t], rows_at(y, t));
        else
            ref_dense_row(w, (uint32_t)s->step.id[t], rows_at(y, t));
    }
    return BNP_OK;
}

/* Puts (v, id) into the *n best so far, at most k. Rows come in ascending
 * order, so on a tie the one that is already there stays in front. */
static void best_insert(float v, int32_t id, uint32_t k, uint32_t *n, int32_t *ids, float *best)
{
    uint32_t at = *n;
    if (at == k) {
        if (!(v > best[k - 1]))
            return;
        at--;
    } else {
        ++*n;
    }
    for (; at && v > best[at - 1]; at--) {
        best[at] = best[at - 1];
        ids[at] = ids[at - 1];
    }
    best[at] = v;
    ids[at] = id;
}

static int topk_check(bnp_stream *s, const bnp_weight *w, const bnp_topk *top, bnp_span scratch)
{
    const uint64_t n = (uint64_t)top->n_tok * top->k;
    if (top->struct_size < sizeof(bnp_topk) || !(w->flags & BNP_W_TOPK) || !top->k ||
        top->k > w->rows || top->n_tok > w->max_tok || w->rows > INT32_MAX)
        return ref_fail(s->dev, BNP_E_INVALID,
                        "topk: %u largest of %u, %u rows; expected a weight described with "
                        "BNP_W_TOPK, 1 to all of its rows, at most %u tokens", top->k, w->rows,
                        top->n_tok, w->max_tok);
    int rc;
    if ((rc = ref_need_span(s, "topk: id", top->id, n * sizeof(int32_t))) ||
        (rc = ref_need_span(s, "topk: logit", top->logit, n * sizeof(float))) ||
        (rc = ref_need_span(s, "topk: scratch", scratch, panel_size(w))))
        return rc;
    return top->n_exact.size ? ref_need_span(s, "topk: n_exact", top->n_exact, top->n_tok * 4ull)
                             : BNP_OK;
}

int ref_linear_topk(bnp_stream *s, bnp_span act_span, const bnp_weight *w, const bnp_topk *top,
                    bnp_span scratch)
{
    int rc = ref_need_step(s, "topk");
    if (rc || (rc = topk_check(s, w, top, scratch)))
        return rc;
    const struct ref_act *act = ref_act_of(s, act_span, w, top->n_tok);
    if (!act)
        return BNP_E_INVALID;
    int32_t *id = span_at(top->id);
    float *logit = span_at(top->logit), v[REF_PANEL];
    void *panel = span_at(scratch);
    for (uint32_t j = 0; j < w->rows; j += REF_PANEL) {
        const uint32_t n = panel_rows(w, j);
        panel_unpack(w, j, n, panel);
        for (uint32_t t = 0; t < top->n_tok; t++) {
            const size_t at = (size_t)t * top->k;
            uint32_t have = j < top->k ? j : top->k;
            panel_mul(w, j, n, panel, act, t, v);
            for (uint32_t i = 0; i < n; i++)
                best_insert(v[i], (int32_t)(j + i), top->k, &have, id + at, logit + at);
        }
    }
    uint32_t *n_exact = top->n_exact.size ? span_at(top->n_exact) : NULL;
    for (uint32_t t = 0; t < top->n_tok && n_exact; t++)
        n_exact[t] = w->rows;
    return BNP_OK;
}
