/* test_engine.c - how requests are served, on the real model and scalar-ref. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/forward_parts.h"
#include "core/engine/reply.h"
#include "tests/unit/alloc_count.h"
#include "tests/unit/ask.h"

static void setup(void)
{
    house_open(N_CTX, 0);
}

static void teardown(void)
{
    house_close();
}

START_TEST(engine_gives_the_same_tokens_alone_and_in_company)
{
    static const uint32_t conf[][3] = { { N_REQ, 32, 32 }, { N_REQ, 7, 3 }, { 3, 16, 5 } };
    engine_start(N_REQ, 32, 32, 8);
    alone_run();
    engine_stop();
    for (unsigned c = 0; c < 3; c++) {
        struct ask a[N_REQ];
        engine_start(conf[c][0], conf[c][1], conf[c][2], 8);
        for (int i = 0; i < N_REQ; i++) {
            ask_kind(&a[i], i);
            ask_submit(&a[i]);
        }
        for (int i = 0; i < N_REQ; i++) {
            ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
            alone_check(&a[i], i);
            ask_close(&a[i]);
        }
        engine_stop();
    }
    alone_close();
}
END_TEST

/* The same six with a device that has no topk. */
START_TEST(engine_gives_the_same_tokens_from_the_largest_logits_as_from_all)
{
    struct engine_stats s;
    engine_start(N_REQ, 32, 32, 8);
    alone_run();
    engine_stats(engine, &s);
    ck_assert_uint_gt(s.head.n_top, 0);
    ck_assert_uint_gt(s.head.n_full, 0);
    ck_assert_uint_eq(s.head.n_top + s.head.n_full, s.n_new_tok);
    ck_assert_uint_eq(s.head.n_exact, s.head.n_top * rig.model->hp.n_vocab);
    const uint64_t n_top = s.head.n_top;            /* the forward pass counts on */
    engine_stop();
    struct dev *d = rig.f->state->weights.head->dev;
    const bnp_linear_ops *theirs = d->linear;
    bnp_linear_ops without = *theirs;
    without.topk = NULL;
    d->linear = &without;
    engine_start(N_REQ, 32, 32, 8);
    for (int i = 0; i < N_REQ; i++) {
        struct ask a;
        ask_kind(&a, i);
        ask_submit(&a);
        ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
        alone_check(&a, i);
        ask_close(&a);
    }
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.head.n_top, n_top);
    engine_stop();
    d->linear = theirs;
    alone_close();
}
END_TEST

START_TEST(engine_refuses_when_the_queue_is_full)
{
    struct ask a[4];
    struct err e = { 0 };
    engine_start(1, 32, 32, 2);
    for (int i = 0; i < 4; i++)
        ask_open(&a[i], "Once", 80);
    for (int i = 0; i < 3; i++)
        ask_submit(&a[i]);
    ck_assert_int_eq(engine_submit(engine, &a[3].r, &e), ERR_LIMIT);
    for (int i = 0; i < 3; i++)
        engine_cancel(engine, &a[i].r);
    for (int i = 0; i < 3; i++)
        ask_wait(&a[i]);
    ck_assert_int_eq(engine_submit(engine, &a[3].r, &e), 0);   /* there is room again */
    engine_cancel(engine, &a[3].r);
    ask_wait(&a[3]);
    for (int i = 0; i < 4; i++)
        ask_close(&a[i]);
}
END_TEST

START_TEST(engine_refuses_what_can_never_run)
{
    struct ask a;
    struct err e = { 0 };
    int32_t many[N_CTX + 1] = { 0 };
    engine_start(2, 32, 32, 8);
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
    engine_start(1, 32, 32, 8);
    ck_assert_uint_eq(engine_n_ctx(engine), N_CTX);
    ask_open(&a, "Once", N_CTX);
    uint32_t n = a.r.n_prompt;
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ck_assert_uint_eq(a.n_got, N_CTX - n);
    ask_close(&a);
    int32_t longest[N_CTX - 1];                     /* room for one more */
    for (int i = 0; i < N_CTX - 1; i++)
        longest[i] = 300 + i;
    ask_open(&a, "Once", 4);
    a.r.prompt = longest;
    a.r.n_prompt = N_CTX - 1;
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ck_assert_uint_eq(a.n_got, 1);
    ask_close(&a);
}
END_TEST

START_TEST(engine_context_is_what_the_pages_hold)
{
    house_close();
    house_open(N_CTX, 40);                          /* three pages of 16 for all */
    engine_start(N_REQ, 32, 32, 20);
    uint32_t n_ctx = rig.f->kv.n_page * rig.f->kv.page_tok;
    ck_assert_uint_lt(n_ctx, N_CTX);
    ck_assert_uint_eq(engine_n_ctx(engine), n_ctx);
    struct ask a[8];
    for (int i = 0; i < 8; i++) {                   /* they take turns */
        ask_open(&a[i], "Once upon a time", i % 2 ? 8 : 20);
        ask_submit(&a[i]);
    }
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
        ck_assert_int_eq(memcmp(a[i].got, a[0].got, a[i].n_got * sizeof *a[i].got), 0);
        ask_close(&a[i]);
    }
}
END_TEST

/* Submits ten short requests one after the other, some cancelled at once. */
static void *customer(void *arg)
{
    int *failed = arg;
    for (int i = 0; i < 10; i++) {
        struct ask a;
        ask_open(&a, "x", 2);
        ask_submit(&a);
        if (i % 4 == 3)
            engine_cancel(engine, &a.r);
        enum finish f = ask_wait(&a);
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
    engine_start(3, 8, 8, 8);
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
    engine_start(1, 32, 4, 8);
    ask_open(&a, "Once upon a time", 5);
    uint32_t n = a.r.n_prompt;
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ask_close(&a);                                  /* the last wake is over */
    ck_assert_uint_eq(atomic_load(&a.n_wake), 5);   /* one for each step with news */
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_prompt_tok, n);
    ck_assert_uint_eq(s.n_new_tok, 5);
    ck_assert_uint_eq(s.n_step, (n + 3) / 4 + 4);
    ck_assert_uint_eq(s.n_done, 1);
    ck_assert_uint_eq(s.n_finish[FINISH_LENGTH], 1);
    ck_assert_uint_eq(s.kv_page_all, rig.f->kv.n_page);
    ck_assert_uint_gt(a.r.prefill_us + a.r.decode_us, 0);
}
END_TEST

static uint64_t counted(const struct hist *h)
{
    struct hist_view v;
    hist_look(h, &v);
    return v.below[v.n_bound];
}

START_TEST(engine_measures_requests_tokens_and_steps)
{
    struct ask a[3];
    struct hist_view v;
    engine_start(2, 32, 4, 8);
    for (int i = 0; i < 3; i++) {
        ask_open(&a[i], "Once upon a time", 5);
        ask_submit(&a[i]);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
        ask_close(&a[i]);
    }
    struct engine_stats s;
    engine_stats(engine, &s);
    const struct engine_hists *h = engine_hists(engine);
    ck_assert_uint_eq(counted(&h->queue), 3);
    ck_assert_uint_eq(counted(&h->first_token), 3);
    ck_assert_uint_eq(counted(&h->inter_token), 3 * 4);
    ck_assert_uint_eq(counted(&h->whole), 3);
    ck_assert_uint_eq(counted(&h->step), s.n_step);
    hist_look(&h->step_row, &v);
    ck_assert_uint_eq(v.below[v.n_bound], s.n_step);
    ck_assert_uint_eq(v.sum, s.n_prompt_tok + 3 * 4);
    hist_look(&h->step_seq, &v);
    ck_assert_uint_eq(v.below[v.n_bound], v.below[1]);      /* never more than two */
    ck_assert_uint_gt(v.sum, s.n_step);
}
END_TEST

START_TEST(engine_that_stands_still_is_seen)
{
    char where[256];
    struct ask a;
    engine_start(1, 32, 4, 8);
    ask_open(&a, "Once upon a time", 5);
    atomic_store(&bend_hold, true);
    ask_submit(&a);
    while (!atomic_load(&bend_held) || engine_stalled_us(engine, where) < 20000)
        nap();
    ck_assert_str_eq(where, "call under way: none; step of 4 rows, 1 sequences");
    atomic_store(&bend_hold, false);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ask_close(&a);
    while (engine_stalled_us(engine, where))        /* nothing to do is no stall */
        nap();
}
END_TEST

START_TEST(engine_steps_allocate_nothing)
{
    struct ask a, b, c;
    engine_start(3, 32, 32, 8);
    ask_open(&a, "Once upon a time there was a bear", 40);
    ask_open(&b, "The", 30);
    ask_open(&c, "The bear and the fox went to the house.", 1);
    a.r.sample = (struct sample_params)SAMPLE_DEFAULT;
    a.r.want_logprob = a.r.prompt_logprob = true;
    a.r.n_top_logprob = REQUEST_MAX_TOP;
    b.r.n_draft = REQUEST_MAX_DRAFT;
    c.r.kind = REQUEST_EMBED;
    c.r.embed_mean = true;
    b.r.sample = (struct sample_params){ .temperature = 1, .top_p = 1, .typical_p = 1,
                                             .repeat_penalty = 1.1f, .repeat_last_n = 64,
                                             .seed = 1 };
    atomic_store(&bend_hold, true);
    ask_submit(&a);
    ask_submit(&b);
    ask_submit(&c);
    while (!atomic_load(&bend_held))                     /* its thread has made itself ready */
        nap();
    unsigned long before = alloc_count();
    atomic_store(&bend_hold, false);
    while (!ask_drain(&a) || !ask_drain(&b) || !ask_drain(&c))
        nap();
    ck_assert_uint_eq(alloc_count(), before);
    ck_assert_uint_eq(a.n_got + b.n_got, 70);
    ask_close(&a);
    ask_close(&b);
    ask_close(&c);
    free(malloc(1));
    ck_assert_uint_gt(alloc_count(), before);       /* the count counts */
}
END_TEST

START_TEST(engine_reply_stops_at_a_text)
{
    struct ask a, b;
    struct buf all = { 0 }, cut = { 0 };
    struct err e = { 0 };
    engine_start(1, 32, 32, 8);
    ask_open(&a, "Once upon a time", 40);
    ask_submit(&a);
    ask_wait(&a);
    for (uint32_t i = 0; i < a.n_got; i++)
        vocab_piece(rig.model->vocab, a.got[i], false, &all);
    ck_assert_uint_gt(all.n, 30);
    const struct str stop = { all.p + 20, 5 };      /* bytes 20 to 24 of the text */
    const char *first = memmem(all.p, all.n, stop.p, stop.n);
    ask_open(&b, "Once upon a time", 40);
    struct reply y;
    ck_assert_msg(!reply_open(&y, engine, &b.r, rig.model->vocab, &stop, 1, &e), "%s", e.text);
    ask_submit(&b);
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

#define CONF(seq, rows, chunk, queue) \
    { .max_seq = seq, .row_budget = rows, .prefill_chunk = chunk, .max_queue = queue }

START_TEST(engine_refuses_a_bad_configuration)
{
    static const struct engine_conf bad[] = {
        CONF(0, 8, 8, 8), CONF(N_REQ + 1, 32, 8, 8), CONF(4, 3, 8, 8), CONF(4, 33, 8, 8),
        CONF(4, 8, 0, 8), CONF(4, 8, 8, UINT32_MAX)
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
    tcase_add_test(t, engine_gives_the_same_tokens_from_the_largest_logits_as_from_all);
    tcase_add_test(t, engine_refuses_when_the_queue_is_full);
    tcase_add_test(t, engine_refuses_what_can_never_run);
    tcase_add_test(t, engine_fills_the_context_and_stops);
    tcase_add_test(t, engine_context_is_what_the_pages_hold);
    tcase_add_test(t, engine_serves_many_short_requests_from_many_threads);
    tcase_add_test(t, engine_counts_and_wakes);
    tcase_add_test(t, engine_measures_requests_tokens_and_steps);
    tcase_add_test(t, engine_that_stands_still_is_seen);
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
