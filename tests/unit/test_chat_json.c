/* test_chat_json.c - what requests of chat, vectors and the fields that they
 * share may say. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_chat.h"
#include "core/serve/api_embed.h"

static struct arena arena;
static struct api_chat q;
static struct api_embed v;
static struct api_error error;

#define MSG "\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]"
#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\"," \
             "\"function\":{\"name\":\"g\",\"parameters\":{\"type\":\"object\"}}}]"

static int parse(const char *body)
{
    return api_parse_chat(body, strlen(body), &arena, &q, &error);
}

static void teardown(void)
{
    arena_free(&arena);
}

START_TEST(chat_json_messages_keep_roles_texts_and_calls)
{
    ck_assert_msg(!parse("{\"messages\":["
        "{\"role\":\"developer\",\"content\":\"s\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"text\","
        "\"text\":\"y\\u0000\"}],\"name\":\"bob\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"c2\",\"function\":{\"name\":"
        "\"g\",\"arguments\":\"\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"9\"}]}"), "%s", error.message);
    ck_assert_uint_eq(q.n_msg, 4);
    ck_assert(q.msg[0].role == CHAT_SYSTEM && q.msg[1].role == CHAT_USER);
    ck_assert(str_is(q.msg[1].name, "bob"));
    ck_assert(q.msg[1].text.n == 3 && !memcmp(q.msg[1].text.p, "xy\0", 3));
    ck_assert(q.msg[2].role == CHAT_ASSISTANT && q.msg[2].n_call == 2 && q.msg[2].text.n == 0);
    ck_assert(str_is(q.msg[2].call[1].name, "g") && str_is(q.msg[2].call[0].arguments, "{}"));
    ck_assert(q.msg[3].role == CHAT_TOOL && str_is(q.msg[3].name, "g"));
    ck_assert(q.parallel && q.choice == API_TOOL_AUTO && !q.n_tool);
}
END_TEST

START_TEST(chat_json_tool_choice_narrows_the_tools)
{
    ck_assert_msg(!parse("{" MSG "," TOOL ",\"parallel_tool_calls\":false}"), "%s", error.message);
    ck_assert(q.n_tool == 2 && q.choice == API_TOOL_AUTO && !q.parallel && !q.tool_name.p);
    ck_assert(str_is(q.tool[1].parameters, "{\"type\":\"object\"}") && !q.tool[0].parameters.p);
    ck_assert(!parse("{" MSG "," TOOL ",\"tool_choice\":\"none\"}"));
    ck_assert(q.n_tool == 0 && q.choice == API_TOOL_NONE);
    ck_assert(!parse("{" MSG "," TOOL ",\"tool_choice\":\"required\"}"));
    ck_assert(q.n_tool == 2 && q.choice == API_TOOL_REQUIRED);
    ck_assert(!parse("{\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}," MSG ","
                     TOOL "}"));
    ck_assert(q.n_tool == 1 && q.choice == API_TOOL_REQUIRED && str_is(q.tool_name, "g"));
    ck_assert_uint_eq(error.status, 0);
}
END_TEST

START_TEST(chat_json_shared_fields_are_read)
{
    const struct gen_params *g = &q.common.gen;
    ck_assert_msg(!parse("{" MSG ",\"max_tokens\":5,\"max_completion_tokens\":7,\"typical_p\":0.5,"
        "\"presence_penalty\":-2,\"frequency_penalty\":1.5,\"logit_bias\":{\"7\":-100,\"0\":0.5},"
        "\"priority\":\"high\",\"n_draft\":4,\"cache_prompt\":false,\"timeout_ms\":250,\"n\":16,"
        "\"logprobs\":true,\"top_logprobs\":20,\"response_format\":{\"type\":\"json_schema\","
        "\"json_schema\":{\"name\":\"x\",\"schema\":{\"type\":\"object\"}}}}"), "%s", error.message);
    ck_assert(g->max_new == 7 && g->sample.typical_p == 0.5f && g->sample.presence_penalty == -2);
    ck_assert(g->sample.frequency_penalty == 1.5f && g->sample.n_bias == 2);
    ck_assert(g->sample.bias[0].id == 7 && g->sample.bias[0].bias == -100);
    ck_assert(g->priority == PRIORITY_HIGH && g->n_draft == 4 && g->no_cache);
    ck_assert(g->timeout_ms == 250 && g->n == 16 && g->logprob && g->n_top == 20);
    ck_assert(q.common.format == API_JSON_SCHEMA && str_is(q.common.schema, "{\"type\":\"object\"}"));
    ck_assert(!parse("{" MSG ",\"response_format\":{\"type\":\"json_object\"}}"));
    ck_assert(q.common.format == API_JSON_OBJECT);
    ck_assert(!parse("{" MSG ",\"response_format\":{\"type\":\"text\"},"
                     "\"grammar\":\"root ::= \\\"a\\\"\"}"));
    ck_assert(q.common.format == API_GRAMMAR && str_is(q.common.grammar, "root ::= \"a\""));
}
END_TEST

static const struct {
    const char *body, *param, *message;
} refused[] = {
    { "{}", "messages", "messages: is required" },
    { "{\"messages\":[]}", "messages", "the array is empty" },
    { "{\"messages\":\"a\"}", "messages", "an array of messages" },
    { "{\"messages\":[5]}", "messages[0]", "messages[0]: must be an object" },
    { "{\"messages\":[{\"content\":\"a\"}]}", "messages[0].role", "is required" },
    { "{\"messages\":[{\"role\":\"king\",\"content\":\"a\"}]}", "messages[0].role", "must be system" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\"}]}", "messages[1].content",
      "messages[1].content: is required" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "messages[0].content",
      "a string or an array of parts" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
      "\"image_url\"}]}]}", "messages[0].content[1]", "\"image_url\" is not supported" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
      "messages[0].content[0].text", "is required" },
    { "{\"messages\":[{\"role\":\"tool\",\"content\":\"a\"}]}", "messages[0].tool_call_id", "is required" },
    { "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\"}]}]}",
      "messages[0].tool_calls[0].function", "is required" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"tool_calls\":[{\"id\":\"a\",\"function\":"
      "{\"name\":\"f\",\"arguments\":\"\"}}]}]}", "messages[0]", "only an assistant's" },
    { "{" MSG ",\"tools\":[{\"type\":\"web_search\"}]}", "tools[0]", "only function" },
    { "{" MSG ",\"tools\":[{\"type\":\"function\",\"function\":{}}]}", "tools[0].function.name",
      "is required" },
    { "{" MSG ",\"tool_choice\":\"required\"}", "tool_choice", "there are no tools" },
    { "{" MSG ",\"tool_choice\":\"maybe\"}", "tool_choice", "none, auto, required" },
    { "{" MSG "," TOOL ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"h\"}}}",
      "tool_choice.function.name", "\"h\" is none of the tools" },
    { "{" MSG ",\"top_logprobs\":2}", "top_logprobs", "needs logprobs" },
    { "{" MSG ",\"logprobs\":true,\"top_logprobs\":21}", "top_logprobs", "from 0 to 20" },
    { "{" MSG ",\"logprobs\":2}", "logprobs", "true or false" },
    { "{" MSG ",\"max_tokens\":0}", "max_tokens", "from 1 to" },
    { "{" MSG ",\"typical_p\":0}", "typical_p", "typical_p" },
    { "{" MSG ",\"presence_penalty\":2.5}", "presence_penalty", "presence_penalty" },
    { "{" MSG ",\"frequency_penalty\":-2.5}", "frequency_penalty", "frequency_penalty" },
    { "{" MSG ",\"logit_bias\":[]}", "logit_bias", "an object of token ids" },
    { "{" MSG ",\"logit_bias\":{\"a\":1}}", "logit_bias", "\"a\" is not a token id" },
    { "{" MSG ",\"logit_bias\":{\"-1\":1}}", "logit_bias", "is not a token id" },
    { "{" MSG ",\"logit_bias\":{\"1\":101}}", "logit_bias", "from -100 to 100" },
    { "{" MSG ",\"priority\":\"urgent\"}", "priority", "low, normal or high" },
    { "{" MSG ",\"priority\":1}", "priority", "low, normal or high" },
    { "{" MSG ",\"n_draft\":17}", "n_draft", "from 0 to 16" },
    { "{" MSG ",\"cache_prompt\":1}", "cache_prompt", "true or false" },
    { "{" MSG ",\"timeout_ms\":0}", "timeout_ms", "from 1 to 86400000" },
    { "{" MSG ",\"response_format\":\"json\"}", "response_format", "an object" },
    { "{" MSG ",\"response_format\":{}}", "response_format.type", "is required" },
    { "{" MSG ",\"response_format\":{\"type\":\"xml\"}}", "response_format", "\"xml\"" },
    { "{" MSG ",\"response_format\":{\"type\":\"json_schema\"}}", "response_format.json_schema.schema",
      "is required" },
    { "{" MSG ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":1}}}",
      "response_format.json_schema.schema", "a JSON schema" },
    { "{" MSG ",\"response_format\":{\"type\":\"json_object\"},\"grammar\":\"a\"}", "grammar",
      "give one of them" },
    { "{" MSG "," TOOL ",\"tool_choice\":\"required\",\"response_format\":{\"type\":\"json_object\"}}",
      "response_format", "together with a tool_choice" },
};

START_TEST(chat_json_refusal_names_the_place)
{
    ck_assert_int_eq(parse(refused[_i].body), ERR_ARG);
    ck_assert_uint_eq(error.status, 400);
    ck_assert_msg(strstr(error.message, refused[_i].message), "%s: %s", refused[_i].body,
                  error.message);
    ck_assert_str_eq(error.param, refused[_i].param);
}
END_TEST

START_TEST(chat_json_vectors_are_asked_for_by_text_or_ids)
{
    static const char full[] = "{\"input\":[\"a\",[1,2]],\"encoding_format\":\"base64\",\"dimensions\":3,"
                               "\"pooling\":\"last\",\"model\":\"m\",\"user\":\"u\"}";
    ck_assert_msg(!api_parse_embeddings(full, sizeof full - 1, &arena, &v, &error), "%s",
                  error.message);
    ck_assert(v.input.n == 2 && v.input.p[1].is_token && v.base64 && v.dimensions == 3);
    ck_assert_int_eq(v.pooling, POOLING_LAST);
    static const char pair[] = "{\"source\":\"a\",\"sentences\":\"b\"}";
    ck_assert_int_eq(api_parse_similarity(pair, sizeof pair - 1, &arena, &v, &error), 0);
    ck_assert(v.input.n == 1 && v.source.n == 1 && v.pooling == POOLING_NONE);
    static const struct { const char *body, *param; bool similarity; } bad[] = {
        { "{}", "input", false }, { "{\"input\":5}", "input", false },
        { "{\"input\":[\"a\",5]}", "input[1]", false },
        { "{\"input\":\"a\",\"dimensions\":0}", "dimensions", false },
        { "{\"input\":\"a\",\"encoding_format\":\"hex\"}", "encoding_format", false },
        { "{\"input\":\"a\",\"pooling\":\"max\"}", "pooling", false },
        { "{\"source\":\"a\"}", "sentences", true }, { "{\"sentences\":[\"a\"]}", "source", true },
        { "{\"sentences\":[\"a\"],\"source\":[\"a\",\"b\"]}", "source", true },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const size_t n = strlen(bad[i].body);
        ck_assert_int_eq(bad[i].similarity ? api_parse_similarity(bad[i].body, n, &arena, &v, &error)
                                           : api_parse_embeddings(bad[i].body, n, &arena, &v, &error),
                         ERR_ARG);
        ck_assert_str_eq(error.param, bad[i].param);
    }
}
END_TEST

START_TEST(chat_json_vectors_are_scaled_and_compared)
{
    static const float a[] = { 3, 0, -4, 0 }, b[] = { 0, 2, 0, 0 }, zero[4] = { 0 };
    float to[4];
    api_normalise(a, 4, to);
    ck_assert(to[0] == 0.6f && to[1] == 0 && to[2] == -0.8f);
    api_normalise(zero, 4, to);
    ck_assert(to[0] == 0 && to[3] == 0);
    ck_assert(api_cosine(a, a, 4) == 1 && api_cosine(a, b, 4) == 0 && api_cosine(a, zero, 4) == 0);
    static const float back[] = { -6, 0, 8, 0 };
    ck_assert(api_cosine(a, back, 4) == -1);
}
END_TEST

START_TEST(chat_json_path_that_is_too_long_is_cut)
{
    struct api_in in = { .arena = &arena, .error = &error };
    for (int i = 0; i < 20; i++)
        api_enter(&in, "a_long_name");
    ck_assert_uint_eq(strlen(in.at), sizeof in.at - 1);
    ck_assert_int_eq(api_bad_value(&in, "x"), ERR_ARG);
    ck_assert_str_eq(error.param, in.at);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("chat_json");
    TCase *t = tcase_create("chat_json");
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, chat_json_messages_keep_roles_texts_and_calls);
    tcase_add_test(t, chat_json_tool_choice_narrows_the_tools);
    tcase_add_test(t, chat_json_shared_fields_are_read);
    tcase_add_loop_test(t, chat_json_refusal_names_the_place, 0, sizeof refused / sizeof *refused);
    tcase_add_test(t, chat_json_vectors_are_asked_for_by_text_or_ids);
    tcase_add_test(t, chat_json_vectors_are_scaled_and_compared);
    tcase_add_test(t, chat_json_path_that_is_too_long_is_cut);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
