/* test_api_form.c - answers that must have a form: grammars, schemas, calls. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_rig.h"

#define CHAT "/v1/chat/completions"
#define MSG "\"messages\":[{\"role\":\"user\",\"content\":\"Is the fox red?\"}]"
#define SCHEMA "{\"type\":\"object\",\"properties\":{\"red\":{\"type\":\"boolean\"},\"size\":{\"enum\":" \
               "[\"small\",\"large\"]}},\"required\":[\"red\",\"size\"],\"additionalProperties\":false}"
#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"parameters\":" \
              SCHEMA "}}]"

static void setup(void)
{
    http_rig.chat = chat_find("chatml");
    http_rig.n_ctx = 512;
    http_rig.prefix_cache = true;
    http_rig.max_queue = 64;
    http_rig.max_body = 64 << 10;
    http_rig_setup();
}

static const char *text_at(const json_t *j, const char *path)
{
    const char *s = json_string_value(http_rig_at(j, path));
    char *all = s ? NULL : json_dumps(j, 0);
    ck_assert_msg(s != NULL, "%s is no text in %s", path, all);
    return s;
}

/* {"red": bool, "size": "small" or "large"} and nothing else. */
static void check_document(const char *text)
{
    json_t *d = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(d && json_object_size(d) == 2, "%s", text);
    ck_assert_msg(json_is_boolean(json_object_get(d, "red")), "%s", text);
    const char *size = json_string_value(json_object_get(d, "size"));
    ck_assert_msg(size && (!strcmp(size, "small") || !strcmp(size, "large")), "%s", text);
    json_decref(d);
}

START_TEST(api_form_grammar_leaves_nothing_else)
{
    json_t *j = http_rig_post("/v1/completions", "{\"prompt\":\"The fox\",\"n\":5,\"max_tokens\":60,"
                              "\"temperature\":5,\"top_k\":0,\"top_p\":1,\"min_p\":0,"
                              "\"grammar\":\"root ::= \\\"yes\\\" | \\\"no, \\\" [a-c]{2}\"}");
    bool differ = false;
    for (unsigned i = 0; i < 5; i++) {
        char path[48];
        snprintf(path, sizeof path, "choices.%u.text", i);
        const char *t = text_at(j, path);
        const bool no = !strncmp(t, "no, ", 4) && strlen(t) == 6 && strspn(t + 4, "abc") == 2;
        ck_assert_msg(no || !strcmp(t, "yes"), "%s", t);
        differ = differ || strcmp(t, text_at(j, "choices.0.text"));
        snprintf(path, sizeof path, "choices.%u.finish_reason", i);
        ck_assert_str_eq(text_at(j, path), "stop");
    }
    ck_assert(differ);
    json_decref(j);
    http_rig_expect("POST", "/v1/completions", "{\"prompt\":\"a\",\"grammar\":\"root ::= x\"}", 400,
                    "\"param\":\"grammar\"");
}
END_TEST

START_TEST(api_form_schema_makes_its_documents)
{
    for (int stream = 0; stream < 2; stream++) {
        char body[600];
        snprintf(body, sizeof body, "{" MSG ",\"max_tokens\":200,\"seed\":%d,\"temperature\":1.5,"
                 "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
                 "\"schema\":" SCHEMA "}}%s}", stream, stream ? ",\"stream\":true" : "");
        struct http_answer a = http_call(http_rig.url, "POST", CHAT, body);
        struct buf text = { 0 };
        ck_assert_msg(a.status == 200, "%s", a.body.p);
        for (char *p = a.body.p, *at; (at = strstr(p, "\"content\":\"")); p = at + 1) {
            const char *end = at + 11;
            for (; *end != '"'; end++)
                end += *end == '\\';
            json_t *s = json_loadb(at + 10, (size_t)(end - at) - 9, JSON_DECODE_ANY, NULL);
            buf_add(&text, json_string_value(s), json_string_length(s));
            json_decref(s);
        }
        check_document(text.p);
        buf_free(&text);
        http_free(&a);
    }
    http_rig_expect("POST", CHAT, "{" MSG ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
                    "{\"schema\":{\"type\":\"nonsense\"}}}}", 400, "\"param\":\"response_format\"");
}
END_TEST

START_TEST(api_form_any_object_is_an_object_as_far_as_it_goes)
{
    json_t *j = http_rig_post(CHAT, "{" MSG ",\"max_tokens\":40,\"response_format\":{\"type\":"
                              "\"json_object\"}}");
    const char *t = text_at(j, "choices.0.message.content");
    ck_assert_msg(t[strspn(t, " \n\t")] == '{', "%s", t);
    if (!strcmp(text_at(j, "choices.0.finish_reason"), "stop")) {
        json_t *d = json_loads(t, 0, NULL);
        ck_assert_msg(json_is_object(d), "%s", t);
        json_decref(d);
    }
    json_decref(j);
}
END_TEST

#define CALL "{" MSG "," TOOLS ",\"max_tokens\":120,\"parallel_tool_calls\":false,\"tool_choice\":{" \
             "\"type\":\"function\",\"function\":{\"name\":\"look\"}},\"stream\":"

/* The same as a stream: the call comes whole, with its index. */
static void check_stream(const char *arguments)
{
    struct http_answer a = http_call(http_rig.url, "POST", CHAT, CALL "true}");
    const char *at = a.body.p ? strstr(a.body.p, "\"delta\":{\"tool_calls\":") : NULL;
    ck_assert_msg(at != NULL, "%s", a.body.p);
    const char *line = at;
    while (strncmp(line, "data: ", 6))
        line--;
    json_t *e = json_loadb(line + 6, strcspn(line + 6, "\n"), 0, NULL);
    const json_t *call = http_rig_at(e, "choices.0.delta.tool_calls.0");
    ck_assert_int_eq(json_integer_value(json_object_get(call, "index")), 0);
    ck_assert_ptr_nonnull(json_object_get(call, "index"));
    ck_assert_str_eq(text_at(call, "function.name"), "look");
    ck_assert_str_eq(text_at(call, "function.arguments"), arguments);
    ck_assert_ptr_nonnull(strstr(a.body.p, "\"finish_reason\":\"tool_calls\""));
    json_decref(e);
    http_free(&a);
}

START_TEST(api_form_demanded_calls_are_calls)
{
    json_t *j = http_rig_post(CHAT, CALL "false}");
    ck_assert_str_eq(text_at(j, "choices.0.finish_reason"), "tool_calls");
    ck_assert(json_is_null(http_rig_at(j, "choices.0.message.content")));
    const json_t *calls = http_rig_at(j, "choices.0.message.tool_calls");
    ck_assert_uint_eq(json_array_size(calls), 1);
    ck_assert_str_eq(text_at(calls, "0.function.name"), "look");
    ck_assert_str_eq(text_at(calls, "0.type"), "function");
    ck_assert(!strncmp(text_at(calls, "0.id"), "call_", 5));
    check_document(text_at(calls, "0.function.arguments"));
    check_stream(text_at(calls, "0.function.arguments"));
    json_decref(j);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api_form");
    TCase *t = tcase_create("api_form");
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, setup, http_rig_teardown);   /* one server for all */
    tcase_add_test(t, api_form_grammar_leaves_nothing_else);
    tcase_add_test(t, api_form_schema_makes_its_documents);
    tcase_add_test(t, api_form_any_object_is_an_object_as_far_as_it_goes);
    tcase_add_test(t, api_form_demanded_calls_are_calls);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);      /* threads do not survive a fork */
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
