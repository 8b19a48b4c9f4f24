/* engine_thread.c - the loop: take, sweep, admit, submit; the same again while
 * the step is under way; finish.
 *
 *   take     requests out of the inbox, among the waiting
 *   sweep    ends those that were cancelled, are past their deadline, or have
 *            waited too long
 *   unpark   those whose readers have caught up
 *   admit    waiting ones into free places: they join the next step
 *   submit   the next rows of all that run, handed to the devices
 *   finish   waits for them, draws tokens (engine_draw.c), wakes clients; parks
 *            whom nobody reads
 *
 * A device that computes by itself gives the middle of the loop for nothing; on
 * one that has computed when submit returns it costs a look at the inbox. A
 * sequence whose rows are under way stays until finish. Clients are woken as
 * soon as a token is drawn: behind the next submit some would wait for a whole
 * step. Nothing here allocates, except in recover: a request's memory came with
 * it. */
#include <pthread.h>

#include "core/base/clock.h"
#include "core/engine/engine_parts.h"
#include "core/plug/workers.h"

/* What engine_stats tells. */
static void show(struct engine *g)
{
    const struct sched *c = &g->sched;
    atomic_store(&g->n_running, c->running.n);
    atomic_store(&g->n_parked, c->parked.n);
    atomic_store(&g->kv_page_free, c->kv->n_free);
    atomic_store(&g->kv_page_idle, c->kv->n_idle);
    atomic_store(&g->n_preempt, c->n_preempt);
    atomic_store(&g->n_query, c->n_query);
    atomic_store(&g->n_hit, c->n_hit);
    atomic_store(&g->n_evict, c->prefix->n_evict);
}

/* The end of a request. Last its done, then one wake, then `held` falls and
 * its owner may free it. */
void engine_end(struct engine *g, struct seq *s, enum finish why)
{
    struct request *r = s->req;
    uint64_t now = clock_us();
    uint64_t admit = s->admit_us ? s->admit_us : now, first = s->first_us ? s->first_us : now;
    r->n_new = s->n_id - s->n_prompt;
    r->n_cached = s->n_cached;
    r->queue_us = admit - s->submit_us;
    r->prefill_us = first - admit;
    r->decode_us = now - first;
    hist_add(&g->hists.whole, now - s->submit_us);
    r->seq = NULL;
    sched_remove(&g->sched, s);
    seq_close(s, &g->forward->kv);
    show(g);
    atomic_fetch_add(&g->n_done, 1);
    atomic_fetch_add(&g->n_finish[why], 1);
    if (why == FINISH_ERROR)
        atomic_fetch_add(&g->n_error, 1);
    atomic_fetch_sub(&g->n_inflight, 1);
    atomic_store_explicit(&r->done, (int)why, memory_order_release);
    if (r->wake)
        r->wake(r->wake_ctx);
    atomic_store_explicit(&r->held, false, memory_order_release);
}

void engine_fail(struct engine *g, struct seq *s, const struct err *e)
{
    s->req->err = *e;
    engine_end(g, s, FINISH_ERROR);
}

/* ------------------------------------------------------------------ a step */

static int submit_batch(struct engine *g, struct err *e)
{
    return forward_submit(g->forward, &g->batch, e);
}

static int finish_batch(struct engine *g, struct err *e)
{
    const struct head_count *c = &g->forward->head;
    const struct forward_cross *x = &g->forward->cross;
    const int rc = forward_finish(g->forward, e);
    atomic_store(&g->n_cross, x->n_in + x->n_out);
    atomic_store(&g->cross_size, x->in_size + x->out_size);
    atomic_store(&g->n_cross_wait, x->n_wait);
    atomic_store(&g->n_full, c->n_full);
    atomic_store(&g->n_top, c->n_top);
    atomic_store(&g->n_exact, c->n_exact);
    return rc;
}

/* Nobody is to blame, or nobody can be served any more. True: rc was one of
 * these, and is dealt with. */
static bool hardware(struct engine *g, int rc, const struct err *e)
{
    if (rc == ERR_DEVICE) {
        atomic_store(&g->beat_us, 0);   /* preparing weights takes its time */
        engine_recover(g, e);
        atomic_store(&g->beat_us, clock_us());
    } else if (rc == ERR_STRICT) {
        engine_lose(g, e);
    }
    return rc == ERR_DEVICE || rc == ERR_STRICT;
}

/* The step failed, and one sequence is to blame: each runs again alone, which
 * gives the others the bits that they would have had anyway. */
static void find_guilty(struct engine *g)
{
    for (struct seq *s = g->sched.running.head, *next; s; s = next) {
        struct err e = { 0 };
        next = s->next;
        if (!s->n_row)
            continue;
        batch_clear(&g->batch);
        sched_fill_one(s, &g->batch);
        engine_want(g, s);
        int rc = submit_batch(g, &e);
        if (!rc)
            rc = finish_batch(g, &e);
        if (hardware(g, rc, &e))
            return;                     /* the next step has them all again */
        if (!rc)
            engine_advance(g, s);
        else
            engine_fail(g, s, &e);
    }
}

/* The rows of the step are computed, or rc says why not. */
static void settle(struct engine *g, int rc, const struct err *e)
{
    if (hardware(g, rc, e))
        return;
    if (rc && g->batch.step.n_seq > 1) {
        find_guilty(g);
        return;
    }
    for (struct seq *s = g->sched.running.head, *next; s; s = next) {
        next = s->next;
        if (s->n_row && rc)
            engine_fail(g, s, e);
        else if (s->n_row)
            engine_advance(g, s);
    }
}

/* True: a step is under way. */
static bool step_submit(struct engine *g)
{
    struct err e = { 0 };
    batch_clear(&g->batch);
    engine_guess(g);
    g->sched.can_copy = forward_can_copy(g->forward);
    const uint32_t n_row = sched_fill(&g->sched, &g->batch);
    show(g);                            /* it may have preempted */
    if (!n_row)
        return false;
    atomic_fetch_add(&g->n_row, n_row);
    for (struct seq *s = g->sched.running.head; s; s = s->next)
        engine_want(g, s);
    atomic_fetch_add(&g->n_step, 1);
    atomic_store(&g->step_row, g->batch.step.n_tok);
    atomic_store(&g->step_seq, g->batch.step.n_seq);
    hist_add(&g->hists.step_row, g->batch.step.n_tok);
    hist_add(&g->hists.step_seq, g->batch.step.n_seq);
    g->step_us = clock_us();
    const int rc = submit_batch(g, &e);
    if (rc)
        settle(g, rc, &e);
    return !rc;
}

static void step_finish(struct engine *g)
{
    struct err e = { 0 };
    const int rc = finish_batch(g, &e);
    hist_add(&g->hists.step, clock_us() - g->step_us);
    settle(g, rc, &e);
}

/* ---------------------------------------------------------- between steps */

static void take(struct engine *g, int wait_ms)
{
    for (struct mpsc_node *n = mpsc_take(&g->inbox, wait_ms), *next; n; n = next) {
        next = n->next;
        sched_add(&g->sched, ((struct request *)(void *)n)->seq);
    }
}

/* FINISH_NONE: there is time. One that was sent back to wait was admitted. */
static enum finish expired(const struct seq *s, uint64_t now)
{
    const struct request *r = s->req;
    if (r->deadline_us && now >= r->deadline_us)
        return FINISH_DEADLINE;
    return r->admit_by_us && !s->admit_us && now >= r->admit_by_us ? FINISH_QUEUE : FINISH_NONE;
}

static void sweep_list(struct engine *g, struct seq_list *l, bool all)
{
    const uint64_t now = clock_us();
    for (struct seq *s = l->head, *next; s; s = next) {
        const enum finish late = expired(s, now);
        next = s->next;
        if (g->lost)
            engine_fail(g, s, &g->fault);      /* only this thread writes it, once */
        else if (all || atomic_load_explicit(&s->req->cancel, memory_order_relaxed))
            engine_end(g, s, FINISH_CANCELLED);
        else if (late)
            engine_end(g, s, late);
    }
}

static void admit(struct engine *g)
{
    for (struct seq *s; (s = sched_admit(&g->sched));) {
        if (s->admit_us)
            continue;
        s->admit_us = clock_us();
        hist_add(&g->hists.queue, s->admit_us - s->submit_us);
    }
    show(g);
}

/* Those whose readers have caught up. Their flag falls first: what a reader
 * takes from now on wakes nobody. */
static void unpark(struct engine *g)
{
    for (struct seq *s = g->sched.parked.head, *next; s; s = next) {
        const struct ring *q = &s->req->out;
        next = s->next;
        if (ring_space(q) <= q->mask / 2)
            continue;
        atomic_store(&s->req->parked, 0);
        sched_unpark(&g->sched, s);
    }
}

static bool idle(const struct engine *g)
{
    return !g->sched.running.n && !g->sched.waiting.n && !g->sched.parked.n;
}

/* How long there is nothing to do, unless somebody calls: until the first end
 * of patience among the parked. 0: there is something, -1: for ever. */
static int patience_ms(const struct engine *g, uint64_t until)
{
    if (g->sched.running.n || g->sched.waiting.n || (until && idle(g)))
        return 0;
    uint64_t first = until ? until : UINT64_MAX;
    for (const struct seq *s = g->sched.parked.head; s; s = s->next)
        if (s->req->deadline_us && s->req->deadline_us < first)
            first = s->req->deadline_us;
    if (first == UINT64_MAX)
        return -1;
    const uint64_t now = clock_us(), ms = first > now ? (first - now) / 1000 + 1 : 0;
    return ms < 60000 ? (int)ms : 60000;
}

void *engine_thread(void *engine)
{
    struct engine *g = engine;
    pthread_setname_np(pthread_self(), "bitnet-engine");
    workers_bind_caller(g->forward->plug->workers);
    workers_float_env();
    for (;;) {
        /* Once `until` is nonzero nothing is pushed any more: what take finds
         * after reading it is all there will ever be. */
        uint64_t until = atomic_load(&g->drain_until_us);
        unpark(g);
        show(g);
        const int wait_ms = patience_ms(g, until);
        atomic_store(&g->beat_us, wait_ms ? 0 : clock_us());
        take(g, wait_ms);
        if (wait_ms)
            atomic_store(&g->beat_us, clock_us());
        if (until && idle(g))
            return NULL;
        bool late = until && clock_us() >= until;
        sweep_list(g, &g->sched.running, late);
        sweep_list(g, &g->sched.parked, late);
        sweep_list(g, &g->sched.waiting, late);
        admit(g);
        if (!step_submit(g))
            continue;
        take(g, 0);
        sweep_list(g, &g->sched.parked, late);
        sweep_list(g, &g->sched.waiting, late);
        unpark(g);
        admit(g);
        step_finish(g);
    }
}
