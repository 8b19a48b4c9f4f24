/* route_cross.c - what it costs that data lies elsewhere.
 *
 * Between two places everything goes over the host: out of the one, waiting for
 * it, and into the other. A device's copies are measured once, at two sizes,
 * which gives what a copy costs as such and what each byte adds.
 *
 * Each weight is charged for the rows it reads, although those that share an
 * input (q, k and v; gate and up) would bring it over once: which of them end up
 * on one device is not known while each is being priced. */
#include <string.h>

#include "core/plug/probe.h"
#include "core/plug/route_parts.h"

/* ----------------------------------------------------------------- measuring */

/* As the file of timings has it: a step without work, few bytes, many. */
enum { WAIT, SMALL, LARGE, N_TIME };

static bool is_whole(const struct timings_value *v)
{
    return v->us[WAIT] > 0 && v->us[SMALL] > 0 && v->us[LARGE] > 0;
}

static int measure(struct route *r, struct dev *d, struct timings_value v[2], struct err *e)
{
    static const char name[2][4] = { "in", "out" };
    uint8_t key[2][TIMINGS_KEY];
    bool keeps = r->timings != NULL, kept = keeps && !r->opts.measure_anew;
    for (unsigned i = 0; i < 2 && keeps; i++) {
        keeps = route_key(r, d, ROUTE_N_FAMILY, name[i], sizeof name[i], key[i]);
        kept = kept && keeps && timings_find(r->timings, key[i], &v[i]) && is_whole(&v[i]);
    }
    if (kept)
        return 0;
    struct probe_copies t;
    const int rc = probe_copies(d, &t, e);
    for (unsigned i = 0; i < 2 && !rc; i++) {
        const double *us = i ? t.out_us : t.in_us;
        v[i] = (struct timings_value){ .us = { [WAIT] = (float)t.wait_us, [SMALL] = (float)us[0],
                                               [LARGE] = (float)us[1] } };
        if (keeps)
            timings_put(r->timings, key[i], &v[i]);
    }
    return rc;
}

/* A straight line through the two sizes. */
static void settle(const struct timings_value *v, double *us, double *byte_us)
{
    const double small = (double)v->us[SMALL] - (double)v->us[WAIT];
    const double more = (double)v->us[LARGE] - (double)v->us[SMALL];
    *byte_us = more > 0 ? more / (PROBE_COPY_LARGE - PROBE_COPY_SMALL) : 0;
    *us = small - *byte_us * PROBE_COPY_SMALL;
    *us = *us > 0 ? *us : 0;
}

static const struct crossing *find(const struct route *r, const struct dev *d)
{
    const struct crossing *x = r->crossing;
    while (x && x->dev != d)
        x = x->next;
    return x;
}

const struct crossing *route_cross(struct route *r, struct dev *d)
{
    struct timings_value v[2];
    struct err e = { 0 };
    const struct crossing *known = find(r, d);
    struct crossing *x = known ? NULL : arena_alloc(&r->arena, 1, sizeof *x);
    if (!x)
        return known;
    x->dev = d;
    if (measure(r, d, v, &e)) {
        x->why = route_keep(r, e.text);
    } else {
        settle(&v[0], &x->in_us, &x->in_byte_us);
        settle(&v[1], &x->out_us, &x->out_byte_us);
        x->wait_us = (double)v[0].us[WAIT];
    }
    x->next = r->crossing;
    return r->crossing = x;
}

/* ------------------------------------------------------------------- the price */

/* Microseconds of n areas with that many bytes in all, from one place to
 * another. */
static double move(const struct route *r, const struct dev *from, const struct dev *to,
                   uint32_t n, double size)
{
    if (from == to || !n)
        return 0;
    const struct crossing *out = from ? find(r, from) : NULL, *in = to ? find(r, to) : NULL;
    return (out ? out->wait_us + n * out->out_us + size * out->out_byte_us : 0) +
           (in ? n * in->in_us + size * in->in_byte_us : 0);
}

/* The output of one and the down matrix of the other half of a layer are added
 * to the residual stream, which so goes along. A head's logits are for the host;
 * one row's largest only, where the device can find them (as in probe.h). */
static double price_linear(const struct route *r, const bnp_weight_desc *d, const struct dev *dev,
                           const struct dev *home, uint32_t n_tok)
{
    const struct dev *at = route_place(dev);
    const double cols = 4.0 * n_tok * d->cols, rows = 4.0 * n_tok * d->rows;
    const bool adds = d->role == BNP_ROLE_O || d->role == BNP_ROLE_DOWN;
    const bool top = (d->flags & BNP_W_TOPK) && n_tok == 1 && dev->linear && dev->linear->topk;
    double us = 0;
    if (d->flags & (BNP_W_MUL | BNP_W_TOPK))
        us += move(r, home, at, adds ? 2 : 1, adds ? cols + rows : cols);
    if (top)
        us += move(r, at, NULL, 2, 2 * 4.0 * PROBE_TOPK);
    else if (d->flags & BNP_W_MUL)
        us += move(r, at, d->flags & BNP_W_TOPK ? NULL : home, 1, rows);
    if (d->flags & BNP_W_GATHER)
        us += move(r, at, home, 1, cols);
    return us;
}

static double price_attn(const struct route *r, const bnp_attn_desc *d, const struct dev *dev,
                         const struct dev *home, uint32_t n_tok)
{
    const struct dev *at = route_place(dev);
    const double head = 4.0 * n_tok * d->head_dim;
    return move(r, home, at, 3, head * (d->n_head + 2.0 * d->n_head_kv)) +
           move(r, at, home, 1, head * d->n_head);
}

double route_cross_price(const struct route *r, const struct route_question *q,
                         const struct route_candidate *c, const struct dev *home)
{
    uint32_t n_tok[ROUTE_N_CLASS];
    double us[ROUTE_N_CLASS];
    const uint32_t n = route_classes(q->family, &q->d, n_tok);
    for (uint32_t i = 0; i < n; i++)
        us[i] = q->family == ROUTE_LINEAR ? price_linear(r, &q->d.linear, c->dev, home, n_tok[i])
              : q->family == ROUTE_ATTN ? price_attn(r, &q->d.attn, c->dev, home, n_tok[i]) : 0;
    return route_cost(n, us);
}
