/* test_engine_pages.c - prefix cache, short pages, slow readers, deadlines: what
 * a request gets is what it would have got alone. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/engine/prefix.h"
#include "tests/unit/alloc_count.h"
#include "tests/unit/ask.h"

static const struct engine_conf with_cache = { .max_seq = N_REQ, .row_budget = 32,
                                               .prefill_chunk = 16, .max_queue = 32,
                                               .prefix_cache = true };

static void setup(void)
{
    house_page_tok = 16;
    house_open_fast(N_CTX, 0);
}

static void teardown(void)
{
    house_close();
}

static struct engine_stats stats(void)
{
    struct engine_stats s;
    engine_stats(engine, &s);
    return s;
}

/* All six, together; returns the prompt tokens that were not computed. */
static uint32_t ask_all(bool no_cache)
{
    struct ask a[N_REQ];
    uint32_t n = 0;
    for (int i = 0; i < N_REQ; i++) {
        ask_kind(&a[i], i);
        a[i].r.no_cache = no_cache;
        ask_submit(&a[i]);
    }
    for (int i = 0; i < N_REQ; i++) {
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
        alone_check(&a[i], i);
        ck_assert_uint_lt(a[i].r.n_cached, a[i].r.n_prompt);
        n += a[i].r.n_cached;
        ask_close(&a[i]);
    }
    return n;
}

START_TEST(engine_gives_the_same_tokens_from_a_cold_and_a_warm_cache)
{
    struct engine_stats cold, warm, not;
    engine_start(N_REQ, 32, 32, 8);
    alone_run();
    engine_stop();
    engine_start_conf(&with_cache);
    ck_assert_uint_eq(ask_all(false), 0);
    engine_stats(engine, &cold);
    const uint32_t n = ask_all(false);
    engine_stats(engine, &warm);
    ck_assert_uint_ge(n, 16);                       /* there is a long one among them */
    ck_assert_uint_ne(n % 16, 0);                   /* and beginnings of pages */
    ck_assert_uint_eq(warm.n_prefix_hit, n);
    ck_assert_uint_eq(warm.n_prefix_query, 2 * cold.n_prefix_query);
    ck_assert_uint_eq(warm.n_prompt_tok - cold.n_prompt_tok, cold.n_prompt_tok - n);
    ck_assert_uint_gt(warm.kv_page_cached, 0);
    ck_assert_uint_eq(warm.kv_page_used, 0);
    ck_assert_uint_eq(warm.kv_page_free + warm.kv_page_cached, warm.kv_page_all);
    ck_assert_uint_eq(ask_all(true), 0);
    engine_stats(engine, &not);
    ck_assert_uint_eq(not.n_prefix_query, warm.n_prefix_query);
    alone_close();
}
END_TEST

/* An answer's tokens are found too, by whoever goes on from there. */
START_TEST(engine_goes_on_from_an_answer)
{
    struct ask a, b;
    engine_start_conf(&with_cache);
    ask_open(&a, "Once upon a time", 60);
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    int32_t id[N_CTX];
    const uint32_t n = a.r.n_prompt + 50;
    memcpy(id, a.r.prompt, a.r.n_prompt * sizeof *id);
    memcpy(id + a.r.n_prompt, a.got, 50 * sizeof *id);
    ask_open(&b, "x", 10);
    b.r.prompt = id;
    b.r.n_prompt = n;
    ask_submit(&b);
    ck_assert_int_eq(ask_wait(&b), FINISH_LENGTH);
    ck_assert_int_eq(memcmp(b.got, a.got + 50, 10 * sizeof *id), 0);
    ck_assert_uint_eq(b.r.n_cached, n - 1);         /* the last page from its beginning */
    ask_close(&a);
    ask_close(&b);
}
END_TEST

/* All logits of the rows that follow a prefix, from its pages and from its ids. */
START_TEST(prefix_pages_give_the_same_logits_as_their_tokens)
{
    enum { N = 60 };
    struct golden g[GOLDEN_N];
    struct prefix p;
    struct kv *kv = &rig.f->kv;
    struct kv_seq s[2];
    struct batch b;
    const uint32_t n_vocab = rig.model->hp.n_vocab;
    int32_t id[N];
    float *want = calloc(n_vocab, sizeof *want);
    rig_golden(g);
    for (uint32_t i = 0; i < N; i++)
        id[i] = g[i / 16 % GOLDEN_N].id[i % 4];
    ck_assert_int_eq(prefix_open(&p, kv, kv->n_page, NULL), 0);
    ck_assert_int_eq(batch_open(&b, &rig.f->limits, NULL), 0);
    for (int k = 0; k < 2; k++) {
        ck_assert_int_eq(kv_seq_open(&s[k], kv, N_CTX, NULL), 0);
        uint32_t at = prefix_take(&p, &s[k], id, N);
        ck_assert_uint_eq(at, k ? 48 : 0);
        ck_assert(kv_reserve(kv, &s[k], N));
        for (uint32_t n; at < N; at += n) {
            n = N - at < 20 ? N - at : 20;
            batch_clear(&b);
            ck_assert(batch_add(&b, id + at, n, at, s[k].page, s[k].n_page, 1));
            ck_assert_int_eq(forward_run(rig.f, &b, NULL), 0);
        }
        if (!k)
            memcpy(want, rig.f->logits, n_vocab * sizeof *want);
        prefix_add(&p, &s[k], id, N);
    }
    ck_assert_int_eq(memcmp(want, rig.f->logits, n_vocab * sizeof *want), 0);
    for (int k = 0; k < 2; k++) {
        prefix_drop(&p, &s[k]);
        kv_seq_close(kv, &s[k]);
    }
    prefix_close(&p);
    batch_close(&b);
    rig_golden_free(g);
    free(want);
}
END_TEST

/* Answers of 40 tokens, in six pages of 16 for all. */
START_TEST(engine_short_of_pages_gives_the_same_tokens)
{
    struct ask alone[4], a[4];
    struct engine_conf c = with_cache;
    house_close();
    house_open_fast(N_CTX, 96);
    c.prefix_cache = _i;
    for (int round = 0; round < 2; round++) {
        engine_start_conf(&c);
        for (int i = 0; i < 4; i++) {
            struct ask *k = round ? &a[i] : &alone[i];
            ask_kind(k, i);
            request_close(&k->r);
            const struct request r = k->r;
            ck_assert_int_eq(request_open(&k->r, 40), 0);
            k->r.prompt = r.prompt;
            k->r.n_prompt = r.n_prompt;
            k->r.sample = r.sample;
            k->r.ignore_eog = true;
            k->r.wake = r.wake;
            k->r.wake_ctx = k;
            ask_submit(k);
            if (!round)
                ck_assert_int_eq(ask_wait(k), FINISH_LENGTH);
        }
        for (int i = 0; round && i < 4; i++) {
            ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
            ck_assert_uint_eq(a[i].n_got, 40);
            ck_assert_int_eq(memcmp(a[i].got, alone[i].got, 40 * sizeof *a[i].got), 0);
        }
        const struct engine_stats s = stats();
        ck_assert((s.n_preempt > 0) == (round > 0));
        ck_assert_uint_eq(s.kv_page_used, 0);
        engine_stop();
    }
    for (int i = 0; i < 4; i++) {
        ask_close(&a[i]);
        ask_close(&alone[i]);
    }
}
END_TEST

/* -------------------------------------------------------------- slow readers */

/* As if REQUEST_AHEAD were 8. */
static void ask_slow(struct ask *a, uint32_t max_new, uint64_t deadline_us)
{
    ask_open(a, "Once upon a time", max_new);
    ring_close(&a->r.out);
    ck_assert_int_eq(ring_open(&a->r.out, 8), 0);
    a->r.deadline_us = deadline_us;
    ask_submit(a);
}

START_TEST(engine_parks_who_is_not_read_and_serves_the_others)
{
    struct ask a, b, whole;
    engine_start(1, 32, 32, 8);
    ask_open(&whole, "Once upon a time", 50);
    ask_submit(&whole);
    ck_assert_int_eq(ask_wait(&whole), FINISH_LENGTH);
    ask_slow(&a, 50, 0);
    while (stats().n_parked != 1)
        nap();
    ck_assert_uint_eq(stats().n_running, 0);
    ask_open(&b, "The bear", 40);                   /* the only place is free */
    ask_submit(&b);
    ck_assert_int_eq(ask_wait(&b), FINISH_LENGTH);
    ck_assert_uint_eq(stats().n_parked, 1);
    ck_assert_uint_eq(stats().n_waiting, 0);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);  /* reads on, and on it goes */
    ck_assert_uint_eq(a.n_got, 50);
    ck_assert_int_eq(memcmp(a.got, whole.got, 50 * sizeof *a.got), 0);
    ck_assert_uint_eq(stats().n_parked, 0);
    ask_close(&a);
    ask_close(&b);
    ask_close(&whole);
}
END_TEST

static bool is_parked(const struct ask *a)
{
    return atomic_load(&a->r.parked);
}

START_TEST(engine_ends_who_is_parked)
{
    struct ask a, b, c;
    engine_start(3, 32, 32, 8);
    ask_slow(&a, 50, 0);
    ask_slow(&b, 50, clock_us() + 3000000);
    ask_slow(&c, 50, 0);
    while (!is_parked(&a) || !is_parked(&c) || !(is_parked(&b) || atomic_load(&b.r.done)))
        nap();
    engine_cancel(engine, &a.r);
    while (!atomic_load(&a.r.done) || !atomic_load(&b.r.done))
        nap();
    ck_assert_int_eq(atomic_load(&a.r.done), FINISH_CANCELLED);
    ck_assert_int_eq(atomic_load(&b.r.done), FINISH_DEADLINE);
    ck_assert_uint_ge(clock_us(), b.r.deadline_us);
    ck_assert_uint_eq(a.r.n_new, 8);
    ck_assert_uint_le(b.r.n_new, 8);
    ck_assert_uint_eq(stats().n_parked, 1);
    engine_close(engine, 0);
    engine = NULL;
    ck_assert_int_eq(atomic_load(&c.r.done), FINISH_CANCELLED);
    ask_close(&a);
    ask_close(&b);
    ask_close(&c);
}
END_TEST

START_TEST(engine_parked_ones_lose_their_pages_first)
{
    struct ask a, b, whole;
    house_close();
    house_open_fast(N_CTX, 96);
    engine_start(1, 32, 32, 8);
    ask_open(&whole, "Once upon a time", 50);
    ask_submit(&whole);
    ck_assert_int_eq(ask_wait(&whole), FINISH_LENGTH);
    ask_slow(&a, 50, 0);
    while (stats().n_parked != 1)
        nap();
    ask_open(&b, "Once", 90);                       /* all six pages */
    ask_submit(&b);
    ck_assert_int_eq(ask_wait(&b), FINISH_LENGTH);
    ck_assert_uint_eq(stats().n_preempt, 1);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ck_assert_int_eq(memcmp(a.got, whole.got, 50 * sizeof *a.got), 0);
    ask_close(&a);
    ask_close(&b);
    ask_close(&whole);
}
END_TEST

/* ------------------------------------------------------ deadlines, priorities */

START_TEST(engine_keeps_deadlines_waiting_and_running)
{
    struct ask a, b, c;
    engine_start(1, 32, 32, 8);
    ask_open(&a, "Once", 80);
    ask_open(&b, "The bear", 10);
    ask_open(&c, "x", 2);
    b.r.deadline_us = 1;                            /* long ago */
    ask_submit(&a);
    ask_wait_tokens(&a, 1);
    ask_submit(&b);
    ck_assert_int_eq(ask_wait(&b), FINISH_DEADLINE);
    ck_assert_uint_eq(b.n_got, 0);
    engine_cancel(engine, &a.r);
    ask_wait(&a);
    ask_close(&b);
    atomic_store(&bend_hold, true);
    ask_open(&b, "The bear", 80);
    b.r.deadline_us = clock_us() + 200000;
    ask_submit(&b);
    while (clock_us() < b.r.deadline_us)
        nap();
    atomic_store(&bend_hold, false);                /* its first step ends too late */
    ck_assert_int_eq(ask_wait(&b), FINISH_DEADLINE);
    ck_assert_uint_le(b.n_got, 1);
    ask_submit(&c);
    ck_assert_int_eq(ask_wait(&c), FINISH_LENGTH);
    ck_assert_uint_eq(stats().n_finish[FINISH_DEADLINE], 2);
    ask_close(&a);
    ask_close(&b);
    ask_close(&c);
}
END_TEST

START_TEST(engine_ends_who_waited_too_long_and_nobody_who_has_a_place)
{
    struct ask a, b, c;
    engine_start(1, 32, 32, 8);
    ask_open(&a, "Once", 80);
    ask_open(&b, "The bear", 10);
    ask_open(&c, "x", 20);
    ask_submit(&a);
    ask_wait_tokens(&a, 1);
    b.r.admit_by_us = clock_us() + 20000;
    atomic_store(&bend_hold, true);
    ask_submit(&b);
    while (clock_us() < b.r.admit_by_us)
        nap();
    atomic_store(&bend_hold, false);
    ck_assert_int_eq(ask_wait(&b), FINISH_QUEUE);
    ck_assert_uint_eq(b.n_got, 0);
    ck_assert_uint_gt(b.r.queue_us, 0);
    ck_assert_uint_eq(b.r.prefill_us + b.r.decode_us, 0);
    engine_cancel(engine, &a.r);
    ask_wait(&a);
    c.r.admit_by_us = clock_us() + 1000000;
    ask_submit(&c);
    ask_wait_tokens(&c, 1);
    atomic_store(&bend_hold, true);
    while (clock_us() < c.r.admit_by_us)
        nap();
    atomic_store(&bend_hold, false);
    ck_assert_int_eq(ask_wait(&c), FINISH_LENGTH);
    ck_assert_uint_eq(stats().n_finish[FINISH_QUEUE], 1);
    ask_close(&a);
    ask_close(&b);
    ask_close(&c);
}
END_TEST

static _Atomic int n_ended;

struct place {
    struct ask ask;
    int at;                       /* the how manieth that ended                */
};

static void note_end(void *ctx)
{
    struct place *p = ctx;
    if (atomic_load(&p->ask.r.done))
        p->at = atomic_fetch_add(&n_ended, 1);
    sem_post(&p->ask.news);
}

START_TEST(engine_serves_higher_priorities_first)
{
    static const enum priority level[] = { PRIORITY_NORMAL, PRIORITY_LOW, PRIORITY_NORMAL,
                                           PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_HIGH };
    static const int want[] = { 0, 4, 3, 1, 5, 2 };   /* the first runs already */
    static struct place p[6];
    atomic_store(&n_ended, 0);
    engine_start(1, 32, 32, 8);
    atomic_store(&bend_held, false);
    for (int i = 0; i < 6; i++) {
        ask_open(&p[i].ask, "x", 2);
        p[i].ask.r.priority = level[i];
        p[i].ask.r.wake = note_end;
        p[i].ask.r.wake_ctx = &p[i];
        atomic_store(&bend_hold, true);
        ask_submit(&p[i].ask);
        while (!atomic_load(&bend_held))
            nap();
    }
    atomic_store(&bend_hold, false);
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(ask_wait(&p[i].ask), FINISH_LENGTH);
        ask_close(&p[i].ask);
    }
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(p[i].at, want[i]);
    struct ask a;
    struct err e = { 0 };
    ask_open(&a, "x", 2);
    a.r.priority = (enum priority)7;
    ck_assert_int_eq(engine_submit(engine, &a.r, &e), ERR_ARG);
    ask_close(&a);
}
END_TEST

/* Pages are kept, found, shared and dropped without any memory. */
START_TEST(engine_pages_allocate_nothing)
{
    struct ask a[3];
    house_close();
    house_open_fast(N_CTX, 96);
    engine_start_conf(&with_cache);
    for (int i = 0; i < 3; i++)
        ask_open(&a[i], i < 2 ? "Once upon a time there was a bear" : "The", 40);
    atomic_store(&bend_hold, true);
    for (int i = 0; i < 3; i++)
        ask_submit(&a[i]);
    while (!atomic_load(&bend_held))
        nap();
    const unsigned long before = alloc_count();
    atomic_store(&bend_hold, false);
    for (int i = 0; i < 3; i++)
        while (!ask_drain(&a[i]))
            nap();
    ck_assert_uint_eq(alloc_count(), before);
    ck_assert_uint_gt(stats().n_preempt, 0);
    for (int i = 0; i < 3; i++)
        ask_close(&a[i]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine_pages");
    TCase *t = tcase_create("engine_pages");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, engine_gives_the_same_tokens_from_a_cold_and_a_warm_cache);
    tcase_add_test(t, engine_goes_on_from_an_answer);
    tcase_add_test(t, prefix_pages_give_the_same_logits_as_their_tokens);
    tcase_add_loop_test(t, engine_short_of_pages_gives_the_same_tokens, 0, 2);
    tcase_add_test(t, engine_parks_who_is_not_read_and_serves_the_others);
    tcase_add_test(t, engine_ends_who_is_parked);
    tcase_add_test(t, engine_parked_ones_lose_their_pages_first);
    tcase_add_test(t, engine_keeps_deadlines_waiting_and_running);
    tcase_add_test(t, engine_ends_who_waited_too_long_and_nobody_who_has_a_place);
    tcase_add_test(t, engine_serves_higher_priorities_first);
    tcase_add_test(t, engine_pages_allocate_nothing);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
