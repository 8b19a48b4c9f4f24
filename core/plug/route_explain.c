/* route_explain.c - why each loser lost, and the table of choices. */
#include <stdio.h>
#include <string.h>

#include "core/plug/route_parts.h"

static void add_us(struct buf *b, double us)
{
    if (us < 1000)
        buf_addf(b, "%.*f us", us < 10 ? 1 : 0, us);
    else
        buf_addf(b, "%.*f ms", us < 10000 ? 1 : 0, us / 1000);
}

/* "costs 1.3 times as much: 1.5 at 1 row, 1.1 at 8 rows" */
static void add_times_as_much(struct buf *b, const struct route_question *q,
                              const struct route_candidate *c)
{
    const struct route_candidate *won = q->chosen;
    const double full = won->cost + won->crossing;
    const double times = full > 0 ? (c->cost + c->crossing) / full : 1;
    if (route_is_ref(c->dev) && times < 1.5)
        buf_addf(b, "not clearly faster, as the reference has to be: ");
    else if (full > 0 && times <= route_equal(c, won) && 1 / times <= route_equal(c, won))
        buf_addf(b, "as fast within %.0f %%, and %s: ", 100 * (route_equal(c, won) - 1),
                 won->before ? "the other was chosen before" : "the other comes first");
    else if (times < 1)
        buf_addf(b, "not clearly faster: ");
    else
        buf_addf(b, "costs %.*f times as much: ", times < 10 ? 2 : 0, times);
    for (uint32_t i = 0; i < q->n_class; i++) {
        const double t = c->time[i].us / won->time[i].us;
        buf_addf(b, "%s%.*f at %u row%s", i ? ", " : "", t < 10 ? 2 : 0, t, c->time[i].n_tok,
                 c->time[i].n_tok == 1 ? "" : "s");
    }
}

/* "crossings cost more than it saves: 85 us against 40 us" */
static const char *lost(struct route *r, const struct route_question *q,
                        const struct route_candidate *c)
{
    const struct route_candidate *won = q->chosen;
    const double saved = won->cost - c->cost, crossings = c->crossing - won->crossing;
    struct buf b = { 0 };
    if (saved > 0 && crossings > saved) {
        buf_addf(&b, "crossings cost more than it saves: ");
        add_us(&b, crossings);
        buf_addf(&b, " against ");
        add_us(&b, saved);
    } else {
        add_times_as_much(&b, q, c);
    }
    const char *kept = route_keep(r, b.failed ? NULL : b.p);
    buf_free(&b);
    return kept;
}

void route_say_why(struct route *r, struct route_question *q, struct route_candidate *c)
{
    for (unsigned i = 0; i < q->n; i++)
        if (!c[i].why)
            c[i].why = &c[i] == q->chosen ? "" : lost(r, q, &c[i]);
}

static void add_times(struct buf *b, const struct route_question *q,
                      const struct route_candidate *c)
{
    for (uint32_t i = 0; i < q->n_class; i++) {
        buf_addf(b, "%s%u row%s ", i ? ", " : "", c->time[i].n_tok,
                 c->time[i].n_tok == 1 ? "" : "s");
        buf_addf(b, "%s", c->time[i].guessed ? "~" : "");
        add_us(b, c->time[i].us);
        buf_addf(b, "%s", c->time[i].unsure ? "?" : "");
    }
}

static void add_crossing(struct buf *b, const struct route_candidate *c)
{
    if (!(c->crossing > 0))
        return;
    buf_addf(b, ", crossings ");
    add_us(b, c->crossing);
}

/* "org.x  1 row 412 us, 8 rows 1.2 ms  | org.y: 1 row 11 ms, 8 rows 88 ms (costs ...)" */
static void add_choice(const struct route_question *q, struct buf *b)
{
    const struct route_candidate *won = q->chosen;
    if (!won)
        buf_addf(b, "missing%s%s", q->pin ? "; pinned: " : "",
                 q->pin ? q->pin : q->n ? "" : "; there is no device at all");
    else
        buf_addf(b, "%s  ", won->name);
    if (won && won->cost > 0)
        add_times(b, q, won);
    else if (won)
        buf_addf(b, "%s", !q->pin ? "the only candidate" : q->pin == q->layers_pin
                              ? "pinned by plugins.layers" : "pinned");
    if (won)
        add_crossing(b, won);
    for (unsigned i = 0; i < q->n; i++) {
        const struct route_candidate *c = &q->candidate[i];
        if (c == won)
            continue;
        buf_addf(b, "  | %s: ", c->name);
        if (c->fit && c->cost > 0) {
            add_times(b, q, c);
            add_crossing(b, c);
            buf_addf(b, " ");
        }
        buf_addf(b, c->fit ? "(%s)" : "%s", c->why ? c->why : "");
    }
}

/* Nothing to say where only the host's memory could be home. */
static void add_homes(const struct group *g, struct buf *out)
{
    bool first = true;
    if (!g->n_home || (g->n_home == 1 && !g->homes[0].dev))
        return;
    char of[160] = "all layers without a pin";
    if (g->pin)
        snprintf(of, sizeof of, "layers of %s", g->pin);
    buf_addf(out, "%-9s  %-32s  ", "home", of);
    for (unsigned pass = 0; pass < 2; pass++)             /* the chosen one, the others */
        for (unsigned i = 0; i < g->n_home; i++) {
            const struct route_home *h = &g->homes[i];
            if (h->chosen == (pass != 0))
                continue;
            buf_addf(out, "%s%s", first ? "" : "  | ", h->name);
            first = false;
            if (h->cost > 0) {
                buf_addf(out, ": ");
                add_us(out, h->cost);
            }
        }
    buf_addf(out, "\n");
}

void route_explain(const struct route *r, struct buf *out)
{
    for (const struct group *g = &r->general; g; g = g->next)
        add_homes(g, out);
    for (const struct question *q = r->first; q; q = q->next) {
        buf_addf(out, "%-9s  %-32s  x%-3u  ", route_family_name(q->q.family), q->q.shape,
                 q->q.n_asked);
        add_choice(&q->q, out);
        buf_addf(out, "\n");
    }
}
