/* test_engine.c - requests on the real model and scalar-ref.
 *
 * The linker puts __wrap_forward_run in front of forward_run, so a test can
 * make a step fail, or bend its logits; unless told to, it only passes on. */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/engine/engine.h"
#include "core/engine/reply.h"
#include "tests/golden/rig.h"
#include "tests/unit/alloc_count.h"

enum { N_REQ = 6, N_CTX = 96, MAX_NEW = 14 };

/* ---------------------------------------------------------- bending forward */

int __real_forward_run(struct forward *, const struct batch *, struct err *);
int __wrap_forward_run(struct forward *, const struct batch *, struct err *);

static _Atomic int poison_id;         /* a step with this token fails; 0: none */
static _Atomic int poison_code;
static _Atomic int favourite;         /* this token's logit is the largest; -1 */
static _Atomic bool nan_logits;
static _Atomic unsigned hold_steps;   /* 1: steps wait until it is 0           */
static _Atomic unsigned n_run;

static bool poisoned(const struct bnp_step *s)
{
    for (uint32_t i = 0; i < s->n_tok; i++)
        if (s->id[i] == atomic_load(&poison_id))
            return true;
    return false;
}

int __wrap_forward_run(struct forward *f, const struct batch *b, struct err *e)
{
    while (atomic_load(&hold_steps))
        nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
    atomic_fetch_add(&n_run, 1);
    if (atomic_load(&poison_id) && poisoned(&b->step))
        return err_set(e, atomic_load(&poison_code), "poison");
    int rc = __real_forward_run(f, b, e);
    for (uint32_t i = 0; !rc && i < b->step.n_out; i++) {
        float *row = (float *)(uintptr_t)f->logits + i * f->logits_stride;
        if (atomic_load(&favourite) >= 0)
            row[atomic_load(&favourite)] = 1e6f;
        if (atomic_load(&nan_logits))
            row[7] = NAN;
    }
    return rc;
}

/* -------------------------------------------------------------------- a house */

static struct rig rig;
static struct engine *engine;

static void open_house(uint32_t n_ctx, uint32_t kv_tok)
{
    struct err e = { 0 };
    struct forward_conf c = rig_conf(&(struct rig_opts){ .n_ctx = n_ctx, .max_tok = 32,
                                                         .max_seq = N_REQ, .max_out = N_REQ });
    c.kv_tok = kv_tok;
    rig = (struct rig){ .model = rig_model(NULL), .plug = rig_plug(NULL, 1) };
    ck_assert_msg(!forward_open(&rig.f, rig.model, rig.plug, &c, &e), "%s", e.text);
    atomic_store(&favourite, -1);
}

static void open_engine(uint32_t max_seq, uint32_t rows, uint32_t chunk, uint32_t queue)
{
    struct err e = { 0 };
    const struct engine_conf c = { max_seq, rows, chunk, queue };
    ck_assert_msg(!engine_open(&engine, rig.f, &c, &e), "%s", e.text);
}

/* Every page has come back, whatever happened. */
static void close_engine(void)
{
    engine_close(engine, 60000);
    engine = NULL;
    ck_assert_uint_eq(rig.f->kv.n_free, rig.f->kv.n_page);
}

static void setup(void)
{
    open_house(N_CTX, 0);
}

static void teardown(void)
{
    if (engine)
        close_engine();
    forward_close(rig.f);
    plug_close(rig.plug);
    model_close(rig.model);
}

/* ------------------------------------------------------------------ a request */

struct ask {
    struct request r;
    struct tokens prompt;
    int32_t got[MAX_NEW + N_CTX];
    uint32_t n_got;
    sem_t news;
    _Atomic unsigned n_wake;
};

static void woken(void *ctx)
{
    struct ask *a = ctx;
    atomic_fetch_add(&a->n_wake, 1);
    sem_post(&a->news);
}

static void ask_open(struct ask *a, const char *text, uint32_t max_new)
{
    *a = (struct ask){ .n_got = 0 };
    ck_assert_int_eq(vocab_encode(rig.model->vocab, text, strlen(text), VOCAB_BOS, 0, &a->prompt,
                                  NULL), 0);
    ck_assert_int_eq(request_open(&a->r, max_new), 0);
    sem_init(&a->news, 0, 0);
    a->r.prompt = a->prompt.id;
    a->r.n_prompt = (uint32_t)a->prompt.n;
    a->r.sample = (struct sample_params){ .top_p = 1, .repeat_penalty = 1 };
    a->r.ignore_eog = true;
    a->r.wake = woken;
    a->r.wake_ctx = a;
}

static void ask_close(struct ask *a)
{
    request_close(&a->r);
    sem_destroy(&a->news);
    free(a->prompt.id);
}

static void submit(struct ask *a)
{
    struct err e = { 0 };
    ck_assert_msg(!engine_submit(engine, &a->r, &e), "%s", e.text);
}

static bool drain(struct ask *a)
{
    bool done = atomic_load(&a->r.done);
    for (uint32_t id; ring_pop(&a->r.out, &id);)
        a->got[a->n_got++] = (int32_t)id;
    return done;
}

static enum finish wait_done(struct ask *a)
{
    while (!drain(a))
        sem_wait(&a->news);
    if (atomic_load(&a->r.done) != FINISH_ERROR)
        ck_assert_uint_eq(a->r.n_new, a->n_got);
    return (enum finish)atomic_load(&a->r.done);
}

static void wait_tokens(struct ask *a, uint32_t n)
{
    while (!drain(a) && a->n_got < n)
        sem_wait(&a->news);
}

/* Six that differ in length, sampling and luck. */
static void ask_kind(struct ask *a, int i)
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
        a->r.sample = (struct sample_params){ 1.2f, 0, 0.9f, 0, 1.3f, 8, 0 };
    a->r.sample.seed = 1000 + (uint64_t)i;
}

static struct ask alone[N_REQ];

static void run_alone(void)
{
    for (int i = 0; i < N_REQ; i++) {
        ask_kind(&alone[i], i);
        submit(&alone[i]);
        ck_assert_int_eq(wait_done(&alone[i]), FINISH_LENGTH);
        ck_assert_uint_eq(alone[i].n_got, (uint32_t)(MAX_NEW - i));
    }
}

static void same_as_alone(const struct ask *a, int i)
{
    ck_assert_uint_eq(a->n_got, alone[i].n_got);
    ck_assert_int_eq(memcmp(a->got, alone[i].got, a->n_got * sizeof *a->got), 0);
}

static void close_alone(void)
{
    for (int i = 0; i < N_REQ; i++)
        ask_close(&alone[i]);
}

/* ------------------------------------------------------------------- promises */

START_TEST(engine_gives_the_same_tokens_alone_and_in_company)
{
    static const uint32_t conf[][3] = { { N_REQ, 32, 32 }, { N_REQ, 7, 3 }, { 3, 16, 5 } };
    open_engine(N_REQ, 32, 32, 8);
    run_alone();
    close_engine();
    for (unsigned c = 0; c < 3; c++) {
        struct ask a[N_REQ];
        open_engine(conf[c][0], conf[c][1], conf[c][2], 8);
        for (int i = 0; i < N_REQ; i++) {
            ask_kind(&a[i], i);
            submit(&a[i]);
        }
        for (int i = 0; i < N_REQ; i++) {
            ck_assert_int_eq(wait_done(&a[i]), FINISH_LENGTH);
            same_as_alone(&a[i], i);
            ask_close(&a[i]);
        }
        close_engine();
    }
    close_alone();
}
END_TEST

START_TEST(engine_error_hurts_only_the_guilty)
{
    struct ask a[N_REQ];
    open_engine(N_REQ, 32, 32, 8);
    run_alone();
    const int guilty = 4;               /* the last token of its prompt is its own */
    atomic_store(&poison_code, ERR_NUMERIC);
    atomic_store(&hold_steps, 1);       /* they gather, and meet in one step */
    for (int i = 0; i < N_REQ; i++) {
        ask_kind(&a[i], i);
        if (i == guilty)
            a[i].prompt.id[a[i].prompt.n - 1] = 2000;
        submit(&a[i]);
    }
    atomic_store(&poison_id, 2000);
    atomic_store(&hold_steps, 0);
    for (int i = 0; i < N_REQ; i++) {
        enum finish f = wait_done(&a[i]);
        if (i == guilty) {
            ck_assert_int_eq(f, FINISH_ERROR);
            ck_assert_int_eq(a[i].r.err.code, ERR_NUMERIC);
            ck_assert_str_eq(a[i].r.err.text, "poison");
            ck_assert_uint_eq(a[i].n_got, 0);
        } else {
            same_as_alone(&a[i], i);
        }
        ask_close(&a[i]);
    }
    ck_assert_int_eq(engine_fault(engine, NULL), 0);
    struct engine_stats s;
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_error, 1);
    close_alone();
}
END_TEST

START_TEST(engine_lost_device_is_a_fault)
{
    struct ask a[3];
    struct err e = { 0 };
    open_engine(2, 32, 32, 8);
    atomic_store(&poison_code, ERR_DEVICE);
    for (int i = 0; i < 3; i++) {
        ask_kind(&a[i], i);
        a[i].prompt.id[1] = 2000;
        if (!i)
            atomic_store(&hold_steps, 1);
        submit(&a[i]);
    }
    atomic_store(&poison_id, 2000);
    atomic_store(&hold_steps, 0);
    for (int i = 0; i < 3; i++) {       /* the waiting one too */
        ck_assert_int_eq(wait_done(&a[i]), FINISH_ERROR);
        ck_assert_int_eq(a[i].r.err.code, ERR_DEVICE);
        ask_close(&a[i]);
    }
    ck_assert_int_eq(engine_fault(engine, &e), ERR_DEVICE);
    ck_assert_str_eq(e.text, "poison");
    unsigned runs = atomic_load(&n_run);
    ask_kind(&a[0], 0);
    ck_assert_int_eq(engine_submit(engine, &a[0].r, &e), ERR_DEVICE);
    ask_close(&a[0]);
    close_engine();
    ck_assert_uint_eq(atomic_load(&n_run), runs);   /* nothing more went to it */
}
END_TEST

START_TEST(engine_nan_logit_is_an_error)
{
    struct ask a;
    open_engine(1, 32, 32, 8);
    atomic_store(&nan_logits, true);
    ask_kind(&a, 1);
    submit(&a);
    ck_assert_int_eq(wait_done(&a), FINISH_ERROR);
    ck_assert_int_eq(a.r.err.code, ERR_NUMERIC);
    ask_close(&a);
}
END_TEST

START_TEST(engine_ends_at_an_end_of_generation_token)
{
    struct ask a;
    int32_t eos = vocab_eos(rig.model->vocab);
    ck_assert(vocab_is_eog(rig.model->vocab, eos));
    open_engine(1, 32, 32, 8);
    atomic_store(&favourite, eos);
    ask_open(&a, "The bear", 4);
    a.r.ignore_eog = false;
    submit(&a);
    ck_assert_int_eq(wait_done(&a), FINISH_STOP);
    ck_assert_uint_eq(a.n_got, 0);                  /* it is no part of the output */
    ask_close(&a);
    ask_open(&a, "The bear", 4);
    submit(&a);
    ck_assert_int_eq(wait_done(&a), FINISH_LENGTH);
    ck_assert_uint_eq(a.n_got, 4);
    ck_assert_int_eq(a.got[3], eos);
    ask_close(&a);
}
END_TEST

START_TEST(engine_cancels_in_mid_way)
{
    struct ask a, b;
    struct engine_stats s;
    open_engine(2, 32, 32, 8);
    ask_open(&a, "Once", 80);
    ask_open(&b, "The bear", 10);
    submit(&a);
    submit(&b);
    wait_tokens(&a, 2);
    engine_cancel(engine, &a.r);
    ck_assert_int_eq(wait_done(&a), FINISH_CANCELLED);
    ck_assert_uint_ge(a.n_got, 2);
    ck_assert_uint_lt(a.n_got, 80);
    ck_assert_int_eq(wait_done(&b), FINISH_LENGTH);
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.kv_page_used, 0);
    ck_assert_uint_eq(s.n_running + s.n_waiting, 0);
    ask_close(&a);
    ask_close(&b);
}
END_TEST

START_TEST(engine_cancels_who_still_waits)
{
    struct ask a, b;
    open_engine(1, 32, 32, 8);
    ask_open(&a, "Once", 80);
    ask_open(&b, "The bear", 10);
    submit(&a);
    submit(&b);
    engine_cancel(engine, &b.r);
    ck_assert_int_eq(wait_done(&b), FINISH_CANCELLED);
    ck_assert_uint_eq(b.n_got, 0);
    ck_assert_int_eq(atomic_load(&a.r.done), FINISH_NONE);
    engine_cancel(engine, &a.r);
    ck_assert_int_eq(wait_done(&a), FINISH_CANCELLED);
    ask_close(&a);
    ask_close(&b);
}
END_TEST

START_TEST(engine_refuses_when_the_queue_is_full)
{
    struct ask a[4];
    struct err e = { 0 };
    open_engine(1, 32, 32, 2);
    for (int i = 0; i < 4; i++)
        ask_open(&a[i], "Once", 80);
    for (int i = 0; i < 3; i++)
        submit(&a[i]);
    ck_assert_int_eq(engine_submit(engine, &a[3].r, &e), ERR_LIMIT);
    for (int i = 0; i < 3; i++)
        engine_cancel(engine, &a[i].r);
    for (int i = 0; i < 3; i++)
        wait_done(&a[i]);
    ck_assert_int_eq(engine_submit(engine, &a[3].r, &e), 0);   /* there is room again */
    engine_cancel(engine, &a[3].r);
    wait_done(&a[3]);
    for (int i = 0; i < 4; i++)
        ask_close(&a[i]);
}
END_TEST

START_TEST(engine_refuses_what_can_never_run)
{
    struct ask a;
    struct err e = { 0 };
    int32_t many[N_CTX + 1] = { 0 };
    open_engine(2, 32, 32, 8);
    ask_open(&a, "Once", 4);
    const struct { const int32_t *prompt; uint32_t n_prompt, max_new; struct sample_params sample; }
        good = { a.r.prompt, a.r.n_prompt, a.r.max_new, a.r.sample };
#define REFUSED(change) \
    do { \
        a.r.prompt = good.prompt; \
        a.r.n_prompt = good.n_prompt; \
        a.r.max_new = good.max_new; \
        a.r.sample = good.sample; \
        change; \
        ck_assert_int_eq(engine_submit(engine, &a.r, &e), ERR_ARG); \
        ck_assert_ptr_null(a.r.seq); \
    } while (0)
    REFUSED(a.r.n_prompt = 0);
    REFUSED(a.r.prompt = many; a.r.n_prompt = N_CTX);
    REFUSED(a.r.max_new = 0);
    REFUSED(a.r.max_new = 5);                       /* its ring holds four */
    REFUSED(a.r.sample.top_p = 0);
    REFUSED(a.r.prompt = many; a.r.n_prompt = 2; many[1] = -1);
    REFUSED(many[1] = (int32_t)vocab_n(rig.model->vocab); a.r.prompt = many; a.r.n_prompt = 2);
    struct engine_stats s;
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_running + s.n_waiting, 0);
    ask_close(&a);
}
END_TEST

START_TEST(engine_fills_the_context_and_stops)
{
    struct ask a;
    open_engine(1, 32, 32, 8);
    ck_assert_uint_eq(engine_n_ctx(engine), N_CTX);
    ask_open(&a, "Once", N_CTX);
    uint32_t n = a.r.n_prompt;
    submit(&a);
    ck_assert_int_eq(wait_done(&a), FINISH_LENGTH);
    ck_assert_uint_eq(a.n_got, N_CTX - n);
    ask_close(&a);
    int32_t longest[N_CTX - 1];                     /* room for one more */
    for (int i = 0; i < N_CTX - 1; i++)
        longest[i] = 300 + i;
    ask_open(&a, "Once", 4);
    a.r.prompt = longest;
    a.r.n_prompt = N_CTX - 1;
    submit(&a);
    ck_assert_int_eq(wait_done(&a), FINISH_LENGTH);
    ck_assert_uint_eq(a.n_got, 1);
    ask_close(&a);
}
END_TEST

START_TEST(engine_context_is_what_the_pages_hold)
{
    forward_close(rig.f);
    plug_close(rig.plug);
    model_close(rig.model);
    open_house(N_CTX, 40);                          /* three pages of 16 for all */
    open_engine(N_REQ, 32, 32, 20);
    uint32_t n_ctx = rig.f->kv.n_page * rig.f->kv.page_tok;
    ck_assert_uint_lt(n_ctx, N_CTX);
    ck_assert_uint_eq(engine_n_ctx(engine), n_ctx);
    struct ask a[8];
    for (int i = 0; i < 8; i++) {                   /* they take turns */
        ask_open(&a[i], "Once upon a time", i % 2 ? 8 : 20);
        submit(&a[i]);
    }
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(wait_done(&a[i]), FINISH_LENGTH);
        ck_assert_int_eq(memcmp(a[i].got, a[0].got, a[i].n_got * sizeof *a[i].got), 0);
        ask_close(&a[i]);
    }
}
END_TEST

START_TEST(engine_close_drains)
{
    struct ask a[4];
    open_engine(2, 32, 32, 8);
    for (int i = 0; i < 4; i++) {
        ask_open(&a[i], "The bear", 6);
        submit(&a[i]);
    }
    engine_close(engine, 60000);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(atomic_load(&a[i].r.done), FINISH_LENGTH);
        ck_assert_int_eq(wait_done(&a[i]), FINISH_LENGTH);
        ask_close(&a[i]);
    }
    open_engine(2, 32, 32, 8);
    for (int i = 0; i < 4; i++) {
        ask_open(&a[i], "The bear", 80);
        submit(&a[i]);
    }
    engine_close(engine, 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(atomic_load(&a[i].r.done), FINISH_CANCELLED);
        ask_close(&a[i]);
    }
    engine = NULL;
    ck_assert_uint_eq(rig.f->kv.n_free, rig.f->kv.n_page);
}
END_TEST

/* Submits ten short requests one after the other, some cancelled at once. */
static void *customer(void *arg)
{
    int *failed = arg;
    for (int i = 0; i < 10; i++) {
        struct ask a;
        ask_open(&a, "x", 2);
        submit(&a);
        if (i % 4 == 3)
            engine_cancel(engine, &a.r);
        enum finish f = wait_done(&a);
        *failed += f != FINISH_LENGTH && !(i % 4 == 3 && f == FINISH_CANCELLED);
        *failed += f == FINISH_LENGTH && a.n_got != 2;
        ask_close(&a);
    }
    return NULL;
}

START_TEST(engine_serves_many_short_requests_from_many_threads)
{
    pthread_t t[4];
    int failed[4] = { 0 };
    struct engine_stats s;
    open_engine(3, 8, 8, 8);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, customer, &failed[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        ck_assert_int_eq(failed[i], 0);
    }
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_done, 40);
    ck_assert_uint_eq(s.n_error, 0);
    ck_assert_uint_eq(s.n_running + s.n_waiting + s.kv_page_used, 0);
}
END_TEST

START_TEST(engine_counts_and_wakes)
{
    struct ask a;
    struct engine_stats s;
    open_engine(1, 32, 4, 8);
    ask_open(&a, "Once upon a time", 5);
    uint32_t n = a.r.n_prompt;
    submit(&a);
    ck_assert_int_eq(wait_done(&a), FINISH_LENGTH);
    ask_close(&a);                                  /* the last wake is over */
    ck_assert_uint_eq(atomic_load(&a.n_wake), 5);   /* one for each step with news */
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_prompt_tok, n);
    ck_assert_uint_eq(s.n_new_tok, 5);
    ck_assert_uint_eq(s.n_step, (n + 3) / 4 + 4);
    ck_assert_uint_eq(s.n_done, 1);
    ck_assert_uint_eq(s.kv_page_all, rig.f->kv.n_page);
    ck_assert_uint_gt(a.r.prefill_us + a.r.decode_us, 0);
}
END_TEST

START_TEST(engine_steps_allocate_nothing)
{
    struct ask a, b;
    open_engine(2, 32, 32, 8);
    ask_open(&a, "Once upon a time there was a bear", 40);
    ask_open(&b, "The", 30);
    a.r.sample = (struct sample_params)SAMPLE_DEFAULT;
    b.r.sample = (struct sample_params){ 1, 0, 1, 0, 1.1f, 64, 1 };
    atomic_store(&hold_steps, 1);
    submit(&a);
    submit(&b);
    unsigned long before = alloc_count();
    atomic_store(&hold_steps, 0);
    while (!drain(&a) || !drain(&b))
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    ck_assert_uint_eq(alloc_count(), before);
    ck_assert_uint_eq(a.n_got + b.n_got, 70);
    ask_close(&a);
    ask_close(&b);
    free(malloc(1));
    ck_assert_uint_gt(alloc_count(), before);       /* the count counts */
}
END_TEST

START_TEST(engine_reply_stops_at_a_text)
{
    struct ask a, b;
    struct buf all = { 0 }, cut = { 0 };
    struct err e = { 0 };
    open_engine(1, 32, 32, 8);
    ask_open(&a, "Once upon a time", 40);
    submit(&a);
    wait_done(&a);
    for (uint32_t i = 0; i < a.n_got; i++)
        vocab_piece(rig.model->vocab, a.got[i], false, &all);
    ck_assert_uint_gt(all.n, 30);
    const struct str stop = { all.p + 20, 5 };      /* bytes 20 to 24 of the text */
    const char *first = memmem(all.p, all.n, stop.p, stop.n);
    ask_open(&b, "Once upon a time", 40);
    struct reply y;
    ck_assert_msg(!reply_open(&y, engine, &b.r, rig.model->vocab, &stop, 1, &e), "%s", e.text);
    submit(&b);
    for (enum reply_state s; (s = reply_next(&y, &cut)) != REPLY_END;)
        if (s == REPLY_WAIT)
            sem_wait(&b.news);
    ck_assert_uint_eq(cut.n, (size_t)(first - all.p));
    ck_assert_int_eq(memcmp(cut.p, all.p, cut.n), 0);
    ck_assert_int_eq(reply_finish(&y), FINISH_STOP);
    ck_assert_uint_lt(y.n_tok, 40);
    reply_close(&y);
    ask_close(&a);
    ask_close(&b);
    buf_free(&all);
    buf_free(&cut);
}
END_TEST

START_TEST(engine_refuses_a_bad_configuration)
{
    static const struct engine_conf bad[] = {
        { 0, 8, 8, 8 }, { N_REQ + 1, 32, 8, 8 }, { 4, 3, 8, 8 }, { 4, 33, 8, 8 }, { 4, 8, 0, 8 },
        { 4, 8, 8, UINT32_MAX }
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = { 0 };
        ck_assert_int_eq(engine_open(&engine, rig.f, &bad[i], &e), ERR_ARG);
        ck_assert_int_eq(strncmp(e.text, "engine.", 7), 0);
        ck_assert_ptr_null(engine);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine");
    TCase *t = tcase_create("engine");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, engine_gives_the_same_tokens_alone_and_in_company);
    tcase_add_test(t, engine_error_hurts_only_the_guilty);
    tcase_add_test(t, engine_lost_device_is_a_fault);
    tcase_add_test(t, engine_nan_logit_is_an_error);
    tcase_add_test(t, engine_ends_at_an_end_of_generation_token);
    tcase_add_test(t, engine_cancels_in_mid_way);
    tcase_add_test(t, engine_cancels_who_still_waits);
    tcase_add_test(t, engine_refuses_when_the_queue_is_full);
    tcase_add_test(t, engine_refuses_what_can_never_run);
    tcase_add_test(t, engine_fills_the_context_and_stops);
    tcase_add_test(t, engine_context_is_what_the_pages_hold);
    tcase_add_test(t, engine_close_drains);
    tcase_add_test(t, engine_serves_many_short_requests_from_many_threads);
    tcase_add_test(t, engine_counts_and_wakes);
    tcase_add_test(t, engine_steps_allocate_nothing);
    tcase_add_test(t, engine_reply_stops_at_a_text);
    tcase_add_test(t, engine_refuses_a_bad_configuration);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
