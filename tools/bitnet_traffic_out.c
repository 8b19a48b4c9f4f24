/* bitnet_traffic_out.c - what `bitnet load` says: counts, rates, percentiles. */
#include <inttypes.h>
#include <stdlib.h>

#include "tools/bitnet.h"
#include "tools/bitnet_traffic.h"

void times_add(struct times *t, double s)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? t->cap * 2 : 1024;
        double *at = realloc(t->at, cap * sizeof *at);
        if (!at) {
            t->failed = true;
            return;
        }
        t->at = at;
        t->cap = cap;
    }
    t->at[t->n++] = s;
}

static int order(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest value that at least the fraction p does not pass; sorted. */
static double percentile(const struct times *t, double p)
{
    size_t i = (size_t)(p * (double)t->n);
    return t->n ? t->at[i < t->n ? i : t->n - 1] : 0;
}

static const struct { const char *name; double p; } marks[] = {
    { "p50", 0.5 }, { "p90", 0.9 }, { "p95", 0.95 }, { "p99", 0.99 }, { "max", 1 },
};
enum { N_MARKS = sizeof marks / sizeof *marks };

struct row {
    const char *key, *name;
    struct times *t;
};

static void put_row(struct buf *b, const struct row *r)
{
    buf_addf(b, "  %-22s", r->name);
    for (unsigned i = 0; i < N_MARKS; i++)
        buf_addf(b, " %10.1f", percentile(r->t, marks[i].p) * 1000);
    buf_addf(b, "\n");
}

static json_t *row_json(const struct row *r)
{
    json_t *o = json_object();
    for (unsigned i = 0; o && i < N_MARKS; i++)
        json_object_set_new(o, marks[i].name, json_real(percentile(r->t, marks[i].p) * 1000));
    return o;
}

static uint64_t sent(const struct traffic *t)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < N_SHOT_END; i++)
        n += t->n[i];
    return n;
}

static int print_json(const struct traffic *t, const struct row *row, unsigned n_row, struct err *e)
{
    json_t *o = json_pack(
        "{s:s,s:{s:I,s:I,s:I,s:I,s:I,s:I,s:I},s:f,s:I,s:I,s:I,s:f,s:f,s:f,s:b}", "model", t->model,
        "requests", "sent", (json_int_t)sent(t), "done", (json_int_t)t->n[SHOT_DONE], "left",
        (json_int_t)t->n[SHOT_LEFT], "refused", (json_int_t)t->n[SHOT_REFUSED], "failed",
        (json_int_t)t->n[SHOT_FAILED], "lost", (json_int_t)t->n[SHOT_LOST], "wrong",
        (json_int_t)t->n[SHOT_WRONG], "seconds", t->wall_s, "prompt_tokens",
        (json_int_t)t->n_prompt_tok, "cached_tokens", (json_int_t)t->n_cached_tok, "new_tokens",
        (json_int_t)t->n_new_tok, "new_tokens_per_second", (double)t->n_new_tok / t->wall_s,
        "requests_per_second", (double)t->n[SHOT_DONE] / t->wall_s, "goodput_per_second",
        (double)t->n_good / t->wall_s, "checked", (int)t->ask->check);
    for (unsigned i = 0; o && i < n_row; i++)
        json_object_set_new(o, row[i].key, row_json(&row[i]));
    return put_json(o, e);
}

static int print_text(const struct traffic *t, const struct row *row, unsigned n_row, struct err *e)
{
    struct buf b = { 0 };
    buf_addf(&b, "%s at %s, %.1f s\n", t->model, t->ask->url, t->wall_s);
    buf_addf(&b, "  %" PRIu64 " sent: %" PRIu64 " done, %" PRIu64 " left early, %" PRIu64
             " refused, %" PRIu64 " failed, %" PRIu64 " lost", sent(t), t->n[SHOT_DONE],
             t->n[SHOT_LEFT], t->n[SHOT_REFUSED], t->n[SHOT_FAILED], t->n[SHOT_LOST]);
    buf_addf(&b, t->ask->check ? ", %" PRIu64 " with another text than alone\n" : "\n",
             t->n[SHOT_WRONG]);
    if (*t->example)
        buf_addf(&b, "  first trouble: %s\n", t->example);
    buf_addf(&b, "  %.1f tok/s generated, %.1f tok/s read (%.0f %% of them cached)\n",
             (double)t->n_new_tok / t->wall_s, (double)t->n_prompt_tok / t->wall_s,
             t->n_prompt_tok ? 100.0 * (double)t->n_cached_tok / (double)t->n_prompt_tok : 0.0);
    buf_addf(&b, "  %.2f requests/s, goodput %.2f requests/s\n\n",
             (double)t->n[SHOT_DONE] / t->wall_s, (double)t->n_good / t->wall_s);
    buf_addf(&b, "  %-22s", "milliseconds");
    for (unsigned i = 0; i < N_MARKS; i++)
        buf_addf(&b, " %10s", marks[i].name);
    buf_addf(&b, "\n");
    for (unsigned i = 0; i < n_row; i++)
        put_row(&b, &row[i]);
    const int rc = b.failed ? err_set(e, ERR_NOMEM, "load: no memory for the result")
                            : put_out(b.p, b.n, e);
    buf_free(&b);
    return rc;
}

int traffic_print(struct traffic *t, struct err *e)
{
    const struct row row[] = {
        { "ttft_ms", "time to first token", &t->ttft },
        { "itl_ms", "between two tokens", &t->itl },
        { "tpot_ms", "mean per token", &t->tpot },
        { "e2e_ms", "whole request", &t->all },
    };
    const unsigned n = sizeof row / sizeof *row;
    for (unsigned i = 0; i < n; i++) {
        if (row[i].t->failed)
            return err_set(e, ERR_NOMEM, "load: no memory for %s", row[i].name);
        if (row[i].t->n)
            qsort(row[i].t->at, row[i].t->n, sizeof *row[i].t->at, order);
    }
    return t->ask->json ? print_json(t, row, n, e) : print_text(t, row, n, e);
}
