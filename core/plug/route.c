/* route.c - the questions, and their answers.
 *
 * What was asked is kept with its answer and with all that speaks for and
 * against each candidate, so equal layers cost one measurement and the table
 * costs nothing. Everything lives in one arena until route_close. */
#include "core/plug/route.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/plug/describe.h"
#include "core/plug/route_parts.h"

static const char *const family_name[ROUTE_N_FAMILY] = { "linear", "attention", "pointwise" };

const char *route_family_name(enum route_family f)
{
    return family_name[f];
}

bool route_is_ref(const struct dev *d)
{
    return !strcmp(d->plugin->note.raw.id, PLUG_REF_ID);
}

const struct dev *route_place(const struct dev *d)
{
    return d->info.flags & BNP_DEV_HOST_MEM ? NULL : d;
}

static const char *keep(struct route *r, const char *text)
{
    return text && text[0] ? arena_strndup(&r->arena, text, strlen(text)) : NULL;
}

const char *route_keep(struct route *r, const char *text)
{
    const char *kept = keep(r, text);
    return kept ? kept : "";
}

int route_open(struct route **out, struct plug *plug, const struct route_opts *opts, struct err *e)
{
    *out = NULL;
    if (opts->min_det < BNP_DET_EXACT || opts->min_det > BNP_DET_BOUNDED)
        return err_set(e, ERR_ARG, "determinism floor %u, expected %u (exact) to %u (bounded)",
                       opts->min_det, BNP_DET_EXACT, BNP_DET_BOUNDED);
    struct route *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "route: no memory");
    r->plug = plug;
    r->opts = *opts;
    r->pin[ROUTE_LINEAR] = keep(r, opts->pin_linear);
    r->pin[ROUTE_ATTN] = keep(r, opts->pin_attn);
    r->pin[ROUTE_POINT] = keep(r, opts->pin_point);
    r->opts.exclude = keep(r, opts->exclude);
    r->last = &r->first;
    r->last_layer = -1;
    r->extra_us = ROUTE_EXTRA_US;
    r->opts.layers = r->opts.timings = NULL;      /* not kept, but read: */
    int rc = opts->layers ? route_pin_layers(r, opts->layers, e) : 0;
    if (!rc && opts->timings)
        rc = timings_open(&r->timings, opts->timings, e);
    if (rc) {
        route_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void route_settle(struct route *r)
{
    struct err e = { 0 };
    route_release_cold(r);
    if (r->timings && timings_save(r->timings, &e))
        log_warn("measurements are not kept: %s", e.text);
}

void route_close(struct route *r)
{
    if (!r)
        return;
    route_release_cold(r);
    timings_close(r->timings);
    buf_free(&r->cpuinfo);
    arena_free(&r->arena);
    free(r);
}

static const char *shape_of(struct route *r, enum route_family f, const union route_desc *d)
{
    struct buf b = { 0 };
    if (f == ROUTE_LINEAR)
        describe_linear(&d->linear, &b);
    else if (f == ROUTE_ATTN)
        describe_attn(&d->attn, &b);
    else
        describe_point(&d->point, &b);
    const char *kept = route_keep(r, b.failed ? NULL : b.p);
    buf_free(&b);
    return kept;
}

/* The question as it was put before, or put now. NULL: no memory. */
static struct question *find(struct route *r, int32_t layer, enum route_family f,
                             const union route_desc *d, struct err *e)
{
    struct question *q = r->first;
    struct group *g = route_pin_group(r, layer);
    while (q && (q->group != g || q->q.family != f || memcmp(&q->q.d, d, sizeof *d)))
        q = q->next;
    if (q)
        return q;
    uint32_t n_tok[ROUTE_N_CLASS];
    q = arena_alloc(&r->arena, 1, sizeof *q);
    if (!q) {
        err_set(e, ERR_NOMEM, "route: no memory for a question");
        return NULL;
    }
    q->group = g;
    q->q.family = f;
    q->q.d = *d;
    q->q.layers_pin = g->pin;
    q->q.shape = shape_of(r, f, d);
    q->q.n_class = route_classes(f, d, n_tok);
    *r->last = q;
    r->last = &q->next;
    return q;
}

/* A use that was wanted is counted when it is wanted, not again when answered. */
static void count_use(struct question *q)
{
    q->q.n_asked = q->n_want > q->n_answer ? q->n_want : q->n_answer;
}

static int want(struct route *r, int32_t layer, enum route_family f, const union route_desc *d,
                struct err *e)
{
    struct question *q = find(r, layer, f, d, e);
    if (!q)
        return ERR_NOMEM;
    r->last_layer = layer > r->last_layer ? layer : r->last_layer;
    q->n_want++;
    count_use(q);
    return 0;
}

int route_decide(struct route *r, struct err *e)
{
    struct err more = { 0 };
    const int rc = route_pin_check(r, e), rc_all = route_decide_open(r, NULL, rc ? &more : e);
    return rc ? rc : rc_all;
}

static int answer(struct route *r, int32_t layer, enum route_family f, const union route_desc *d,
                  struct dev **dev, bnp_offer *offer, struct err *e)
{
    struct question *q = find(r, layer, f, d, e);
    if (!q)
        return ERR_NOMEM;
    q->n_answer++;
    count_use(q);
    int rc = route_pin_check(r, e);
    if (!rc)
        rc = route_decide_open(r, q, e);
    if (rc)
        return rc;
    *dev = q->dev;
    *offer = q->offer;
    return 0;
}

static int bad_desc(struct err *e, enum route_family f, const char *what)
{
    return err_set(e, ERR_ARG, "route: a %s description with %s 0, expected some", family_name[f],
                   what);
}

/* Descriptions are compared as bytes: unused ones are zero, a name is no part. */
static int as_linear(const struct bnp_weight_desc *d, union route_desc *q, struct err *e)
{
    if (!d->rows || !d->cols || !d->max_tok)
        return bad_desc(e, ROUTE_LINEAR, "rows, cols or max_tok");
    memset(q, 0, sizeof *q);
    q->linear = *d;
    q->linear.name = NULL;
    return 0;
}

static int as_attn(const struct bnp_attn_desc *d, union route_desc *q, struct err *e)
{
    if (!d->max_kv || !d->max_tok)
        return bad_desc(e, ROUTE_ATTN, "max_kv or max_tok");
    memset(q, 0, sizeof *q);
    q->attn = *d;
    return 0;
}

static int as_point(const struct bnp_point_desc *d, union route_desc *q, struct err *e)
{
    if (!d->cols || !d->max_tok)
        return bad_desc(e, ROUTE_POINT, "cols or max_tok");
    memset(q, 0, sizeof *q);
    q->point = *d;
    return 0;
}

int route_want_linear(struct route *r, int32_t layer, const struct bnp_weight_desc *d,
                      struct err *e)
{
    union route_desc q;
    const int rc = as_linear(d, &q, e);
    return rc ? rc : want(r, layer, ROUTE_LINEAR, &q, e);
}

int route_want_attn(struct route *r, int32_t layer, const struct bnp_attn_desc *d, struct err *e)
{
    union route_desc q;
    const int rc = as_attn(d, &q, e);
    return rc ? rc : want(r, layer, ROUTE_ATTN, &q, e);
}

int route_want_point(struct route *r, int32_t layer, const struct bnp_point_desc *d,
                     struct err *e)
{
    union route_desc q;
    const int rc = as_point(d, &q, e);
    return rc ? rc : want(r, layer, ROUTE_POINT, &q, e);
}

int route_linear(struct route *r, int32_t layer, const struct bnp_weight_desc *d,
                 struct dev **dev, struct bnp_offer *offer, struct err *e)
{
    union route_desc q;
    const int rc = as_linear(d, &q, e);
    return rc ? rc : answer(r, layer, ROUTE_LINEAR, &q, dev, offer, e);
}

int route_attn(struct route *r, int32_t layer, const struct bnp_attn_desc *d, struct dev **dev,
               struct bnp_offer *offer, struct err *e)
{
    union route_desc q;
    const int rc = as_attn(d, &q, e);
    return rc ? rc : answer(r, layer, ROUTE_ATTN, &q, dev, offer, e);
}

int route_point(struct route *r, int32_t layer, const struct bnp_point_desc *d, struct dev **dev,
                struct bnp_offer *offer, struct err *e)
{
    union route_desc q;
    const int rc = as_point(d, &q, e);
    return rc ? rc : answer(r, layer, ROUTE_POINT, &q, dev, offer, e);
}

void route_each_home(const struct route *r, route_home_visit *visit, void *ctx)
{
    for (const struct group *g = &r->general; g; g = g->next)
        for (unsigned i = 0; i < g->n_home; i++)
            visit(ctx, &g->homes[i]);
}

void route_each(const struct route *r, route_visit *visit, void *ctx)
{
    for (const struct question *q = r->first; q; q = q->next)
        visit(ctx, &q->q);
}
