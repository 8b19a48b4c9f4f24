/* bitnet_score.c - see bitnet_score.h. */
#include "tools/bitnet_score.h"

#include <math.h>
#include <stdlib.h>

#include "core/plug/workers.h"
#include "tools/bitnet_stat.h"

static uint32_t rows_with_logits(const struct model *m, uint32_t chunk)
{
    const uint32_t fit = (uint32_t)(SCORE_OUT_SIZE / ((uint64_t)m->hp.n_vocab * sizeof(float)));
    return !fit ? 1 : fit < chunk ? fit : chunk;
}

int score_open(struct score *s, struct loaded *l, uint32_t n_tok, uint32_t chunk, struct err *e)
{
    *s = (struct score){ .n_tok = n_tok };
    chunk = chunk ? chunk : SCORE_CHUNK;
    chunk = chunk < n_tok ? chunk : n_tok;
    if (!n_tok || n_tok > l->model->hp.n_ctx)
        return err_set(e, ERR_ARG, "%s: a text of %u tokens, expected 1 to %u, the model's context",
                       gguf_name(l->model->file), n_tok, l->model->hp.n_ctx);
    int rc = load_forward(l, n_tok, chunk, rows_with_logits(l->model, chunk), e);
    if (!rc)
        rc = batch_open(&s->b, &l->forward->limits, e);
    if (rc)
        return rc;
    s->f = l->forward;
    rc = kv_seq_open(&s->s, &s->f->kv, n_tok, e);
    workers_bind_caller(l->plug->workers);
    workers_float_env();
    return rc;
}

void score_close(struct score *s)
{
    if (s->f)
        kv_seq_close(&s->f->kv, &s->s);
    batch_close(&s->b);
    *s = (struct score){ 0 };
}

void score_begin(struct score *s)
{
    kv_trim(&s->f->kv, &s->s, 0);
    s->pos = 0;
}

/* One step of id[0..n); want: of all its rows, logits. */
static int step(struct score *s, const int32_t *id, uint32_t n, bool want, struct err *e)
{
    batch_clear(&s->b);
    if (!kv_reserve(&s->f->kv, &s->s, s->pos + n))
        return err_set(e, ERR_INTERNAL, "score: %u tokens do not fit the KV pages", s->pos + n);
    if (!batch_add(&s->b, id, n, s->pos, s->s.page, s->s.n_page, want ? 2 : 0))
        return err_set(e, ERR_INTERNAL, "score: %u rows do not fit a step", n);
    s->pos += n;
    return forward_run(s->f, &s->b, e);
}

int score_feed(struct score *s, const int32_t *id, uint32_t n, uint32_t first, score_take *take,
               void *ctx, struct err *e)
{
    const uint32_t end = s->pos + n;
    if (n > s->n_tok - s->pos)
        return err_set(e, ERR_ARG, "score: %u tokens behind %u, expected at most %u in all", n,
                       s->pos, s->n_tok);
    first = take ? first : end;
    int rc = 0;
    for (uint32_t rows; !rc && s->pos < end; id += rows) {
        const uint32_t at = s->pos;
        const bool want = at >= first;
        const uint32_t to = !want && first < end ? first : end;
        const uint32_t most = want ? s->f->conf.max_out : s->f->conf.max_tok;
        rows = to - at < most ? to - at : most;
        rc = step(s, id, rows, want, e);
        if (!rc && want)
            rc = take(ctx, &(struct score_rows){ at, rows, s->f->logits, s->f->logits_stride }, e);
    }
    return rc;
}

void score_share(struct score *s, uint32_t n, bnp_task_fn *fn, void *arg)
{
    workers_run(s->f->plug->workers, n, 0, fn, arg);
}

/* ---------------------------------------------------------------------- nll */

struct nll {
    struct score *s;
    const struct score_rows *r;
    const int32_t *id;
    uint32_t n, n_vocab;
    double *at;                   /* [max_out] of the step's rows              */
    double sum;
};

static void nll_of_row(void *arg, uint32_t i, uint32_t worker)
{
    struct nll *l = arg;
    (void)worker;
    const uint32_t next = l->r->pos + i + 1;
    l->at[i] = next < l->n ? stat_nll(l->r->logits + i * l->r->stride, l->n_vocab, l->id[next]) : 0;
}

static int take_nll(void *ctx, const struct score_rows *r, struct err *e)
{
    struct nll *l = ctx;
    l->r = r;
    score_share(l->s, r->n, nll_of_row, l);
    for (uint32_t i = 0; i < r->n; i++) {
        if (!isfinite(l->at[i]))
            return err_set(e, ERR_NUMERIC, "position %u: a logit is no number, expected finite ones",
                           r->pos + i);
        l->sum += l->at[i];
    }
    return 0;
}

int score_nll(struct score *s, const int32_t *id, uint32_t n, uint32_t first, double *nll,
              struct err *e)
{
    struct nll l = { .s = s, .id = id, .n = n, .n_vocab = s->f->model->hp.n_vocab };
    l.at = calloc(s->f->conf.max_out, sizeof *l.at);
    int rc = l.at ? 0 : err_set(e, ERR_NOMEM, "score: no memory for a step's sums");
    score_begin(s);
    if (!rc)
        rc = score_feed(s, id, n, first, take_nll, &l, e);
    *nll = l.sum;
    free(l.at);
    return rc;
}
