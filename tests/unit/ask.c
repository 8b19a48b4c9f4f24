/* ask.c - see ask.h. */
#include "tests/unit/ask.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---------------------------------------------------------- bending forward */

int __real_forward_submit(struct forward *, const struct batch *, struct err *);
int __wrap_forward_submit(struct forward *, const struct batch *, struct err *);
int __real_forward_finish(struct forward *, struct err *);
int __wrap_forward_finish(struct forward *, struct err *);

_Atomic int bend_poison_id;
_Atomic int bend_poison_code;
_Atomic int bend_favourite;
_Atomic bool bend_nan;
_Atomic bool bend_hold;
_Atomic bool bend_held;
_Atomic bool bend_slow;
_Atomic bool bend_slowed;
_Atomic unsigned bend_n_run;
_Atomic int bend_lose_in, bend_lose_family, bend_lose_times;
_Atomic bool bend_lose_late;

void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
}

static bool poisoned(const struct bnp_step *s)
{
    for (uint32_t i = 0; i < s->n_tok; i++)
        if (s->id[i] == atomic_load(&bend_poison_id))
            return true;
    return false;
}

static uint32_t n_out;                /* of the step that was submitted last   */
static bool losing;                   /* a device, at its end                  */

static void find_device(void *ctx, const struct route_question *q)
{
    struct dev **d = ctx;
    if (q->chosen && (int)q->family == atomic_load(&bend_lose_family))
        *d = q->chosen->dev;
}

static int lose(struct forward *f, struct err *e)
{
    struct dev *d = NULL;
    losing = false;
    route_each(f->route, find_device, &d);
    d->disabled = true;
    return err_set(e, ERR_DEVICE, "%s#%u: lost on command", d->plugin->note.raw.id, d->index);
}

/* Whether this step loses a device. */
static bool its_turn(void)
{
    const int in = atomic_load(&bend_lose_in);
    if (!in)
        return false;
    if (in > 1)
        atomic_store(&bend_lose_in, in - 1);
    else if (atomic_fetch_sub(&bend_lose_times, 1) <= 1)
        atomic_store(&bend_lose_in, 0);
    return in == 1;
}

int __wrap_forward_submit(struct forward *f, const struct batch *b, struct err *e)
{
    while (atomic_load(&bend_hold)) {
        atomic_store(&bend_held, true);
        nap();
    }
    atomic_fetch_add(&bend_n_run, 1);
    if (atomic_load(&bend_poison_id) && poisoned(&b->step))
        return err_set(e, atomic_load(&bend_poison_code), "poison");
    n_out = b->step.n_out;
    losing = its_turn();
    if (losing && !atomic_load(&bend_lose_late))
        return lose(f, e);
    return __real_forward_submit(f, b, e);
}

int __wrap_forward_finish(struct forward *f, struct err *e)
{
    while (atomic_load(&bend_slow)) {
        atomic_store(&bend_slowed, true);
        nap();
    }
    int rc = __real_forward_finish(f, e);
    if (!rc && losing)
        return lose(f, e);
    for (uint32_t i = 0; !rc && i < n_out; i++) {
        const struct forward_out o = forward_out(f, i);
        float *row = (float *)(uintptr_t)(o.logits ? o.logits : o.top);
        int32_t *first = (int32_t *)(uintptr_t)o.id;
        if (atomic_load(&bend_favourite) >= 0 && first)
            *first = atomic_load(&bend_favourite);
        if (atomic_load(&bend_favourite) >= 0)
            row[first ? 0 : atomic_load(&bend_favourite)] = 1e6f;
        if (atomic_load(&bend_nan))
            row[first ? 0 : 7] = NAN;
    }
    return rc;
}

/* -------------------------------------------------------------------- a house */

struct rig rig;
uint32_t house_page_tok;
struct engine *engine;

/* A device of that plugin can serve. */
static bool has_plugin(const struct plug *p, const char *id)
{
    for (unsigned i = 0; i < p->n_dev; i++)
        if (!strcmp(p->dev[i]->plugin->note.raw.id, id) && !p->dev[i]->disabled)
            return true;
    return false;
}

bool house_open_with(const char *plugin, uint32_t n_ctx, uint32_t kv_tok)
{
    struct err e = { 0 };
    const struct rig_opts o = { .plugin = plugin, .n_threads = 1, .n_ctx = n_ctx, .max_tok = 32,
                                .max_seq = N_REQ, .max_out = 32, .page_tok = house_page_tok };
    struct forward_conf c = rig_conf(&o);
    c.kv_tok = kv_tok;
    rig = (struct rig){ .plug = rig_plug(&o) };
    if (plugin && !has_plugin(rig.plug, plugin)) {
        plug_close(rig.plug);
        return false;
    }
    rig.model = rig_model(NULL);
    ck_assert_msg(!forward_open(&rig.f, rig.model, rig.plug, &c, &e), "%s", e.text);
    atomic_store(&bend_favourite, -1);
    return true;
}

void house_open(uint32_t n_ctx, uint32_t kv_tok)
{
    house_open_with(NULL, n_ctx, kv_tok);
}

void house_open_fast(uint32_t n_ctx, uint32_t kv_tok)
{
    if (!house_open_with("org.bitnetd.cpu-avx2", n_ctx, kv_tok))
        house_open(n_ctx, kv_tok);
}

void engine_start_conf(const struct engine_conf *c)
{
    struct err e = { 0 };
    ck_assert_msg(!engine_open(&engine, rig.f, c, &e), "%s", e.text);
}

void engine_start(uint32_t max_seq, uint32_t rows, uint32_t chunk, uint32_t queue)
{
    const struct engine_conf c = { .max_seq = max_seq, .row_budget = rows,
                                   .prefill_chunk = chunk, .max_queue = queue };
    engine_start_conf(&c);
}

/* Every page has come back, whatever happened. */
void engine_stop(void)
{
    engine_close(engine, 60000);
    engine = NULL;
    ck_assert_uint_eq(rig.f->kv.n_free, rig.f->kv.n_page);
}

void house_close(void)
{
    if (engine)
        engine_stop();
    forward_close(rig.f);
    plug_close(rig.plug);
    model_close(rig.model);
}

/* ------------------------------------------------------------------ a request */

static void woken(void *ctx)
{
    struct ask *a = ctx;
    atomic_fetch_add(&a->n_wake, 1);
    sem_post(&a->news);
}

void ask_open(struct ask *a, const char *text, uint32_t max_new)
{
    *a = (struct ask){ .n_got = 0 };
    ck_assert_int_eq(vocab_encode(rig.model->vocab, text, strlen(text), VOCAB_BOS, 0, &a->prompt,
                                  NULL), 0);
    ck_assert_int_eq(request_open(&a->r, max_new), 0);
    sem_init(&a->news, 0, 0);
    a->r.prompt = a->prompt.id;
    a->r.n_prompt = (uint32_t)a->prompt.n;
    a->r.sample = (struct sample_params)SAMPLE_GREEDY;
    a->r.ignore_eog = true;
    a->r.wake = woken;
    a->r.wake_ctx = a;
}

void ask_close(struct ask *a)
{
    request_close(&a->r);
    sem_destroy(&a->news);
    free(a->prompt.id);
}

void ask_submit(struct ask *a)
{
    struct err e = { 0 };
    ck_assert_msg(!engine_submit(engine, &a->r, &e), "%s", e.text);
}

bool ask_drain(struct ask *a)
{
    bool done = atomic_load(&a->r.done);
    const uint32_t had = a->n_got;
    for (uint32_t id; ring_pop(&a->r.out, &id);)
        a->got[a->n_got++] = (int32_t)id;
    if (a->n_got > had && !done)
        engine_taken(engine, &a->r);
    return done;
}

enum finish ask_wait(struct ask *a)
{
    while (!ask_drain(a))
        sem_wait(&a->news);
    if (atomic_load(&a->r.done) != FINISH_ERROR)
        ck_assert_uint_eq(a->r.n_new, a->n_got);
    return (enum finish)atomic_load(&a->r.done);
}

void ask_wait_tokens(struct ask *a, uint32_t n)
{
    while (!ask_drain(a) && a->n_got < n)
        sem_wait(&a->news);
}

/* ------------------------------------------------------------- the six of them */

void ask_kind(struct ask *a, int i)
{
    static const char *const text[N_REQ] = {
        "Once upon a time there was a little girl who lived in a small house near the woods, and",
        "The bear", "Peter Rabbit said: \"", "x", "It was a dark night. The wind blew through the",
        "Two and two"
    };
    ask_open(a, text[i], (uint32_t)(MAX_NEW - i));
    if (i % 3 == 1)
        a->r.sample = (struct sample_params)SAMPLE_DEFAULT;
    if (i % 3 == 2)
        a->r.sample = (struct sample_params){ .temperature = 1.2f, .top_p = 0.9f,
                                                .repeat_penalty = 1.3f, .repeat_last_n = 8,
                                                .typical_p = 1 };
    a->r.sample.seed = 1000 + (uint64_t)i;
}

static struct ask alone[N_REQ];

void alone_run(void)
{
    for (int i = 0; i < N_REQ; i++) {
        ask_kind(&alone[i], i);
        ask_submit(&alone[i]);
        ck_assert_int_eq(ask_wait(&alone[i]), FINISH_LENGTH);
        ck_assert_uint_eq(alone[i].n_got, (uint32_t)(MAX_NEW - i));
    }
}

void alone_check(const struct ask *a, int i)
{
    ck_assert_uint_eq(a->n_got, alone[i].n_got);
    ck_assert_int_eq(memcmp(a->got, alone[i].got, a->n_got * sizeof *a->got), 0);
}

void alone_close(void)
{
    for (int i = 0; i < N_REQ; i++)
        ask_close(&alone[i]);
}

