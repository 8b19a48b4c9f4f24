/* engine_recover.c - going on without a device.
 *
 * A request is its tokens: keys and values can be computed again from them, on
 * any device, to the same bits. So when keys and values were lost every sequence
 * goes back to its first token and reads what it has, prompt and answer, as a
 * prompt; what was drawn is not drawn again; and the prefix cache is emptied. In
 * strict mode
 * forward_recover refuses: nobody may compute whom the start did not prove.
 * Engine thread, no step under way. */
#include <stdio.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/engine/engine_parts.h"

void engine_lose(struct engine *g, const struct err *e)
{
    pthread_mutex_lock(&g->lock);
    if (!g->fault.code)
        g->fault = *e;
    pthread_mutex_unlock(&g->lock);
    g->lost = true;
}

uint32_t engine_disabled(const struct engine *g)
{
    const struct plug *p = g->forward->plug;
    uint32_t n = 0;
    for (unsigned i = 0; i < p->n_dev; i++)
        n += p->dev[i]->disabled;
    return n;
}

static void add_family(void *ctx, const struct route_question *q)
{
    struct buf *b = ctx;
    char one[224];
    if (!q->chosen)
        return;
    snprintf(one, sizeof one, "%s on %s", route_family_name(q->family), q->chosen->name);
    if (!b->p || !strstr(b->p, one))
        buf_addf(b, "%s%s", b->n ? ", " : "", one);
}

static void say(struct engine *g, const struct err *e, bool kv_lost)
{
    struct buf b = { 0 };
    route_each(g->forward->route, add_family, &b);
    log_warn("%s; the device is lost, its work goes on with the same bits: %s%s", e->text,
             b.p && !b.failed ? b.p : "", kv_lost ? "; keys and values are computed again" : "");
    buf_free(&b);
}

/* An error that disabled nobody would come again for ever. */
void engine_recover(struct engine *g, const struct err *e)
{
    struct err more = { 0 };
    bool kv_lost = false;
    if (engine_disabled(g) == g->n_disabled) {
        engine_lose(g, e);
        return;
    }
    const int rc = forward_recover(g->forward, &kv_lost, &more);
    g->n_disabled = engine_disabled(g);
    if (rc) {
        struct err both;
        err_set(&both, rc, "%.250s; nobody can take over: %.220s", e->text, more.text);
        engine_lose(g, &both);
        return;
    }
    atomic_fetch_add(&g->n_recover, 1);
    if (kv_lost)
        sched_lose_kv(&g->sched);
    say(g, e, kv_lost);
}
