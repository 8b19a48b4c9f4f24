/* route_explain.c - why each loser lost, and the table of choices. */
#include <stdio.h>
#include <string.h>

#include "core/plug/route_parts.h"

/* "costs 1.3 times as much: 1.5 at 1 row, 1.1 at 8 rows" */
static const char *lost(struct route *r, const struct route_question *q,
                        const struct route_candidate *c)
{
    const struct route_candidate *won = q->chosen;
    struct buf b = { 0 };
    const double times = won->cost > 0 ? c->cost / won->cost : 1;
    if (route_is_ref(c->dev) && times < 1.5)
        buf_addf(&b, "not clearly faster, as the reference has to be: ");
    else if (times < 1)
        buf_addf(&b, "not clearly faster: ");
    else
        buf_addf(&b, "costs %.*f times as much: ", times < 10 ? 2 : 0, times);
    for (uint32_t i = 0; i < q->n_class; i++) {
        const double t = c->time[i].us / won->time[i].us;
        buf_addf(&b, "%s%.*f at %u row%s", i ? ", " : "", t < 10 ? 2 : 0, t, c->time[i].n_tok,
                 c->time[i].n_tok == 1 ? "" : "s");
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

static void add_us(struct buf *b, const struct route_time *t)
{
    if (t->guessed)
        buf_addf(b, "~");
    if (t->us < 1000)
        buf_addf(b, "%.*f us", t->us < 10 ? 1 : 0, t->us);
    else
        buf_addf(b, "%.*f ms", t->us < 10000 ? 1 : 0, t->us / 1000);
}

static void add_times(struct buf *b, const struct route_question *q,
                      const struct route_candidate *c)
{
    for (uint32_t i = 0; i < q->n_class; i++) {
        buf_addf(b, "%s%u row%s ", i ? ", " : "", c->time[i].n_tok,
                 c->time[i].n_tok == 1 ? "" : "s");
        add_us(b, &c->time[i]);
    }
}

/* "org.x  1 row 412 us, 8 rows 1.2 ms  | org.y: 1 row 11 ms, 8 rows 88 ms (costs ...)" */
static void add_choice(const struct route *r, const struct route_question *q, struct buf *b)
{
    const struct route_candidate *won = q->chosen;
    if (!won)
        buf_addf(b, "missing%s%s", r->pin[q->family] ? "; pinned: " : "",
                 r->pin[q->family] ? r->pin[q->family] : q->n ? "" : "; there is no device at all");
    else
        buf_addf(b, "%s  ", won->name);
    if (won && won->cost > 0)
        add_times(b, q, won);
    else if (won)
        buf_addf(b, "%s", r->pin[q->family] ? "pinned" : "the only candidate");
    for (unsigned i = 0; i < q->n; i++) {
        const struct route_candidate *c = &q->candidate[i];
        if (c == won)
            continue;
        buf_addf(b, "  | %s: ", c->name);
        if (c->fit)
            add_times(b, q, c);
        buf_addf(b, c->fit ? " (%s)" : "%s", c->why ? c->why : "");
    }
}

void route_explain(const struct route *r, struct buf *out)
{
    for (const struct question *q = r->first; q; q = q->next) {
        buf_addf(out, "%-9s  %-32s  x%-3u  ", route_family_name(q->q.family), q->q.shape,
                 q->q.n_asked);
        add_choice(r, &q->q, out);
        buf_addf(out, "\n");
    }
}
