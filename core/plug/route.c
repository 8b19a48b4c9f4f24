/* route.c - asking every device, dropping those that may not, timing the rest.
 *
 * What was asked is kept with its answer and with the line that explains it,
 * so equal layers cost one measurement and the table costs nothing. Everything
 * lives in one arena until route_close. */
#include "core/plug/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/arena.h"
#include "core/plug/describe.h"
#include "core/plug/probe.h"

enum family { LINEAR, ATTN, POINT, N_FAMILY };

static const char *const family_name[N_FAMILY] = { "linear", "attention", "pointwise" };
static const uint32_t family_bit[N_FAMILY] = { BNP_FAM_LINEAR, BNP_FAM_ATTN, BNP_FAM_POINT };

#define MANY_ROWS   8u            /* "many" for the stopwatch                  */
#define MAX_REPS    16u
#define MAX_WEIGHTS (1u << 20)    /* elements of a measured weight             */
#define MAX_KV      256u          /* tokens of a measured sequence             */
/* The reference wins only when it is clearly faster than all others, beyond
 * what a stopwatch on a busy machine gets wrong. */
#define REF_MARGIN  0.8

union desc {
    bnp_weight_desc linear;
    bnp_attn_desc attn;
    bnp_point_desc point;
};

struct question {
    struct question *next;
    enum family family;
    union desc d;                 /* without its name, unused bytes zero       */
    uint32_t n_asked;
    struct dev *dev;              /* the answer                                */
    bnp_offer offer;
    const char *why;              /* the rest of the explaining line           */
};

struct route {
    struct plug *plug;
    struct route_opts opts;       /* its strings are the arena's               */
    const char *pin[N_FAMILY];    /* NULL: none                                */
    struct arena arena;
    struct question *first, **last;
};

struct candidate {
    struct dev *dev;
    bnp_offer offer;
    bool fit;
    double us_one, us_many;       /* a call with 1 row, with MANY_ROWS; 0: not measured */
    char why[200];                /* why it is not fit, or lost                */
};

static const char *id_of(const struct dev *d)
{
    return d->plugin->note.raw.id;
}

static bool is_ref(const struct dev *d)
{
    return !strcmp(id_of(d), PLUG_REF_ID);
}

/* The id, with the device's number where a plugin has several. */
static const char *dev_name(const struct dev *d, char out[80])
{
    if (d->plugin->n_dev > 1)
        snprintf(out, 80, "%s#%u", id_of(d), d->index);
    else
        snprintf(out, 80, "%s", id_of(d));
    return out;
}

static const char *keep(struct route *r, const char *text)
{
    return text && text[0] ? arena_strndup(&r->arena, text, strlen(text)) : NULL;
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
    r->pin[LINEAR] = keep(r, opts->pin_linear);
    r->pin[ATTN] = keep(r, opts->pin_attn);
    r->pin[POINT] = keep(r, opts->pin_point);
    r->opts.exclude = keep(r, opts->exclude);
    r->last = &r->first;
    *out = r;
    return 0;
}

void route_close(struct route *r)
{
    if (!r)
        return;
    arena_free(&r->arena);
    free(r);
}

static bool offers_family(const struct dev *d, enum family f)
{
    return f == LINEAR ? d->linear != NULL : f == ATTN ? d->attn != NULL : d->point != NULL;
}

/* Whether a plugin other than scalar-ref was installed for the family, usable
 * or not: what strict mode must not silently do without. */
static bool others_installed(const struct route *r, enum family f)
{
    for (unsigned i = 0; i < r->plug->n_entry; i++) {
        const struct plug_entry *p = r->plug->entry[i];
        if (p->has_note && (p->note.raw.families & family_bit[f]) &&
            strcmp(p->note.raw.id, PLUG_REF_ID))
            return true;
    }
    return false;
}

static int ask_offer(const struct dev *d, enum family f, const union desc *q, bnp_offer *offer)
{
    *offer = (bnp_offer){ .struct_size = sizeof *offer };
    switch (f) {
    case LINEAR:
        return d->linear->query(d->d, &q->linear, offer);
    case ATTN:
        return d->attn->query(d->d, &q->attn, offer);
    default:
        return d->point->query(d->d, &q->point, offer);
    }
}

/* Fills c->why when the configuration or the device's nature rules it out. */
static bool may_serve(const struct route *r, enum family f, struct candidate *c)
{
    const struct dev *d = c->dev;
    const char *pin = r->pin[f];
    if (d->disabled)
        snprintf(c->why, sizeof c->why, "disabled after an error");
    else if (r->opts.exclude && !strcmp(id_of(d), r->opts.exclude))
        snprintf(c->why, sizeof c->why, "excluded: it failed the parity test");
    else if (!offers_family(d, f))
        snprintf(c->why, sizeof c->why, "does not offer the %s family", family_name[f]);
    else if (pin && strcmp(id_of(d), pin))
        snprintf(c->why, sizeof c->why, "not the pinned plugin %s", pin);
    else if (!pin && r->opts.strict && is_ref(d) && others_installed(r, f))
        snprintf(c->why, sizeof c->why, "strict mode: the reference is no fallback unless pinned");
    else if (!(d->info.flags & BNP_DEV_HOST_MEM))
        snprintf(c->why, sizeof c->why,
                 "private memory: crossing between devices is not built into this version");
    else
        return true;
    return false;
}

static bool is_fit(const struct route *r, enum family f, const union desc *q, struct candidate *c)
{
    char said[256];
    if (!may_serve(r, f, c))
        return false;
    const int status = ask_offer(c->dev, f, q, &c->offer);
    if (status)
        snprintf(c->why, sizeof c->why, "%.190s", plug_reported(c->dev->plugin, status, said));
    else if (c->offer.det < BNP_DET_EXACT || c->offer.det > r->opts.min_det)
        snprintf(c->why, sizeof c->why, "offers %s, the floor is %s", plug_det_name(c->offer.det),
                 plug_det_name(r->opts.min_det));
    return !c->why[0];
}

/* Microseconds of one call with n rows on the real shape. A large weight is
 * measured on its first rows and counted up: its rows cost alike. */
static int measure(const struct candidate *c, enum family f, const union desc *q, uint32_t n,
                   double *us, struct err *e)
{
    struct probe p = { .seed = 1, .fill = PROBE_RANDOM, .n_tok = n, .reps = MAX_REPS };
    struct buf out = { 0 };
    union desc d = *q;
    double factor = 1;
    int rc;
    if (f == LINEAR) {
        const uint32_t cut = MAX_WEIGHTS / d.linear.cols > 64 ? MAX_WEIGHTS / d.linear.cols : 64;
        d.linear.name = "stopwatch";
        if (d.linear.rows > cut) {
            factor = (double)d.linear.rows / cut;
            d.linear.rows = cut;
        }
        rc = probe_linear(c->dev, &d.linear, NULL, &p, &out, e);
    } else if (f == ATTN) {
        rc = probe_attn(c->dev, &d.attn, d.attn.max_kv < MAX_KV ? d.attn.max_kv : MAX_KV, &p, &out,
                        e);
    } else {
        rc = probe_point(c->dev, &d.point, &p, &out, e);
    }
    buf_free(&out);
    *us = p.us * factor;
    return rc;
}

static uint32_t many_rows(enum family f, const union desc *q)
{
    const uint32_t max = f == LINEAR ? q->linear.max_tok : f == ATTN ? q->attn.max_tok
                                                                    : q->point.max_tok;
    return max < MANY_ROWS ? max : MANY_ROWS;
}

/* Time per row, decoding and reading a prompt counted alike. */
static double cost(const struct candidate *c, uint32_t many)
{
    const double us = c->us_one + c->us_many / many;
    return is_ref(c->dev) ? us / REF_MARGIN : us;
}

static void measure_all(enum family f, const union desc *q, struct candidate *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct err e = { 0 };
        if (c[i].fit && (measure(&c[i], f, q, 1, &c[i].us_one, &e) ||
                         measure(&c[i], f, q, many_rows(f, q), &c[i].us_many, &e))) {
            c[i].fit = false;
            snprintf(c[i].why, sizeof c[i].why, "could not be measured: %.170s", e.text);
        }
    }
}

static unsigned count_fit(const struct candidate *c, unsigned n)
{
    unsigned fit = 0;
    for (unsigned i = 0; i < n; i++)
        fit += c[i].fit;
    return fit;
}

static struct candidate *cheapest(struct candidate *c, unsigned n, uint32_t many)
{
    struct candidate *best = NULL;
    for (unsigned i = 0; i < n; i++)
        if (c[i].fit && (!best || cost(&c[i], many) < cost(best, many)))
            best = &c[i];
    return best;
}

static void add_us(struct buf *b, double us)
{
    if (us < 1000)
        buf_addf(b, "%.0f us", us);
    else
        buf_addf(b, "%.*f ms", us < 10000 ? 1 : 0, us / 1000);
}

/* "org.x  1 row 412 us, 8 rows 1.2 ms  | org.y: 11 ms, 88 ms (slower)" */
static const char *explain_choice(struct route *r, enum family f, const struct candidate *c,
                                  unsigned n, const struct candidate *won, uint32_t many,
                                  bool measured)
{
    char name[80];
    struct buf b = { 0 };
    buf_addf(&b, "%s", dev_name(won->dev, name));
    if (measured) {
        buf_addf(&b, "  1 row ");
        add_us(&b, won->us_one);
        buf_addf(&b, ", %u rows ", many);
        add_us(&b, won->us_many);
    } else {
        buf_addf(&b, "  %s", r->pin[f] ? "pinned" : "the only candidate");
    }
    for (unsigned i = 0; i < n; i++) {
        if (&c[i] == won)
            continue;
        buf_addf(&b, "  | %s: ", dev_name(c[i].dev, name));
        if (!c[i].fit) {
            buf_addf(&b, "%s", c[i].why);
            continue;
        }
        add_us(&b, c[i].us_one);
        buf_addf(&b, ", ");
        add_us(&b, c[i].us_many);
        buf_addf(&b, " (%s)", is_ref(c[i].dev) ? "not clearly faster" : "slower");
    }
    const char *kept = b.failed ? NULL : keep(r, b.p);
    buf_free(&b);
    return kept ? kept : "";
}

static void describe(enum family f, const union desc *q, struct buf *out)
{
    if (f == LINEAR)
        describe_linear(&q->linear, out);
    else if (f == ATTN)
        describe_attn(&q->attn, out);
    else
        describe_point(&q->point, out);
}

/* Says so in the error and in the table. */
static int no_candidate(struct route *r, struct question *q, const struct candidate *c, unsigned n,
                        struct err *e)
{
    char name[80];
    struct buf shape = { 0 }, b = { 0 };
    describe(q->family, &q->d, &shape);
    buf_addf(&b, "missing");
    for (unsigned i = 0; i < n; i++)
        buf_addf(&b, "; %s: %s", dev_name(c[i].dev, name), c[i].why);
    if (!n)
        buf_addf(&b, "; there is no device at all");
    if (r->pin[q->family])
        buf_addf(&b, "; pinned: %s", r->pin[q->family]);
    const char *kept = b.failed ? NULL : keep(r, b.p);
    q->why = kept ? kept : "missing";
    buf_free(&b);
    const int rc = err_set(e, ERR_PLUGIN, "no device for %s %s: %s", family_name[q->family],
                           shape.p ? shape.p : "", q->why);
    buf_free(&shape);
    return rc;
}

static int choose(struct route *r, struct question *q, struct err *e)
{
    const unsigned n = r->plug->n_dev;
    struct candidate *c = calloc(n + 1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "route: no memory for %u candidates", n);
    for (unsigned i = 0; i < n; i++) {
        c[i].dev = r->plug->dev[i];
        c[i].fit = is_fit(r, q->family, &q->d, &c[i]);
    }
    const uint32_t many = many_rows(q->family, &q->d);
    const bool measured = count_fit(c, n) > 1;
    if (measured)
        measure_all(q->family, &q->d, c, n);
    const struct candidate *won = cheapest(c, n, many);
    int rc = 0;
    if (won) {
        q->dev = won->dev;
        q->offer = won->offer;
        q->why = explain_choice(r, q->family, c, n, won, many, measured);
        won->dev->plugin->state = PLUG_ACTIVE;
    } else {
        rc = no_candidate(r, q, c, n, e);
    }
    free(c);
    return rc;
}

/* The answer that was given before, or a new one. */
static int answer(struct route *r, enum family f, const union desc *d, struct dev **dev,
                  bnp_offer *offer, struct err *e)
{
    struct question *q = r->first;
    while (q && (q->family != f || memcmp(&q->d, d, sizeof *d)))
        q = q->next;
    if (!q) {
        q = arena_alloc(&r->arena, 1, sizeof *q);
        if (!q)
            return err_set(e, ERR_NOMEM, "route: no memory for a question");
        q->family = f;
        q->d = *d;
        q->why = "nothing";
        *r->last = q;
        r->last = &q->next;
    }
    q->n_asked++;
    if (!q->dev || q->dev->disabled) {
        q->dev = NULL;
        const int rc = choose(r, q, e);
        if (rc)
            return rc;
    }
    *dev = q->dev;
    *offer = q->offer;
    return 0;
}

static int bad_desc(struct err *e, enum family f, const char *what)
{
    return err_set(e, ERR_ARG, "route: a %s description with %s 0, expected some", family_name[f],
                   what);
}

int route_linear(struct route *r, const struct bnp_weight_desc *d, struct dev **dev,
                 struct bnp_offer *offer, struct err *e)
{
    union desc q;
    if (!d->rows || !d->cols || !d->max_tok)
        return bad_desc(e, LINEAR, "rows, cols or max_tok");
    memset(&q, 0, sizeof q);
    q.linear = *d;
    q.linear.name = NULL;
    return answer(r, LINEAR, &q, dev, offer, e);
}

int route_attn(struct route *r, const struct bnp_attn_desc *d, struct dev **dev,
               struct bnp_offer *offer, struct err *e)
{
    union desc q;
    if (!d->max_kv || !d->max_tok)
        return bad_desc(e, ATTN, "max_kv or max_tok");
    memset(&q, 0, sizeof q);
    q.attn = *d;
    return answer(r, ATTN, &q, dev, offer, e);
}

int route_point(struct route *r, const struct bnp_point_desc *d, struct dev **dev,
                struct bnp_offer *offer, struct err *e)
{
    union desc q;
    if (!d->cols || !d->max_tok)
        return bad_desc(e, POINT, "cols or max_tok");
    memset(&q, 0, sizeof q);
    q.point = *d;
    return answer(r, POINT, &q, dev, offer, e);
}

void route_explain(const struct route *r, struct buf *out)
{
    for (const struct question *q = r->first; q; q = q->next) {
        struct buf shape = { 0 };
        describe(q->family, &q->d, &shape);
        buf_addf(out, "%-9s  %-32s  x%-3u  %s\n", family_name[q->family], shape.p ? shape.p : "",
                 q->n_asked, q->why);
        buf_free(&shape);
    }
}
