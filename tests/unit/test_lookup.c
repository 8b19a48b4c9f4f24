/* test_lookup.c - guesses from the text, and that an answer does not depend on
 * them, on the real model. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/lookup.h"
#include "tests/unit/ask.h"

enum { CTX = 256 };

/* ------------------------------------------------------------ guesses alone */

#define GUESS(want, n_out, ...) \
    do { \
        const int32_t id_[] = { __VA_ARGS__ }, want_[n_out] = want; \
        int32_t out_[n_out]; \
        ck_assert_uint_eq(lookup_guess(id_, sizeof id_ / sizeof *id_, n_out, out_), n_out); \
        ck_assert_mem_eq(out_, want_, sizeof want_); \
    } while (0)
#define IDS(...) { __VA_ARGS__ }

START_TEST(lookup_takes_what_stood_behind_the_same_tokens)
{
    GUESS(IDS(3, 4), 2, 1, 2, 3, 4, 9, 1, 2);
    GUESS(IDS(7, 9, 1), 3, 1, 2, 3, 4, 9, 1, 2, 7, 9, 1, 2);       /* the latest of equals */
    GUESS(IDS(5), 1, 8, 1, 2, 5, 6, 1, 2, 7, 8, 1, 2);             /* three agree before two */
    GUESS(IDS(5), 1, 9, 8, 1, 2, 5, 6, 9, 8, 1, 2);
    /* Four agree at both: the fifth, which agrees at the first alone, is not asked. */
    GUESS(IDS(6), 1, 7, 9, 8, 1, 2, 5, 0, 9, 8, 1, 2, 6, 7, 9, 8, 1, 2);
}
END_TEST

START_TEST(lookup_goes_on_with_what_repeats_at_a_short_distance)
{
    GUESS(IDS(5, 5, 5, 5), 4, 5, 5, 5);
    GUESS(IDS(1, 2, 3, 1, 2), 5, 1, 2, 3, 1, 2, 3);
    int32_t id[16] = { 1, 2, 1, 2, 1 };                            /* in place */
    ck_assert_uint_eq(lookup_guess(id, 5, 11, id + 5), 11);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(id[i], 1 + i % 2);
}
END_TEST

START_TEST(lookup_needs_two_tokens_that_agree)
{
    const int32_t id[] = { 1, 2, 3, 2, 4, 9, 4, 1 };
    int32_t out[4];
    for (uint32_t n = 0; n <= 8; n++)
        ck_assert_uint_eq(lookup_guess(id, n, 4, out), 0);
    ck_assert_uint_eq(lookup_guess((int32_t[]){ 1, 1 }, 2, 4, out), 0);
    ck_assert_uint_eq(lookup_guess((int32_t[]){ 1, 2, 3, 1, 2 }, 5, 0, out), 0);
}
END_TEST

START_TEST(lookup_bets_more_on_what_was_right)
{
    struct lookup l = { 0 };
    ck_assert_uint_eq(lookup_bet(&l, 16), 2);
    lookup_learn(&l, 2, 2);
    ck_assert_uint_eq(lookup_bet(&l, 16), 4);
    ck_assert_uint_eq(lookup_bet(&l, 3), 3);
    lookup_learn(&l, 3, 3);
    ck_assert_uint_eq(lookup_bet(&l, 16), 6);
    lookup_learn(&l, 6, 2);
    ck_assert_uint_eq(lookup_bet(&l, 16), 3);
    for (int i = 0; i < 40; i++)
        lookup_learn(&l, 16, 16);
    ck_assert_uint_eq(lookup_bet(&l, 16), 16);
}
END_TEST

/* Never right: a row in every LOOKUP_WAIT tokens or so; right once: at once again. */
START_TEST(lookup_waits_when_it_was_wrong)
{
    struct lookup l = { 0 };
    uint32_t rows = 0;
    for (int i = 0; i < 1000; i++) {
        const uint32_t n = lookup_bet(&l, 16);
        rows += n;
        if (n)
            lookup_learn(&l, n, 0);
    }
    ck_assert_uint_gt(rows, 1000 / (LOOKUP_WAIT + 1) - 1);
    ck_assert_uint_lt(rows, 1000 / LOOKUP_WAIT + 8);
    while (!lookup_bet(&l, 16))
        ;
    lookup_learn(&l, 1, 1);
    ck_assert_uint_eq(lookup_bet(&l, 16), 2);
    lookup_learn(&l, 2, 0);
    ck_assert_uint_eq(lookup_bet(&l, 16), 0);
    ck_assert_uint_eq(lookup_bet(&l, 16), 1);
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

static const char *const text[N_REQ] = {
    "Peter likes red apples. Peter likes red apples. Peter likes red apples. Peter likes",
    "The bear and the fox went to the house. The bear and the fox went to the house. The bear",
    "one two three one two three one two three one two",
    "Once upon a time",
    "a b a b a b a b a b",
    "The cat said: hello! The dog said: hello! The cat said: hello! The dog said:"
};
enum { NEW = 48 };

static struct sample_params kind(int i)
{
    static const struct sample_bias bias[] = { { 20, 3 }, { 30, -100 } };
    struct sample_params p = SAMPLE_GREEDY;
    if (i % 3 == 1)
        p = (struct sample_params)SAMPLE_DEFAULT;
    if (i % 3 == 2) {
        p = (struct sample_params)SAMPLE_DEFAULT;
        p.temperature = 0.3f;
        p.repeat_penalty = 1.05f;
        p.frequency_penalty = 0.05f;
        p.presence_penalty = 0.1f;
        p.typical_p = 0.95f;
        p.bias = bias;
        p.n_bias = i == 2 ? 2 : 0;
    }
    p.seed = (uint64_t)i;
    return p;
}

static void open_one(struct ask *a, int i, int kind_of, uint32_t n_draft)
{
    ask_open(a, text[i], NEW);
    a->r.sample = kind(kind_of);
    a->r.n_draft = n_draft;
}

/* All six at once; got[i] is what request i said. Returns right guesses. */
static uint64_t ask_six(int shift, uint32_t n_draft, bool logprobs, int32_t got[N_REQ][NEW])
{
    struct ask a[N_REQ];
    struct engine_stats s;
    engine_stats(engine, &s);
    const uint64_t all = s.n_draft_all, ok = s.n_draft_ok, tok = s.n_new_tok;
    uint64_t sum_all = 0, sum_ok = 0;
    for (int i = 0; i < N_REQ; i++) {
        open_one(&a[i], i, i + shift, n_draft);
        a[i].r.want_logprob = logprobs;
        ask_submit(&a[i]);
    }
    for (int i = 0; i < N_REQ; i++) {
        ck_assert_int_eq(ask_wait(&a[i]), FINISH_LENGTH);
        ck_assert_uint_eq(a[i].n_got, NEW);
        memcpy(got[i], a[i].got, sizeof got[i]);
        for (int j = 0; logprobs && j < NEW; j++)
            ck_assert_int_eq(a[i].r.logprob[j].id, got[i][j]);
        ck_assert_uint_le(a[i].r.n_draft_ok, a[i].r.n_draft_all);
        sum_all += a[i].r.n_draft_all;
        sum_ok += a[i].r.n_draft_ok;
        ask_close(&a[i]);
    }
    engine_stats(engine, &s);
    ck_assert_uint_eq(s.n_draft_all - all, sum_all);
    ck_assert_uint_eq(s.n_draft_ok - ok, sum_ok);
    ck_assert_uint_eq(s.n_new_tok - tok, N_REQ * NEW);
    ck_assert(n_draft || !sum_all);
    return sum_ok;
}

START_TEST(engine_answers_the_same_with_guesses)
{
    static int32_t want[3][N_REQ][NEW], got[N_REQ][NEW];
    static const uint32_t drafts[] = { 1, 4, 16 };
    engine_start(1, 32, 32, 8);                       /* one after the other */
    for (int shift = 0; shift < 3; shift++)
        ask_six(shift, 0, false, want[shift]);
    engine_stop();
    for (unsigned d = 0; d < 3; d++) {
        engine_start(d ? N_REQ : 1, d == 1 ? 9 : 32, d == 2 ? 5 : 32, 8);
        for (int shift = 0; shift < 3; shift++) {
            const uint64_t ok = ask_six(shift, drafts[d], d == 1, got);
            ck_assert_uint_gt(ok, 0);
            ck_assert_mem_eq(got, want[shift], sizeof got);
        }
        engine_stop();
    }
}
END_TEST

START_TEST(engine_needs_fewer_steps_with_guesses)
{
    struct engine_stats s;
    uint64_t n_step[2];
    for (uint32_t d = 0; d < 2; d++) {
        struct ask a;
        engine_start(1, 32, 32, 8);
        open_one(&a, 0, 0, d * 8);
        ask_submit(&a);
        ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
        ask_close(&a);
        engine_stats(engine, &s);
        n_step[d] = s.n_step;
        engine_stop();
    }
    ck_assert_uint_eq(n_step[0], NEW);
    ck_assert_msg(n_step[1] * 2 < n_step[0], "%u steps with guesses, %u without",
                  (unsigned)n_step[1], (unsigned)n_step[0]);
}
END_TEST

/* The configuration's number is for those who ask for none. */
START_TEST(engine_guesses_as_configured)
{
    const struct engine_conf c = { .max_seq = 2, .row_budget = 32, .prefill_chunk = 32,
                                   .max_queue = 2, .n_draft = 8 };
    struct ask a, b;
    struct err e = { 0 };
    engine_start_conf(&c);
    open_one(&a, 0, 0, REQUEST_DRAFT_CONF);
    open_one(&b, 0, 0, 0);
    ask_submit(&a);
    ask_submit(&b);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ck_assert_int_eq(ask_wait(&b), FINISH_LENGTH);
    ck_assert_uint_gt(a.r.n_draft_ok, 0);
    ck_assert_uint_eq(b.r.n_draft_all, 0);
    ck_assert_mem_eq(a.got, b.got, NEW * sizeof *a.got);
    ask_close(&a);
    ask_close(&b);
    open_one(&a, 0, 0, REQUEST_MAX_DRAFT + 1);
    ck_assert_int_eq(engine_submit(engine, &a.r, &e), ERR_ARG);
    ask_close(&a);
}
END_TEST

/* Ten pages, and six sequences of three each: guesses take none from anybody,
 * those who lose theirs read again. */
START_TEST(engine_guesses_when_pages_are_short)
{
    static int32_t want[N_REQ][NEW], got[N_REQ][NEW];
    struct engine_stats s;
    engine_start(1, 32, 32, 8);
    ask_six(0, 0, false, want);
    engine_stop();
    house_close();
    house_open_fast(CTX, 320);
    for (int cache = 0; cache < 2; cache++) {
        const struct engine_conf c = { .max_seq = N_REQ, .row_budget = 32, .prefill_chunk = 32,
                                       .max_queue = 8, .prefix_cache = cache };
        engine_start_conf(&c);
        const uint64_t ok = ask_six(0, 16, false, got);
        ck_assert_mem_eq(got, want, sizeof got);
        ck_assert_uint_gt(ok, 0);
        engine_stats(engine, &s);
        ck_assert_uint_gt(s.n_preempt, 0);
        engine_stop();
    }
}
END_TEST

/* A guess may not run past the end that the request set, or past the context. */
START_TEST(engine_guesses_end_where_the_request_ends)
{
    for (uint32_t max_new = 1; max_new < 12; max_new++) {
        struct ask a, b;
        engine_start(2, 32, 32, 8);
        open_one(&a, 0, 0, 16);
        open_one(&b, 0, 0, 0);
        a.r.max_new = b.r.max_new = max_new;
        ask_submit(&a);
        ask_submit(&b);
        ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
        ck_assert_int_eq(ask_wait(&b), FINISH_LENGTH);
        ck_assert_uint_eq(a.n_got, max_new);
        ck_assert_mem_eq(a.got, b.got, max_new * sizeof *a.got);
        ask_close(&a);
        ask_close(&b);
        engine_stop();
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lookup");
    TCase *t = tcase_create("lookup");
    tcase_add_test(t, lookup_takes_what_stood_behind_the_same_tokens);
    tcase_add_test(t, lookup_goes_on_with_what_repeats_at_a_short_distance);
    tcase_add_test(t, lookup_needs_two_tokens_that_agree);
    tcase_add_test(t, lookup_bets_more_on_what_was_right);
    tcase_add_test(t, lookup_waits_when_it_was_wrong);
    suite_add_tcase(s, t);
    t = tcase_create("engine");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, engine_answers_the_same_with_guesses);
    tcase_add_test(t, engine_needs_fewer_steps_with_guesses);
    tcase_add_test(t, engine_guesses_as_configured);
    tcase_add_test(t, engine_guesses_when_pages_are_short);
    tcase_add_test(t, engine_guesses_end_where_the_request_ends);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
