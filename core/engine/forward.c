/* forward.c - the forward pass.
 *
 * x is the residual stream, one row per token of the step; h, q, k, v, gate
 * and up are what the paper calls them. op_* hands each line to the device
 * that the route chose for it (forward_op.c). */
#include "core/engine/forward.h"

#include "core/engine/forward_parts.h"

/* x += Wo norm(attention(rope(Wq h), rope(Wk h), Wv h)), h = norm(x) */
static int attention(struct run *r, const bnp_rows *x)
{
    struct forward_state *s = r->s;
    const uint32_t i = (uint32_t)r->layer, n = r->step->n_tok;
    const bnp_rows h = work_rows(s->work.h, n), q = work_rows(s->work.q, n);
    const bnp_rows k = work_rows(s->work.k, n), v = work_rows(s->work.v, n);
    struct weight *const qkv[] = {
        weights_at(&s->weights, i, W_Q), weights_at(&s->weights, i, W_K),
        weights_at(&s->weights, i, W_V)
    };
    struct weight *const out[] = { weights_at(&s->weights, i, W_OUT) };
    int rc;

    if ((rc = op_norm(r, "attn_norm", weights_norm(&s->weights, i, N_ATTN), x, &h)) ||
        (rc = op_mul(r, &h, 3, qkv, (const bnp_rows *const[]){ &q, &k, &v }, 0)) ||
        (rc = op_rope(r, "rope of q", &q)) ||
        (rc = op_rope(r, "rope of k", &k)) ||
        (rc = op_append(r, &k, &v)) ||
        (rc = op_attend(r, &q, &q)))
        return rc;
    if (s->weights.model->hp.sub_norm &&
        (rc = op_norm(r, "attn_sub_norm", weights_norm(&s->weights, i, N_ATTN_SUB), &q, &q)))
        return rc;
    return op_mul(r, &q, 1, out, &x, BNP_ADD);
}

/* x += Wdown norm(glu(Wgate h, Wup h)), h = norm(x) */
static int feed_forward(struct run *r, const bnp_rows *x)
{
    struct forward_state *s = r->s;
    const uint32_t i = (uint32_t)r->layer, n = r->step->n_tok;
    const bnp_rows h = work_rows(s->work.h, n);
    const bnp_rows gate = work_rows(s->work.gate, n), up = work_rows(s->work.up, n);
    struct weight *const gate_up[] = {
        weights_at(&s->weights, i, W_GATE), weights_at(&s->weights, i, W_UP)
    };
    struct weight *const down[] = { weights_at(&s->weights, i, W_DOWN) };
    int rc;

    if ((rc = op_norm(r, "ffn_norm", weights_norm(&s->weights, i, N_FFN), x, &h)) ||
        (rc = op_mul(r, &h, 2, gate_up, (const bnp_rows *const[]){ &gate, &up }, 0)) ||
        (rc = op_glu(r, &gate, &up, &gate)))
        return rc;
    if (s->weights.model->hp.sub_norm &&
        (rc = op_norm(r, "ffn_sub_norm", weights_norm(&s->weights, i, N_FFN_SUB), &gate, &gate)))
        return rc;
    return op_mul(r, &gate, 1, down, &x, BNP_ADD);
}

/* logits = Whead norm(x), for the rows that want them: all, or the largest */
static int head(struct run *r, const bnp_rows *x)
{
    struct forward_state *s = r->s;
    const uint32_t n = r->step->n_out;
    const bnp_rows pick = work_rows(s->work.pick, n), full = work_rows(s->work.pick, s->n_full);
    const bnp_rows logits = work_rows(s->work.logits, s->n_full), *y = &logits;
    bnp_rows top = work_rows(s->work.pick, n - s->n_full);
    int rc;

    if (n == 0)
        return 0;
    if ((rc = op_pick(r, x, &pick)) ||
        (rc = op_norm(r, "output_norm", s->weights.output_norm, &pick, &pick)))
        return rc;
    if (full.n_tok && (rc = op_mul(r, &full, 1, &s->weights.head, &y, 0)))
        return rc;
    top.mem.offset += s->n_full * top.stride;
    top.mem.size -= s->n_full * top.stride;
    return top.n_tok ? op_topk(r, &top, s->top_k) : 0;
}

static int pass(struct run *r)
{
    const bnp_rows x = work_rows(r->s->work.x, r->step->n_tok);
    const uint32_t n_layer = r->s->weights.model->hp.n_layer;
    int rc = op_gather(r, &x);
    for (uint32_t i = 0; i < n_layer && !rc; i++) {
        r->layer = (int32_t)i;
        if (!(rc = attention(r, &x)))
            rc = feed_forward(r, &x);
    }
    r->layer = -1;
    return rc ? rc : head(r, &x);
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
        return err_set(err, ERR_ARG, "forward: opened dry, no weight is prepared");
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

static void count_outputs(struct forward *f, uint32_t n_out)
{
    const struct forward_state *s = f->state;
    const bnp_span span = s->work.top_exact;
    const uint32_t *exact = (const uint32_t *)(const void *)((const char *)span.base + span.offset);
    f->head.n_full += s->n_full;
    f->head.n_top += n_out - s->n_full;
    for (uint32_t i = 0; i < n_out - s->n_full; i++)
        f->head.n_exact += exact[i];
}

int forward_run(struct forward *f, const struct batch *b, struct err *err)
{
    int rc = check(f, &b->step, err);
    if (rc)
        return rc;
    const struct bnp_step step = order_outputs(f, b);
    struct run r = { .s = f->state, .step = &step, .err = err, .layer = -1 };
    rc = op_begin(&r);
    if (!rc)
        rc = pass(&r);
    rc = op_end(&r, rc);
    if (!rc)
        count_outputs(f, step.n_out);
    return rc;
}

struct forward_out forward_out(const struct forward *f, uint32_t i)
{
    const struct forward_state *s = f->state;
    const struct work *w = &s->work;
    const uint32_t at = s->out_at[i];
    if (at < s->n_full)
        return (struct forward_out){ .logits = f->logits + at * f->logits_stride };
    const size_t first = (size_t)(at - s->n_full) * s->top_k;
    return (struct forward_out){
        .id = (const int32_t *)(const void *)((const char *)w->top_id.base + w->top_id.offset) +
              first,
        .top = (const float *)(const void *)((const char *)w->top_logit.base +
                                             w->top_logit.offset) + first,
        .k = s->top_k,
    };
}
