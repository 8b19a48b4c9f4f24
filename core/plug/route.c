/* route.c - asking every device, dropping those that may not, timing the rest.
 *
 * What was asked is kept with its answer and with all that speaks for and
 * against each candidate, so equal layers cost one measurement and the table
 * costs nothing. Everything lives in one arena until route_close. */
#include "core/plug/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/plug/describe.h"
#include "core/plug/route_parts.h"

static const char *const family_name[ROUTE_N_FAMILY] = { "linear", "attention", "pointwise" };
static const uint32_t family_bit[ROUTE_N_FAMILY] = { BNP_FAM_LINEAR, BNP_FAM_ATTN, BNP_FAM_POINT };

/* Costs this close are equal: a stopwatch knows no better. */
#define EQUAL 1.02

const char *route_family_name(enum route_family f)
{
    return family_name[f];
}

static const char *id_of(const struct dev *d)
{
    return d->plugin->note.raw.id;
}

bool route_is_ref(const struct dev *d)
{
    return !strcmp(id_of(d), PLUG_REF_ID);
}

/* The id, with the device's number and name where a plugin has several. */
static void name_dev(const struct dev *d, char *out, size_t n)
{
    if (d->plugin->n_dev > 1)
        snprintf(out, n, "%s#%u (%.64s)", id_of(d), d->index, d->info.name);
    else
        snprintf(out, n, "%s", id_of(d));
}

/* A pin names a plugin, "org.x", or one device of it, "org.x#1". */
static bool is_pinned(const struct dev *d, const char *pin)
{
    char numbered[80];
    snprintf(numbered, sizeof numbered, "%s#%u", id_of(d), d->index);
    return !strcmp(pin, id_of(d)) || !strcmp(pin, numbered);
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
    r->opts.timings = NULL;                       /* not kept, but opened: */
    const int rc = opts->timings ? timings_open(&r->timings, opts->timings, e) : 0;
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
    arena_free(&r->arena);
    free(r);
}

static bool offers_family(const struct dev *d, enum route_family f)
{
    return f == ROUTE_LINEAR ? d->linear != NULL : f == ROUTE_ATTN ? d->attn != NULL : d->point != NULL;
}

/* Whether a plugin other than scalar-ref was installed for the family, usable
 * or not: what strict mode must not silently do without. */
static bool others_installed(const struct route *r, enum route_family f)
{
    for (unsigned i = 0; i < r->plug->n_entry; i++) {
        const struct plug_entry *p = r->plug->entry[i];
        if (p->has_note && (p->note.raw.families & family_bit[f]) &&
            strcmp(p->note.raw.id, PLUG_REF_ID))
            return true;
    }
    return false;
}

static int ask_offer(const struct dev *d, enum route_family f, const union route_desc *q, bnp_offer *offer)
{
    *offer = (bnp_offer){ .struct_size = sizeof *offer };
    switch (f) {
    case ROUTE_LINEAR:
        return d->linear->query(d->d, &q->linear, offer);
    case ROUTE_ATTN:
        return d->attn->query(d->d, &q->attn, offer);
    default:
        return d->point->query(d->d, &q->point, offer);
    }
}

/* Why the configuration or the device's nature rules it out; false: neither. */
static bool may_not(const struct route *r, enum route_family f, const struct dev *d, char why[256])
{
    const char *pin = r->pin[f];
    if (d->disabled)
        snprintf(why, 256, "disabled after an error");
    else if (r->opts.exclude && !strcmp(id_of(d), r->opts.exclude))
        snprintf(why, 256, "excluded: it failed the parity test");
    else if (!offers_family(d, f))
        snprintf(why, 256, "does not offer the %s family", family_name[f]);
    else if (pin && !is_pinned(d, pin))
        snprintf(why, 256, "not the pinned plugin %s", pin);
    else if (!pin && r->opts.strict && route_is_ref(d) && others_installed(r, f))
        snprintf(why, 256, "strict mode: the reference is no fallback unless pinned");
    else if (!(d->info.flags & BNP_DEV_HOST_MEM))
        snprintf(why, 256, "private memory: crossing between devices is not built into this version");
    else
        return false;
    return true;
}

static void ask(struct route *r, const struct route_question *q, struct route_candidate *c)
{
    char said[256], why[256] = "";
    if (!may_not(r, q->family, c->dev, why)) {
        const int status = ask_offer(c->dev, q->family, &q->d, &c->offer);
        if (status)
            snprintf(why, sizeof why, "%.190s", plug_reported(c->dev->plugin, status, said));
        else if (c->offer.det < BNP_DET_EXACT || c->offer.det > r->opts.min_det)
            snprintf(why, sizeof why, "offers %s, the floor is %s", plug_det_name(c->offer.det),
                     plug_det_name(r->opts.min_det));
    }
    c->fit = !why[0];
    c->why = c->fit ? NULL : route_keep(r, why);
}

static unsigned count_fit(const struct route_candidate *c, unsigned n)
{
    unsigned fit = 0;
    for (unsigned i = 0; i < n; i++)
        fit += c[i].fit;
    return fit;
}

/* The first of those that are as cheap as the cheapest. */
static const struct route_candidate *cheapest(const struct route_candidate *c, unsigned n)
{
    const struct route_candidate *best = NULL;
    for (unsigned i = 0; i < n; i++)
        if (c[i].fit && (!best || c[i].cost < best->cost))
            best = &c[i];
    for (unsigned i = 0; best && i < n; i++)
        if (c[i].fit && c[i].cost <= best->cost * EQUAL)
            return &c[i];
    return NULL;
}

/* Says so in the error; the table has it from the candidates. */
static int no_candidate(const struct route *r, const struct route_question *q, struct err *e)
{
    struct buf b = { 0 };
    buf_addf(&b, "missing");
    for (unsigned i = 0; i < q->n; i++)
        buf_addf(&b, "; %s: %s", q->candidate[i].name, q->candidate[i].why);
    if (!q->n)
        buf_addf(&b, "; there is no device at all");
    if (r->pin[q->family])
        buf_addf(&b, "; pinned: %s", r->pin[q->family]);
    const int rc = err_set(e, ERR_PLUGIN, "no device for %s %s: %s", family_name[q->family],
                           q->shape, b.failed ? "missing" : b.p);
    buf_free(&b);
    return rc;
}

static int choose(struct route *r, struct question *qn, struct err *e)
{
    struct route_question *q = &qn->q;
    const unsigned n = r->plug->n_dev;
    struct route_candidate *c = arena_alloc(&r->arena, n + 1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "route: no memory for %u candidates", n);
    q->n = n;
    q->candidate = c;
    q->chosen = NULL;
    for (unsigned i = 0; i < n; i++) {
        c[i].dev = r->plug->dev[i];
        name_dev(c[i].dev, c[i].name, sizeof c[i].name);
        ask(r, q, &c[i]);
    }
    if (count_fit(c, n) > 1 || r->opts.measure_all)
        route_measure(r, q, c);
    q->chosen = cheapest(c, n);
    if (!q->chosen)
        return no_candidate(r, q, e);
    route_say_why(r, q, c);
    qn->dev = q->chosen->dev;
    qn->offer = q->chosen->offer;
    qn->dev->plugin->state = PLUG_ACTIVE;
    return 0;
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
static struct question *find(struct route *r, enum route_family f, const union route_desc *d,
                             struct err *e)
{
    struct question *q = r->first;
    while (q && (q->q.family != f || memcmp(&q->q.d, d, sizeof *d)))
        q = q->next;
    if (q)
        return q;
    uint32_t n_tok[PROBE_N_CLASS];
    q = arena_alloc(&r->arena, 1, sizeof *q);
    if (!q) {
        err_set(e, ERR_NOMEM, "route: no memory for a question");
        return NULL;
    }
    q->q.family = f;
    q->q.d = *d;
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

static int want(struct route *r, enum route_family f, const union route_desc *d, struct err *e)
{
    struct question *q = find(r, f, d, e);
    if (!q)
        return ERR_NOMEM;
    q->n_want++;
    count_use(q);
    return 0;
}

static int decide(struct route *r, struct question *q, struct err *e)
{
    if (q->dev && !q->dev->disabled)
        return 0;
    q->dev = NULL;
    return choose(r, q, e);
}

int route_decide(struct route *r, struct err *e)
{
    int rc = 0;
    for (struct question *q = r->first; q; q = q->next) {
        struct err more = { 0 };
        const int rc_one = decide(r, q, rc ? &more : e);
        rc = rc ? rc : rc_one;
    }
    return rc;
}

/* The answer that was given before, or a new one. */
static int answer(struct route *r, enum route_family f, const union route_desc *d, struct dev **dev,
                  bnp_offer *offer, struct err *e)
{
    struct question *q = find(r, f, d, e);
    if (!q)
        return ERR_NOMEM;
    q->n_answer++;
    count_use(q);
    const int rc = decide(r, q, e);
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
    (void)layer;
    const int rc = as_linear(d, &q, e);
    return rc ? rc : want(r, ROUTE_LINEAR, &q, e);
}

int route_want_attn(struct route *r, int32_t layer, const struct bnp_attn_desc *d, struct err *e)
{
    union route_desc q;
    (void)layer;
    const int rc = as_attn(d, &q, e);
    return rc ? rc : want(r, ROUTE_ATTN, &q, e);
}

int route_want_point(struct route *r, int32_t layer, const struct bnp_point_desc *d,
                     struct err *e)
{
    union route_desc q;
    (void)layer;
    const int rc = as_point(d, &q, e);
    return rc ? rc : want(r, ROUTE_POINT, &q, e);
}

int route_linear(struct route *r, int32_t layer, const struct bnp_weight_desc *d,
                 struct dev **dev, struct bnp_offer *offer, struct err *e)
{
    union route_desc q;
    (void)layer;
    const int rc = as_linear(d, &q, e);
    return rc ? rc : answer(r, ROUTE_LINEAR, &q, dev, offer, e);
}

int route_attn(struct route *r, int32_t layer, const struct bnp_attn_desc *d, struct dev **dev,
               struct bnp_offer *offer, struct err *e)
{
    union route_desc q;
    (void)layer;
    const int rc = as_attn(d, &q, e);
    return rc ? rc : answer(r, ROUTE_ATTN, &q, dev, offer, e);
}

int route_point(struct route *r, int32_t layer, const struct bnp_point_desc *d, struct dev **dev,
                struct bnp_offer *offer, struct err *e)
{
    union route_desc q;
    (void)layer;
    const int rc = as_point(d, &q, e);
    return rc ? rc : answer(r, ROUTE_POINT, &q, dev, offer, e);
}

void route_each(const struct route *r, route_visit *visit, void *ctx)
{
    for (const struct question *q = r->first; q; q = q->next)
        visit(ctx, &q->q);
}
