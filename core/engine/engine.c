/* engine.c - the doors of the engine: open, submit, cancel, close, look.
 *
 * A request is checked, and its memory taken, in the submitter's thread; what
 * passes the inbox can be served. `closing` and the push stand under one lock,
 * so a request is either refused or seen before the thread ends. */
#include "core/engine/engine.h"

#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/engine/engine_parts.h"

_Static_assert((int)PRIORITY_HIGH == (int)SCHED_TOP, "the scheduler's levels are the priorities");

/* ------------------------------------------------------------- requests */

int request_open(struct request *r, uint32_t max_new)
{
    *r = (struct request){ .max_new = max_new, .priority = PRIORITY_NORMAL,
                             .n_draft = REQUEST_DRAFT_CONF };
    return ring_open(&r->out, !max_new ? 1 : max_new < REQUEST_AHEAD ? max_new : REQUEST_AHEAD);
}

void request_close(struct request *r)
{
    while (atomic_load_explicit(&r->held, memory_order_acquire))
        sched_yield();            /* the last wake is on its way: microseconds */
    ring_close(&r->out);
    engine_close_output(r);
}

static int check_prompt(const struct engine *g, const struct request *r, struct err *e)
{
    if (!r->n_prompt)
        return err_set(e, ERR_ARG, "prompt: no tokens, expected at least one");
    if (r->n_prompt >= g->n_ctx)
        return err_set(e, ERR_ARG, "prompt: %u tokens, the context of %u leaves room for at most "
                       "%u", r->n_prompt, g->n_ctx, g->n_ctx - 1);
    for (uint32_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || (uint32_t)r->prompt[i] >= g->n_vocab)
            return err_set(e, ERR_ARG, "prompt: token %u is %" PRId32 ", expected 0 to %u", i,
                           r->prompt[i], g->n_vocab - 1);
    return 0;
}

/* Tokens that the sequence may reach: what is asked, or the whole context. */
static uint32_t total_tokens(const struct engine *g, const struct request *r)
{
    const uint32_t room = g->n_ctx - r->n_prompt, want = r->kind == REQUEST_EMBED ? 1 : r->max_new;
    return r->n_prompt + (want < room ? want : room);
}

static int check_request(const struct engine *g, const struct request *r, struct err *e)
{
    int rc = check_prompt(g, r, e);
    if (!rc && !r->max_new)
        rc = err_set(e, ERR_ARG, "max_tokens: 0, expected at least 1");
    if (!rc && (unsigned)r->priority > PRIORITY_HIGH)
        rc = err_set(e, ERR_ARG, "priority: %d, expected %d to %d", (int)r->priority, PRIORITY_LOW,
                     PRIORITY_HIGH);
    if (!rc)
        rc = sample_check(&r->sample, e);
    if (!rc)
        rc = sample_check_ids(&r->sample, g->n_vocab, e);
    if (!rc)
        rc = engine_check_output(r, e);
    return rc;
}

/* Under lock. */
static int check_open(struct engine *g, struct err *e)
{
    if (g->closing)
        return err_set(e, ERR_LIMIT, "engine: shutting down, takes no more requests");
    if (g->fault.code)
        return err_set(e, ERR_DEVICE, "engine: out of service: %.400s", g->fault.text);
    if (atomic_load(&g->n_inflight) >= g->conf.max_seq + g->conf.max_queue)
        return err_set(e, ERR_LIMIT, "queue: full, %u requests are running or waiting: try again "
                       "later", g->conf.max_seq + g->conf.max_queue);
    return 0;
}

/* Of a request that is refused: it holds no pages yet. */
static void drop_seq(struct engine *g, struct request *r)
{
    seq_close(r->seq, &g->forward->kv);
    r->seq = NULL;
}

int engine_submit(struct engine *g, struct request *r, struct err *e)
{
    int rc = check_request(g, r, e);
    if (!rc)
        rc = seq_open(&r->seq, &g->forward->kv, r->prompt, r->n_prompt, total_tokens(g, r), e);
    if (rc)
        return rc;
    if ((rc = engine_open_output(g, r, e))) {
        drop_seq(g, r);
        return rc;
    }
    r->seq->req = r;
    r->seq->max_draft = r->n_draft == REQUEST_DRAFT_CONF ? g->conf.n_draft : r->n_draft;
    r->seq->priority = (int)r->priority;
    r->seq->no_cache = r->no_cache || r->seq->want_prompt || r->seq->sum;
    r->seq->submit_us = clock_us();
    pthread_mutex_lock(&g->lock);
    rc = check_open(g, e);
    if (!rc) {
        atomic_fetch_add(&g->n_inflight, 1);
        atomic_store(&r->held, true);
        mpsc_push(&g->inbox, &r->node);
    }
    pthread_mutex_unlock(&g->lock);
    if (rc)
        drop_seq(g, r);
    return rc;
}

void engine_cancel(struct engine *g, struct request *r)
{
    atomic_store(&r->cancel, true);
    mpsc_poke(&g->inbox);
}

void engine_taken(struct engine *g, struct request *r)
{
    if (atomic_fetch_or(&r->parked, 0))
        mpsc_poke(&g->inbox);
}

/* --------------------------------------------------------- open and close */

static int check_conf(const struct engine_conf *c, const struct bnp_limits *l, struct err *e)
{
    if (!c->max_seq || c->max_seq > l->max_seq || c->max_seq > l->max_out)
        return err_set(e, ERR_ARG, "engine.max_seq: %u, expected 1 to %u", c->max_seq,
                       l->max_seq < l->max_out ? l->max_seq : l->max_out);
    if (c->row_budget < c->max_seq || c->row_budget > l->max_tok)
        return err_set(e, ERR_ARG, "engine.row_budget: %u, expected %u (engine.max_seq) to %u",
                       c->row_budget, c->max_seq, l->max_tok);
    if (!c->prefill_chunk)
        return err_set(e, ERR_ARG, "engine.prefill_chunk: 0, expected at least 1");
    if (c->n_draft > REQUEST_MAX_DRAFT)
        return err_set(e, ERR_ARG, "engine.draft: %u, expected at most %d", c->n_draft,
                       REQUEST_MAX_DRAFT);
    if (c->max_queue > UINT32_MAX - c->max_seq)
        return err_set(e, ERR_ARG, "engine.max_queue: %u, expected at most %u", c->max_queue,
                       UINT32_MAX - c->max_seq);
    return 0;
}

/* The longest sequence that the pages, and a row of the step's page table,
 * can hold, so that whatever is submitted can be admitted some day. */
static uint32_t longest(const struct forward *f)
{
    uint64_t tok = (uint64_t)f->kv.n_page * f->kv.page_tok;
    uint64_t row = (uint64_t)f->limits.max_pages * f->kv.page_tok;
    uint64_t n = f->conf.n_ctx;
    n = n < tok ? n : tok;
    return (uint32_t)(n < row ? n : row);
}

static int start_thread(struct engine *g, struct err *e)
{
    sigset_t all, old;            /* signals are for the main thread */
    sigfillset(&all);
    sigdelset(&all, SIGBUS);      /* a model file that shrank: main's handler says so */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int no = pthread_create(&g->thread, NULL, engine_thread, g);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return no ? err_set(e, ERR_IO, "engine: cannot start its thread (error %d)", no) : 0;
}

static void engine_free(struct engine *g)
{
    prefix_close(&g->prefix);
    batch_close(&g->batch);
    sampler_close(g->sampler);
    mpsc_close(&g->inbox);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static int open_prefix(struct engine *g, struct err *e)
{
    struct kv *kv = &g->forward->kv;
    const uint64_t page = forward_page_size(g->forward), most = g->conf.prefix_cache_size / page;
    prefix_none(&g->prefix, kv);
    if (!g->conf.prefix_cache)
        return 0;
    return prefix_open(&g->prefix, kv, g->conf.prefix_cache_size && most < kv->n_page
                       ? (uint32_t)most : kv->n_page, e);
}

int engine_open(struct engine **out, struct forward *f, const struct engine_conf *conf,
                struct err *e)
{
    *out = NULL;
    int rc = check_conf(conf, &f->limits, e);
    if (rc)
        return rc;
    struct engine *g = calloc(1, sizeof *g);
    if (!g || mpsc_open(&g->inbox)) {
        free(g);
        return err_set(e, ERR_NOMEM, "engine: no memory");
    }
    pthread_mutex_init(&g->lock, NULL);    /* cannot fail without attributes */
    g->forward = f;
    g->conf = *conf;
    g->n_ctx = longest(f);
    g->n_disabled = engine_disabled(g);
    g->hists.step_row.kind = g->hists.step_seq.kind = HIST_COUNT;
    uint32_t rows = f->model->hp.n_vocab, known = vocab_n(f->model->vocab);
    g->n_vocab = rows < known ? rows : known;   /* rows that pad a table are no tokens */
    sched_open(&g->sched, &f->kv, &g->prefix, conf->max_seq, conf->row_budget,
               conf->prefill_chunk);
    atomic_store(&g->kv_page_free, f->kv.n_free);
    rc = open_prefix(g, e);
    if (!rc)
        rc = batch_open(&g->batch, &f->limits, e);
    if (!rc)
        rc = sampler_open(&g->sampler, g->n_vocab, e);
    if (!rc)
        rc = start_thread(g, e);
    if (rc) {
        engine_free(g);
        return rc;
    }
    *out = g;
    return 0;
}

void engine_close(struct engine *g, uint32_t drain_ms)
{
    if (!g)
        return;
    pthread_mutex_lock(&g->lock);
    g->closing = true;
    pthread_mutex_unlock(&g->lock);
    atomic_store(&g->drain_until_us, clock_us() + (uint64_t)drain_ms * 1000);
    mpsc_poke(&g->inbox);
    pthread_join(g->thread, NULL);
    assert(atomic_load(&g->n_inflight) == 0);
    engine_free(g);
}

/* ------------------------------------------------------------------- look */

uint32_t engine_n_ctx(const struct engine *g)
{
    return g->n_ctx;
}

/* The parts were read at another moment than the whole. */
static uint32_t left(uint32_t whole, uint32_t parts)
{
    return whole > parts ? whole - parts : 0;
}

void engine_stats(struct engine *g, struct engine_stats *s)
{
    const uint32_t running = atomic_load(&g->n_running), parked = atomic_load(&g->n_parked);
    const uint32_t n_free = atomic_load(&g->kv_page_free), idle = atomic_load(&g->kv_page_idle);
    const uint32_t inflight = atomic_load(&g->n_inflight), n_page = g->forward->kv.n_page;
    *s = (struct engine_stats){
        .n_step = atomic_load(&g->n_step),
        .n_row = atomic_load(&g->n_row),
        .n_prompt_tok = atomic_load(&g->n_prompt_tok),
        .n_new_tok = atomic_load(&g->n_new_tok),
        .n_done = atomic_load(&g->n_done),
        .n_error = atomic_load(&g->n_error),
        .n_draft_all = atomic_load(&g->n_draft_all),
        .n_draft_ok = atomic_load(&g->n_draft_ok),
        .n_recover = atomic_load(&g->n_recover),
        .n_cross = atomic_load(&g->n_cross),
        .cross_size = atomic_load(&g->cross_size),
        .n_cross_wait = atomic_load(&g->n_cross_wait),
        .n_preempt = atomic_load(&g->n_preempt),
        .n_prefix_query = atomic_load(&g->n_query),
        .n_prefix_hit = atomic_load(&g->n_hit),
        .n_prefix_evict = atomic_load(&g->n_evict),
        .batch_seq = atomic_load(&g->step_seq),
        .batch_row = atomic_load(&g->step_row),
        .n_running = running,
        .n_parked = parked,
        .n_waiting = left(inflight, running + parked),
        .kv_page_used = left(n_page, n_free + idle),
        .kv_page_cached = idle,
        .kv_page_free = n_free,
        .kv_page_all = n_page,
        .head = { .n_full = atomic_load(&g->n_full), .n_top = atomic_load(&g->n_top),
                  .n_exact = atomic_load(&g->n_exact) },
    };
    for (unsigned i = 0; i < FINISH_N; i++)
        s->n_finish[i] = atomic_load(&g->n_finish[i]);
}

const struct forward *engine_forward(const struct engine *g)
{
    return g->forward;
}

const struct engine_hists *engine_hists(const struct engine *g)
{
    return &g->hists;
}

uint64_t engine_stalled_us(const struct engine *g, char where[256])
{
    char call[160];
    uint64_t beat = atomic_load(&g->beat_us);
    const uint64_t at = forward_where(g->forward, call), now = clock_us();
    if (beat && at > beat)        /* a step of many calls is no standstill */
        beat = at;
    snprintf(where, 256, "call under way: %s; step of %u rows, %u sequences", call,
             atomic_load(&g->step_row), atomic_load(&g->step_seq));
    return beat && now > beat ? now - beat : 0;
}

int engine_fault(struct engine *g, struct err *e)
{
    pthread_mutex_lock(&g->lock);
    int code = g->fault.code;
    if (code && e)
        *e = g->fault;
    pthread_mutex_unlock(&g->lock);
    return code;
}
