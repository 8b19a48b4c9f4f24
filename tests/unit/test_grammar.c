/* test_grammar.c - what grammars let through. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "grammar_rig.h"

static struct rig rig, spm;
static struct err e;

static const struct {
    const char *gbnf, *yes[6], *no[6];
} texts[] = {
    { "root ::= \"abc\"", { "abc" }, { "", "ab", "abcd", "xbc" } },
    { "root ::= [a-c]+ | \"\\x41\\u00e4\\U0001F600\"", { "a", "cab", "A\xc3\xa4\xf0\x9f\x98\x80" },
      { "", "d", "A\xc3\xa4", "aA" } },
    { "root ::= [^a-y\\n]", { "z", "A", "\xc3\xa4", "\xf0\x9f\x98\x80", "\xed\x9f\xbf" },
      { "a", "\n", "\xff", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80" } },
    { "root ::= . . # two", { "a\n", "\xc3\xa4z", "\xe6\xbc\xa2\xe5\xad\x97" }, { "a", "abc" } },
    { "root ::= [\xc3\xa4-\xc3\xb6\xe6\xbc\xa2]{2}", { "\xc3\xa4\xc3\xb6", "\xe6\xbc\xa2\xc3\xa5" },
      { "\xc3\xa3\xc3\xa4", "\xc3\xb7\xc3\xa4", "\xe6\xbc\xa3\xc3\xa4" } },
    { "root ::= [\\U00000700-\\U00011234]", { "\xdc\x80", "\xe0\xa0\x80", "\xef\xbf\xbf",
      "\xf0\x91\x88\xb4" }, { "\xdb\xbf", "\xf0\x91\x88\xb5", "\xed\xb0\x80" } },
    { "root ::= \"a\"{2,4} \"b\"{2} \"c\"{1,} \"d\"{0,1} \"e\"{,2}", { "aabbc", "aaaabbccccdee" },
      { "abbc", "aaaaabbc", "aabc", "aabb", "aabbcdd", "aabbceee" } },
    { "root ::= \"a\"{0} \"b\"", { "b" }, { "a", "ab" } },
    { "root ::= (\"a\" | \"b\" (\"c\"\n | \"d\")?)* end\nend ::= \".\"\n  | \"!\"\n",
      { ".", "abcbd!", "b." }, { "c.", "ab", "..", "bcd." } },
    { "root ::= (\"\"*)* (\"a\"?)+ ", { "", "a", "aaa" }, { "b" } },
    { "root ::= \"x\" root | \"\"", { "", "x", "xxxxxx" }, { "y" } },
    { "root ::= \"(\" root \")\" | \"x\"", { "x", "((x))" }, { "(x", "()", "(x))" } },
    { "root ::= a | b\na ::= \"a\" a \"b\" | \"ab\"\nb ::= \"a\" b \"bb\" | \"abb\"",
      { "aabb", "aabbbb", "ab", "abb" }, { "aabbb", "aab" } },
    { "root ::= opt opt \"z\"\nopt ::= | \"y\"", { "z", "yz", "yyz" }, { "yyyz" } },
    { "my-rule_1 ::= \"a\"\r\nroot ::= my-rule_1 [-a\\]^\\\\]\r\n", { "a-", "aa", "a]", "a^", "a\\" },
      { "ab", "a" } },
};

START_TEST(grammar_lets_its_texts_through_and_no_others)
{
    struct grammar *const g = rig_compile(&rig, texts[_i].gbnf, &e);
    ck_assert_msg(g, "%s: %s", texts[_i].gbnf, e.text);
    for (int i = 0; i < 6 && texts[_i].yes[i]; i++) {
        const char *const t = texts[_i].yes[i];
        ck_assert_msg(rig_read(&rig, g, t, strlen(t)) == 1, "%s refuses %s", texts[_i].gbnf, t);
    }
    for (int i = 0; i < 6 && texts[_i].no[i]; i++) {
        const char *const t = texts[_i].no[i];
        ck_assert_msg(rig_read(&rig, g, t, strlen(t)) != 1, "%s takes %s", texts[_i].gbnf, t);
    }
    grammar_unref(g);
}
END_TEST

static const struct {
    const char *gbnf, *says;
} refused[] = {
    { "", "line 1, column 1: no rule is named root" },
    { "a ::= \"a\"", "no rule is named root" },
    { "root ::= x", "line 1, column 10: rule \"x\" is not defined" },
    { "root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: rule \"root\" is defined a second" },
    { "root ::= root \"a\" | \"a\"", "rule \"root\" begins with itself" },
    { "root ::= o b\no ::= \"x\"?\nb ::= o root | \"b\"", "begins with itself" },
    { "root ::= (b)*\nb ::= \"\" root?", "begins with itself" },
    { "root ::= \"a\" root", "rule \"root\" never comes to an end" },
    { "root ::= \"a\n\"", "line 1, column 12: the line ends inside a literal" },
    { "root ::= \"a", "the line ends inside a literal" },
    { "root ::= [a", "the line ends inside a character class" },
    { "root ::= []", "the class holds no character" },
    { "root ::= [^\\U00000000-\\U0010FFFF]", "the class holds no character" },
    { "root ::= [z-a]", "runs backwards" },
    { "root ::= \"\\q\"", "column 11: an unknown escape" },
    { "root ::= \"\\uD800\"", "no code point" },
    { "root ::= \"\\U00110000\"", "no code point" },
    { "root ::= \"\\x4\"", "2 hexadecimal digits" },
    { "root ::= \"\xff\"", "byte 0xFF is not UTF-8" },
    { "root ::= (\"a\"", "column 10: the parenthesis is never closed" },
    { "root ::= \"a\")", "expected a literal" },
    { "root := \"a\"", "column 6: expected ::=" },
    { "::= \"a\"", "column 1: expected the name of a rule" },
    { "root ::= \"a\"{3,2}", "at least 3 and at most 2" },
    { "root ::= \"a\"{x}", "expected a number" },
    { "root ::= \"a\"{1", "expected }" },
    { "root ::= \"a\"{99999999999}", "repetition of more than 65536" },
    { "root ::= \"abcdefgh\"{65536}", "too large once repetitions are written out" },
    { "root ::= (\"\"{65536}){65536}", "too large once repetitions are written out" },
    { "root ::= [a-zA-Z\xe4\xba\x80-\xe4\xba\x90]{65536}", "too large" },
};

START_TEST(grammar_error_has_a_place_and_a_reason)
{
    struct grammar *const g = rig_compile(&rig, refused[_i].gbnf, &e);
    ck_assert_msg(!g, "taken: %s", refused[_i].gbnf);
    ck_assert_msg(strstr(e.text, refused[_i].says), "%s: %s", refused[_i].gbnf, e.text);
    ck_assert(e.code == ERR_ARG || e.code == ERR_LIMIT);
}
END_TEST

static void fill(struct buf *b, const char *text, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_addf(b, "%s", text);
}

START_TEST(grammar_sizes_have_limits)
{
    struct buf b = { 0 };
    buf_addf(&b, "root ::= ");
    fill(&b, "(", GRAMMAR_MAX_NEST + 1);
    ck_assert_ptr_null(rig_compile(&rig, b.p, &e));
    ck_assert_int_eq(e.code, ERR_LIMIT);
    buf_clear(&b);
    buf_addf(&b, "root ::= \"a\"");
    fill(&b, "?", 100000);
    ck_assert_ptr_null(rig_compile(&rig, b.p, &e));
    ck_assert_int_eq(e.code, ERR_LIMIT);
    buf_clear(&b);
    fill(&b, "# long\n", GRAMMAR_MAX_TEXT / 7 + 1);
    ck_assert_ptr_null(rig_compile(&rig, b.p, &e));
    ck_assert_int_eq(e.code, ERR_LIMIT);
    buf_clear(&b);
    for (int i = 0; i <= GRAMMAR_MAX_RULE; i++)
        buf_addf(&b, "r%d ::= \"\"\n", i);
    ck_assert_ptr_null(rig_compile(&rig, b.p, &e));
    ck_assert_int_eq(e.code, ERR_LIMIT);
    buf_clear(&b);
    buf_addf(&b, "root ::= \"0\"");
    for (int i = 0; i < 3000; i++)
        buf_addf(&b, " | \"%d\"", i);
    ck_assert_ptr_null(rig_compile(&rig, b.p, &e));
    ck_assert_msg(strstr(e.text, "begin in more than"), "%s", e.text);
    buf_free(&b);
}
END_TEST

START_TEST(grammar_unused_rule_is_noted)
{
    struct grammar *g = rig_compile(&rig, "root ::= \"a\"\nlost ::= \"b\"", &e);
    ck_assert_msg(strstr(grammar_note(g), "line 2, column 1: rule \"lost\" is never used"), "%s",
                  grammar_note(g));
    grammar_unref(g);
    g = rig_compile(&rig, "root ::= \"a\" b\nb ::= \"b\"", &e);
    ck_assert_str_eq(grammar_note(g), "");
    grammar_unref(g);
}
END_TEST

static const char json[] =
    "root ::= object\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (pair (\",\" ws pair)*)? \"}\" ws\n"
    "pair ::= string \":\" ws value\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"
    "string ::= \"\\\"\" char* \"\\\"\" ws\n"
    "char ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-f]{4})\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,9}) (\".\" [0-9]{1,5})? ws\n"
    "ws ::= [ \\n]{0,3}\n";

static const char *const walked[] = {
    json,
    "root ::= [ab]{0,9} (\"a\" root \"a\" | \"ab\"?) [^z]{0,3}",
    "root ::= word (\" \" word)* \".\"?\nword ::= [a-z\\U000000e4]+ | \"12\" word? | .",
    "root ::= \"[\" (root (\",\" root)*)? \"]\" | \"name\" | \"null\" | [\\u4e00-\\u9fff]+",
};

/* What a token adds, one byte after the other, in a state that has read text. */
static bool reads(struct grammar *g, const struct buf *text, struct str more)
{
    struct buf all = { 0 };
    buf_add(&all, text->p, text->n);
    buf_add(&all, more.p, more.n);
    const int r = rig_read(&rig, g, all.p, all.n);
    buf_free(&all);
    return r >= 0;
}

START_TEST(grammar_mask_is_what_the_bytes_of_each_token_say)
{
    struct grammar *const g = rig_compile(&rig, walked[_i], &e);
    ck_assert_msg(g, "%s", e.text);
    struct grammar_state *s;
    uint64_t seed = 0x9e3779b97f4a7c15u;
    for (int walk = 0; walk < 6; walk++) {
        struct buf text = { 0 };
        ck_assert_int_eq(grammar_state_open(&s, g, &e), 0);
        for (int step = 0; step < 25; step++) {
            const uint32_t *const mask = grammar_mask(s);
            ck_assert_ptr_nonnull(mask);
            for (int32_t id = 0; id < (int32_t)vocab_n(rig.vocab); id++) {
                const struct str more = vocab_bytes(rig.vocab, id);
                const bool want = id == rig.end   ? rig_read(&rig, g, text.p, text.n) == 1
                                  : more.n == 0 ? false : reads(g, &text, more);
                ck_assert_msg(rig_has(mask, id) == want, "token %d after \"%s\"", id,
                              text.p ? text.p : "");
                ck_assert(grammar_allows(s, id) == want);
            }
            const int32_t id = rig_draw(&rig, mask, &seed, noise_next(&seed) % 4 == 0);
            if (id < 0)
                break;
            ck_assert_int_eq(grammar_accept(s, id, &e), 0);
            vocab_piece(rig.vocab, id, false, &text);
        }
        grammar_state_close(s);
        buf_free(&text);
    }
    grammar_unref(g);
}
END_TEST

START_TEST(grammar_end_is_offered_where_a_text_is_whole)
{
    struct grammar *const g = rig_compile(&rig, "root ::= \"a\" \"b\"?", &e);
    struct grammar_state *s;
    ck_assert_int_eq(grammar_state_open(&s, g, &e), 0);
    grammar_unref(g);                                  /* the state has its own */
    ck_assert(!grammar_allows(s, rig.end) && !rig_has(grammar_mask(s), rig.end));
    ck_assert(!grammar_allows(s, rig.control) && !grammar_allows(s, -1));
    ck_assert(!grammar_allows(s, (int32_t)vocab_n(rig.vocab)));
    ck_assert_int_eq(grammar_accept(s, 'b', &e), ERR_ARG);
    ck_assert_int_eq(grammar_accept(s, rig.end, &e), ERR_ARG);
    ck_assert_int_eq(grammar_accept(s, 'a', &e), 0);
    ck_assert(rig_has(grammar_mask(s), rig.end) && rig_has(grammar_mask(s), 'b'));
    ck_assert(!grammar_is_done(s));
    ck_assert_int_eq(grammar_accept(s, 'b', &e), 0);
    ck_assert(grammar_is_done(s));
    ck_assert_int_eq(grammar_accept(s, rig.end, &e), 0);
    ck_assert(grammar_is_done(s) && grammar_allows(s, rig.end) && !grammar_allows(s, 'b'));
    ck_assert(rig_has(grammar_mask(s), rig.end) && !rig_has(grammar_mask(s), 'b'));
    grammar_state_reset(s, false);
    ck_assert(grammar_allows(s, 'a') && !grammar_allows(s, rig.end) && !grammar_is_done(s));
    grammar_state_close(s);
}
END_TEST

START_TEST(grammar_caller_may_name_more_ends)
{
    struct grammar_vocab *v;
    struct grammar *g;
    struct grammar_state *s;
    ck_assert_int_eq(grammar_vocab_open(&v, rig.vocab, &rig.control, 1, &e), 0);
    ck_assert_int_eq(grammar_compile(&g, v, "root ::= \"a\"", 12, &e), 0);
    grammar_vocab_unref(v);
    ck_assert_int_eq(grammar_state_open(&s, g, &e), 0);
    ck_assert(!grammar_allows(s, rig.control));
    ck_assert_int_eq(grammar_accept(s, 'a', &e), 0);
    ck_assert(grammar_allows(s, rig.control) && grammar_allows(s, rig.end));
    grammar_state_close(s);
    grammar_unref(g);
}
END_TEST

START_TEST(grammar_depth_has_an_end_and_the_way_back_stays_open)
{
    struct grammar *const g = rig_compile(&rig, "root ::= \"[\" root? \"]\"", &e);
    struct grammar_state *s;
    ck_assert_int_eq(grammar_state_open(&s, g, &e), 0);
    int depth = 0;
    while (grammar_accept(s, '[', NULL) == 0)
        depth++;
    ck_assert_int_ge(depth, GRAMMAR_MAX_DEPTH);
    ck_assert_int_le(depth, GRAMMAR_MAX_DEPTH + 2);
    ck_assert(!rig_has(grammar_mask(s), '[') && rig_has(grammar_mask(s), ']'));
    for (int i = 0; i < depth; i++)
        ck_assert_int_eq(grammar_accept(s, ']', &e), 0);
    ck_assert(grammar_is_done(s));
    grammar_state_close(s);
    grammar_unref(g);
}
END_TEST

START_TEST(grammar_dead_end_is_said_and_no_wrong_text_given)
{
    struct buf b = { 0 };
    buf_addf(&b, "root ::= \"(\" r1 \")\"\n");
    for (int i = 1; i < GRAMMAR_MAX_DEPTH + 20; i++)
        buf_addf(&b, "r%d ::= \"(\" r%d \")\"\n", i, i + 1);
    buf_addf(&b, "r%d ::= \"x\"\n", GRAMMAR_MAX_DEPTH + 20);
    struct grammar *const g = rig_compile(&rig, b.p, &e);
    struct grammar_state *s;
    ck_assert_msg(g != NULL, "%s", e.text);
    ck_assert_int_eq(grammar_state_open(&s, g, &e), 0);
    while (grammar_mask(s)) {
        ck_assert_str_eq(grammar_trouble(s), "");
        ck_assert_int_eq(grammar_accept(s, '(', &e), 0);
    }
    ck_assert_msg(strstr(grammar_trouble(s), "no token may follow"), "%s", grammar_trouble(s));
    ck_assert(!grammar_allows(s, rig.end) && !grammar_allows(s, '(') && !grammar_is_done(s));
    grammar_state_reset(s, false);
    ck_assert_ptr_nonnull(grammar_mask(s));
    grammar_state_close(s);
    grammar_unref(g);
    buf_free(&b);
}
END_TEST

/* Deterministic, this grammar has 2^18 fronts: more than the memory holds. */
START_TEST(grammar_forgets_when_its_memory_is_full_and_nobody_sees)
{
    enum { BACK = 17, N = 200000 };
    struct grammar *const g = rig_compile(&rig, "root ::= [ab]* \"a\" [ab]{17}", &e);
    struct grammar_state *s, *still;
    static char text[N];
    uint64_t seed = 7;
    ck_assert_int_eq(grammar_state_open(&s, g, &e), 0);
    ck_assert_int_eq(grammar_state_open(&still, g, &e), 0);
    ck_assert_int_eq(grammar_accept(still, 'a', &e), 0);
    for (int i = 0; i < N; i++) {
        text[i] = noise_next(&seed) & 64 ? 'a' : 'b';
        ck_assert_int_eq(grammar_accept(s, text[i], &e), 0);
        ck_assert(grammar_allows(s, rig.end) == (i >= BACK && text[i - BACK] == 'a'));
    }
    for (int i = 0; i < BACK; i++)
        ck_assert_int_eq(grammar_accept(still, 'b', &e), 0);
    ck_assert(grammar_allows(still, rig.end));
    ck_assert_int_eq(grammar_accept(still, 'b', &e), 0);
    ck_assert(!grammar_allows(still, rig.end));
    grammar_state_close(s);
    grammar_state_close(still);
    grammar_unref(g);
}
END_TEST

/* Byte tokens of the SPM vocabulary start at 3; after them: " ", " a", "a". */
START_TEST(grammar_first_space_counts_only_if_it_will_show)
{
    enum { SPACE = 259, SPACE_A, A };
    struct grammar *const g = rig_compile(&spm, "root ::= \"a\" \" a\"?", &e);
    struct grammar_state *s;
    ck_assert_int_eq(grammar_state_open(&s, g, &e), 0);
    ck_assert(grammar_allows(s, A) && !grammar_allows(s, SPACE_A) && !grammar_allows(s, SPACE));
    grammar_state_reset(s, true);
    ck_assert(grammar_allows(s, A) && grammar_allows(s, SPACE_A) && grammar_allows(s, SPACE));
    const uint32_t *const mask = grammar_mask(s);
    ck_assert(rig_has(mask, A) && rig_has(mask, SPACE_A) && rig_has(mask, SPACE));
    ck_assert(rig_has(mask, 3 + 'a') && rig_has(mask, 3 + ' ') && !rig_has(mask, 3 + 'b'));
    ck_assert_int_eq(grammar_accept(s, SPACE, &e), 0);
    ck_assert(!grammar_allows(s, SPACE_A) && grammar_allows(s, A));
    grammar_state_reset(s, true);
    ck_assert_int_eq(grammar_accept(s, SPACE_A, &e), 0);
    ck_assert(grammar_allows(s, spm.end) && grammar_allows(s, SPACE_A) && !grammar_allows(s, A));
    grammar_state_close(s);
    grammar_unref(g);
}
END_TEST

static struct grammar *shared;

static void *walk(void *out)
{
    struct grammar_state *s;
    uint64_t seed = 99;
    if (grammar_state_open(&s, shared, NULL))
        abort();
    for (int i = 0; i < 40; i++) {
        grammar_state_reset(s, false);
        if (!rig_walk(&rig, s, 60, &seed, out))
            abort();
    }
    grammar_state_close(s);
    return NULL;
}

START_TEST(grammar_answers_the_same_to_all_threads)
{
    enum { N = 3 };
    struct buf out[N + 1] = { { 0 } };
    pthread_t thread[N];
    shared = rig_compile(&rig, json, &e);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, walk, &out[i]), 0);
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    walk(&out[N]);
    ck_assert_uint_gt(out[N].n, 400);
    for (int i = 0; i < N; i++) {
        ck_assert_uint_eq(out[i].n, out[N].n);
        ck_assert_mem_eq(out[i].p, out[N].p, out[N].n);
    }
    for (int i = 0; i <= N; i++)
        buf_free(&out[i]);
    grammar_unref(shared);
}
END_TEST

static void open_rigs(void)
{
    rig_open(&rig, false);
    rig_open(&spm, true);
}

static void close_rigs(void)
{
    rig_close(&rig);
    rig_close(&spm);
}

int main(void)
{
    Suite *s = suite_create("grammar");
    TCase *t = tcase_create("grammar");
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, open_rigs, close_rigs);
    tcase_add_loop_test(t, grammar_lets_its_texts_through_and_no_others, 0,
                        sizeof texts / sizeof *texts);
    tcase_add_loop_test(t, grammar_error_has_a_place_and_a_reason, 0,
                        sizeof refused / sizeof *refused);
    tcase_add_test(t, grammar_sizes_have_limits);
    tcase_add_test(t, grammar_unused_rule_is_noted);
    tcase_add_loop_test(t, grammar_mask_is_what_the_bytes_of_each_token_say, 0,
                        sizeof walked / sizeof *walked);
    tcase_add_test(t, grammar_end_is_offered_where_a_text_is_whole);
    tcase_add_test(t, grammar_caller_may_name_more_ends);
    tcase_add_test(t, grammar_depth_has_an_end_and_the_way_back_stays_open);
    tcase_add_test(t, grammar_dead_end_is_said_and_no_wrong_text_given);
    tcase_add_test(t, grammar_forgets_when_its_memory_is_full_and_nobody_sees);
    tcase_add_test(t, grammar_first_space_counts_only_if_it_will_show);
    tcase_add_test(t, grammar_answers_the_same_to_all_threads);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
