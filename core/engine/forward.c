/* forward.c - the forward pass.
 *
 * x is the residual stream, one row per token of the step; h, q, k, v, gate
 * and up are what the paper calls them. op_* hands each line to the device
 * that the route chose for it (forward_op.c). */
#include "core/engine/forward.h"

#include <assert.h>

#include "core/engine/forward_parts.h"

static struct part tok_rows(const struct run *r, enum area a)
{
    return (struct part){ a, 0, r->step->n_tok };
}

/* y[i] = W[i] h, all from one input; or, where every projection norms its own,
 * y[i] = W[i] norm[i](h). The last may spoil h. */
static int project(struct run *r, struct part h, uint32_t n, const unsigned *slot,
                   const unsigned *norm, const struct part *y)
{
    const struct weights *ws = &r->s->weights;
    const uint32_t layer = (uint32_t)r->layer;
    struct weight *w[3];
    for (uint32_t i = 0; i < n; i++)
        w[i] = weights_at(ws, layer, slot[i]);
    if (!ws->model->hp.proj_norm)
        return op_mul(r, h, n, w, y, 0);
    int rc = 0;
    for (uint32_t i = 0; i < n && !rc; i++) {
        const struct part in = i + 1 < n ? tok_rows(r, AREA_IN) : h;
        if (!(rc = op_norm(r, w[i]->tensor, weights_norm(ws, layer, norm[i]), h, in)))
            rc = op_mul(r, in, 1, &w[i], &y[i], 0);
    }
    return rc;
}

/* x += W y, or x += norm(W y), with a norm of y before W where there is one. */
static int add_to_stream(struct run *r, struct part y, unsigned slot, unsigned sub, unsigned post,
                         struct part x)
{
    const struct weights *ws = &r->s->weights;
    const uint32_t layer = (uint32_t)r->layer;
    struct weight *w = weights_at(ws, layer, slot);
    const struct part h = tok_rows(r, AREA_H);
    int rc = 0;

    if (ws->model->hp.sub_norm &&
        (rc = op_norm(r, slot == W_OUT ? "attn_sub_norm" : "ffn_sub_norm",
                      weights_norm(ws, layer, sub), y, y)))
        return rc;
    if (!ws->model->hp.post_norm)
        return op_mul(r, y, 1, &w, &x, BNP_ADD);
    if ((rc = op_mul(r, y, 1, &w, &h, 0)) ||
        (rc = op_norm(r, slot == W_OUT ? "post_attention_norm" : "post_ffw_norm",
                      weights_norm(ws, layer, post), h, h)))
        return rc;
    return op_add(r, h, x);
}

/* x += Wo norm(attention(rope(Wq h), rope(Wk h), Wv h)), h = norm(x) */
static int attention(struct run *r, struct part x)
{
    static const unsigned qkv[] = { W_Q, W_K, W_V }, norm[] = { N_Q_IN, N_K_IN, N_V_IN };
    const struct weights *ws = &r->s->weights;
    const uint32_t i = (uint32_t)r->layer;
    const struct part h = tok_rows(r, AREA_H), q = tok_rows(r, AREA_Q);
    const struct part k = tok_rows(r, AREA_K), v = tok_rows(r, AREA_V);
    int rc;

    if ((rc = op_norm(r, "attn_norm", weights_norm(ws, i, N_ATTN), x, h)) ||
        (rc = project(r, h, 3, qkv, norm, (const struct part[]){ q, k, v })))
        return rc;
    if (ws->model->hp.head_norm &&
        ((rc = op_norm(r, "attn_q_norm", weights_norm(ws, i, N_Q_HEAD), q, q)) ||
         (rc = op_norm(r, "attn_k_norm", weights_norm(ws, i, N_K_HEAD), k, k))))
        return rc;
    if ((rc = op_rope(r, q, k, v)) ||
        (rc = op_attend(r, q, k, v, q)))
        return rc;
    return add_to_stream(r, q, W_OUT, N_ATTN_SUB, N_ATTN_POST, x);
}

/* x += Wdown norm(glu(Wgate h, Wup h)), h = norm(x) */
static int feed_forward(struct run *r, struct part x)
{
    static const unsigned gate_up[] = { W_GATE, W_UP }, norm[] = { N_GATE_IN, N_UP_IN };
    const struct weights *ws = &r->s->weights;
    const uint32_t i = (uint32_t)r->layer;
    const struct part h = tok_rows(r, AREA_H);
    const struct part gate = tok_rows(r, AREA_GATE), up = tok_rows(r, AREA_UP);
    int rc;

    if ((rc = op_norm(r, "ffn_norm", weights_norm(ws, i, N_FFN), x, h)) ||
        (rc = project(r, h, 2, gate_up, norm, (const struct part[]){ gate, up })) ||
        (rc = op_glu(r, gate, up, gate)))
        return rc;
    return add_to_stream(r, gate, W_DOWN, N_FFN_SUB, N_FFN_POST, x);
}

/* logits = Whead norm(x), for the rows that want them: all, or the largest */
static int head(struct run *r, struct part x)
{
    struct forward_state *s = r->s;
    const uint32_t n = r->step->n_out;
    const struct part pick = { AREA_PICK, 0, n }, full = { AREA_PICK, 0, s->n_full };
    const struct part top = { AREA_PICK, s->n_full, n - s->n_full };
    const struct part logits = { AREA_LOGITS, 0, s->n_full };
    int rc;

    if (n == 0)
        return 0;
    if ((rc = op_pick(r, x, pick)) ||
        (rc = op_norm(r, "output_norm", s->weights.output_norm, pick, pick)))
        return rc;
    if (full.n && (rc = op_mul(r, full, 1, &s->weights.head, &logits, 0)))
        return rc;
    if (top.n && (rc = op_topk(r, top, s->top_k)))
        return rc;
    return op_out(r, (full.n ? 1u << AREA_LOGITS : 0) |
                     (top.n ? 1u << AREA_TOP_ID | 1u << AREA_TOP_LOGIT | 1u << AREA_TOP_EXACT : 0));
}

/* h = norm(x), all rows: what the head would see of them */
static int hidden(struct run *r, struct part x)
{
    const int rc = op_norm(r, "output_norm", r->s->weights.output_norm, x, tok_rows(r, AREA_H));
    return rc ? rc : op_out(r, 1u << AREA_H);
}

static int pass(struct run *r)
{
    const struct part x = tok_rows(r, AREA_X);
    const uint32_t n_layer = r->s->weights.model->hp.n_layer;
    int rc = op_gather(r, x);
    for (uint32_t i = 0; i < n_layer && !rc; i++) {
        r->layer = (int32_t)i;
        if (!(rc = attention(r, x)))
            rc = feed_forward(r, x);
    }
    r->layer = -1;
    if (!rc && r->s->hidden)
        rc = hidden(r, x);
    return rc ? rc : head(r, x);
}

/* Rows of sequence q stand on pages that exist and are its own to write. */
static int check_pages(const struct forward *f, const struct bnp_step *s, uint32_t q,
                       struct err *err)
{
    const int32_t *page = s->page + (uint64_t)q * s->max_pages;
    const uint32_t last = (uint32_t)s->kv_len[q] - 1;
    const uint32_t write_from = (uint32_t)s->pos[s->seq_start[q]] / f->kv.page_tok;
    for (uint32_t i = 0; i <= last / f->kv.page_tok; i++) {
        if (page[i] < 0 || (uint32_t)page[i] >= f->kv.n_page || !f->kv.count[page[i]])
            return err_set(err, ERR_INTERNAL, "step: sequence %u has no page for positions from "
                           "%u on", q, i * f->kv.page_tok);
        if (i >= write_from && f->kv.count[page[i]] != 1)
            return err_set(err, ERR_INTERNAL, "step: sequence %u would write page %d, which "
                           "others share", q, (int)page[i]);
    }
    return 0;
}

/* What a plugin may take for granted; an error here is our caller's. */
static int check(const struct forward *f, const struct bnp_step *s, struct err *err)
{
    const uint32_t n_vocab = f->model->hp.n_vocab;
    if (!f->state->ready)
        return err_set(err, ERR_ARG, "forward: opened dry, or without a device now: no weight is "
                       "prepared");
    if (!s->n_tok || s->n_tok > f->limits.max_tok || s->n_seq > f->limits.max_seq ||
        s->n_out > f->limits.max_out || s->max_pages > f->limits.max_pages)
        return err_set(err, ERR_ARG, "step: %u rows, %u sequences, %u outputs, expected at most "
                       "%u, %u, %u and one row at least", s->n_tok, s->n_seq, s->n_out,
                       f->limits.max_tok, f->limits.max_seq, f->limits.max_out);
    for (uint32_t i = 0; i < s->n_tok; i++)
        if (s->id[i] < 0 || (uint32_t)s->id[i] >= n_vocab)
            return err_set(err, ERR_ARG, "step: row %u has token id %d, the model has %u", i,
                           (int)s->id[i], n_vocab);
    for (uint32_t q = 0; q < s->n_seq; q++) {
        if ((uint32_t)s->kv_len[q] > f->conf.n_ctx)
            return err_set(err, ERR_ARG, "step: sequence %u has %d tokens, engine.n_ctx is %u", q,
                           (int)s->kv_len[q], f->conf.n_ctx);
        int rc = check_pages(f, s, q, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* How many of output i's largest logits are enough; 0: all are computed. */
static uint32_t enough(const struct forward *f, const struct batch *b, uint32_t i)
{
    const struct weight *w = f->state->weights.head;
    const uint32_t k = b->out_k[i];
    return w->dev->linear->topk && k <= WORK_TOP && k <= w->desc.rows ? k : 0;
}

/* Outputs of one kind side by side, for one op each. */
static struct bnp_step order_outputs(const struct forward *f, const struct batch *b)
{
    struct forward_state *s = f->state;
    struct bnp_step step = b->step;
    uint32_t n = 0;
    s->top_k = 0;
    for (unsigned top = 0; top < 2; top++) {
        for (uint32_t i = 0; i < step.n_out; i++) {
            const uint32_t k = enough(f, b, i);
            if ((k != 0) != top)
                continue;
            s->top_k = k > s->top_k ? k : s->top_k;
            s->out_row[n] = step.out_row[i];
            s->out_at[i] = n++;
        }
        s->n_full = top ? s->n_full : n;
    }
    step.out_row = s->out_row;
    return step;
}

/* Bytes of every area that the step uses. */
static void size_areas(struct forward_state *s, const struct bnp_step *step)
{
    const uint32_t n_top = step->n_out - s->n_full;
    for (enum area a = 0; a < AREA_PICK; a++)
        s->size[a] = step->n_tok * s->work.area[a].stride;
    s->size[AREA_PICK] = step->n_out * s->work.area[AREA_PICK].stride;
    s->size[AREA_LOGITS] = s->n_full * s->work.area[AREA_LOGITS].stride;
    s->size[AREA_TOP_ID] = (uint64_t)n_top * s->top_k * sizeof(int32_t);
    s->size[AREA_TOP_LOGIT] = (uint64_t)n_top * s->top_k * sizeof(float);
    s->size[AREA_TOP_EXACT] = n_top * sizeof(uint32_t);
}

static const void *host_area(const struct forward *f, enum area a)
{
    const struct forward_state *s = f->state;
    const bnp_span span = work_span(&s->work, &s->place[PLACE_HOST].work, a, 0);
    return (const char *)span.base + span.offset;
}

static void count_outputs(struct forward *f)
{
    const struct forward_state *s = f->state;
    const uint32_t *exact = host_area(f, AREA_TOP_EXACT);
    f->head.n_full += s->n_full;
    f->head.n_top += s->n_out - s->n_full;
    for (uint32_t i = 0; i < s->n_out - s->n_full; i++)
        f->head.n_exact += exact[i];
}

bool forward_can_copy(const struct forward *f)
{
    bool can = true;
    for (uint32_t i = 0; i < f->model->hp.n_layer; i++) {
        const struct dev *d = f->state->layer[i].attn;   /* NULL: lost, and nobody took over */
        can = can && d && d->attn->copy_page;
    }
    return can;
}

int forward_submit(struct forward *f, const struct batch *b, struct err *err)
{
    struct forward_state *s = f->state;
    assert(!s->submitted);
    int rc = check(f, &b->step, err);
    if (rc)
        return rc;
    const struct bnp_step step = order_outputs(f, b);
    struct run r = { .s = s, .cross = &f->cross, .step = &step, .copy = b->copy,
                     .n_copy = b->n_copy, .err = err, .layer = -1 };
    size_areas(s, &step);
    s->n_out = step.n_out;
    s->hidden = b->hidden;
    rc = op_begin(&r);
    if (!rc)
        rc = pass(&r);
    rc = op_end(&r, rc);
    if (rc)
        return op_wait(&r, rc);
    s->submitted = true;
    return 0;
}

int forward_finish(struct forward *f, struct err *err)
{
    struct forward_state *s = f->state;
    assert(s->submitted);
    s->submitted = false;
    struct run r = { .s = s, .cross = &f->cross, .err = err, .layer = -1 };
    const int rc = op_wait(&r, 0);
    if (!rc)
        count_outputs(f);
    return rc;
}

int forward_run(struct forward *f, const struct batch *b, struct err *err)
{
    const int rc = forward_submit(f, b, err);
    return rc ? rc : forward_finish(f, err);
}

const float *forward_hidden(const struct forward *f, uint32_t row)
{
    const struct forward_state *s = f->state;
    assert(s->hidden);
    return (const float *)(const void *)((const char *)host_area(f, AREA_H) +
                                         row * s->work.area[AREA_H].stride);
}

struct forward_out forward_out(const struct forward *f, uint32_t i)
{
    const struct forward_state *s = f->state;
    const uint32_t at = s->out_at[i];
    if (at < s->n_full)
        return (struct forward_out){ .logits = f->logits + at * f->logits_stride };
    const size_t first = (size_t)(at - s->n_full) * s->top_k;
    return (struct forward_out){
        .id = (const int32_t *)host_area(f, AREA_TOP_ID) + first,
        .top = (const float *)host_area(f, AREA_TOP_LOGIT) + first,
        .k = s->top_k,
    };
}
