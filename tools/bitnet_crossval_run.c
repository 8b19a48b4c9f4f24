/* bitnet_crossval_run.c - what this program says about the same tokens, and how
 * far it is from the reference.
 *
 * Each position becomes two runs of numbers: this program's and the
 * reference's, over the whole vocabulary or over the entries that the reference
 * told. The reference's own greedy tokens stand behind its prompt, so both read
 * the same at every position. Rows are shared among workers and added up by one
 * thread, in the order of positions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "tools/bitnet_bar.h"
#include "tools/bitnet_crossval.h"

enum { MIN_PAIRS = 5 };           /* fewer make no correlation of a position   */

struct row {
    struct stat_pair pair;
    double kld, overlap;
    bool compared, whole, same_top;
    int rc;
    struct err err;
};

struct run {
    struct cv *c;
    struct cv_text *t;
    struct score s;
    const struct score_rows *now;
    struct row *row;              /* [max_out]                                 */
    double *scratch;              /* [n_workers][2 * n_vocab]                  */
    uint32_t n_vocab;
};

/* ------------------------------------------------------------- one position */

/* The k largest, by value, then by place. */
static uint32_t largest(const double *x, uint32_t n, uint32_t k, uint32_t *at)
{
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t p = m;
        if (m == k && !(x[i] > x[at[m - 1]]))
            continue;
        p = m < k ? m++ : k - 1;
        for (; p && x[i] > x[at[p - 1]]; p--)
            at[p] = at[p - 1];
        at[p] = i;
    }
    return m;
}

static double overlap(const uint32_t *a, const uint32_t *b, uint32_t n)
{
    uint32_t same = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++)
            same += a[i] == b[k];
    return n ? (double)same / n : 0;
}

/* a: ours, b: the reference's, of the whole vocabulary. */
static void whole_row(const struct run *r, uint32_t pos, const float *logits, double *a,
                      struct row *out)
{
    const struct cv *c = r->c;
    double *b = a + r->n_vocab, floor;
    uint32_t top_a[CV_MAX_TOP], top_b[CV_MAX_TOP];
    const uint32_t k = c->ask->n_top < r->n_vocab ? c->ask->n_top : r->n_vocab;
    out->rc = logfile_row(&c->file, r->t->row + (pos - r->t->first), b, &floor, &out->err);
    if (out->rc)
        return;
    for (uint32_t i = 0; i < r->n_vocab; i++)
        a[i] = (double)logits[i];
    out->same_top = stat_argmax_d(b, r->n_vocab) == stat_argmax(logits, r->n_vocab);
    largest(a, r->n_vocab, k, top_a);
    largest(b, r->n_vocab, k, top_b);
    out->overlap = overlap(top_a, top_b, k);
    if (!c->log_probs)
        out->pair = stat_pair_of(a, b, r->n_vocab);
    if ((!c->log_probs && !stat_log_softmax(b, r->n_vocab)) || !stat_log_softmax(a, r->n_vocab)) {
        out->rc = err_set(&out->err, ERR_NUMERIC, "position %u: no numbers, expected finite ones",
                          pos);
        return;
    }
    out->kld = stat_kld(b, a, r->n_vocab, floor);
    for (uint32_t i = 0; c->log_probs && i < r->n_vocab; i++)
        a[i] = a[i] > floor ? a[i] : floor;      /* as little as the file can say */
    if (c->log_probs)
        out->pair = stat_pair_of(a, b, r->n_vocab);
    out->compared = out->whole = true;
}

/* The entries told of a position: [from, from + n). */
static uint32_t entries(const struct cv_text *t, uint32_t pos, uint32_t *from)
{
    uint32_t lo = 0, hi = t->n_top, n = 0;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (t->top[mid].pos < pos)
            lo = mid + 1;
        else
            hi = mid;
    }
    *from = lo;
    while (lo + n < t->n_top && t->top[lo + n].pos == pos)
        n++;
    return n;
}

static void top_row(const struct run *r, uint32_t pos, const float *logits, double *x,
                    struct row *out)
{
    double a[CV_MAX_TOP * 16], b[CV_MAX_TOP * 16], most, all;
    uint32_t from, ours[CV_MAX_TOP], top[CV_MAX_TOP];
    uint32_t n = entries(r->t, pos, &from);
    if (!n)
        return;
    n = n < sizeof a / sizeof *a ? n : (uint32_t)(sizeof a / sizeof *a);
    if (!stat_norm(logits, r->n_vocab, &most, &all)) {
        out->rc = err_set(&out->err, ERR_NUMERIC, "position %u: a logit is no number, expected "
                          "finite ones", pos);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct cv_top *t = &r->t->top[from + i];
        a[i] = (double)(float)(((double)logits[t->id] - most) - all);
        b[i] = (double)t->logprob;
    }
    out->pair = stat_pair_of(a, b, n);
    const uint32_t k = n < r->c->ask->n_top ? n : r->c->ask->n_top;
    largest(b, n, k, top);
    for (uint32_t i = 0; i < k; i++)
        top[i] = (uint32_t)r->t->top[from + top[i]].id;
    for (uint32_t i = 0; i < r->n_vocab; i++)
        x[i] = (double)logits[i];
    largest(x, r->n_vocab, k, ours);
    out->overlap = overlap(ours, top, k);
    out->same_top = ours[0] == top[0];
    out->compared = true;
}

static void judge_row(void *arg, uint32_t i, uint32_t worker)
{
    struct run *r = arg;
    const uint32_t pos = r->now->pos + i;
    const float *logits = r->now->logits + i * r->now->stride;
    double *scratch = r->scratch + (size_t)worker * 2 * r->n_vocab;
    r->row[i] = (struct row){ .rc = 0 };
    if (r->c->file.rows && pos >= r->t->first && pos - r->t->first < r->t->n_row)
        whole_row(r, pos, logits, scratch, &r->row[i]);
    else
        top_row(r, pos, logits, scratch, &r->row[i]);
}

static int add_row(struct run *r, const struct row *row, uint32_t pos, struct err *e)
{
    struct cv *c = r->c;
    if (row->rc) {
        *e = row->err;
        return row->rc;
    }
    if (!row->compared)
        return 0;
    if (!isfinite(row->pair.sq) || !isfinite(row->kld))
        return err_set(e, ERR_NUMERIC, "text %u, position %u: an infinite difference: no figure "
                       "exists", (uint32_t)(r->t - c->text), pos);
    stat_pair_add(&c->all, &row->pair);
    c->n_pos++;
    c->n_whole_pos += row->whole;
    c->n_top1 += row->same_top;
    c->overlap += row->overlap;
    c->kld += row->kld;
    if (row->pair.n < MIN_PAIRS)
        return 0;
    const double corr = stat_correlation(&row->pair);
    c->sum += corr;
    if (!c->n_corr++ || corr < c->worst) {
        c->worst = corr;
        c->worst_text = (uint32_t)(r->t - c->text);
        c->worst_pos = pos;
    }
    return 0;
}

static int take(void *ctx, const struct score_rows *rows, struct err *e)
{
    struct run *r = ctx;
    int rc = 0;
    r->now = rows;
    score_share(&r->s, rows->n, judge_row, r);
    for (uint32_t i = 0; !rc && i < rows->n; i++)
        rc = add_row(r, &r->row[i], rows->pos + i, e);
    return rc;
}

/* ----------------------------------------------------------------- one text */

/* The prompt, and as much of the reference's continuation as entries speak of. */
static int read_text_of(struct run *r, struct err *e)
{
    struct cv_text *t = r->t;
    struct tokens all = { 0 };
    uint32_t first = t->n_row ? t->first : t->n_top ? t->top[0].pos : UINT32_MAX;
    uint32_t end = t->n_row ? t->first + t->n_row : t->n_top ? t->top[t->n_top - 1].pos + 1 : 0;
    int rc = 0;
    for (size_t i = 0; !rc && i < t->id.n; i++)
        rc = add_id(&all, t->id.id[i], e);
    for (size_t i = 0; !rc && t->has_greedy && i < t->greedy.n; i++)
        rc = add_id(&all, t->greedy.id[i], e);
    end = end < all.n ? end : (uint32_t)all.n;
    if (!rc && first < end) {
        score_begin(&r->s);
        rc = score_feed(&r->s, all.id, end, first, take, r, e);
    }
    free(all.id);
    return rc;
}

struct pick {
    uint32_t n_vocab, id;
};

static int take_likeliest(void *ctx, const struct score_rows *rows, struct err *e)
{
    struct pick *p = ctx;
    (void)e;
    p->id = stat_argmax(rows->logits + (rows->n - 1) * rows->stride, p->n_vocab);
    return 0;
}

/* Our own greedy continuation of at most n tokens; where the text ends, ours
 * does too. */
static int go_on(struct run *r, uint32_t n, struct tokens *out, struct err *e)
{
    struct pick p = { .n_vocab = r->n_vocab };
    const struct vocab *v = r->s.f->model->vocab;
    const uint32_t n_prompt = (uint32_t)r->t->id.n;
    double start = clock_s();
    score_begin(&r->s);
    int rc = score_feed(&r->s, r->t->id.id, n_prompt, n_prompt - 1, take_likeliest, &p, e);
    r->c->prompt_s += clock_s() - start;
    r->c->n_prompt_tok += n_prompt;
    start = clock_s();
    while (!rc && out->n < n && !vocab_is_eog(v, (int32_t)p.id)) {
        const int32_t id = (int32_t)p.id;
        rc = add_id(out, id, e);
        if (!rc && out->n < n) {
            rc = score_feed(&r->s, &id, 1, r->s.pos, take_likeliest, &p, e);
            r->c->n_new_tok++;
        }
    }
    r->c->decode_s += clock_s() - start;
    return rc;
}

static void compare_ids(struct cv *c, const struct cv_text *t, const struct tokens *ours,
                        uint32_t n)
{
    uint32_t k = 0;
    while (k < ours->n && k < n && ours->id[k] == t->greedy.id[k])
        k++;
    c->greedy.unit = "tokens";
    c->greedy.n += n;
    c->greedy.n_same += k;
    c->greedy.n_whole += k == n;
}

static int compare_texts(struct run *r, const struct tokens *ours, struct err *e)
{
    struct cv *c = r->c;
    const struct buf *theirs = &r->t->greedy_text;
    struct detok d = { .started = true };
    struct buf b = { 0 };
    size_t k = 0;
    for (size_t i = 0; i < ours->n; i++)
        detok_feed(r->s.f->model->vocab, &d, ours->id[i], false, &b);
    detok_finish(&d, &b);
    while (k < b.n && k < theirs->n && b.p[k] == theirs->p[k])
        k++;
    c->greedy.unit = "bytes";
    c->greedy.n += theirs->n;
    c->greedy.n_same += k;
    c->greedy.n_whole += k == theirs->n && k == b.n;
    const int rc = b.failed ? err_set(e, ERR_NOMEM, "crossval: no memory for a text") : 0;
    buf_free(&b);
    return rc;
}

static int compare_greedy(struct run *r, struct err *e)
{
    const struct cv_text *t = r->t;
    struct tokens ours = { 0 };
    const uint32_t most = r->c->ask->n_new;
    const uint32_t n = t->has_greedy && t->greedy.n < most ? (uint32_t)t->greedy.n : most;
    if ((!t->has_greedy && !t->has_greedy_text) || !n)
        return 0;
    int rc = go_on(r, n, &ours, e);
    r->c->greedy.n_text++;
    if (!rc && t->has_greedy)
        compare_ids(r->c, t, &ours, n);
    else if (!rc)
        rc = compare_texts(r, &ours, e);
    free(ours.id);
    return rc;
}

/* Tokens of the longest text, its continuation included. */
static uint32_t longest(const struct cv *c)
{
    size_t most = 1;
    for (uint32_t i = 0; i < c->n_text; i++) {
        const struct cv_text *t = &c->text[i];
        const bool on = t->has_greedy || t->has_greedy_text;
        const size_t more = t->greedy.n > c->ask->n_new ? t->greedy.n : c->ask->n_new;
        const size_t n = t->id.n + (on ? more : 0);
        most = n > most ? n : most;
    }
    return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

static int all_texts(struct run *r, struct err *e)
{
    struct cv *c = r->c;
    struct bar bar;
    int rc = 0;
    bar_open(&bar, "comparing");
    for (uint32_t i = 0; !rc && i < c->n_text; i++) {
        r->t = &c->text[i];
        rc = read_text_of(r, e);
        if (!rc)
            rc = compare_greedy(r, e);
        bar_draw(&bar, i + 1, c->n_text, NULL);
    }
    bar_clear(&bar);
    if (c->prompt_s > 0 && c->n_prompt_tok)
        c->speed.prompt = (double)c->n_prompt_tok / c->prompt_s;
    if (c->decode_s > 0 && c->n_new_tok)
        c->speed.decode = (double)c->n_new_tok / c->decode_s;
    return rc;
}

int cv_run(struct cv *c, struct loaded *l, struct err *e)
{
    struct run r = { .c = c, .n_vocab = l->model->hp.n_vocab };
    int rc = score_open(&r.s, l, longest(c), 0, e);
    if (!rc) {
        r.row = calloc(r.s.f->conf.max_out, sizeof *r.row);
        r.scratch = calloc((size_t)l->plug->topo.abi.n_workers * 2, r.n_vocab * sizeof(double));
        if (!r.row || !r.scratch)
            rc = err_set(e, ERR_NOMEM, "crossval: no memory for rows");
    }
    if (!rc)
        rc = all_texts(&r, e);
    free(r.row);
    free(r.scratch);
    score_close(&r.s);
    return rc;
}
