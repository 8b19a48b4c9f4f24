/* test_api.c - what the endpoints promise: the same answer by every way to ask. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_rig.h"

static void setup(void)
{
    http_rig.chat = chat_find("llama3");
    http_rig.max_queue = 64;
    http_rig.max_body = 64 << 10;
    http_rig.prefix_cache = true;
    http_rig_setup();
}

static const char *text_at(const json_t *j, const char *path)
{
    const char *s = json_string_value(http_rig_at(j, path));
    ck_assert_msg(s != NULL, "%s is no text", path);
    return s;
}

static double number_at(const json_t *j, const char *path)
{
    const json_t *v = http_rig_at(j, path);
    ck_assert_msg(json_is_number(v), "%s is no number", path);
    return json_number_value(v);
}

/* The events of a stream, as an array, without [DONE], which must be the last. */
static json_t *events(const char *path, const char *body)
{
    struct http_answer a = http_call(http_rig.url, "POST", path, body);
    ck_assert_msg(a.status == 200 && a.whole, "%s %s: %d %s", path, body, a.status, a.body.p);
    json_t *list = json_array();
    const char *p = a.body.p;
    for (const char *end; (end = strstr(p, "\n\n")) && strncmp(p, "data: [DONE]", 12); p = end + 2) {
        ck_assert_msg(!strncmp(p, "data: ", 6), "no event: %s", p);
        json_t *j = json_loadb(p + 6, (size_t)(end - p) - 6, JSON_ALLOW_NUL, NULL);
        ck_assert_msg(j != NULL, "no JSON: %s", p);
        json_array_append_new(list, j);
    }
    ck_assert_str_eq(p, "data: [DONE]\n\n");
    http_free(&a);
    return list;
}

/* The texts at `path` of one choice's events, joined. */
static struct buf joined(const json_t *list, json_int_t index, const char *path)
{
    struct buf out = { 0 };
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = http_rig_at(json_array_get(list, i), "choices.0");
        const char *s = json_string_value(http_rig_at(c, path));
        if (s && json_integer_value(json_object_get(c, "index")) == index)
            buf_add(&out, s, strlen(s));
    }
    buf_add(&out, "", 0);
    return out;
}

/* ---- completions ---- */

START_TEST(api_choices_are_those_of_the_next_seeds)
{
    static const char body[] = "{\"prompt\":[\"The fox\",\"A bear\"],\"n\":2,\"max_tokens\":6,"
                               "\"seed\":11%s}";
    static const char *const prompt[] = { "The fox", "A bear" };
    char whole[256], stream[256], path[32];
    snprintf(whole, sizeof whole, body, "");
    snprintf(stream, sizeof stream, body, ",\"stream\":true");
    json_t *j = http_rig_post("/v1/completions", whole), *s = events("/v1/completions", stream);
    ck_assert_uint_eq(json_array_size(json_object_get(j, "choices")), 4);
    for (unsigned i = 0; i < 4; i++) {
        struct buf want = http_rig_direct(prompt[i / 2], 6, 11 + i % 2), got = joined(s, i, "text");
        snprintf(path, sizeof path, "choices.%u.text", i);
        ck_assert_str_eq(text_at(j, path), want.p);
        ck_assert_str_eq(got.p, want.p);
        snprintf(path, sizeof path, "choices.%u.index", i);
        ck_assert(number_at(j, path) == i);
        buf_free(&want);
        buf_free(&got);
    }
    ck_assert(number_at(j, "usage.completion_tokens") == 24);
    json_decref(j);
    json_decref(s);
    http_rig_expect("POST", "/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"n\":9}", 400,
                    "\"param\":\"n\"");
}
END_TEST

/* What was generated is scored to the same bits when it is a prompt. */
START_TEST(api_logprobs_of_an_answer_are_those_of_it_as_a_prompt)
{
    json_t *a = http_rig_post("/v1/completions", "{\"prompt\":\"Once upon\",\"max_tokens\":8,"
                              "\"temperature\":0,\"logprobs\":3,\"echo\":true}");
    char body[512];
    snprintf(body, sizeof body, "{\"prompt\":\"%s\",\"max_tokens\":0,\"logprobs\":3,\"echo\":true}",
             text_at(a, "choices.0.text"));
    json_t *b = http_rig_post("/v1/completions", body);
    const json_t *la = http_rig_at(a, "choices.0.logprobs"), *lb = http_rig_at(b, "choices.0.logprobs");
    ck_assert_msg(json_equal((json_t *)(uintptr_t)la, (json_t *)(uintptr_t)lb), "%s\n%s",
                  json_dumps(la, 0), json_dumps(lb, 0));
    ck_assert_str_eq(text_at(a, "choices.0.text"), text_at(b, "choices.0.text"));
    ck_assert(number_at(b, "usage.completion_tokens") == 0);
    const size_t n = json_array_size(json_object_get(la, "tokens"));
    ck_assert_uint_eq(n, (size_t)number_at(a, "usage.total_tokens"));
    for (size_t i = 1; i < n; i++) {
        const char *token = json_string_value(json_array_get(json_object_get(la, "tokens"), i));
        const json_int_t at = json_integer_value(json_array_get(json_object_get(la, "text_offset"), i));
        const json_t *top = json_array_get(json_object_get(la, "top_logprobs"), i);
        const double p = json_real_value(json_array_get(json_object_get(la, "token_logprobs"), i));
        ck_assert(!strncmp(text_at(a, "choices.0.text") + at, token, strlen(token)));
        ck_assert_uint_ge(json_object_size(top), 3);
        ck_assert(p <= 0 && json_real_value(json_object_get(top, token)) == p);
    }
    ck_assert(json_is_null(json_array_get(json_object_get(la, "token_logprobs"), 0)));
    json_decref(a);
    json_decref(b);
}
END_TEST

/* Every list of a stream's logprobs, put together, is the whole answer's; with
 * a stop string that ends it in the middle of what was drawn. */
START_TEST(api_logprobs_of_a_stream_are_those_of_the_whole)
{
    static const char *const list[] = { "tokens", "token_logprobs", "top_logprobs", "text_offset" };
    static const char *const more[] = { "\"echo\":true", "\"stop\":[\"zz\",\"ime\"]" };
    for (size_t k = 0; k < sizeof more / sizeof *more; k++) {
        char body[256];
        snprintf(body, sizeof body, "{\"prompt\":\"Once upon\",\"max_tokens\":8,\"temperature\":0,"
                 "\"logprobs\":2,%s}", more[k]);
        json_t *w = http_rig_post("/v1/completions", body);
        snprintf(strrchr(body, '}'), 20, ",\"stream\":true}");
        json_t *s = events("/v1/completions", body);
        for (int i = 0; i < 4; i++) {
            json_t *all = json_array();
            const json_t *want = http_rig_at(http_rig_at(w, "choices.0.logprobs"), list[i]);
            for (size_t e = 0; e < json_array_size(s); e++) {
                const json_t *part = http_rig_at(http_rig_at(json_array_get(s, e), "choices.0.logprobs"),
                                                 list[i]);
                if (part)
                    json_array_extend(all, (json_t *)(uintptr_t)part);
            }
            ck_assert_msg(json_equal(all, (json_t *)(uintptr_t)want), "%s %s: %s, want %s", more[k],
                          list[i], json_dumps(all, 0), json_dumps(want, 0));
            json_decref(all);
        }
        struct buf text = joined(s, 0, "text");
        ck_assert_str_eq(text.p, text_at(w, "choices.0.text"));
        buf_free(&text);
        json_decref(w);
        json_decref(s);
    }
}
END_TEST

START_TEST(api_logit_bias_moves_the_choice)
{
    json_t *t = http_rig_post("/tokenize", "{\"content\":\" fox\"}");
    const int id = (int)number_at(t, "tokens.0");
    char body[160];
    snprintf(body, sizeof body, "{\"prompt\":\"The\",\"max_tokens\":3,\"temperature\":0,"
             "\"logit_bias\":{\"%d\":100}}", id);
    json_t *j = http_rig_post("/v1/completions", body);
    ck_assert_ptr_nonnull(strstr(text_at(j, "choices.0.text"), " fox fox fox"));
    http_rig_expect("POST", "/v1/completions", "{\"prompt\":\"a\",\"logit_bias\":{\"2048\":1}}", 400,
                    "\"param\":\"logit_bias\"");
    json_decref(t);
    json_decref(j);
}
END_TEST

START_TEST(api_prompt_that_is_known_is_not_read_again)
{
    static const char body[] = "{\"prompt\":\"Once upon a time there was a little fox who lived in the "
                               "wood and had a very long tail that everybody knew. One day the fox "
                               "met a bear, and the bear said to the fox: what a long tail you have, "
                               "may I have it too?\",\"max_tokens\":4%s}";
    char first[512], cold[512];
    snprintf(first, sizeof first, body, "");
    snprintf(cold, sizeof cold, body, ",\"cache_prompt\":false");
    json_t *a = http_rig_post("/v1/completions", first), *b = http_rig_post("/v1/completions", first);
    json_t *c = http_rig_post("/v1/completions", cold);
    static const char cached[] = "usage.prompt_tokens_details.cached_tokens";
    ck_assert_msg(number_at(a, cached) == 0 && number_at(b, cached) >= 32 && number_at(c, cached) == 0,
                  "%g %g %g", number_at(a, cached), number_at(b, cached), number_at(c, cached));
    ck_assert_str_eq(text_at(a, "choices.0.text"), text_at(b, "choices.0.text"));
    ck_assert_str_eq(text_at(a, "choices.0.text"), text_at(c, "choices.0.text"));
    json_decref(a);
    json_decref(b);
    json_decref(c);
}
END_TEST

START_TEST(api_deadline_before_any_text_is_408)
{
    struct buf b = { 0 };
    buf_addf(&b, "{\"timeout_ms\":1,\"prompt\":[1");
    for (int i = 0; i < 200; i++)
        buf_addf(&b, ",%d", 100 + i);
    buf_addf(&b, "]}");
    http_rig_expect("POST", "/v1/completions", b.p, 408, "deadline_exceeded");
    b.n--;
    buf_addf(&b, ",\"stream\":true}");
    http_rig_expect("POST", "/v1/completions", b.p, 200, "data: {\"error\":{\"message\":\"the deadline");
    buf_free(&b);
}
END_TEST

/* ---- chat ---- */

#define TALK "\"messages\":[{\"role\":\"system\",\"content\":\"Be kind.\"},{\"role\":\"user\"," \
             "\"content\":[{\"type\":\"text\",\"text\":\"Who is \"},{\"type\":\"text\",\"text\":" \
             "\"the fox?\"}]}]"

/* The template's text, tokenised, is the prompt that the chat has. */
START_TEST(api_chat_continues_what_its_template_makes)
{
    json_t *p = http_rig_post("/apply-template", "{" TALK "}");
    json_t *q = json_pack("{s:O,s:i,s:i}", "prompt", json_object_get(p, "prompt"), "max_tokens", 6,
                          "seed", 3);
    char *body = json_dumps(q, 0);
    json_t *want = http_rig_post("/v1/completions", body);
    json_t *j = http_rig_post("/v1/chat/completions", "{" TALK ",\"max_tokens\":6,\"seed\":3}");
    ck_assert_str_eq(text_at(j, "choices.0.message.content"), text_at(want, "choices.0.text"));
    ck_assert(number_at(j, "usage.prompt_tokens") == number_at(want, "usage.prompt_tokens"));
    ck_assert_str_eq(text_at(j, "object"), "chat.completion");
    ck_assert_str_eq(text_at(j, "choices.0.message.role"), "assistant");
    ck_assert_str_eq(text_at(j, "choices.0.finish_reason"),
                     text_at(want, "choices.0.finish_reason"));
    json_decref(p);
    json_decref(q);
    json_decref(j);
    json_decref(want);
    free(body);
}
END_TEST

START_TEST(api_chat_stream_is_the_whole_answer)
{
    json_t *w = http_rig_post("/v1/chat/completions", "{" TALK ",\"max_completion_tokens\":6,\"n\":2,"
                              "\"logprobs\":true,\"top_logprobs\":2}");
    json_t *s = events("/v1/chat/completions", "{" TALK ",\"max_completion_tokens\":6,\"n\":2,"
                       "\"logprobs\":true,\"top_logprobs\":2,\"stream\":true,"
                       "\"stream_options\":{\"include_usage\":true}}");
    ck_assert_str_eq(text_at(s, "0.choices.0.delta.role"), "assistant");
    for (unsigned i = 0; i < 2; i++) {
        char path[64];
        struct buf got = joined(s, i, "delta.content");
        snprintf(path, sizeof path, "choices.%u.message.content", i);
        ck_assert_str_eq(got.p, text_at(w, path));
        buf_free(&got);
        snprintf(path, sizeof path, "choices.%u.logprobs.content", i);
        json_t *all = json_array();
        for (size_t e = 0; e < json_array_size(s); e++) {
            const json_t *c = http_rig_at(json_array_get(s, e), "choices.0");
            const json_t *part = http_rig_at(c, "logprobs.content");
            if (part && number_at(c, "index") == i)
                json_array_extend(all, (json_t *)(uintptr_t)part);
        }
        ck_assert(json_array_size(all) == 6);
        ck_assert(json_equal(all, (json_t *)(uintptr_t)http_rig_at(w, path)));
        json_decref(all);
    }
    const json_t *last = json_array_get(s, json_array_size(s) - 1);
    ck_assert(json_equal(json_object_get(last, "usage"), json_object_get(w, "usage")) ||
              number_at(last, "usage.completion_tokens") == 12);
    ck_assert_uint_eq(json_array_size(json_object_get(last, "choices")), 0);
    json_decref(w);
    json_decref(s);
}
END_TEST

START_TEST(api_chat_without_a_template_says_what_to_do)
{
    http_rig.chat = NULL;
    http_rig_setup();
    http_rig_expect("POST", "/v1/chat/completions", "{" TALK "}", 400, "set chat.template to one of: ");
    http_rig_expect("POST", "/apply-template", "{" TALK "}", 400, "no_chat_template");
    http_rig_teardown();
}
END_TEST

/* ---- vectors ---- */

static double dot(const json_t *a, const json_t *b)
{
    double sum = 0;
    ck_assert(json_array_size(a) && json_array_size(a) == json_array_size(b));
    for (size_t i = 0; i < json_array_size(a); i++)
        sum += json_number_value(json_array_get(a, i)) * json_number_value(json_array_get(b, i));
    return sum;
}

START_TEST(api_embedding_has_length_one_and_does_not_depend_on_its_neighbours)
{
    for (int mean = 0; mean < 2; mean++) {
        char body[256];
        const char *pooling = mean ? "mean" : "last";
        snprintf(body, sizeof body, "{\"input\":[\"the fox\",\"a bear in the wood\"],\"pooling\":\"%s\"}",
                 pooling);
        json_t *two = http_rig_post("/v1/embeddings", body);
        snprintf(body, sizeof body, "{\"input\":\"a bear in the wood\",\"pooling\":\"%s\"}", pooling);
        json_t *one = http_rig_post("/v1/embeddings", body);
        const json_t *v = http_rig_at(one, "data.0.embedding");
        ck_assert_uint_eq(json_array_size(v), http_rig.rig.model->hp.n_embd);
        ck_assert_double_eq_tol(dot(v, v), 1, 1e-6);
        ck_assert(json_equal((json_t *)(uintptr_t)v,
                             (json_t *)(uintptr_t)http_rig_at(two, "data.1.embedding")));
        ck_assert(!json_equal((json_t *)(uintptr_t)v,
                              (json_t *)(uintptr_t)http_rig_at(two, "data.0.embedding")));
        json_decref(one);
        json_decref(two);
    }
}
END_TEST

/* {0.25, -1} in base64, little-endian: the decoder of every client. */
static void decode(const char *text, float *to, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char *out = (unsigned char *)to;
    uint32_t bits = 0, have = 0;
    for (size_t at = 0; at < n * sizeof *to; text++) {
        ck_assert(*text && strchr(digit, *text));
        bits = bits << 6 | (uint32_t)(strchr(digit, *text) - digit);
        have += 6;
        if (have >= 8)
            out[at++] = (unsigned char)(bits >> (have -= 8));
    }
}

START_TEST(api_embedding_in_base64_is_the_same_and_can_be_cut)
{
    json_t *f = http_rig_post("/v1/embeddings", "{\"input\":[1,500,600],\"dimensions\":7}");
    json_t *b = http_rig_post("/v1/embeddings", "{\"input\":[[1,500,600]],\"dimensions\":7,"
                              "\"encoding_format\":\"base64\"}");
    const json_t *v = http_rig_at(f, "data.0.embedding");
    float got[7];
    ck_assert_uint_eq(json_array_size(v), 7);
    ck_assert_double_eq_tol(dot(v, v), 1, 1e-6);
    decode(text_at(b, "data.0.embedding"), got, 7);
    for (size_t i = 0; i < 7; i++)
        ck_assert((float)json_number_value(json_array_get(v, i)) == got[i]);
    json_decref(f);
    json_decref(b);
    http_rig_expect("POST", "/v1/embeddings", "{\"input\":\"a\",\"dimensions\":100000}", 400,
                    "\"param\":\"dimensions\"");
    http_rig_expect("POST", "/v1/embeddings", "{\"input\":[\"a\",[]]}", 400, "input: holds no token");
}
END_TEST

START_TEST(api_similarity_is_the_cosine_of_embeddings)
{
    json_t *e = http_rig_post("/v1/embeddings", "{\"input\":[\"the fox\",\"the dog\"]}");
    json_t *s = http_rig_post("/v1/similarity", "{\"source\":\"the fox\",\"sentences\":[\"the dog\","
                              "\"the fox\"]}");
    const double want = dot(http_rig_at(e, "data.0.embedding"), http_rig_at(e, "data.1.embedding"));
    ck_assert_double_eq_tol(number_at(s, "scores.0"), want, 1e-6);
    ck_assert_double_eq_tol(number_at(s, "scores.1"), 1, 1e-9);
    ck_assert(want < 0.999999);
    json_decref(e);
    json_decref(s);
}
END_TEST

/* More texts than the engine takes at once. */
START_TEST(api_embedding_of_many_texts_waits_for_its_turn)
{
    struct buf b = { 0 };
    buf_addf(&b, "{\"dimensions\":2,\"input\":[");
    for (int i = 0; i < 40; i++)
        buf_addf(&b, "%s[%d]", i ? "," : "", 300 + i);
    buf_addf(&b, "]}");
    json_t *j = http_rig_post("/v1/embeddings", b.p);
    ck_assert_uint_eq(json_array_size(json_object_get(j, "data")), 40);
    ck_assert(number_at(j, "data.39.index") == 39);
    json_decref(j);
    buf_free(&b);
    http_rig_wait(0);
}
END_TEST

/* ---- tokens ---- */

START_TEST(api_tokens_give_their_text_back)
{
    json_t *t = http_rig_post("/v1/tokenize", "{\"content\":\"Once \\u00e9\\ud83d\\ude00 a<|eot_id|>\","
                              "\"add_special\":true,\"with_pieces\":true}");
    json_t *ids = json_array(), *plain = NULL;
    struct buf pieces = { 0 };
    const json_t *list = json_object_get(t, "tokens");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *p = json_array_get(list, i), *piece = json_object_get(p, "piece");
        json_array_append(ids, json_object_get(p, "id"));
        if (json_is_string(piece) && i)
            buf_add(&pieces, json_string_value(piece), json_string_length(piece));
        for (size_t k = 0; k < json_array_size(piece); k++)
            buf_add(&pieces, &(char){ (char)json_integer_value(json_array_get(piece, k)) }, 1);
    }
    ck_assert_str_eq(pieces.p, "Once \xc3\xa9\xf0\x9f\x98\x80 a<|eot_id|>");
    ck_assert(number_at(t, "count") == (double)json_array_size(list));
    ck_assert_int_eq((int)number_at(t, "tokens.0.id"), vocab_bos(http_rig.rig.model->vocab));
    json_t *q = json_pack("{s:O,s:b}", "tokens", ids, "skip_special", 1);
    char *body = json_dumps(q, 0);
    json_t *back = http_rig_post("/detokenize", body);
    ck_assert_str_eq(text_at(back, "content"), "Once \xc3\xa9\xf0\x9f\x98\x80 a");
    plain = http_rig_post("/tokenize", "{\"content\":\"<|eot_id|>\",\"parse_special\":false}");
    ck_assert(number_at(plain, "count") > 1);
    http_rig_expect("POST", "/detokenize", "{\"tokens\":[1,2048]}", 400, "element 1 is 2048");
    http_rig_expect("POST", "/tokenize", "{}", 400, "content: is required");
    buf_free(&pieces);
    free(body);
    json_decref(plain);
    json_decref(back);
    json_decref(q);
    json_decref(ids);
    json_decref(t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api");
    TCase *t = tcase_create("api"), *u = tcase_create("bare");
    tcase_set_timeout(t, 120);
    tcase_set_timeout(u, 120);
    tcase_add_unchecked_fixture(t, setup, http_rig_teardown);   /* one server for all */
    tcase_add_test(t, api_choices_are_those_of_the_next_seeds);
    tcase_add_test(t, api_logprobs_of_an_answer_are_those_of_it_as_a_prompt);
    tcase_add_test(t, api_logprobs_of_a_stream_are_those_of_the_whole);
    tcase_add_test(t, api_logit_bias_moves_the_choice);
    tcase_add_test(t, api_prompt_that_is_known_is_not_read_again);
    tcase_add_test(t, api_deadline_before_any_text_is_408);
    tcase_add_test(t, api_chat_continues_what_its_template_makes);
    tcase_add_test(t, api_chat_stream_is_the_whole_answer);
    tcase_add_test(u, api_chat_without_a_template_says_what_to_do);
    tcase_add_test(t, api_embedding_has_length_one_and_does_not_depend_on_its_neighbours);
    tcase_add_test(t, api_embedding_in_base64_is_the_same_and_can_be_cut);
    tcase_add_test(t, api_similarity_is_the_cosine_of_embeddings);
    tcase_add_test(t, api_embedding_of_many_texts_waits_for_its_turn);
    tcase_add_test(t, api_tokens_give_their_text_back);
    suite_add_tcase(s, t);
    suite_add_tcase(s, u);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);      /* threads do not survive a fork */
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
