/* test_logprob.c - what the model says about tokens: the function alone, and
 * through the engine, in every piece and company. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/logprob.h"
#include "tests/unit/ask.h"

enum { CTX = 256, NEW = 12, N_TOP = 5 };

/* ------------------------------------------------------------------ alone */

START_TEST(logprob_is_log_softmax)
{
    enum { N = 1000 };
    static float l[N];
    struct token_logprob t;
    long double sum = 0;
    for (int i = 0; i < N; i++)
        sum += expl((long double)(l[i] = (float)((i * 7919) % 1009) / 64 - 3));
    double whole = 0;
    for (int i = 0; i < N; i++) {
        ck_assert(logprob_of(l, N, i, 0, &t));
        const long double want = (long double)l[i] - logl(sum);
        ck_assert_msg(fabsl((long double)t.logprob - want) < 2e-6L, "token %d: %.9g, expected %.9Lg",
                      i, (double)t.logprob, want);
        ck_assert_int_eq(t.id, i);
        ck_assert_uint_eq(t.n_top, 0);
        whole += exp((double)t.logprob);
    }
    ck_assert_double_lt(fabs(whole - 1), 1e-6);
}
END_TEST

START_TEST(logprob_gives_the_largest_in_order)
{
    const float l[] = { 1, 3, -2, 3, 7, 1, -INFINITY };
    const int32_t order[] = { 4, 1, 3, 0, 5, 2, 6 };
    struct token_logprob t, one;
    for (uint32_t n = 0; n <= LOGPROB_MAX_TOP; n++) {
        ck_assert(logprob_of(l, 7, 2, n, &t));
        ck_assert_uint_eq(t.n_top, n < 7 ? n : 7);
        for (uint32_t i = 0; i < t.n_top; i++) {
            ck_assert_int_eq(t.top[i].id, order[i]);
            ck_assert(logprob_of(l, 7, order[i], 0, &one));
            ck_assert_mem_eq(&one.logprob, &t.top[i].logprob, sizeof one.logprob);
        }
    }
    ck_assert(t.top[6].logprob == -FLT_MAX);               /* a number all the same */
}
END_TEST

/* One bit off anywhere is another number for a client. */
START_TEST(logprob_bits_are_pinned)
{
    static float l[500];
    struct token_logprob t;
    for (uint32_t i = 0; i < 500; i++)
        l[i] = (float)((i * 7919u) % 1009u) / 128;         /* exact in binary32 */
    ck_assert(logprob_of(l, 500, 77, 1, &t));
    ck_assert_msg(t.logprob == -0x1.2eece2p+3f && t.top[0].logprob == -0x1.0a59c2p+2f,
                  "%a %a", (double)t.logprob, (double)t.top[0].logprob);
}
END_TEST

START_TEST(logprob_of_no_numbers_is_refused)
{
    const float bad[][3] = { { 0, NAN, 1 }, { 0, INFINITY, 1 },
                             { -INFINITY, -INFINITY, -INFINITY } };
    struct token_logprob t;
    for (unsigned i = 0; i < 3; i++)
        ck_assert(!logprob_of(bad[i], 3, 0, 2, &t));
}
END_TEST

/* ------------------------------------------------------------- in the engine */

static void setup(void)
{
    house_open_fast(CTX, 0);
}

static void teardown(void)
{
    house_close();
}

static void open_one(struct ask *a, int i)
{
    ask_kind(a, i);
    a->r.max_new = NEW - (uint32_t)i;
    a->r.want_logprob = a->r.prompt_logprob = true;
    a->r.n_top_logprob = N_TOP;
}

struct said {
    struct token_logprob prompt[128], drawn[NEW];
    uint32_t n_prompt, n;
};

static void close_one(struct ask *a, struct said *s)
{
    *s = (struct said){ .n_prompt = a->r.n_prompt, .n = a->n_got };
    ck_assert_uint_le(s->n_prompt, 128);
    memcpy(s->prompt, a->r.prompt_logprob_out, s->n_prompt * sizeof *s->prompt);
    memcpy(s->drawn, a->r.logprob, s->n * sizeof *s->drawn);
    for (uint32_t i = 0; i < s->n; i++)
        ck_assert_int_eq(s->drawn[i].id, a->got[i]);
    for (uint32_t i = 0; i < s->n_prompt; i++)
        ck_assert_int_eq(s->prompt[i].id, a->prompt.id[i]);
    ck_assert_uint_eq(s->prompt[0].n_top, 0);
    ck_assert(s->prompt[0].logprob == 0);
    ask_close(a);
}

/* From the logits of the forward pass, step by step, for itself. */
static void check_against_forward(const struct said *s)
{
    const uint32_t n_vocab = rig.model->hp.n_vocab, n = s->n_prompt + s->n;
    int32_t id[128 + NEW];
    struct rig r;
    float *logits = malloc((size_t)n * n_vocab * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    for (uint32_t i = 0; i < n; i++)
        id[i] = i < s->n_prompt ? s->prompt[i].id : s->drawn[i - s->n_prompt].id;
    rig_open(&r, &(struct rig_opts){ .n_ctx = CTX });
    rig_logits(&r, id, n, 0, logits);
    for (uint32_t i = 1; i < n; i++) {
        const struct token_logprob *t = i < s->n_prompt ? &s->prompt[i] : &s->drawn[i - s->n_prompt];
        const float *l = logits + (size_t)(i - 1) * n_vocab;
        struct token_logprob want;
        ck_assert(logprob_of(l, vocab_n(rig.model->vocab), id[i], N_TOP, &want));
        ck_assert_mem_eq(t, &want, sizeof want);
        ck_assert_uint_eq(t->n_top, N_TOP);
        for (uint32_t j = 0; j + 1 < N_TOP; j++)
            ck_assert(t->top[j].logprob >= t->top[j + 1].logprob);
    }
    rig_close(&r);
    free(logits);
}

START_TEST(engine_tells_what_the_model_says_of_every_token)
{
    static const uint32_t conf[][3] = { { N_REQ, 32, 32 }, { N_REQ, 7, 3 }, { 3, 16, 5 } };
    static struct said want[N_REQ], got;
    engine_start(N_REQ, 32, 32, 8);
    for (int i = 0; i < N_REQ; i++) {
        struct ask a, plain;
        open_one(&a, i);
        ask_kind(&plain, i);                       /* it changes no token */
        plain.r.max_new = a.r.max_new;
        ask_submit(&a);
        ask_submit(&plain);
        ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
        ck_assert_int_eq(ask_wait(&plain), FINISH_LENGTH);
        ck_assert_mem_eq(a.got, plain.got, plain.n_got * sizeof *a.got);
        ask_close(&plain);
        close_one(&a, &want[i]);
        check_against_forward(&want[i]);
    }
    engine_stop();
    for (unsigned c = 0; c < 3; c++) {
        struct ask a[N_REQ];
        const struct engine_conf ec = { .max_seq = conf[c][0], .row_budget = conf[c][1],
                                        .prefill_chunk = conf[c][2], .max_queue = 8,
                                        .prefix_cache = true };
        engine_start_conf(&ec);
        for (int i = 0; i < N_REQ; i++) {
            open_one(&a[i], i);
            a[i].r.n_draft = c == 0 ? 4 : 0;
            ask_submit(&a[i]);
        }
        for (int i = 0; i < N_REQ; i++) {
            ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
            close_one(&a[i], &got);
            ck_assert_mem_eq(&got, &want[i], sizeof got);
        }
        engine_stop();
    }
}
END_TEST

/* A token that can be popped has its probability already. */
START_TEST(engine_has_the_probability_of_a_token_that_is_there)
{
    struct ask a;
    uint32_t n = 0, id;
    engine_start(1, 32, 32, 8);
    ask_open(&a, "Once upon a time", 60);
    a.r.want_logprob = true;
    ask_submit(&a);
    while (n < 60)
        for (; ring_pop(&a.r.out, &id); n++) {
            ck_assert_int_eq(a.r.logprob[n].id, (int32_t)id);
            ck_assert(a.r.logprob[n].logprob < 0);
        }
    while (!atomic_load(&a.r.done))
        nap();
    ask_close(&a);
}
END_TEST

/* A prompt that loses its pages half-way tells the same when it is read again. */
START_TEST(engine_tells_the_same_after_preemption)
{
    static struct said want, got;
    struct engine_stats s;
    struct ask a, other;
    for (int again = 0; again < 2; again++) {
        engine_start(N_REQ, 32, again ? 1 : 32, 8);
        ask_open(&a, ASK_LONG, NEW);
        a.r.want_logprob = a.r.prompt_logprob = true;
        a.r.n_top_logprob = N_TOP;
        a.r.priority = PRIORITY_LOW;
        atomic_store(&bend_hold, again);          /* until both are there */
        ask_submit(&a);
        if (again) {
            ask_open(&other, "The bear", 80);
            ask_submit(&other);
            atomic_store(&bend_hold, false);
            ck_assert_int_eq(ask_wait(&other), FINISH_LENGTH);
            ask_close(&other);
        }
        ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
        close_one(&a, again ? &got : &want);
        engine_stats(engine, &s);
        ck_assert_int_eq(s.n_preempt > 0, again);
        engine_stop();
        house_close();
        house_open_fast(CTX, 160);                /* five pages */
    }
    ck_assert_mem_eq(&got, &want, sizeof got);
}
END_TEST

START_TEST(engine_refuses_more_than_it_tells)
{
    struct ask a;
    struct err e = { 0 };
    engine_start(1, 32, 32, 8);
    ask_open(&a, "Once", 4);
    a.r.want_logprob = true;
    a.r.n_top_logprob = REQUEST_MAX_TOP + 1;
    ck_assert_int_eq(engine_submit(engine, &a.r, &e), ERR_ARG);
    ck_assert_ptr_nonnull(strstr(e.text, "top_logprobs"));
    ask_close(&a);
    /* Memory: the first takes it all but for a little, and gives it back. */
    struct ask many[2];
    engine_stop();
    engine_start(1, 32, 32, 4000);
    static struct request r[4000];
    uint32_t n = 0;
    ask_open(&many[0], "Once", 1);
    for (; n < 4000; n++) {
        ck_assert_int_eq(request_open(&r[n], CTX), 0);
        r[n].prompt = many[0].prompt.id;
        r[n].n_prompt = many[0].r.n_prompt;
        r[n].sample = (struct sample_params)SAMPLE_GREEDY;
        r[n].want_logprob = true;
        if (engine_submit(engine, &r[n], &e))
            break;
    }
    ck_assert_uint_gt(n, 1000);
    ck_assert_uint_lt(n, 4000);
    ck_assert_int_eq(e.code, ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(e.text, "logprobs"));
    request_close(&r[n]);
    for (uint32_t i = 0; i < n; i++)
        engine_cancel(engine, &r[i]);
    for (uint32_t i = 0; i < n; i++) {
        while (!atomic_load(&r[i].done))
            nap();
        request_close(&r[i]);
    }
    ask_open(&many[1], "Once", 2);
    many[1].r.want_logprob = true;
    ask_submit(&many[1]);
    ck_assert_int_eq(ask_wait(&many[1]), FINISH_LENGTH);
    ask_close(&many[0]);
    ask_close(&many[1]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("logprob");
    TCase *t = tcase_create("logprob");
    tcase_add_test(t, logprob_is_log_softmax);
    tcase_add_test(t, logprob_gives_the_largest_in_order);
    tcase_add_test(t, logprob_bits_are_pinned);
    tcase_add_test(t, logprob_of_no_numbers_is_refused);
    suite_add_tcase(s, t);
    t = tcase_create("engine");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, engine_tells_what_the_model_says_of_every_token);
    tcase_add_test(t, engine_has_the_probability_of_a_token_that_is_there);
    tcase_add_test(t, engine_tells_the_same_after_preemption);
    tcase_add_test(t, engine_refuses_more_than_it_tells);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
