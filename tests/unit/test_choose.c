/* test_choose.c - drawing under a grammar, on the real model: the text is of the
 * grammar, and the same whichever logits a step gave. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/engine/forward_parts.h"
#include "core/engine/grammar.h"
#include "core/engine/reply.h"
#include "tests/unit/ask.h"

enum { CTX = 256, NEW = 60 };

static struct grammar_vocab *words;

static void open_with(uint32_t kv_tok)
{
    struct err e = { 0 };
    house_open_fast(CTX, kv_tok);
    ck_assert_msg(!grammar_vocab_open(&words, rig.model->vocab, NULL, 0, &e), "%s", e.text);
}

static void setup(void)
{
    open_with(0);
}

static void teardown(void)
{
    grammar_vocab_unref(words);
    house_close();
}

static struct grammar *compile(const char *gbnf)
{
    struct grammar *g;
    struct err e = { 0 };
    ck_assert_msg(!grammar_compile(&g, words, gbnf, strlen(gbnf), &e), "%s", e.text);
    return g;
}

static char *text_of(const struct ask *a)
{
    struct buf b = { 0 };
    struct detok d = { .started = reply_follows_text(&a->r, rig.model->vocab) };
    for (uint32_t i = 0; i < a->n_got; i++)
        detok_feed(rig.model->vocab, &d, a->got[i], false, &b);
    detok_finish(&d, &b);
    buf_add(&b, "", 1);
    ck_assert(!b.failed);
    return b.p;
}

static const char list[] =
    "root ::= \"[\" item (\",\" item){3,8} \"]\"\n"
    "item ::= \"\\\"\" [a-z ]{1,14} \"\\\"\" | [0-9]{1,3}\n";

/* Whole: its end; otherwise a beginning of one. */
static bool is_list(const char *t, bool whole)
{
    if (*t++ != '[')
        return !*--t && !whole;
    for (;;) {
        if (*t == '"') {
            const size_t n = strspn(++t, "abcdefghijklmnopqrstuvwxyz ");
            t += n;
            if (!*t)
                return !whole;
            if (!n || *t++ != '"')
                return false;
        } else {
            const size_t n = strspn(t, "0123456789");
            t += n;
            if (!*t)
                return !whole;
            if (!n)
                return false;
        }
        if (!*t)
            return !whole;
        if (*t == ']')
            return !t[1];
        if (*t++ != ',')
            return false;
    }
}

static struct sample_params kind(int i)
{
    struct sample_params p = SAMPLE_GREEDY;
    if (i % 4)
        p = (struct sample_params)SAMPLE_DEFAULT;
    if (i % 4 == 2)
        p.top_k = 3;
    if (i % 4 == 3) {
        p.temperature = 2;
        p.top_k = 0;
        p.min_p = 0;
        p.top_p = 1;
    }
    p.frequency_penalty = i % 4 == 0 ? 0.3f : 0;
    p.seed = (uint64_t)i;
    return p;
}

enum { N_KIND = 12 };

static void ask_list(struct grammar *g, int i, uint32_t n_draft, bool logprob, struct ask *a)
{
    ask_open(a, "Tell me some words: ", NEW);
    a->r.sample = kind(i);
    a->r.grammar = g;
    a->r.n_draft = n_draft;
    a->r.want_logprob = logprob;
    ask_submit(a);
}

static void check_list(struct ask *a)
{
    const enum finish why = ask_wait(a);
    char *t = text_of(a);
    ck_assert_msg(why == FINISH_STOP || why == FINISH_LENGTH, "%s", a->r.err.text);
    ck_assert_msg(is_list(t, why == FINISH_STOP), "%s", t);
    free(t);
}

/* Draws from the largest logits, from all of them, and with guesses. */
START_TEST(engine_text_is_of_the_grammar_whatever_logits_are_there)
{
    struct grammar *g = compile(list);
    struct ask a[N_KIND], b, c, d;
    struct engine_stats s;
    unsigned n_stop = 0;
    engine_start(N_REQ, 32, 32, 16);
    for (int i = 0; i < N_KIND; i++)
        ask_list(g, i, 0, false, &a[i]);
    for (int i = 0; i < N_KIND; i++) {
        check_list(&a[i]);
        n_stop += atomic_load(&a[i].r.done) == FINISH_STOP;
    }
    ck_assert_uint_gt(n_stop, 0);
    engine_stats(engine, &s);
    ck_assert_uint_gt(s.head.n_top, 0);
    ck_assert_uint_gt(s.head.n_full, 0);
    for (int i = 0; i < N_KIND; i++) {
        ask_list(g, i, 0, true, &b);
        ask_list(g, i, 8, false, &c);
        ask_list(g, i, 8, true, &d);
        struct ask *const other[] = { &b, &c, &d };
        for (unsigned j = 0; j < 3; j++) {
            check_list(other[j]);
            ck_assert_int_eq(atomic_load(&other[j]->r.done), atomic_load(&a[i].r.done));
            ck_assert_uint_eq(other[j]->n_got, a[i].n_got);
            ck_assert_mem_eq(other[j]->got, a[i].got, a[i].n_got * sizeof *a[i].got);
            ask_close(other[j]);
        }
        ask_close(&a[i]);
    }
    grammar_unref(g);
}
END_TEST

/* What is forced is so unlikely that no step gives its logit among the largest;
 * a row is computed once more at most, and the end comes without a step. */
START_TEST(engine_says_what_the_grammar_forces)
{
    static const char *const what[] = { "zyxwvu", "!?!?{}", "y", "Q7" };
    engine_start(2, 32, 32, 8);
    for (unsigned i = 0; i < sizeof what / sizeof *what; i++) {
        char gbnf[64] = "root ::= \"";
        strcat(strcat(gbnf, what[i]), "\"");
        struct grammar *g = compile(gbnf);
        for (int k = 0; k < 4; k++) {
            struct ask a;
            ask_open(&a, "Once upon a time", NEW);
            a.r.sample = kind(k);
            a.r.grammar = g;
            ask_submit(&a);
            ck_assert_int_eq(ask_wait(&a), FINISH_STOP);
            char *t = text_of(&a);
            ck_assert_str_eq(t, what[i]);
            free(t);
            ask_close(&a);
        }
        grammar_unref(g);
    }
}
END_TEST

/* Nothing, and an end that only the grammar knows of. */
START_TEST(engine_ends_where_only_the_end_may_follow)
{
    static const char *const gbnf[] = { "root ::= \"\"", "root ::= \"a\"?" };
    engine_start(2, 32, 32, 8);
    for (unsigned i = 0; i < 2; i++) {
        struct grammar *g = compile(gbnf[i]);
        struct ask a;
        ask_open(&a, "Once upon a time", 5);
        a.r.grammar = g;
        ask_submit(&a);
        ck_assert_int_eq(ask_wait(&a), FINISH_STOP);
        ck_assert_uint_le(a.n_got, i);
        ask_close(&a);
        grammar_unref(g);
    }
}
END_TEST

/* Places in the grammar outlive lost pages. */
START_TEST(engine_keeps_the_place_in_the_grammar_when_pages_go)
{
    struct grammar *g = compile(list);
    static int32_t want[N_REQ][NEW];
    struct engine_stats s;
    struct ask a[N_REQ];
    engine_start(N_REQ, 32, 32, 16);
    for (int i = 0; i < N_REQ; i++) {
        ask_list(g, i, 0, false, &a[i]);
        check_list(&a[i]);
        memcpy(want[i], a[i].got, a[i].n_got * sizeof *a[i].got);
        ask_close(&a[i]);
    }
    engine_stop();
    grammar_unref(g);
    teardown();
    open_with(160);
    g = compile(list);
    engine_start(N_REQ, 32, 32, 16);
    for (int i = 0; i < N_REQ; i++)
        ask_list(g, i, 4, false, &a[i]);
    for (int i = 0; i < N_REQ; i++) {
        check_list(&a[i]);
        ck_assert_mem_eq(a[i].got, want[i], a[i].n_got * sizeof *a[i].got);
        ask_close(&a[i]);
    }
    engine_stats(engine, &s);
    ck_assert_uint_gt(s.n_preempt, 0);
    grammar_unref(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("choose");
    TCase *t = tcase_create("choose");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, engine_text_is_of_the_grammar_whatever_logits_are_there);
    tcase_add_test(t, engine_says_what_the_grammar_forces);
    tcase_add_test(t, engine_ends_where_only_the_end_may_follow);
    tcase_add_test(t, engine_keeps_the_place_in_the_grammar_when_pages_go);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
