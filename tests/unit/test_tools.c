/* test_tools.c - calls of tools are found in what a model writes, however the
 * text is cut into pieces, and everything else stays content. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/grammar.h"
#include "core/serve/api_tools.h"
#include "vocab_make.h"

#define STR(s) { s, sizeof s - 1 }

static const struct chat_tool tool[] = {
    { .name = STR("now") }, { .name = STR("get_weather") }, { .name = STR("f\"\n") },
};
enum { N_TOOL = sizeof tool / sizeof *tool };

/* "content|name(arguments)|name(arguments)" of a text fed in pieces of n bytes. */
static char *taken_apart(const char *name, const char *text, size_t piece)
{
    struct tools *const s = tools_open(chat_find(name), tool, N_TOOL);
    struct buf out = { 0 };
    unsigned n;
    ck_assert_ptr_nonnull(s);
    for (size_t at = 0, all = strlen(text); at < all; at += piece)
        tools_feed(s, text + at, piece < all - at ? piece : all - at, false, &out);
    tools_feed(s, NULL, 0, true, &out);
    const struct chat_call *const call = tools_calls(s, &n);
    for (unsigned i = 0; i < n; i++) {
        ck_assert_uint_eq(call[i].id.n, 29);
        ck_assert(!memcmp(call[i].id.p, "call_", 5));
        ck_assert(!i || memcmp(call[i].id.p, call[i - 1].id.p, 29));
        buf_addf(&out, "|%.*s(%.*s)", (int)call[i].name.n, call[i].name.p, (int)call[i].arguments.n,
                 call[i].arguments.p);
    }
    buf_add(&out, "", 0);
    ck_assert(!out.failed);
    tools_close(s);
    return out.p;
}

static void gives(const char *name, const char *text, const char *want)
{
    for (size_t piece = 1; piece <= strlen(text) || piece == 1; piece++) {
        char *const got = taken_apart(name, text, piece);
        ck_assert_msg(!strcmp(got, want), "%s, pieces of %zu: %s\n-- became: %s\n-- expected: %s",
                      name, piece, text, got, want);
        free(got);
    }
}

START_TEST(tools_calls_in_tags)
{
    gives("chatml", "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>", "|now({})");
    gives("chatml", "Let me see.\n<tool_call>{\"name\":\"get_weather\",\"arguments\":"
          "{\"city\": \"Rome\", \"x\": [0.1, {}]}}</tool_call>\n",
          "Let me see.|get_weather({\"city\": \"Rome\", \"x\": [0.1, {}]})");
    gives("falcon3", "<tool_call>\n[\n  {\"name\": \"now\"},\n {\"name\": \"now\", \"arguments\":"
          "{\"a\":1}}\n]\n</tool_call>", "|now({})|now({\"a\":1})");
    gives("2b4t", "<tool_call>{\"name\":\"now\"}</tool_call>\n<tool_call>{\"name\":\"now\"}"
          "</tool_call>", "|now({})|now({})");
    gives("2b4t", "<tool_call>{\"name\":\"now\"}{\"name\":\"now\"}</tool_call> so", " so|now({})|now({})"
         );
}
END_TEST

START_TEST(tools_calls_that_are_all_of_the_text)
{
    gives("llama3", "{\"name\": \"now\", \"parameters\": {\"a\": \"}\\\"{\"}}",
          "|now({\"a\": \"}\\\"{\"})");
    gives("llama3", "\n {\"name\": \"now\", \"parameters\": {}}; {\"name\": \"now\"}\n",
          "|now({})|now({})");
    gives("llama3", "{\"type\": \"function\", \"function\": {\"name\": \"now\", \"arguments\": "
          "\"{\\\"a\\\":1}\"}}", "|now({\"a\":1})");
    gives("llama3", "It is {\"name\": \"now\"}", "It is {\"name\": \"now\"}");
    gives("llama3", "{\"name\": \"now\"} is what I call", "{\"name\": \"now\"} is what I call");
    gives("chatml", "{\"name\": \"now\"}", "{\"name\": \"now\"}");
}
END_TEST

START_TEST(tools_calls_behind_a_marker)
{
    gives("llama2", "[TOOL_CALLS] [{\"name\": \"now\", \"arguments\": {}}]", "|now({})");
    gives("llama2", "Yes [TOOL_CALLS][{\"name\": \"f\\\"\\n\"}]", "Yes|f\"\n({})");
    gives("llama2", "[TOOL_CALLS]{\"name\":\"now\"} and", " and|now({})");
}
END_TEST

START_TEST(tools_what_only_looks_like_a_call_is_content)
{
    static const char *const same[] = {
        "", " ", "Hello\n\n", "<tool_cal", "<tool_call>", "a <tool_call> b", "<<tool_call",
        "<tool_call>{\"name\": \"unknown\"}</tool_call>", "<tool_call>{\"name\": 1}</tool_call>",
        "<tool_call>{\"name\": \"now\", \"arguments\": [1]}</tool_call>",
        "<tool_call>{\"name\": \"now\", \"arguments\": \"x\"}</tool_call>",
        "<tool_call>{\"name\": \"now\",}</tool_call>", "<tool_call>{\"name\": \"now\"</tool_call>",
        "<tool_call>{\"name\": \"now\", \"name\": \"now\"}</tool_call>",
        "<tool_call>[]</tool_call>", "<tool_call></tool_call>", "<tool_call>[[{\"name\":\"now\"}]]",
        "<tool_call>{\"name\": \"now\"} what</tool_call>", "[TOOL_CALLS]", "[TOOL_CALLS] now",
        "<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": \"\xff\"}}</tool_call>", "[TOOL_CALLS",
        "<tool_call>]</tool_call>", "<tool_call>{\"a\": {\"name\": \"now\"", "<tool_call>\"now\"",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        gives("plain", same[i], same[i]);
        gives("llama3", same[i], same[i]);
    }
    gives("llama3", "{\"answer\": 1}", "{\"answer\": 1}");
    gives("llama3", "{", "{");
    gives("chatml", "<tool_call>{\"name\":<tool_call>{\"name\":\"now\"}</tool_call>",
          "<tool_call>{\"name\":|now({})");
}
END_TEST

START_TEST(tools_a_turn_may_end_without_the_closing)
{
    gives("chatml", "<tool_call>{\"name\":\"now\"}", "|now({})");
    gives("chatml", "<tool_call>{\"name\":\"now\"}\n</tool_", "|now({})");
}
END_TEST

START_TEST(tools_content_is_not_held_longer_than_needed)
{
    struct tools *const s = tools_open(chat_find("chatml"), tool, N_TOOL);
    struct buf out = { 0 };
    unsigned n;
    tools_feed(s, "One < two", 9, false, &out);
    ck_assert_str_eq(out.p, "One < two");
    tools_feed(s, " <tool_", 7, false, &out);
    ck_assert_str_eq(out.p, "One < two");
    tools_feed(s, "box", 3, false, &out);
    ck_assert_str_eq(out.p, "One < two <tool_box");
    tools_feed(s, "<tool_call>{\"name\":\"now\"}</tool_call>", 37, false, &out);
    tools_calls(s, &n);
    ck_assert_uint_eq(n, 1);            /* before the end of the text */
    ck_assert_str_eq(out.p, "One < two <tool_box");
    tools_close(s);
    buf_free(&out);
}
END_TEST

START_TEST(tools_more_calls_than_there_may_be_are_content)
{
    struct buf text = { 0 };
    for (int i = 0; i <= TOOLS_MAX_CALL; i++)
        buf_addf(&text, "<tool_call>{\"name\":\"now\"}</tool_call>");
    char *const got = taken_apart("chatml", text.p, 100);
    ck_assert(!strncmp(got, "<tool_call>{\"name\":\"now\"}</tool_call>|now({})", 45));
    free(got);
    buf_free(&text);
}
END_TEST

START_TEST(tools_long_texts_cost_linear_time)
{
    static const char *const part[] = { "<tool_call>", "<tool_call>[", "<tool_call>[\"", "[TOOL_CALLS]{",
                                        "{\"a\":", "]", " " };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        struct buf text = { 0 };
        while (text.n < 200000)
            buf_addf(&text, "%s", part[i]);
        char *const got = taken_apart("llama3", text.p, i % 2 ? 7 : text.n);
        ck_assert_str_eq(got, text.p);
        free(got);
        buf_free(&text);
    }
}
END_TEST

/* ---- grammars ---- */

static struct vocab *bytes_vocab(void)
{
    struct make *m = calloc(1, sizeof *m);
    struct vocab *v = NULL;
    ck_assert(m);
    make_bpe_bytes(m);
    make_token(m, "<|eot_id|>", 3, 0);
    make_bpe(m);
    make_str(m, "tokenizer.ggml.pre", "gpt-2");
    ck_assert(!make_open(m, &v, NULL, NULL, NULL));
    make_free(m);
    return v;
}

/* Whether a text, and then its end, is allowed. */
static bool allows(struct grammar *g, const char *text, int32_t end)
{
    struct grammar_state *s = NULL;
    bool ok = !grammar_state_open(&s, g, NULL);
    ck_assert(ok);
    for (; ok && *text; text++)
        ok = !grammar_accept(s, (unsigned char)*text, NULL);
    ok = ok && grammar_allows(s, end);
    grammar_state_close(s);
    return ok;
}

static struct grammar *compiled(const char *name, const struct chat_tool *t, unsigned n,
                                bool parallel, struct grammar_vocab *v)
{
    struct buf gbnf = { 0 };
    struct err e = { 0 };
    struct grammar *g = NULL;
    ck_assert_msg(!tools_to_gbnf(chat_find(name), t, n, parallel, &gbnf, &e), "%s", e.text);
    ck_assert_msg(!grammar_compile(&g, v, gbnf.p, gbnf.n, &e), "%s\n%s", e.text, gbnf.p);
    buf_free(&gbnf);
    return g;
}

START_TEST(tools_grammar_allows_calls_and_nothing_else)
{
    static const struct chat_tool some[] = {
        { .name = STR("now") },
        { .name = STR("f\"\n"),
          .parameters = STR("{\"$defs\":{\"n\":{\"type\":\"integer\"}},\"type\":\"object\","
                            "\"properties\":{\"root\":{\"$ref\":\"#/$defs/n\"}},"
                            "\"required\":[\"root\"],\"additionalProperties\":false}") },
    };
#define CALL(name, args) "<tool_call>\n{\"name\": \"" name "\", \"arguments\": " args \
                         "}\n</tool_call>"
    static const struct {
        const char *text;
        bool one, many;
    } tags[] = {
        { CALL("now", "{}"), true, true }, { CALL("f\\\"\\n", "{\"root\":12}"), true, true },
        { CALL("f\\\"\\n", "{\"root\":\"x\"}"), false, false }, { CALL("f", "{}"), false, false },
        { CALL("now", "{}") "\n" CALL("f\\\"\\n", "{\"root\":1}"), false, true },
        { "Sure. " CALL("now", "{}"), false, false }, { "", false, false },
        { CALL("now", "1"), false, false }, { CALL("now", "{}") " so", false, false },
    };
    struct vocab *const v = bytes_vocab();
    struct grammar_vocab *gv = NULL;
    const int32_t end = vocab_find(v, "<|eot_id|>");
    ck_assert(!grammar_vocab_open(&gv, v, NULL, 0, NULL));
    struct grammar *one = compiled("chatml", some, 2, false, gv);
    struct grammar *many = compiled("chatml", some, 2, true, gv);
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        ck_assert_msg(allows(one, tags[i].text, end) == tags[i].one, "one: %s", tags[i].text);
        ck_assert_msg(allows(many, tags[i].text, end) == tags[i].many, "many: %s", tags[i].text);
    }
    grammar_unref(one);
    grammar_unref(many);
    many = compiled("llama3", some, 2, true, gv);
    ck_assert(allows(many, "{\"name\": \"now\", \"parameters\": {}}", end));
    ck_assert(allows(many, "{\"name\": \"now\", \"parameters\": {}}\n{\"name\": \"now\", "
                     "\"parameters\": {}}", end));
    ck_assert(!allows(many, CALL("now", "{}"), end));
    grammar_unref(many);
    grammar_vocab_unref(gv);
    vocab_close(v);
}
END_TEST

START_TEST(tools_grammar_names_the_tool_with_a_wrong_schema)
{
    static const struct chat_tool bad = { .name = STR("odd"), .parameters = STR("{\"type\": 7}") };
    struct buf gbnf = { 0 };
    struct err e = { 0 };
    ck_assert_int_ne(tools_to_gbnf(chat_find("plain"), &bad, 1, true, &gbnf, &e), 0);
    ck_assert_msg(!strncmp(e.text, "odd: ", 5), "%s", e.text);
    ck_assert_int_eq(tools_to_gbnf(chat_find("plain"), &bad, 0, true, &gbnf, &e), ERR_ARG);
    buf_free(&gbnf);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tools");
    TCase *t = tcase_create("tools");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, tools_calls_in_tags);
    tcase_add_test(t, tools_calls_that_are_all_of_the_text);
    tcase_add_test(t, tools_calls_behind_a_marker);
    tcase_add_test(t, tools_what_only_looks_like_a_call_is_content);
    tcase_add_test(t, tools_a_turn_may_end_without_the_closing);
    tcase_add_test(t, tools_content_is_not_held_longer_than_needed);
    tcase_add_test(t, tools_more_calls_than_there_may_be_are_content);
    tcase_add_test(t, tools_long_texts_cost_linear_time);
    tcase_add_test(t, tools_grammar_allows_calls_and_nothing_else);
    tcase_add_test(t, tools_grammar_names_the_tool_with_a_wrong_schema);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
