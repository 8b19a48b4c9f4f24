/* bitnet_perplexity_run.c - every window through the model, every row to its
 * figures.
 *
 * A step's rows are shared among the workers, each row's figures computed by
 * one; one thread adds them in the order of positions. So no sum depends on how
 * many workers there are. */
#include "tools/bitnet_perplexity.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "tools/bitnet_bar.h"

/* Against the reference's row of the same position. */
static int compare(const struct ppl *p, const struct log_seq *s, uint32_t pos, const float *logits,
                   double largest, double all, double *ln_p, struct ppl_row *r)
{
    double *ln_q = ln_p + p->n_vocab, floor;
    const struct log_seq *ref = &p->ref.seq[p->at];
    int rc = logfile_row(&p->ref, ref->row + (pos - ref->first), ln_p, &floor, &r->err);
    if (!rc && p->ref.encoding == LOG_F32 && !stat_log_softmax(ln_p, p->n_vocab))
        rc = err_set(&r->err, ERR_DATA, "%s: position %u: no numbers, expected finite ones",
                     p->ref_file, pos);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < p->n_vocab; i++)
        ln_q[i] = ((double)logits[i] - largest) - all;
    r->kld = stat_kld(ln_p, ln_q, p->n_vocab, floor);
    r->same_top = stat_argmax_d(ln_p, p->n_vocab) == stat_argmax(logits, p->n_vocab);
    if (r->scored)
        r->nll_ref = -ln_p[s->id[pos + 1]];
    return 0;
}

static void judge_row(void *arg, uint32_t i, uint32_t worker)
{
    struct ppl *p = arg;
    const struct log_seq *s = &p->seq[p->at];
    const uint32_t pos = p->now->pos + i;
    const float *logits = p->now->logits + i * p->now->stride;
    double largest, all;
    struct ppl_row *r = &p->row[i];
    *r = (struct ppl_row){ .scored = pos + 1 < s->n_tok };
    if (!stat_norm(logits, p->n_vocab, &largest, &all)) {
        r->rc = err_set(&r->err, ERR_NUMERIC, "window %u, position %u: a logit is no number, "
                        "expected finite ones", p->at, pos);
        return;
    }
    if (r->scored)
        r->nll = all - ((double)logits[s->id[pos + 1]] - largest);
    if (p->ref_file)
        r->rc = compare(p, s, pos, logits, largest, all,
                        p->scratch + (size_t)worker * 2 * p->n_vocab, r);
    if (p->save_file)
        logfile_encode(&p->save, logits, largest + all, p->bytes + i * p->save.row_size);
}

static int add_row(struct ppl *p, const struct ppl_row *r, uint32_t pos, struct err *e)
{
    if (r->rc) {
        *e = r->err;
        return r->rc;
    }
    if (!isfinite(r->nll) || !isfinite(r->kld) || !isfinite(r->nll_ref))
        return err_set(e, ERR_NUMERIC, "window %u, position %u: a token is impossible that came or "
                       "that the reference expects: no figure exists", p->at, pos);
    if (r->scored)
        stat_add(&p->nll, r->nll);
    if (p->ref_file) {
        p->kld_all[p->kld.n] = r->kld;
        stat_add(&p->kld, r->kld);
        p->n_same += r->same_top;
        if (r->scored) {
            stat_add(&p->nll_ref, r->nll_ref);
            p->cross += r->nll * r->nll_ref;
        }
    }
    return 0;
}

static int take(void *ctx, const struct score_rows *rows, struct err *e)
{
    struct ppl *p = ctx;
    int rc = 0;
    p->now = rows;
    score_share(&p->score, rows->n, judge_row, p);
    for (uint32_t i = 0; !rc && i < rows->n; i++)
        rc = add_row(p, &p->row[i], rows->pos + i, e);
    if (!rc && p->save_file)
        rc = logfile_write(&p->save, p->bytes, rows->n, e);
    p->n_done += rows->n;
    return rc;
}

static int all_windows(struct ppl *p, struct err *e)
{
    struct bar bar;
    int rc = 0;
    bar_open(&bar, "scoring");
    for (p->at = 0; !rc && p->at < p->n_seq; p->at++) {
        const struct log_seq *s = &p->seq[p->at];
        const uint32_t n = s->first + s->n_row;        /* nobody asks for what follows */
        char more[48] = "";
        if (!s->n_row)
            continue;
        score_begin(&p->score);
        rc = score_feed(&p->score, s->id, n, s->first, take, p, e);
        p->n_tok += n;
        if (p->nll.n)
            snprintf(more, sizeof more, "perplexity %.4f", exp(stat_mean(&p->nll)));
        bar_draw(&bar, p->n_done, p->n_row, more);
    }
    bar_clear(&bar);
    return rc;
}

static uint32_t longest(const struct ppl *p)
{
    uint32_t n = 1;
    for (uint32_t i = 0; i < p->n_seq; i++)
        n = p->seq[i].n_row && p->seq[i].first + p->seq[i].n_row > n
            ? p->seq[i].first + p->seq[i].n_row : n;
    return n;
}

static int make_room(struct ppl *p, const struct loaded *l, struct err *e)
{
    const uint32_t max_out = p->score.f->conf.max_out;
    p->row = calloc(max_out, sizeof *p->row);
    if (p->ref_file) {
        p->kld_all = calloc(p->n_row, sizeof *p->kld_all);
        p->scratch = calloc((size_t)l->plug->topo.abi.n_workers * 2, p->n_vocab * sizeof(double));
    }
    if (p->save_file)
        p->bytes = calloc(max_out, p->save.row_size);
    return p->row && (!p->ref_file || (p->kld_all && p->scratch)) && (!p->save_file || p->bytes)
           ? 0 : err_set(e, ERR_NOMEM, "perplexity: no memory for %u rows", max_out);
}

static int create_file(struct ppl *p, const struct loaded *l, struct err *e)
{
    json_t *j = json_pack("{s:s,s:o,s:o,s:b}", "program", "bitnet " BITNET_VERSION, "model",
                          json_cstr(l->model->name), "text", json_cstr(p->text_file), "bos",
                          p->bos);
    char *meta = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    int rc = meta ? logfile_create(&p->save, p->save_file, p->encoding, p->n_vocab, meta, p->seq,
                                   p->n_seq, e)
                  : err_set(e, ERR_NOMEM, "%s: no memory to write it", p->save_file);
    free(meta);
    return rc;
}

int ppl_run(struct ppl *p, struct loaded *l, struct err *e)
{
    for (uint32_t i = 0; i < p->n_seq; i++)
        p->n_row += p->seq[i].n_row;
    if (!p->n_row)
        return err_set(e, ERR_ARG, "perplexity: no position to look at, expected some");
    int rc = score_open(&p->score, l, longest(p), p->chunk, e);
    if (!rc && p->save_file)
        rc = create_file(p, l, e);
    if (!rc)
        rc = make_room(p, l, e);
    const double start = clock_s();
    if (!rc)
        rc = all_windows(p, e);
    p->seconds = clock_s() - start;
    if (!rc && p->save_file)
        rc = logfile_commit(&p->save, e);
    return rc;
}

void ppl_free(struct ppl *p)
{
    logfile_abort(&p->save);
    logfile_close(&p->ref);
    score_close(&p->score);
    free(p->row);
    free(p->bytes);
    free(p->scratch);
    free(p->kld_all);
}
