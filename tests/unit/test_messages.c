/* test_messages.c - what bodies of /v1/messages and /v1/responses may say, and
 * which messages of a template they become. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_messages.h"
#include "core/serve/api_responses.h"

static struct arena arena;
static struct api_chat c;
static struct api_error e;
static struct str echo;
static bool begun;

static void teardown(void)
{
    arena_free(&arena);
    arena = (struct arena){ 0 };
}

static int messages(const char *body)
{
    return api_parse_messages(body, strlen(body), &arena, false, &c, &begun, &e);
}

static int responses(const char *body)
{
    return api_parse_responses(body, strlen(body), &arena, &c, &echo, &e);
}

static void accepted(int (*parse)(const char *), const char *body)
{
    ck_assert_msg(!parse(body), "%s\n%s", e.message, body);
}

static void refused(int (*parse)(const char *), const char *body, const char *param,
                    const char *code)
{
    ck_assert_msg(parse(body), "%s", body);
    ck_assert_uint_eq(e.status, 400);
    ck_assert_msg(!strcmp(e.param, param) && !strcmp(e.code, code), "%s: %s, %s\n%s", body, e.param,
                  e.code, e.message);
}

/* "role:text" of every message, calls as +name(arguments), results as #id=name. */
static void is(const char *want)
{
    static const char role[] = "suat";
    struct buf b = { 0 };
    for (unsigned i = 0; i < c.n_msg; i++) {
        const struct chat_msg *const m = &c.msg[i];
        buf_addf(&b, "%s%c:%.*s", i ? " " : "", role[m->role], (int)m->text.n, m->text.p);
        for (unsigned k = 0; k < m->n_call; k++)
            buf_addf(&b, "+%.*s(%.*s)", (int)m->call[k].name.n, m->call[k].name.p,
                     (int)m->call[k].arguments.n, m->call[k].arguments.p);
        if (m->role == CHAT_TOOL)
            buf_addf(&b, "#%.*s=%.*s", (int)m->tool_call_id.n, m->tool_call_id.p, (int)m->name.n,
                     m->name.p);
    }
    ck_assert_str_eq(b.p, want);
    buf_free(&b);
}

#define BODY(inside) "{\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]" inside "}"
#define TALK(inside) "{\"max_tokens\":5,\"messages\":[" inside "]}"
#define TOOLS ",\"tools\":[{\"name\":\"a\"},{\"name\":\"b\",\"description\":\"d\"," \
              "\"input_schema\":{\"x\":1}}]"

START_TEST(messages_blocks_become_messages)
{
    accepted(messages, BODY(",\"system\":\"s\",\"temperature\":0.5,\"top_k\":3,\"stream\":true,"
                            "\"stop_sequences\":[\"x\",\"yy\"],\"n\":7,\"metadata\":{}"));
    is("s:s u:q");
    ck_assert(c.common.stream && !begun);
    ck_assert_uint_eq(c.common.gen.max_new, 5);
    ck_assert_uint_eq(c.common.gen.n, 1);
    ck_assert_uint_eq(c.common.gen.n_stop, 2);
    ck_assert_uint_eq(c.common.gen.sample.top_k, 3);
    accepted(messages, TALK("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
        "{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\","
        "\"text\":\"c\"},{\"type\":\"tool_use\",\"id\":\"1\",\"name\":\"f\",\"input\":{\"k\":[1,2]}},"
        "{\"type\":\"tool_use\",\"id\":\"2\",\"name\":\"g\",\"input\":{}}]},{\"role\":\"user\","
        "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"2\",\"content\":\"r\"},"
        "{\"type\":\"tool_result\",\"tool_use_id\":\"1\"},{\"type\":\"text\",\"text\":\"d\"}]}"));
    is("u:ab a:c+f({\"k\":[1,2]})+g({}) t:r#2=g t:#1=f u:d");
    ck_assert(!begun);
}
END_TEST

START_TEST(messages_an_assistant_at_the_end_begins_the_answer)
{
    accepted(messages, TALK("{\"role\":\"user\",\"content\":\"q\"},"
                            "{\"role\":\"assistant\",\"content\":\"It\"}"));
    ck_assert(begun);
    accepted(messages, TALK("{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":"
                            "[{\"type\":\"tool_use\",\"id\":\"1\",\"name\":\"f\",\"input\":{}}]}"));
    ck_assert(!begun);
}
END_TEST

START_TEST(messages_tools_and_the_choice_of_one)
{
    accepted(messages, BODY(TOOLS));
    ck_assert_uint_eq(c.n_tool, 2);
    ck_assert_str_eq(c.tool[1].parameters.p, "{\"x\":1}");
    ck_assert(c.choice == API_TOOL_AUTO && c.parallel);
    accepted(messages, BODY(TOOLS ",\"tool_choice\":{\"type\":\"any\","
                                  "\"disable_parallel_tool_use\":true}"));
    ck_assert(c.choice == API_TOOL_REQUIRED && !c.parallel && c.n_tool == 2);
    accepted(messages, BODY(TOOLS ",\"tool_choice\":{\"type\":\"tool\",\"name\":\"b\"}"));
    ck_assert(c.choice == API_TOOL_REQUIRED && c.n_tool == 1 && *c.tool->name.p == 'b');
    accepted(messages, BODY(TOOLS ",\"tool_choice\":{\"type\":\"none\"}"));
    ck_assert_uint_eq(c.n_tool, 0);
}
END_TEST

START_TEST(messages_refusals_name_the_place)
{
    static const struct {
        const char *body, *param, *code;
    } bad[] = {
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}", "max_tokens", "missing_field" },
        { "{\"max_tokens\":5}", "messages", "missing_field" },
        { "{\"max_tokens\":0}", "max_tokens", "invalid_value" },
        { TALK(""), "messages", "invalid_type" },
        { TALK("7"), "messages[0]", "invalid_type" },
        { TALK("{\"role\":\"system\",\"content\":\"q\"}"), "messages[0].role", "invalid_value" },
        { TALK("{\"role\":\"user\"}"), "messages[0].content", "invalid_type" },
        { TALK("{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}"), "messages[0].content[0]",
          "unsupported_value" },
        { TALK("{\"role\":\"user\",\"content\":[{\"text\":\"a\"}]}"),
          "messages[0].content[0].type", "missing_field" },
        { TALK("{\"role\":\"user\",\"content\":[{\"type\":\"tool_use\"}]}"), "messages[0].content[0]",
          "unsupported_value" },
        { TALK("{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"1\"}]}"),
          "messages[0].content[0].name", "missing_field" },
        { TALK("{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"1\",\"name\":\"f\","
               "\"input\":[]}]}"), "messages[0].content[0].input", "invalid_type" },
        { BODY(",\"system\":7"), "system", "invalid_type" },
        { BODY(",\"stop_sequences\":[\"\"]"), "stop_sequences", "invalid_value" },
        { BODY(",\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]"), "tools[0]",
          "unsupported_value" },
        { BODY(",\"tools\":[{}]"), "tools[0].name", "missing_field" },
        { BODY(",\"tool_choice\":{\"type\":\"any\"}"), "tool_choice", "invalid_value" },
        { BODY(TOOLS ",\"tool_choice\":{\"type\":\"tool\",\"name\":\"x\"}"), "tool_choice.name",
          "invalid_value" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(messages, bad[i].body, bad[i].param, bad[i].code);
}
END_TEST

START_TEST(responses_items_become_messages)
{
    accepted(responses, "{\"input\":\"q\",\"instructions\":\"i\",\"max_output_tokens\":9,\"store\":false,"
                        "\"previous_response_id\":null,\"text\":{\"format\":{\"type\":\"json_object\"}}}");
    is("s:i u:q");
    ck_assert_uint_eq(c.common.gen.max_new, 9);
    ck_assert_int_eq(c.common.format, API_JSON_OBJECT);
    ck_assert(strstr(echo.p, "\"instructions\":\"i\""));
    accepted(responses, "{\"input\":[{\"role\":\"developer\",\"content\":\"d\"},{\"type\":\"message\","
        "\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"q\"}]},{\"role\":\"assistant\","
        "\"content\":[{\"type\":\"output_text\",\"text\":\"w\"}]},{\"type\":\"function_call\","
        "\"call_id\":\"1\",\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":\"function_call\",\"call_id\":"
        "\"2\",\"name\":\"g\",\"arguments\":\"{}\"},{\"type\":\"function_call_output\",\"call_id\":\"2\","
        "\"output\":\"r\"},{\"type\":\"function_call\",\"call_id\":\"3\",\"name\":\"f\","
        "\"arguments\":\"{}\"}]}");
    is("s:d u:q a:w+f({})+g({}) t:r#2=g a:+f({})");
}
END_TEST

START_TEST(responses_refusals_name_the_place)
{
#define CALL "{\"type\":\"function_call\",\"call_id\":\"1\",\"name\":\"f\",\"arguments\":\"{}\"},"
#define CALLS CALL CALL CALL CALL CALL CALL CALL CALL
    static const struct {
        const char *body, *param, *code;
    } bad[] = {
        { "{}", "input", "missing_field" },
        { "{\"input\":7}", "input", "invalid_type" },
        { "{\"input\":[]}", "input", "invalid_type" },
        { "{\"input\":\"q\",\"store\":true}", "store", "unsupported_value" },
        { "{\"input\":\"q\",\"previous_response_id\":\"x\"}", "previous_response_id",
          "unsupported_value" },
        { "{\"input\":\"q\",\"background\":true}", "background", "unsupported_value" },
        { "{\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", "input[0]", "unsupported_value" },
        { "{\"input\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "input[0].role", "invalid_value" },
        { "{\"input\":[{\"role\":\"user\"}]}", "input[0].content", "missing_field" },
        { "{\"input\":[{\"type\":\"function_call\",\"call_id\":\"1\",\"name\":\"f\"}]}",
          "input[0].arguments", "missing_field" },
        { "{\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"1\"}]}", "input[0].output",
          "missing_field" },
        { "{\"input\":[" CALLS CALLS CALLS CALLS CALL "{}]}", "input[32]", "invalid_value" },
        { "{\"input\":\"q\",\"tools\":[{\"type\":\"web_search\"}]}", "tools[0]", "unsupported_value" },
        { "{\"input\":\"q\",\"tools\":[{\"type\":\"function\"}]}", "tools[0].name", "missing_field" },
        { "{\"input\":\"q\",\"tool_choice\":\"required\"}", "tool_choice", "invalid_value" },
        { "{\"input\":\"q\",\"text\":{\"format\":{}}}", "text.format.type", "missing_field" },
        { "{\"input\":\"q\",\"max_output_tokens\":0}", "max_output_tokens", "invalid_value" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(responses, bad[i].body, bad[i].param, bad[i].code);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("messages");
    TCase *t = tcase_create("messages");
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, messages_blocks_become_messages);
    tcase_add_test(t, messages_an_assistant_at_the_end_begins_the_answer);
    tcase_add_test(t, messages_tools_and_the_choice_of_one);
    tcase_add_test(t, messages_refusals_name_the_place);
    tcase_add_test(t, responses_items_become_messages);
    tcase_add_test(t, responses_refusals_name_the_place);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
