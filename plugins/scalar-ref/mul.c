/* mul.c - matrix times rows, rows of a matrix, and the k largest products.
 *
 * A weight is walked once, in panels of a few rows: unpack a panel into
 * scratch, multiply it with every row of the activations, go on. mul writes
 * the products, topk keeps the k best of them. */
#include "num.h"
#include "ref.h"
#include "plugins/kit/topk.h"

#include <string.h>

uint64_t ref_panel_size(const bnp_weight_desc *w)
{
    const uint64_t element = w->format == BNP_FMT_T2 ? sizeof(int8_t) : sizeof(float);
    return align_up(w->cols * element * REF_PANEL, BNP_ALIGN);
}

static uint64_t panel_size(const bnp_weight *w)
{
    return ref_panel_size(&(bnp_weight_desc){ .format = w->k.format, .cols = w->k.cols });
}

static void panel_unpack(const bnp_weight *w, uint32_t first, uint32_t n, void *panel)
{
    if (w->k.format == BNP_FMT_T2)
        ref_ternary_unpack(w, first, n, panel);
    else
        ref_dense_unpack(w, first, n, panel);
}

static void panel_mul(const bnp_weight *w, uint32_t first, uint32_t n, const void *panel,
                      const struct kit_act *act, uint32_t t, float y[REF_PANEL])
{
    if (w->k.format == BNP_FMT_T2)
        ref_ternary_mul(w, first, n, panel, act, t, y);
    else
        ref_dense_mul(w->k.cols, n, panel, ref_act_f32(act, t), y);
}

static uint32_t panel_rows(const bnp_weight *w, uint32_t first)
{
    return w->k.rows - first < REF_PANEL ? w->k.rows - first : REF_PANEL;
}

static void mul_item(const struct kit_act *act, const bnp_linear_item *it, void *panel)
{
    const bnp_weight *w = it->weight;
    float v[REF_PANEL];
    for (uint32_t j = 0; j < w->k.rows; j += REF_PANEL) {
        const uint32_t n = panel_rows(w, j);
        panel_unpack(w, j, n, panel);
        for (uint32_t t = 0; t < it->y.n_tok; t++) {
            float *y = rows_at(&it->y, t) + j;
            panel_mul(w, j, n, panel, act, t, v);
            for (uint32_t k = 0; k < n; k++)
                y[k] = it->flags & BNP_ADD ? y[k] + v[k] : v[k];
        }
        if (w->k.rows - j <= REF_PANEL)
            break;                              /* j + REF_PANEL might wrap */
    }
}

static const struct kit_act *act_of(bnp_stream *s, bnp_span act, const bnp_weight *w,
                                    uint32_t n_tok)
{
    return kit_act_of(s, act, ref_act_kind(w->k.format), w->k.cols, n_tok);
}

int ref_linear_mul(bnp_stream *s, bnp_span act, uint32_t n_items, const bnp_linear_item *item,
                   bnp_span scratch)
{
    int rc = kit_need_step(s, "mul");
    for (uint32_t i = 0; i < n_items && !rc; i++) {
        const bnp_weight *w = item[i].weight;
        if ((rc = kit_item_check(s, &w->k, &item[i])) ||
            (rc = kit_need_span(s, "mul: scratch", scratch, panel_size(w))))
            break;
        if (!act_of(s, act, w, item[i].y.n_tok))
            rc = BNP_E_INVALID;
    }
    for (uint32_t i = 0; i < n_items && !rc; i++)
        mul_item(span_at(act), &item[i], span_at(scratch));
    return rc;
}

int ref_linear_gather(bnp_stream *s, const bnp_weight *w, const bnp_rows *y)
{
    const int rc = kit_gather_check(s, &w->k, y);
    if (rc)
        return rc;
    for (uint32_t t = 0; t < y->n_tok; t++) {
        if (w->k.format == BNP_FMT_T2)
            ref_ternary_row(w, (uint32_t)s->step.id[t], rows_at(y, t));
        else
            ref_dense_row(w, (uint32_t)s->step.id[t], rows_at(y, t));
    }
    return BNP_OK;
}

int ref_linear_topk(bnp_stream *s, bnp_span act_span, const bnp_weight *w, const bnp_topk *top,
                    bnp_span scratch)
{
    int rc = kit_topk_check(s, &w->k, top);
    if (rc || (rc = kit_need_span(s, "topk: scratch", scratch, panel_size(w))))
        return rc;
    const struct kit_act *act = act_of(s, act_span, w, top->n_tok);
    if (!act)
        return BNP_E_INVALID;
    int32_t *id = span_at(top->id);
    float *logit = span_at(top->logit), v[REF_PANEL];
    void *panel = span_at(scratch);
    for (uint32_t j = 0; j < w->k.rows; j += REF_PANEL) {
        const uint32_t n = panel_rows(w, j);
        panel_unpack(w, j, n, panel);
        for (uint32_t t = 0; t < top->n_tok; t++) {
            const size_t at = (size_t)t * top->k;
            uint32_t have = j < top->k ? j : top->k;
            panel_mul(w, j, n, panel, act, t, v);
            for (uint32_t i = 0; i < n; i++)
                topk_insert(v[i], (int32_t)(j + i), top->k, &have, id + at, logit + at);
        }
    }
    for (uint32_t t = 0; t < top->n_tok; t++)
        topk_end(top->k, id + (size_t)t * top->k, logit + (size_t)t * top->k);
    uint32_t *n_exact = top->n_exact.size ? span_at(top->n_exact) : NULL;
    for (uint32_t t = 0; t < top->n_tok && n_exact; t++)
        n_exact[t] = w->k.rows;
    return BNP_OK;
}
