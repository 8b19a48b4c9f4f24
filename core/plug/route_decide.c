/* route_decide.c - where home is, and who does what from there.
 *
 * All questions of one group (layers with the same pin) are asked, then timed
 * where there is a choice. For every place that could be home the least costs
 * with crossings are added up, and the home with the least sum is taken; from
 * there each question's least is its answer. What was decided before stays, and
 * counts in the sums. */
#include <stdio.h>
#include <string.h>

#include "core/plug/route_parts.h"

static bool is_open(const struct question *q, const struct question *only)
{
    return (!q->dev || q->dev->disabled) && (!only || q == only);
}

/* The first question from q on that is this group's and is decided, or to be. */
static struct question *next_of(const struct group *g, struct question *q,
                                const struct question *only)
{
    while (q && (q->group != g || !(is_open(q, only) || (q->dev && !q->dev->disabled))))
        q = q->next;
    return q;
}

#define EACH(q, r, g, only) \
    struct question *q = next_of(g, (r)->first, only); q; q = next_of(g, q->next, only)

/* ------------------------------------------------------------------ candidates */

static int ask_all(struct route *r, const struct group *g, const struct question *only,
                   struct err *e)
{
    for (EACH(q, r, g, only)) {
        if (!is_open(q, only))
            continue;
        q->lost = q->lost || q->dev;
        q->dev = NULL;
        int rc = route_ask(r, q, e);
        if (!rc && (route_count_fit(q) > 1 || r->opts.measure_all))
            rc = route_measure(r, &q->q, q->candidate, e);
        if (rc)
            return rc;
    }
    return 0;
}

/* Where nobody has a choice, no copy needs to be timed. */
static bool has_choice(struct route *r, const struct group *g, const struct question *only)
{
    for (EACH(q, r, g, only))
        if (is_open(q, only) && route_count_fit(q) > 1)
            return true;
    return r->opts.measure_all;
}

static void cannot_copy(struct route *r, struct route_candidate *c, const char *why)
{
    char text[256];
    snprintf(text, sizeof text, "copies could not be measured: %.190s", why);
    c->fit = false;
    c->why = route_keep(r, text);
}

static int measure_crossings(struct route *r, const struct group *g, const struct question *only,
                             struct err *e)
{
    if (!has_choice(r, g, only))
        return 0;
    for (EACH(q, r, g, only))
        for (unsigned i = 0; i < q->q.n; i++) {
            struct route_candidate *c = &q->candidate[i];
            if (!c->fit || !route_place(c->dev))
                continue;
            const struct crossing *x = route_cross(r, c->dev);
            if (!x)
                return err_set(e, ERR_NOMEM, "route: no memory for the price of copies");
            if (x->why && is_open(q, only))
                cannot_copy(r, c, x->why);
        }
    return 0;
}

/* -------------------------------------------------------------------- the home */

/* Norms and activations are done where their rows are. */
static bool serves(const struct question *q, const struct route_candidate *c,
                   const struct dev *home)
{
    return c->fit && (!q->dev || c->dev == q->dev) &&
           (q->q.family != ROUTE_POINT || route_place(c->dev) == home);
}

static double total_of(const struct route *r, const struct question *q,
                       const struct route_candidate *c, const struct dev *home)
{
    return c->cost + route_cross_price(r, &q->q, c, home);
}

/* The least that the question costs with that home; negative: it cannot be. */
static double least(const struct route *r, const struct question *q, const struct dev *home)
{
    double best = -1;
    for (unsigned i = 0; i < q->q.n; i++) {
        if (!serves(q, &q->candidate[i], home))
            continue;
        const double us = total_of(r, q, &q->candidate[i], home);
        best = best < 0 || us < best ? us : best;
    }
    return best;
}

/* Of all uses. Questions that nobody can answer count in no home; false: the
 * pointwise family cannot be there. */
static bool sum_up(struct route *r, const struct group *g, const struct question *only,
                   struct route_home *h)
{
    bool point = false;
    h->cost = 0;
    for (EACH(q, r, g, only)) {
        const double us = least(r, q, h->dev);
        if (q->q.family == ROUTE_POINT && us < 0 && route_count_fit(q))
            return false;
        point = point || (q->q.family == ROUTE_POINT && us >= 0);
        h->cost += us > 0 ? us * q->q.n_asked : 0;
    }
    return point;
}

static void add_home(struct route *r, struct group *g, const struct question *only,
                     const struct dev *place, const char *name)
{
    struct route_home *h = &g->homes[g->n_home];
    *h = (struct route_home){ .dev = place, .layers_pin = g->pin };
    snprintf(h->name, sizeof h->name, "%s", name);
    g->n_home += sum_up(r, g, only, h);
}

/* The first of those that are as cheap as the cheapest. */
static struct route_home *cheapest_home(struct group *g)
{
    double best = g->homes[0].cost;
    unsigned i = 0;
    for (unsigned k = 1; k < g->n_home; k++)
        best = g->homes[k].cost < best ? g->homes[k].cost : best;
    while (g->homes[i].cost > best * ROUTE_EQUAL)
        i++;
    return &g->homes[i];
}

/* The question whose candidates name the places. */
static const struct question *any_point(struct route *r, const struct group *g,
                                        const struct question *only)
{
    for (EACH(q, r, g, only))
        if (q->q.family == ROUTE_POINT)
            return q;
    return NULL;
}

static int find_home(struct route *r, struct group *g, const struct question *only, struct err *e)
{
    const struct question *point = any_point(r, g, only);
    if (g->home && g->home->disabled) {
        g->settled = false;
        g->home = NULL;
    }
    if (g->settled || !point)
        return 0;
    g->n_home = 0;
    g->homes = arena_alloc(&r->arena, point->q.n + 1, sizeof *g->homes);
    if (!g->homes)
        return err_set(e, ERR_NOMEM, "route: no memory for %u places", point->q.n + 1);
    add_home(r, g, only, NULL, "host memory");
    for (unsigned i = 0; i < point->q.n; i++)
        if (route_place(point->candidate[i].dev))
            add_home(r, g, only, point->candidate[i].dev, point->candidate[i].name);
    g->settled = g->n_home > 0;
    if (g->settled) {
        struct route_home *h = cheapest_home(g);
        h->chosen = true;
        g->home = h->dev;
    }
    return 0;
}

/* ------------------------------------------------------------------- the choice */

/* Of those that are as cheap as the cheapest, what was chosen at the last start,
 * else the first. */
static const struct route_candidate *cheapest(const struct route *r, const struct question *q,
                                              const struct dev *home)
{
    const struct route_candidate *best = NULL, *first = NULL;
    for (unsigned i = 0; i < q->q.n; i++) {
        const struct route_candidate *c = &q->candidate[i];
        if (serves(q, c, home) &&
            (!best || total_of(r, q, c, home) < total_of(r, q, best, home)))
            best = c;
    }
    for (unsigned i = 0; i < q->q.n; i++) {
        const struct route_candidate *c = &q->candidate[i];
        if (serves(q, c, home) &&
            total_of(r, q, c, home) <= total_of(r, q, best, home) * route_equal(c, best) &&
            (!first || (c->before && !first->before)))
            first = c;
    }
    return first;
}

static const struct route_home *home_of(const struct group *g)
{
    unsigned i = 0;
    while (i < g->n_home && !g->homes[i].chosen)
        i++;
    return i < g->n_home ? &g->homes[i] : NULL;
}

static void not_at_home(struct route *r, const struct group *g, struct route_candidate *c)
{
    const struct route_home *at = home_of(g), *here = NULL;
    char text[256];
    for (unsigned i = 0; i < g->n_home; i++)
        if (g->homes[i].dev == route_place(c->dev))
            here = &g->homes[i];
    if (at && here && at->cost > 0)
        snprintf(text, sizeof text, "not at home, %.100s: from here a step costs %.2f times as "
                 "much", at->name, here->cost / at->cost);
    else
        snprintf(text, sizeof text, "not at home, %.100s", at ? at->name : "host memory");
    c->why = route_keep(r, text);
}

static int choose(struct route *r, struct question *q, struct err *e)
{
    const struct group *g = q->group;
    for (unsigned i = 0; i < q->q.n; i++) {
        struct route_candidate *c = &q->candidate[i];
        c->crossing = c->fit ? route_cross_price(r, &q->q, c, g->home) : 0;
        if (c->fit && !serves(q, c, g->home))
            not_at_home(r, g, c);
    }
    q->q.chosen = cheapest(r, q, g->home);
    if (!q->q.chosen)
        return route_no_candidate(q, e);
    route_say_why(r, &q->q, q->candidate);
    route_note_choice(r, &q->q);
    q->dev = q->q.chosen->dev;
    q->offer = q->q.chosen->offer;
    q->dev->plugin->state = PLUG_ACTIVE;
    return 0;
}

static int decide_group(struct route *r, struct group *g, struct question *only, struct err *e)
{
    int rc = ask_all(r, g, only, e);
    if (rc || (rc = measure_crossings(r, g, only, e)) || (rc = find_home(r, g, only, e)))
        return rc;
    for (EACH(q, r, g, only)) {
        struct err more = { 0 };
        const int rc_one = is_open(q, only) ? choose(r, q, rc ? &more : e) : 0;
        rc = rc ? rc : rc_one;
    }
    return rc;
}

/* What was wanted together is decided together, also when its device is lost and
 * one of them is asked again. */
int route_decide_open(struct route *r, struct question *only, struct err *e)
{
    int rc = 0;
    if (only && !is_open(only, only))
        return 0;
    if (only && !only->n_want)
        return decide_group(r, only->group, only, e);
    if (only) {
        struct err more = { 0 };
        rc = decide_group(r, only->group, NULL, &more);
        return !rc || only->dev ? 0 : rc == ERR_PLUGIN ? route_no_candidate(only, e)
                                                       : err_set(e, rc, "%s", more.text);
    }
    for (struct group *g = &r->general; g; g = g->next) {
        struct err more = { 0 };
        const int rc_one = decide_group(r, g, NULL, rc ? &more : e);
        rc = rc ? rc : rc_one;
    }
    return rc;
}
