/* test_gen_grammar.c - compiled grammars are kept, and there are never too many. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/gen_grammar.h"
#include "grammar_rig.h"

static struct rig rig;
static struct gen_grammars *all;
static struct err e;
static bool busy;

static void open_all(unsigned max)
{
    rig_open(&rig, false);
    ck_assert_int_eq(gen_grammars_open(&all, rig.vocab, NULL, max, &e), 0);
}

static void close_all(void)
{
    gen_grammars_close(all);
    rig_close(&rig);
}

static struct grammar *get(const char *gbnf)
{
    struct grammar *g = NULL;
    const int rc = gen_grammars_get(all, gbnf, strlen(gbnf), &g, &busy, &e);
    ck_assert(!rc == (g != NULL));
    return g;
}

START_TEST(grammars_of_one_text_are_one)
{
    open_all(2);
    struct grammar *a = get("root ::= \"a\""), *b = get("root ::= \"a\"");
    ck_assert_ptr_eq(a, b);
    grammar_unref(a);
    grammar_unref(b);
    struct grammar *c = get("root ::= \"a\"");
    ck_assert_ptr_eq(a, c);       /* kept while nobody used it */
    grammar_unref(c);
    close_all();
}
END_TEST

START_TEST(grammars_in_use_are_not_more_than_allowed)
{
    open_all(2);
    struct grammar *a = get("root ::= \"a\""), *b = get("root ::= \"b\"");
    ck_assert(a && b && !get("root ::= \"c\"") && busy);
    ck_assert_ptr_nonnull(strstr(e.text, "server.max_grammars"));
    grammar_unref(a);
    struct grammar *c = get("root ::= \"c\"");
    ck_assert(c && !busy);
    ck_assert(!get("root ::= \"a\"") && busy);    /* it made room for c */
    grammar_unref(b);
    grammar_unref(c);
    close_all();
}
END_TEST

START_TEST(grammars_that_are_wrong_take_no_place)
{
    open_all(1);
    for (int i = 0; i < 3; i++)
        ck_assert(!get("root ::= nobody") && !busy);
    struct grammar *a = get("root ::= \"a\"");
    ck_assert_ptr_nonnull(a);
    grammar_unref(a);
    close_all();
}
END_TEST

static void *ask(void *seed)
{
    uint64_t s = (uint64_t)(uintptr_t)seed;
    for (int i = 0; i < 200; i++) {
        char text[] = "root ::= \"a\"";
        struct err mine = { 0 };
        struct grammar *g = NULL;
        bool full = false;
        text[10] = (char)('a' + noise_next(&s) % 6);
        const int rc = gen_grammars_get(all, text, strlen(text), &g, &full, &mine);
        ck_assert(rc ? full && !g : g != NULL);
        if (g)
            ck_assert_int_eq(rig_read(&rig, g, text + 10, 1), 1);
        grammar_unref(g);
    }
    return NULL;
}

START_TEST(grammars_are_shared_by_threads)
{
    pthread_t t[3];
    open_all(3);
    for (uintptr_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, ask, (void *)(i + 1)), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    close_all();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("gen_grammar");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, grammars_of_one_text_are_one);
    tcase_add_test(t, grammars_in_use_are_not_more_than_allowed);
    tcase_add_test(t, grammars_that_are_wrong_take_no_place);
    tcase_add_test(t, grammars_are_shared_by_threads);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
