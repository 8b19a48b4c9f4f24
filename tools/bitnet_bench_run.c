/* bitnet_bench_run.c - timing the forward pass and the sampler, and nothing
 * else.
 *
 * A repetition goes back to where it began by writing the same positions again.
 * Everything is computed: each decoded token is the likeliest one of the row
 * before it, as the sampler finds it. Prompts are made-up ids, for no operation
 * takes a time that depends on them. */
#include "tools/bitnet_bench.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/engine/forward_parts.h"
#include "core/model/wtype.h"

enum { WARM_STEPS = 8 };

/* -------------------------------------------------------------------- sizes */

uint32_t bench_max_seq(const struct bench_ask *a)
{
    uint32_t most = 1;
    for (unsigned i = 0; a->n_gen && i < a->n_seq.n; i++)
        most = a->n_seq.at[i] > most ? a->n_seq.at[i] : most;
    return most;
}

uint64_t bench_positions(const struct bench_ask *a)
{
    uint64_t depth = 0, more = a->n_prompt > a->n_gen ? a->n_prompt : a->n_gen;
    for (unsigned i = 0; i < a->depth.n; i++)
        depth = a->depth.at[i] > depth ? a->depth.at[i] : depth;
    return depth + more;
}

/* What a forward pass moves and multiplies, from the sizes of the prepared
 * weights: bytes of the layers' matrices, of one row of the head and of what
 * stands beside its rows (scales, or the screen of its top-k), of the keys and
 * values of one token; multiply-adds of the matrices for one row. Attention's
 * own multiply-adds are not counted: they are not of bytes. */
struct cost {
    double layers, head_row, head_rest, kv_tok;
    double layer_macs, head_macs;
    double n_vocab;
};

/* Rows in the canonical form; a prepared matrix that is smaller than its rows
 * leaves them where they are, in the file's map. */
static double rows_size(const struct weight *w)
{
    return (double)w->desc.rows * (double)wtype_row_size(w->desc.format, w->desc.cols);
}

static struct cost cost_of(const struct forward *f)
{
    const struct weights *ws = &f->state->weights;
    const struct weight *head = ws->head;
    const uint32_t n = f->model->hp.n_layer;
    struct cost c = { .n_vocab = head->desc.rows };
    for (uint32_t i = 0; i < n * W_LAYER_N; i++) {
        const struct weight *w = &ws->w[i];
        const bool elsewhere = w->desc.format != BNP_FMT_T2 &&
                               (double)w->layout.size < rows_size(w);
        c.layers += (double)w->layout.size + (elsewhere ? rows_size(w) : 0);
        c.layer_macs += (double)w->desc.rows * w->desc.cols;
    }
    c.head_row = rows_size(head) / head->desc.rows;
    c.head_rest = (double)head->layout.size;
    if (c.head_rest >= rows_size(head))
        c.head_rest -= rows_size(head);
    c.head_macs = (double)head->desc.rows * head->desc.cols;
    for (uint32_t i = 0; i < n; i++)
        c.kv_tok += (double)f->state->layer[i].page_size / f->conf.page_tok;
    return c;
}

/* Bytes of the head in a pass: all rows and scales, or the screen and the rows
 * that it left over. Outputs that need many rows share them. */
static double head_bytes(const struct bench *b, const struct cost *c, double rows,
                         uint32_t n_out)
{
    const bool top = b->f->head.n_top != 0;
    const bool screen = c->head_rest >= c->n_vocab;
    const double all = rows * n_out < c->n_vocab ? rows * n_out : c->n_vocab;
    return all * c->head_row + (top || !screen ? c->head_rest : 0);
}

/* ------------------------------------------------------------- open, close */

int bench_open(struct bench *b, struct forward *f, const struct bench_ask *a, struct err *e)
{
    const uint64_t n_ctx = bench_positions(a);
    const uint64_t steps = a->n_gen > a->n_prompt ? a->n_gen : a->n_prompt;
    *b = (struct bench){ .ask = a, .f = f, .max_seq = bench_max_seq(a) };
    b->seq = calloc(b->max_seq, sizeof *b->seq);
    b->last = calloc(b->max_seq, sizeof *b->last);
    b->id = calloc(a->chunk, sizeof *b->id);
    b->time = calloc((size_t)a->n_rep * (steps + 1), sizeof *b->time);
    if (!b->seq || !b->last || !b->id || !b->time)
        return err_set(e, ERR_NOMEM, "bench: no memory for %u sequences and %u repetitions",
                       b->max_seq, a->n_rep);
    int rc = batch_open(&b->b, &f->limits, e);
    if (!rc)
        rc = sampler_open(&b->sampler, f->model->hp.n_vocab, e);
    for (uint32_t s = 0; s < b->max_seq && !rc; s++)
        rc = kv_seq_open(&b->seq[s], &f->kv, (uint32_t)n_ctx, e);
    return rc;
}

void bench_close(struct bench *b)
{
    for (uint32_t s = 0; b->seq && s < b->max_seq; s++)
        if (b->seq[s].page)
            kv_seq_close(&b->f->kv, &b->seq[s]);
    batch_close(&b->b);
    sampler_close(b->sampler);
    free(b->seq);
    free(b->last);
    free(b->id);
    free(b->time);
}

/* ------------------------------------------------------------------- a pass */

static int32_t made_up_id(const struct bench *b, uint32_t seq, uint32_t pos)
{
    return (int32_t)(((uint64_t)pos * 7919 + (uint64_t)seq * 104729 + 1) %
                     b->f->model->hp.n_vocab);
}

static int reserve(struct bench *b, uint32_t seq, uint32_t n_tok, struct err *e)
{
    if (kv_reserve(&b->f->kv, &b->seq[seq], n_tok))
        return 0;
    return err_set(e, ERR_INTERNAL, "bench: %u tokens of sequence %u do not fit the KV pages",
                   n_tok, seq);
}

static const struct sample_params greedy = SAMPLE_GREEDY;

/* The likeliest token of each output. */
static int pick(struct bench *b, struct err *e)
{
    const struct bnp_step *s = &b->b.step;
    const struct sample_past none = { 0 };
    for (uint32_t i = 0; i < s->n_out; i++) {
        const struct forward_out o = forward_out(b->f, i);
        const uint32_t pos = (uint32_t)s->pos[s->out_row[i]] + 1;
        b->last[i] = o.logits ? sample_token(b->sampler, &greedy, o.logits, none, pos)
                              : sample_top(b->sampler, &greedy, o.id, o.top, o.k, none, pos);
        if (b->last[i] < 0)
            return err_set(e, ERR_NUMERIC, "bench: the logits at position %u have no largest "
                           "number, expected a model whose activations stay finite", pos - 1);
    }
    return 0;
}

static int pass(struct bench *b, struct err *e)
{
    for (uint32_t i = 0; i < b->b.step.n_out && !b->ask->all_logits; i++)
        b->b.out_k[i] = sample_needs(b->sampler, &greedy, (struct sample_past){ 0 });
    const int rc = forward_run(b->f, &b->b, e);
    return rc ? rc : pick(b, e);
}

/* n made-up tokens of sequence 0 from position pos on; the last one's logits
 * are wanted. time: of each pass, or NULL. */
static int prefill(struct bench *b, uint32_t pos, uint32_t n, double *time, struct err *e)
{
    int rc = 0;
    for (uint32_t at = 0, rows; at < n && !rc; at += rows) {
        const double start = clock_s();
        rows = n - at < b->ask->chunk ? n - at : b->ask->chunk;
        for (uint32_t i = 0; i < rows; i++)
            b->id[i] = made_up_id(b, 0, pos + at + i);
        batch_clear(&b->b);
        if (!batch_add(&b->b, b->id, rows, pos + at, b->seq[0].page, b->seq[0].n_page,
                       at + rows == n))
            return err_set(e, ERR_INTERNAL, "bench: %u rows do not fit a step", rows);
        rc = pass(b, e);
        if (time)
            *time++ = clock_s() - start;
    }
    return rc;
}

/* `steps` tokens for each of n_seq sequences from position pos on. */
static int generate(struct bench *b, uint32_t pos, uint32_t n_seq, uint32_t steps, double *time,
                    struct err *e)
{
    int rc = 0;
    for (uint32_t s = 0; s < n_seq; s++)
        b->last[s] = made_up_id(b, s, pos);
    for (uint32_t i = 0; i < steps && !rc; i++) {
        const double start = clock_s();
        batch_clear(&b->b);
        for (uint32_t s = 0; s < n_seq; s++)
            if (!batch_add(&b->b, &b->last[s], 1, pos + i, b->seq[s].page, b->seq[s].n_page, 1))
                return err_set(e, ERR_INTERNAL, "bench: %u sequences do not fit a step", n_seq);
        rc = pass(b, e);
        if (time)
            *time++ = clock_s() - start;
    }
    return rc;
}

/* ------------------------------------------------------------------ filling */

static int copy_page(struct bench *b, const struct layer_devs *l, bnp_stream *stream, uint32_t dst,
                     uint32_t src, struct err *e)
{
    const struct bnp_attn_ops *ops = l->attn->attn;
    char *pool = (char *)l->pool.base + l->pool.offset;
    if (ops->copy_page) {
        const int st = ops->copy_page(stream, &b->f->state->attn, l->pool, dst, src,
                                      b->f->conf.page_tok);
        return st ? plug_fail(l->attn->plugin, st, "copy_page", e) : 0;
    }
    if (workmem_private(l->attn))
        return err_set(e, ERR_UNSUPPORTED, "%s: cannot copy pages (no attn.copy_page), and its "
                       "memory is its own: bench one sequence", l->attn->plugin->note.raw.id);
    memcpy(pool + dst * l->page_size, pool + src * l->page_size, l->page_size);
    return 0;
}

/* Sequence 0's pages of one layer into those of the others, within one step of
 * the device that attends. A last page that is not full is copied whole: what
 * lies behind its tokens is never read. */
static int copy_layer(struct bench *b, const struct layer_devs *at, uint32_t n_page, struct err *e)
{
    struct lane *l = lane_of(b->f->state, at->attn);
    int st = lane_begin(l, &b->b.step), rc = 0;
    for (uint32_t q = 1; q < b->max_seq && !rc && !st; q++)
        for (uint32_t i = 0; i < n_page && !rc; i++)
            rc = copy_page(b, at, l->stream, (uint32_t)b->seq[q].page[i],
                           (uint32_t)b->seq[0].page[i], e);
    const int st_end = lane_end(l), st_wait = lane_wait(l);
    st = st ? st : st_end ? st_end : st_wait;
    return rc ? rc : st ? plug_fail(at->attn->plugin, st, "copying pages", e) : 0;
}

static int copy_pages(struct bench *b, uint32_t depth, struct err *e)
{
    int rc = 0;
    for (uint32_t i = 0; i < b->f->model->hp.n_layer && !rc; i++)
        rc = copy_layer(b, &b->f->state->layer[i], kv_pages_for(&b->f->kv, depth), e);
    return rc;
}

int bench_fill(struct bench *b, uint32_t depth, struct err *e)
{
    const struct bench_ask *a = b->ask;
    int rc = 0;
    for (uint32_t s = 0; s < b->max_seq; s++)
        kv_trim(&b->f->kv, &b->seq[s], 0);
    for (uint32_t s = 0; s < b->max_seq && !rc; s++)
        rc = reserve(b, s, depth + (s || a->n_gen > a->n_prompt ? a->n_gen : a->n_prompt), e);
    if (!rc && depth)
        rc = prefill(b, 0, depth, NULL, e);
    if (!rc && depth && b->max_seq > 1)
        rc = copy_pages(b, depth, e);
    return rc;
}

/* ----------------------------------------------------------------- statistics */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The q-quantile of n sorted times. */
static double quantile(const double *t, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    return i + 1 < n ? t[i] + (t[i + 1] - t[i]) * (at - (double)i) : t[n - 1];
}

/* b->time holds n_rep sums, then the passes of all repetitions. */
static void summarise(struct bench *b, struct bench_row *r)
{
    const size_t n = r->n_rep = b->ask->n_rep, all = n * r->n_step;
    double *step = b->time + n;
    for (size_t i = 0; i < n; i++) {
        b->time[i] = 0;
        for (uint32_t k = 0; k < r->n_step; k++)
            b->time[i] += step[i * r->n_step + k];
    }
    qsort(b->time, n, sizeof *b->time, ascending);
    qsort(step, all, sizeof *step, ascending);
    r->s = quantile(b->time, n, 0.5);
    r->s_min = b->time[0];
    r->s_max = b->time[n - 1];
    r->step_s = quantile(step, all, 0.5);
    r->step_s_p10 = quantile(step, all, 0.1);
    r->step_s_p90 = quantile(step, all, 0.9);
}

/* Rows of the head per output since `before`. */
static double head_rows(const struct bench *b, const struct head_count *before)
{
    const struct head_count *now = &b->f->head;
    const double full = (double)(now->n_full - before->n_full);
    const double top = (double)(now->n_top - before->n_top);
    const double exact = (double)(now->n_exact - before->n_exact);
    return full + top > 0 ? (exact + full * b->f->model->hp.n_vocab) / (full + top) : 0;
}

static void name_row(struct bench_row *r)
{
    const int n = snprintf(r->name, sizeof r->name, "%s%u", r->decode ? "tg" : "pp", r->n_tok);
    if (r->depth)
        snprintf(r->name + n, sizeof r->name - (size_t)n, "@d%u", r->depth);
}

int bench_prompt(struct bench *b, uint32_t depth, struct bench_row *r, struct err *e)
{
    const uint32_t n = b->ask->n_prompt, chunk = b->ask->chunk;
    const struct cost c = cost_of(b->f);
    *r = (struct bench_row){ .n_tok = n, .n_seq = 1, .depth = depth,
                             .n_step = (n - 1) / chunk + 1 };
    name_row(r);
    for (uint32_t end = 0; end < n;) {
        end = n - end < chunk ? n : end + chunk;
        r->bytes += c.layers + c.kv_tok * ((double)depth + end);
    }
    r->macs = c.layer_macs * n + c.head_macs;
    int rc = prefill(b, depth, n < chunk ? n : chunk, NULL, e);
    const struct head_count before = b->f->head;
    bench_sample(b, r);
    for (uint32_t i = 0; i < b->ask->n_rep && !rc; i++) {
        rc = prefill(b, depth, n, b->time + b->ask->n_rep + (size_t)i * r->n_step, e);
        bench_sample(b, r);
    }
    if (rc)
        return rc;
    r->head_rows = head_rows(b, &before);
    r->bytes += head_bytes(b, &c, r->head_rows, 1);
    summarise(b, r);
    return 0;
}

int bench_decode(struct bench *b, uint32_t depth, uint32_t n_seq, struct bench_row *r,
                 struct err *e)
{
    const uint32_t n = b->ask->n_gen;
    const struct cost c = cost_of(b->f);
    *r = (struct bench_row){ .decode = true, .n_tok = n, .n_seq = n_seq, .depth = depth,
                             .n_step = n };
    name_row(r);
    /* Step i sees depth + i + 1 tokens. */
    const double seen = (double)depth * n + (double)n * ((double)n + 1) / 2;
    r->macs = (c.layer_macs + c.head_macs) * n * n_seq;
    int rc = generate(b, depth, n_seq, n < WARM_STEPS ? n : WARM_STEPS, NULL, e);
    const struct head_count before = b->f->head;
    bench_sample(b, r);
    for (uint32_t i = 0; i < b->ask->n_rep && !rc; i++) {
        rc = generate(b, depth, n_seq, n, b->time + b->ask->n_rep + (size_t)i * n, e);
        bench_sample(b, r);
    }
    if (rc)
        return rc;
    r->head_rows = head_rows(b, &before);
    r->bytes = (c.layers + head_bytes(b, &c, r->head_rows, n_seq)) * n + c.kv_tok * seen * n_seq;
    summarise(b, r);
    return 0;
}
