/* route_ask.c - asking every device, dropping those that may not or will not. */
#include <stdio.h>
#include <string.h>

#include "core/plug/route_parts.h"

static const uint32_t family_bit[ROUTE_N_FAMILY] = { BNP_FAM_LINEAR, BNP_FAM_ATTN, BNP_FAM_POINT };

/* The id, with the device's number and name where a plugin has several. */
static void name_dev(const struct dev *d, char *out, size_t n)
{
    const char *id = d->plugin->note.raw.id;
    if (d->plugin->n_dev > 1)
        snprintf(out, n, "%s#%u (%.64s)", id, d->index, d->info.name);
    else
        snprintf(out, n, "%s", id);
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

/* Why the configuration rules it out; false: it does not. */
static bool may_not(const struct route *r, const struct route_question *q, const struct dev *d,
                    char why[256])
{
    if (d->disabled)
        snprintf(why, 256, "disabled after an error");
    else if (r->opts.exclude && !strcmp(d->plugin->note.raw.id, r->opts.exclude))
        snprintf(why, 256, "excluded: it failed the parity test");
    else if (!offers_family(d, q->family))
        snprintf(why, 256, "does not offer the %s family", route_family_name(q->family));
    else if (q->pin && !route_pin_is(d, q->pin))
        snprintf(why, 256, "not the pinned plugin %s", q->pin);
    else if (!q->pin && r->opts.strict && route_is_ref(d) && others_installed(r, q->family))
        snprintf(why, 256, "strict mode: the reference is no fallback unless pinned");
    else
        return false;
    return true;
}

static void ask_one(struct route *r, const struct route_question *q, struct route_candidate *c)
{
    char said[256], why[256] = "";
    if (!may_not(r, q, c->dev, why)) {
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

int route_ask(struct route *r, struct question *q, struct err *e)
{
    const unsigned n = r->plug->n_dev;
    struct route_candidate *c = arena_alloc(&r->arena, n + 1, sizeof *c);
    q->q.chosen = NULL;
    q->q.candidate = q->candidate = c;
    q->q.n = c ? n : 0;
    if (!c)
        return err_set(e, ERR_NOMEM, "route: no memory for %u candidates", n);
    q->q.pin = route_pin_of(r, q);
    for (unsigned i = 0; i < n; i++) {
        c[i].dev = r->plug->dev[i];
        name_dev(c[i].dev, c[i].name, sizeof c[i].name);
        ask_one(r, &q->q, &c[i]);
    }
    return 0;
}

unsigned route_count_fit(const struct question *q)
{
    unsigned fit = 0;
    for (unsigned i = 0; i < q->q.n; i++)
        fit += q->candidate[i].fit;
    return fit;
}

/* Says so in the error; the table has it from the candidates. */
int route_no_candidate(const struct question *qn, struct err *e)
{
    const struct route_question *q = &qn->q;
    struct buf b = { 0 };
    buf_addf(&b, "missing");
    for (unsigned i = 0; i < q->n; i++)
        buf_addf(&b, "; %s: %s", q->candidate[i].name,
                 q->candidate[i].why ? q->candidate[i].why : "");
    if (!q->n)
        buf_addf(&b, "; there is no device at all");
    if (q->pin)
        buf_addf(&b, "; pinned: %s", q->pin);
    const int rc = err_set(e, ERR_PLUGIN, "no device for %s %s: %s", route_family_name(q->family),
                           q->shape, b.failed ? "missing" : b.p);
    buf_free(&b);
    return rc;
}
