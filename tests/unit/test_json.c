/* test_json.c - what a completion request may say, and what an answer looks like. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_completions.h"

static struct arena arena;
static struct api_completion q;
#define GEN q.common.gen
static struct api_error error;

static int parse(const char *body)
{
    return api_parse_completion(body, strlen(body), &arena, &q, &error);
}

static void teardown(void)
{
    arena_free(&arena);
}

START_TEST(json_least_request_has_the_defaults)
{
    const struct sample_params d = SAMPLE_DEFAULT;
    ck_assert_int_eq(parse("{\"prompt\":\"a\\u0000b\"}"), 0);
    ck_assert_uint_eq(error.status, 0);
    ck_assert_uint_eq(q.prompt.n, 1);
    ck_assert(!q.prompt.p[0].is_token);
    ck_assert_uint_eq(q.prompt.p[0].text.n, 3);
    ck_assert_mem_eq(q.prompt.p[0].text.p, "a\0b", 3);
    ck_assert_ptr_null(q.common.model);
    ck_assert_uint_eq(GEN.max_new, 0);
    ck_assert(GEN.sample.temperature == d.temperature && GEN.sample.top_k == d.top_k &&
              GEN.sample.top_p == d.top_p && GEN.sample.min_p == d.min_p &&
              GEN.sample.typical_p == 1 && !GEN.sample.n_bias && GEN.n == 1);
    ck_assert(GEN.priority == PRIORITY_NORMAL && !GEN.no_cache && GEN.n_draft == REQUEST_DRAFT_CONF &&
              !GEN.timeout_ms);
    ck_assert(!GEN.has_seed && !q.common.stream && !q.common.include_usage && !q.echo && !GEN.n_stop);
}
END_TEST

START_TEST(json_full_request_sets_every_field)
{
    ck_assert_msg(!parse(
        "{\"model\":\"m\",\"prompt\":[\"x\",[1,2147483647],\"\"],\"max_tokens\":1048576,"
        "\"temperature\":0,\"top_p\":1,\"top_k\":4294967295,\"min_p\":0.5,"
        "\"repetition_penalty\":1.5,\"seed\":9223372036854775807,\"stop\":[\"\\n\",\"ab\"],"
        "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"echo\":true,"
        "\"n\":1,\"best_of\":1,\"logprobs\":null,\"presence_penalty\":0,\"frequency_penalty\":0.0,"
        "\"suffix\":null,\"logit_bias\":{},\"user\":7,\"unknown\":[[{}]]}"), "%s", error.message);
    ck_assert_str_eq(q.common.model, "m");
    ck_assert_uint_eq(q.prompt.n, 3);
    ck_assert(!q.prompt.p[0].is_token && q.prompt.p[1].is_token && !q.prompt.p[2].is_token);
    ck_assert_uint_eq(q.prompt.p[1].ids.n, 2);
    ck_assert_int_eq(q.prompt.p[1].ids.id[1], INT32_MAX);
    ck_assert_uint_eq(q.prompt.p[2].text.n, 0);
    ck_assert_uint_eq(GEN.max_new, 1048576);
    ck_assert(GEN.sample.temperature == 0 && GEN.sample.top_p == 1 && GEN.sample.min_p == 0.5f);
    ck_assert_uint_eq(GEN.sample.top_k, UINT32_MAX);
    ck_assert(GEN.sample.repeat_penalty == 1.5f && GEN.sample.seed == INT64_MAX && GEN.has_seed);
    ck_assert_uint_eq(GEN.n_stop, 2);
    ck_assert(GEN.stop[0].n == 1 && GEN.stop[0].p[0] == '\n' && GEN.stop[1].n == 2);
    ck_assert(q.common.stream && q.common.include_usage && q.echo);
}
END_TEST

START_TEST(json_null_means_not_given)
{
    ck_assert_msg(!parse("{\"prompt\":\"a\",\"model\":null,\"max_tokens\":null,\"temperature\":null,"
                         "\"seed\":null,\"stop\":null,\"stream\":null,\"stream_options\":null,"
                         "\"n\":null,\"echo\":null}"), "%s", error.message);
    ck_assert(!q.common.model && !GEN.max_new && !GEN.has_seed && !GEN.n_stop && !q.common.stream);
    ck_assert(GEN.sample.temperature == 0.8f);
}
END_TEST

START_TEST(json_one_list_of_ids_is_one_prompt)
{
    ck_assert_int_eq(parse("{\"prompt\":[5,6,7],\"repeat_penalty\":2,\"stop\":\"x\"}"), 0);
    ck_assert_uint_eq(q.prompt.n, 1);
    ck_assert_uint_eq(q.prompt.p[0].ids.n, 3);
    ck_assert(GEN.sample.repeat_penalty == 2 && GEN.n_stop == 1);
}
END_TEST

static const struct {
    const char *body, *param, *message;
} refused[] = {
    { "", NULL, "the body is not JSON" },
    { "{", NULL, "the body is not JSON" },
    { "{} x", NULL, "the body is not JSON" },
    { "{\"prompt\":\"\\ud800\"}", NULL, "the body is not JSON" },
    { "{\"prompt\":\"\xff\"}", NULL, "the body is not JSON" },
    { "{\"prompt\":\"a\",\"prompt\":\"b\"}", NULL, "duplicate object key" },
    { "{\"prompt\":\"a\",\"seed\":9223372036854775808}", NULL, "too big integer" },
    { "{\"prompt\":\"a\",\"temperature\":1e999}", NULL, "real number overflow" },
    { "{\"prompt\":\"a\",\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", NULL,
      "nested deeper than 32" },
    { "[]", NULL, "must be a JSON object" },
    { "{}", "prompt", "prompt: is required" },
    { "{\"prompt\":null}", "prompt", "prompt: is required" },
    { "{\"prompt\":5}", "prompt", "prompt: must be a string" },
    { "{\"prompt\":{}}", "prompt", "prompt: must be a string" },
    { "{\"prompt\":[]}", "prompt", "prompt: the array is empty" },
    { "{\"prompt\":[1,\"a\"]}", "prompt", "element 1 is not a token id" },
    { "{\"prompt\":[1,-1]}", "prompt", "element 1 is not a token id" },
    { "{\"prompt\":[1,2147483648]}", "prompt", "element 1 is not a token id" },
    { "{\"prompt\":[\"a\",1]}", "prompt[1]", "prompt[1]: must be a string" },
    { "{\"prompt\":[1.5]}", "prompt[0]", "prompt[0]: must be a string" },
    { "{\"prompt\":[[1,[2]]]}", "prompt[0]", "element 1 is not a token id" },
    { "{\"prompt\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\","
      "\"\"]}", "prompt", "17 texts, at most 16" },
    { "{\"prompt\":\"a\",\"model\":1}", "model", "model: must be a string" },
    { "{\"prompt\":\"a\",\"model\":\"a\\u0000\"}", "model", "NUL" },
    { "{\"prompt\":\"a\",\"max_tokens\":0}", "max_tokens", "from 1 to 1048576" },
    { "{\"prompt\":\"a\",\"max_tokens\":-1}", "max_tokens", "from 0 to 1048576" },
    { "{\"prompt\":\"a\",\"max_tokens\":1048577}", "max_tokens", "from 0 to 1048576" },
    { "{\"prompt\":\"a\",\"max_tokens\":1.0}", "max_tokens", "from 0 to 1048576" },
    { "{\"prompt\":\"a\",\"max_tokens\":\"9\"}", "max_tokens", "from 0 to 1048576" },
    { "{\"prompt\":\"a\",\"temperature\":\"hot\"}", "temperature", "temperature: must be a number" },
    { "{\"prompt\":\"a\",\"temperature\":-0.1}", "temperature", "temperature: -0.1" },
    { "{\"prompt\":\"a\",\"temperature\":101}", "temperature", "temperature: 101" },
    { "{\"prompt\":\"a\",\"temperature\":1e300}", "temperature", "temperature: 1e+300" },
    { "{\"prompt\":\"a\",\"top_p\":0}", "top_p", "top_p: 0" },
    { "{\"prompt\":\"a\",\"top_p\":1.1}", "top_p", "top_p: 1.1" },
    { "{\"prompt\":\"a\",\"min_p\":1}", "min_p", "min_p: 1" },
    { "{\"prompt\":\"a\",\"top_k\":-1}", "top_k", "from 0 to 4294967295" },
    { "{\"prompt\":\"a\",\"top_k\":4294967296}", "top_k", "from 0 to 4294967295" },
    { "{\"prompt\":\"a\",\"repetition_penalty\":0}", "repetition_penalty", "repeat_penalty: 0" },
    { "{\"prompt\":\"a\",\"seed\":-1}", "seed", "from 0 to 9223372036854775807" },
    { "{\"prompt\":\"a\",\"seed\":1.5}", "seed", "from 0 to" },
    { "{\"prompt\":\"a\",\"stop\":1}", "stop", "stop: must be a string" },
    { "{\"prompt\":\"a\",\"stop\":\"\"}", "stop", "a string of 0 bytes" },
    { "{\"prompt\":\"a\",\"stop\":[\"a\",null]}", "stop", "stop: must be a string" },
    { "{\"prompt\":\"a\",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\","
      "\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]}", "stop", "more than 16 strings" },
    { "{\"prompt\":\"a\",\"stream\":1}", "stream", "stream: must be true or false" },
    { "{\"prompt\":\"a\",\"echo\":\"yes\"}", "echo", "echo: must be true or false" },
    { "{\"prompt\":\"a\",\"stream_options\":{}}", "stream_options", "needs stream" },
    { "{\"prompt\":\"a\",\"stream\":true,\"stream_options\":1}", "stream_options", "an object" },
    { "{\"prompt\":\"a\",\"stream\":true,\"stream_options\":{\"include_usage\":1}}",
      "stream_options.include_usage", "must be true or false" },
    { "{\"prompt\":\"a\",\"n\":0}", "n", "n: must be a whole number from 1 to 16" },
    { "{\"prompt\":\"a\",\"n\":17}", "n", "from 1 to 16" },
    { "{\"prompt\":\"a\",\"n\":2,\"best_of\":3}", "best_of", "best_of: only the value of n" },
    { "{\"prompt\":\"a\",\"suffix\":\"x\"}", "suffix", "suffix: is not supported" },
};

START_TEST(json_refusal_names_the_field)
{
    ck_assert_int_eq(parse(refused[_i].body), ERR_ARG);
    ck_assert_uint_eq(error.status, 400);
    ck_assert_msg(strstr(error.message, refused[_i].message), "%s: %s", refused[_i].body,
                  error.message);
    ck_assert_str_eq(error.param, refused[_i].param ? refused[_i].param : "");
}
END_TEST

START_TEST(json_depth_inside_a_string_does_not_count)
{
    ck_assert_msg(!parse("{\"prompt\":\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[[[[[[\"}"), "%s",
                  error.message);
    ck_assert_uint_eq(q.prompt.p[0].text.n, 36);
}
END_TEST

START_TEST(json_sea_of_containers_is_refused_before_it_takes_memory)
{
    struct buf b = { 0 };
    buf_addf(&b, "{\"prompt\":\"a\",\"x\":[");
    for (int i = 0; i < API_MAX_CONTAINER; i++)
        buf_addf(&b, "[],");
    buf_addf(&b, "1]}");
    ck_assert_int_eq(parse(b.p), ERR_ARG);
    ck_assert_ptr_nonnull(strstr(error.message, "more than 8192 arrays and objects"));
    buf_free(&b);
}
END_TEST

START_TEST(json_stop_string_has_a_longest_length)
{
    struct buf b = { 0 };
    buf_addf(&b, "{\"prompt\":\"a\",\"stop\":\"%0*d\"}", REPLY_MAX_STOP_SIZE, 0);
    ck_assert_msg(!parse(b.p), "%s", error.message);
    buf_clear(&b);
    buf_addf(&b, "{\"prompt\":\"a\",\"stop\":\"%0*d\"}", REPLY_MAX_STOP_SIZE + 1, 0);
    ck_assert_int_eq(parse(b.p), ERR_ARG);
    buf_free(&b);
}
END_TEST

/* Cutting anywhere between code points must not change what is sent. */
START_TEST(json_bytes_that_are_not_text_become_fffd_one_by_one)
{
    static const char bytes[] = "a\xe4\xb8\xad\xe4\xb8z\xff\xc0\x80\0e";
    static const char want[] = "a\xe4\xb8\xad\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd"
                               "\xef\xbf\xbd\0e";
    struct buf b = { 0 };
    api_put(&b, json_pack("[o]", api_text(bytes, sizeof bytes - 1)));
    json_t *j = json_loadb(b.p, b.n, JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(j);
    const json_t *text = json_array_get(j, 0);
    ck_assert_uint_eq(json_string_length(text), sizeof want - 1);
    ck_assert_mem_eq(json_string_value(text), want, sizeof want - 1);
    json_decref(j);
    buf_free(&b);
}
END_TEST

START_TEST(json_errors_and_status)
{
    struct buf b = { 0 };
    api_put_error(&b, &(struct api_error){ 400, "c", "p", "a \"b\"" });
    ck_assert_str_eq(b.p, "{\"error\":{\"message\":\"a \\\"b\\\"\",\"type\":\"invalid_request_error\","
                          "\"param\":\"p\",\"code\":\"c\"}}");
    buf_clear(&b);
    api_put_error(&b, &(struct api_error){ .status = 503, .message = "m" });
    ck_assert_str_eq(b.p, "{\"error\":{\"message\":\"m\",\"type\":\"server_error\",\"param\":null,"
                          "\"code\":null}}");
    buf_clear(&b);
    api_put_error_event(&b, &(struct api_error){ .status = 503, .message = "m" });
    ck_assert_str_eq(b.p, "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\",\"param\":null,"
                          "\"code\":null}}\n\n");
    buf_clear(&b);
    api_put_status(&b, "ok");
    ck_assert_str_eq(b.p, "{\"status\":\"ok\"}");
    buf_free(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("json");
    TCase *t = tcase_create("json");
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, json_least_request_has_the_defaults);
    tcase_add_test(t, json_full_request_sets_every_field);
    tcase_add_test(t, json_null_means_not_given);
    tcase_add_test(t, json_one_list_of_ids_is_one_prompt);
    tcase_add_loop_test(t, json_refusal_names_the_field, 0, sizeof refused / sizeof *refused);
    tcase_add_test(t, json_depth_inside_a_string_does_not_count);
    tcase_add_test(t, json_sea_of_containers_is_refused_before_it_takes_memory);
    tcase_add_test(t, json_stop_string_has_a_longest_length);
    tcase_add_test(t, json_bytes_that_are_not_text_become_fffd_one_by_one);
    tcase_add_test(t, json_errors_and_status);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
