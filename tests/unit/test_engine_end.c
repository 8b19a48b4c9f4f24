/* test_engine_end.c - how requests end: by luck, by choice, by error. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/ask.h"

static void setup(void)
{
    house_open(N_CTX, 0);
}

static void teardown(void)
{
    house_close();
}

START_TEST(engine_error_hurts_only_the_guilty)
{
    struct ask a[N_REQ];
    engine_start(N_REQ, 32, 32, 8);
    alone_run();
    const int guilty = 4;               /* the last token of its prompt is its own */
    atomic_store(&bend_poison_code, ERR_NUMERIC);
    atomic_store(&bend_hold, true);       /* they gather, and meet in one step */
    for (int i = 0; i < N_REQ; i++) {
        ask_kind(&a[i], i);
        if (i == guilty)
            a[i].prompt.id[a[i].prompt.n - 1] = 2000;
        ask_submit(&a[i]);
    }
    atomic_store(&bend_poison_id, 2000);
    atomic_store(&bend_hold, false);
    for (int i = 0; i < N_REQ; i++) {
        enum finish f = ask_wait(&a[i]);
        if (i == guilty) {
            ck_assert_int_eq(f, FINISH_ERROR);
            ck_assert_int_eq(a[i].r.err.code, ERR_NUMERIC);
            ck_assert_str_eq(a[i].r.err.text, "poison");
            ck_assert_uint_eq(a[i].n_got, 0);
        } else {
            alone_check(&a[i], i);
        }
        ask_close(&a[i]);
    }
    ck_assert_int_eq(engine_fault(engine, NULL), 0);
    struct engine_stats s;
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_error, 1);
    alone_close();
}
END_TEST

START_TEST(engine_lost_device_is_a_fault)
{
    struct ask a[3];
    struct err e = { 0 };
    engine_start(2, 32, 32, 8);
    atomic_store(&bend_poison_code, ERR_DEVICE);
    for (int i = 0; i < 3; i++) {
        ask_kind(&a[i], i);
        a[i].prompt.id[1] = 2000;
        if (!i)
            atomic_store(&bend_hold, true);
        ask_submit(&a[i]);
    }
    atomic_store(&bend_poison_id, 2000);
    atomic_store(&bend_hold, false);
    for (int i = 0; i < 3; i++) {       /* the waiting one too */
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_ERROR);
        ck_assert_int_eq(a[i].r.err.code, ERR_DEVICE);
        ask_close(&a[i]);
    }
    ck_assert_int_eq(engine_fault(engine, &e), ERR_DEVICE);
    ck_assert_str_eq(e.text, "poison");
    unsigned runs = atomic_load(&bend_n_run);
    ask_kind(&a[0], 0);
    ck_assert_int_eq(engine_submit(engine, &a[0].r, &e), ERR_DEVICE);
    ask_close(&a[0]);
    engine_stop();
    ck_assert_uint_eq(atomic_load(&bend_n_run), runs);   /* nothing more went to it */
}
END_TEST

START_TEST(engine_nan_logit_is_an_error)
{
    struct ask a;
    engine_start(1, 32, 32, 8);
    atomic_store(&bend_nan, true);
    ask_kind(&a, 1);
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_ERROR);
    ck_assert_int_eq(a.r.err.code, ERR_NUMERIC);
    ask_close(&a);
}
END_TEST

START_TEST(engine_ends_at_an_end_of_generation_token)
{
    struct ask a;
    int32_t eos = vocab_eos(rig.model->vocab);
    ck_assert(vocab_is_eog(rig.model->vocab, eos));
    engine_start(1, 32, 32, 8);
    atomic_store(&bend_favourite, eos);
    ask_open(&a, "The bear", 4);
    a.r.ignore_eog = false;
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_STOP);
    ck_assert_uint_eq(a.n_got, 0);                  /* it is no part of the output */
    ask_close(&a);
    ask_open(&a, "The bear", 4);
    ask_submit(&a);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ck_assert_uint_eq(a.n_got, 4);
    ck_assert_int_eq(a.got[3], eos);
    ask_close(&a);
}
END_TEST

START_TEST(engine_ends_at_a_token_that_the_request_names)
{
    static const int32_t end[] = { 7, 1000 };
    struct ask a;
    engine_start(1, 32, 32, 8);
    atomic_store(&bend_favourite, end[1]);
    ck_assert(!vocab_is_eog(rig.model->vocab, end[1]));
    for (uint32_t n = 0; n <= 2; n++) {             /* only with both is it one of them */
        ask_open(&a, "The bear", 4);
        a.r.ignore_eog = false;
        a.r.end_id = end;
        a.r.n_end = n;
        ask_submit(&a);
        ck_assert_int_eq(ask_wait(&a), n == 2 ? FINISH_STOP : FINISH_LENGTH);
        ck_assert_uint_eq(a.n_got, n == 2 ? 0 : 4);
        ask_close(&a);
    }
}
END_TEST

START_TEST(engine_cancels_in_mid_way)
{
    struct ask a, b;
    struct engine_stats s;
    engine_start(2, 32, 32, 8);
    ask_open(&a, "Once", 80);
    ask_open(&b, "The bear", 10);
    ask_submit(&a);
    ask_submit(&b);
    ask_wait_tokens(&a, 2);
    engine_cancel(engine, &a.r);
    ck_assert_int_eq(ask_wait(&a), FINISH_CANCELLED);
    ck_assert_uint_ge(a.n_got, 2);
    ck_assert_uint_lt(a.n_got, 80);
    ck_assert_int_eq(ask_wait(&b), FINISH_LENGTH);
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
    engine_start(1, 32, 32, 8);
    ask_open(&a, "Once", 80);
    ask_open(&b, "The bear", 10);
    ask_submit(&a);
    ask_submit(&b);
    engine_cancel(engine, &b.r);
    ck_assert_int_eq(ask_wait(&b), FINISH_CANCELLED);
    ck_assert_uint_eq(b.n_got, 0);
    ck_assert_int_eq(atomic_load(&a.r.done), FINISH_NONE);
    engine_cancel(engine, &a.r);
    ck_assert_int_eq(ask_wait(&a), FINISH_CANCELLED);
    ask_close(&a);
    ask_close(&b);
}
END_TEST

START_TEST(engine_close_drains)
{
    struct ask a[4];
    engine_start(2, 32, 32, 8);
    for (int i = 0; i < 4; i++) {
        ask_open(&a[i], "The bear", 6);
        ask_submit(&a[i]);
    }
    engine_close(engine, 60000);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(atomic_load(&a[i].r.done), FINISH_LENGTH);
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
        ask_close(&a[i]);
    }
    engine_start(2, 32, 32, 8);
    for (int i = 0; i < 4; i++) {
        ask_open(&a[i], "The bear", 80);
        ask_submit(&a[i]);
    }
    engine_close(engine, 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(atomic_load(&a[i].r.done), FINISH_CANCELLED);
        if (i >= 2)                                 /* those who waited never ran */
            ck_assert_uint_eq(a[i].r.n_new, 0);
        ask_close(&a[i]);
    }
    engine = NULL;
    ck_assert_uint_eq(rig.f->kv.n_free, rig.f->kv.n_page);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine_end");
    TCase *t = tcase_create("engine_end");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, engine_error_hurts_only_the_guilty);
    tcase_add_test(t, engine_lost_device_is_a_fault);
    tcase_add_test(t, engine_nan_logit_is_an_error);
    tcase_add_test(t, engine_ends_at_an_end_of_generation_token);
    tcase_add_test(t, engine_ends_at_a_token_that_the_request_names);
    tcase_add_test(t, engine_cancels_in_mid_way);
    tcase_add_test(t, engine_cancels_who_still_waits);
    tcase_add_test(t, engine_close_drains);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
