/* ops_linear.c - prepare, adopt, mul, mul with BNP_ADD, gather and topk of one
 * weight. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/verify/ops.h"
#include "tools/verify/ops_help.h"

enum { TOP_K = 8 };

struct linear_run {
    struct sut *s;
    const bnp_linear_ops *ops;
    const struct linear_case *c;
    bnp_offer offer;
    bnp_weight_layout layout;
    bnp_span storage, copy, act, scratch;
    bnp_weight *w, *adopted;
};

void linear_input(const struct linear_case *c, uint32_t row, float *x)
{
    gen_fill(c->act, c->seed * 977 + row, c->act_max, x, c->w.desc.cols);
}

float linear_old(const struct linear_case *c, uint32_t row, uint32_t col)
{
    return gen_unit(c->seed ^ 0x01d, (uint64_t)row * c->w.desc.rows + col);
}

static int open_weight(struct linear_run *r, const char **failed)
{
    struct gen_weight gw = r->c->w;
    bnp_weight_src src = gen_source(&gw);
    const bnp_weight_desc *d = &gw.desc;
    r->offer.struct_size = sizeof r->offer;
    r->layout.struct_size = sizeof r->layout;
    TRY("query", r->ops->query(r->s->dev, d, &r->offer));
    TRY("layout", r->ops->layout(r->s->dev, d, &r->layout));
    r->storage = span_new(r->layout.size);
    TRY("prepare", r->ops->prepare(r->s->dev, d, &src, r->storage, &r->w));
    if (r->layout.layout_id) {
        r->copy = span_new(r->layout.size);
        memcpy(r->copy.base, r->storage.base, r->layout.size);
        TRY("adopt", r->ops->adopt(r->s->dev, d, r->copy, &r->adopted));
    }
    uint64_t size = 0;
    TRY("act_size", r->ops->act_size(r->s->dev, r->layout.act_kind, d->cols, r->c->n_tok, &size));
    r->act = span_new(size);
    r->scratch = span_new(r->offer.scratch_size);
    return BNP_OK;
}

static bnp_rows old_rows(const struct linear_case *c)
{
    const bnp_rows y = rows_new(c->n_tok, c->w.desc.rows);
    for (uint32_t t = 0; t < y.n_tok; t++)
        for (uint32_t j = 0; j < y.cols; j++)
            row_of(&y, t)[j] = linear_old(c, t, j);
    return y;
}

static int do_mul(struct linear_run *r, struct result *out, const char **failed)
{
    const bnp_rows y = rows_new(r->c->n_tok, r->c->w.desc.rows), added = old_rows(r->c);
    const bnp_rows again = rows_new(y.n_tok, y.cols);
    const bnp_linear_item item[] = { { .weight = r->w, .y = y },
                                     { .weight = r->w, .y = added, .flags = BNP_ADD } };
    /* A weight that cannot be kept is multiplied once more instead. */
    const bnp_linear_item adopted = { .weight = r->adopted ? r->adopted : r->w, .y = again };
    *failed = "mul";
    int rc = TIMED(out, r->ops->mul(r->s->stream, r->act, 2, item, r->scratch));
    if (!rc) {
        result_add(out, "mul", &y);
        result_add(out, "mul with BNP_ADD", &added);
    }
    if (!rc && !(rc = TIMED(out, r->ops->mul(r->s->stream, r->act, 1, &adopted, r->scratch))))
        result_add(out, "mul of an adopted weight", &again);
    span_free(y.mem);
    span_free(added.mem);
    span_free(again.mem);
    return rc;
}

static int do_gather(struct linear_run *r, struct result *out, const char **failed)
{
    const bnp_rows y = rows_new(r->c->n_tok, r->c->w.desc.cols);
    const int rc = TIMED(out, r->ops->gather(r->s->stream, r->w, &y));
    *failed = "gather";
    if (!rc)
        result_add(out, "gather", &y);
    span_free(y.mem);
    return rc;
}

static int do_topk(struct linear_run *r, struct result *out, const char **failed)
{
    const uint32_t rows = r->c->w.desc.rows, k = rows < TOP_K ? rows : TOP_K;
    const uint64_t size = (uint64_t)r->c->n_tok * k * 4;
    const bnp_topk top = { .struct_size = sizeof top, .k = k, .n_tok = r->c->n_tok,
                           .id = span_new(size), .logit = span_new(size),
                           .n_exact = span_new(r->c->n_tok * 4ull) };
    const int rc = TIMED(out, r->ops->topk(r->s->stream, r->act, r->w, &top, r->scratch));
    *failed = "topk";
    if (!rc) {
        result_add_words(out, "topk ids", top.id.base, top.n_tok, k);
        result_add_words(out, "topk logits", top.logit.base, top.n_tok, k);
    }
    span_free(top.id);
    span_free(top.logit);
    span_free(top.n_exact);
    return rc;
}

static int do_step(struct linear_run *r, struct result *out, const char **failed)
{
    const struct linear_case *c = r->c;
    const bnp_rows x = rows_new(c->n_tok, c->w.desc.cols);
    for (uint32_t t = 0; t < x.n_tok; t++)
        linear_input(c, t, row_of(&x, t));
    const long n_alloc = r->s->n_alloc;
    *failed = "act_prepare";
    int rc = r->ops->act_prepare(r->s->stream, r->layout.act_kind, &x, r->act);
    if (!rc)
        rc = do_mul(r, out, failed);
    if (!rc && c->w.desc.flags & BNP_W_GATHER)
        rc = do_gather(r, out, failed);
    if (!rc && c->w.desc.flags & BNP_W_TOPK && r->ops->topk)
        rc = do_topk(r, out, failed);
    if (!rc && r->s->n_alloc != n_alloc) {
        *failed = "allocating inside a step";
        rc = BNP_E_INTERNAL;
    }
    span_free(x.mem);
    return rc;
}

int run_linear(struct sut *s, const struct linear_case *c, struct result *out, const char **failed)
{
    struct linear_run r = { .s = s, .ops = s->p->linear, .c = c };
    if (!r.ops)
        return BNP_E_UNSUPPORTED;
    int rc = open_weight(&r, failed);
    out->offer = r.offer;
    if (!rc && (rc = sut_step(s, c->n_tok, 0, c->seed, c->w.desc.rows)))
        *failed = "step_begin";
    if (!rc) {
        rc = do_step(&r, out, failed);
        const int end = sut_step_end(s);
        rc = rc ? rc : end;
    }
    if (r.adopted)
        r.ops->release(r.adopted);
    if (r.w)
        r.ops->release(r.w);
    span_free(r.storage);
    span_free(r.copy);
    span_free(r.act);
    span_free(r.scratch);
    return rc;
}
