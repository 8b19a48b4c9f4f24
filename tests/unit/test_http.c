/* test_http.c - connections, and completions over them. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_rig.h"

static struct http_answer complete(const char *body)
{
    return http_call(http_rig.url, "POST", "/v1/completions", body);
}

static void expect_text(const char *body, const char *want)
{
    bool done;
    struct http_answer a = complete(body);
    ck_assert_int_eq(a.status, 200);
    ck_assert(a.whole);
    struct buf text = http_text(&a, 0, &done);
    ck_assert_str_eq(text.p, want);
    ck_assert_int_eq(done, a.body.p[0] != '{');
    buf_free(&text);
    http_free(&a);
}

START_TEST(http_completion_is_what_the_engine_says)
{
    struct buf want = http_rig_direct("Once upon a time", 12, 5);
    expect_text("{\"prompt\":\"Once upon a time\"}", want.p);
    expect_text("{\"prompt\":\"Once upon a time\",\"stream\":true}", want.p);
    expect_text("{\"prompt\":\"Once upon a time\",\"model\":\"story\",\"seed\":5}", want.p);
    buf_free(&want);
    want = http_rig_direct("The fox", 20, 77);
    expect_text("{\"prompt\":\"The fox\",\"max_tokens\":20,\"seed\":77}", want.p);
    expect_text("{\"prompt\":\"The fox\",\"max_tokens\":20,\"seed\":77,\"stream\":true}", want.p);
    struct buf echoed = { 0 };
    buf_addf(&echoed, "The fox%s", want.p);
    expect_text("{\"prompt\":\"The fox\",\"max_tokens\":20,\"seed\":77,\"echo\":true}", echoed.p);
    expect_text("{\"prompt\":\"The fox\",\"max_tokens\":20,\"seed\":77,\"echo\":true,"
                "\"stream\":true}", echoed.p);
    buf_free(&echoed);
    buf_free(&want);
}
END_TEST

START_TEST(http_prompts_in_one_request_are_answered_apart)
{
    static const char *const body[] = {
        "{\"prompt\":[\"The fox\",\"The dog\",\"A bear\"],\"max_tokens\":9}",
        "{\"prompt\":[\"The fox\",\"The dog\",\"A bear\"],\"max_tokens\":9,\"stream\":true}"
    };
    struct buf want[] = { http_rig_direct("The fox", 9, 5), http_rig_direct("The dog", 9, 5),
                          http_rig_direct("A bear", 9, 5) };
    for (int k = 0; k < 2; k++) {
        struct http_answer a = complete(body[k]);
        ck_assert_int_eq(a.status, 200);
        for (unsigned i = 0; i < 3; i++) {
            bool done;
            struct buf text = http_text(&a, i, &done);
            ck_assert_str_eq(text.p, want[i].p);
            buf_free(&text);
        }
        http_free(&a);
    }
    for (unsigned i = 0; i < 3; i++)
        buf_free(&want[i]);
}
END_TEST

START_TEST(http_stream_ends_with_reason_usage_and_done)
{
    struct http_answer a = complete("{\"prompt\":\"The fox\",\"max_tokens\":3,\"stream\":true,"
                                    "\"stream_options\":{\"include_usage\":true}}");
    ck_assert_str_eq(http_header(&a, "Content-Type"), "text/event-stream");
    ck_assert_ptr_nonnull(strstr(a.body.p, "\"finish_reason\":\"length\""));
    const char *usage = strstr(a.body.p, "\"choices\":[],\"usage\":{\"prompt_tokens\":");
    ck_assert_ptr_nonnull(usage);
    ck_assert_ptr_nonnull(strstr(usage, "\"completion_tokens\":3,"));
    ck_assert_str_eq(a.body.p + a.body.n - 14, "data: [DONE]\n\n");
    http_free(&a);
}
END_TEST

START_TEST(http_stop_string_ends_the_text)
{
    bool done;
    struct buf want = http_rig_direct("The fox", 30, 5);
    char *cut = strstr(want.p + 8, " ");
    ck_assert_ptr_nonnull(cut);
    char stop[4] = { cut[0], cut[1], cut[2], 0 };
    *strstr(want.p, stop) = 0;
    char body[160];
    snprintf(body, sizeof body, "{\"prompt\":\"The fox\",\"max_tokens\":30,\"stop\":[\"~~\",\"%s\"]}",
             stop);
    struct http_answer a = complete(body);
    struct buf text = http_text(&a, 0, &done);
    ck_assert_str_eq(text.p, want.p);
    ck_assert_ptr_nonnull(strstr(a.body.p, "\"finish_reason\":\"stop\""));
    buf_free(&text);
    buf_free(&want);
    http_free(&a);
}
END_TEST

struct client {
    pthread_t thread;
    unsigned i;
    struct buf want;
};

static void *client(void *arg)
{
    struct client *c = arg;
    char body[160];
    for (int round = 0; round < 3; round++) {
        snprintf(body, sizeof body, "{\"prompt\":\"Little %u\",\"max_tokens\":16,\"seed\":%u%s}", c->i,
                 c->i, round % 2 ? ",\"stream\":true" : "");
        expect_text(body, c->want.p);
    }
    return NULL;
}

START_TEST(http_clients_at_once_get_what_each_gets_alone)
{
    struct client c[8];
    for (unsigned i = 0; i < 8; i++) {
        char prompt[32];
        snprintf(prompt, sizeof prompt, "Little %u", i);
        c[i] = (struct client){ .i = i, .want = http_rig_direct(prompt, 16, i) };
    }
    for (unsigned i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&c[i].thread, NULL, client, &c[i]), 0);
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(c[i].thread, NULL);
        buf_free(&c[i].want);
    }
    http_rig_wait(0);
}
END_TEST

static int start_long(bool stream)
{
    int fd = http_connect(http_rig.url);
    http_request(fd, "POST", "/v1/completions",
                 stream ? "{\"prompt\":\"Once\",\"max_tokens\":240,\"stream\":true}"
                        : "{\"prompt\":\"Once\",\"max_tokens\":240}", true);
    return fd;
}

START_TEST(http_client_that_leaves_frees_its_sequence)
{
    for (int stream = 0; stream < 2; stream++) {
        struct engine_stats before, after;
        engine_stats(http_rig.engine, &before);
        int fd = start_long(stream);
        if (stream)
            http_read_some(fd, 600);
        else
            http_rig_wait(1);
        close(fd);
        http_rig_wait(0);
        engine_stats(http_rig.engine, &after);
        ck_assert_uint_lt(after.n_new_tok - before.n_new_tok, 200);
        ck_assert_uint_eq(after.kv_page_used, 0);
    }
    http_rig_expect("GET", "/health", NULL, 200, "ok");
    ck_assert_uint_le(serve_active(http_rig.serve), 1);
}
END_TEST

START_TEST(http_full_queue_says_429)
{
    int fd[HTTP_RIG_SEQ + HTTP_RIG_QUEUE];
    for (int i = 0; i < HTTP_RIG_SEQ + HTTP_RIG_QUEUE; i++) {
        fd[i] = start_long(i % 2);
        http_rig_wait((uint32_t)i + 1);
    }
    struct http_answer a = complete("{\"prompt\":\"x\"}");
    ck_assert_int_eq(a.status, 429);
    ck_assert_str_eq(http_header(&a, "Retry-After"), "1");
    ck_assert_ptr_nonnull(strstr(a.body.p, "queue_full"));
    http_free(&a);
    /* The ones that wait have never been woken: only the hang-up frees them. */
    for (int i = HTTP_RIG_SEQ + HTTP_RIG_QUEUE - 1; i >= 0; i--)
        close(fd[i]);
    http_rig_wait(0);
    http_rig_expect("POST", "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":1}", 200, "text");
}
END_TEST

/* Holds the engine thread until the test says. */
static void stand_still(void *go)
{
    while (!atomic_load((_Atomic bool *)go))
        usleep(1000);
}

static void queue_for_a_second(const char *body, int status)
{
    _Atomic bool go = false;
    const int32_t id = 1;
    struct err e = { 0 };
    struct request r;
    ck_assert_int_eq(request_open(&r, 1), 0);
    r.prompt = &id;
    r.n_prompt = 1;
    r.sample = (struct sample_params)SAMPLE_DEFAULT;
    r.wake = stand_still;
    r.wake_ctx = (void *)&go;
    ck_assert_int_eq(engine_submit(http_rig.engine, &r, &e), 0);
    while (!atomic_load(&r.done))
        usleep(500);
    int fd = http_connect(http_rig.url);
    http_request(fd, "POST", "/v1/completions", body, true);
    http_rig_wait(1);
    usleep(1100000);
    atomic_store(&go, true);
    struct http_answer a;
    http_finish(fd, &a);
    ck_assert_int_eq(a.status, status);
    ck_assert_ptr_nonnull(strstr(a.body.p, "queue_timeout"));
    ck_assert(status == 200 || !strcmp(http_header(&a, "Retry-After"), "1"));
    http_free(&a);
    request_close(&r);
}

START_TEST(http_who_waits_longer_than_max_queue_s_gets_503)
{
    http_rig.max_queue_s = 1;
    http_rig_setup();
    queue_for_a_second("{\"prompt\":\"x\",\"max_tokens\":1}", 503);
    queue_for_a_second("{\"prompt\":\"x\",\"max_tokens\":1,\"stream\":true}", 200);
    struct http_answer a = http_call(http_rig.url, "GET", "/metrics", NULL);
    ck_assert_ptr_nonnull(strstr(a.body.p, "bitnetd_requests_total{finish=\"queue\"} 2\n"));
    http_free(&a);
    http_rig_expect("POST", "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":1}", 200, "text");
    http_rig_teardown();
    http_rig.max_queue_s = 0;
}
END_TEST

START_TEST(http_wrong_requests_are_told_why)
{
    static const char post[] = "/v1/completions";
    http_rig_expect("GET", "/nosuch", NULL, 404, "no such path");
    http_rig_expect("POST", "/v1/chat", "{}", 404, "no such path");
    http_rig_expect("GET", "/v1/models/other", NULL, 404, "model_not_found");
    http_rig_expect("GET", "/v1/models/", NULL, 404, "no such path");
    http_rig_expect("DELETE", "/v1/models", NULL, 405, "method");
    http_rig_expect("POST", post, "", 400, "not JSON");
    http_rig_expect("POST", post, "{\"prompt\":1}", 400, "\"param\":\"prompt\"");
    http_rig_expect("POST", post, "{\"prompt\":\"a\",\"model\":\"b\"}", 404, "model_not_found");
    http_rig_expect("POST", post, "{\"prompt\":[]}", 400, "empty");
    http_rig_expect("POST", post, "{\"prompt\":[[]]}", 400, "no token");
    http_rig_expect("POST", post, "{\"prompt\":[1,2048]}", 400, "token 1 is 2048");
    struct http_answer a = http_call(http_rig.url, "GET", post, NULL);
    ck_assert_int_eq(a.status, 405);
    ck_assert_str_eq(http_header(&a, "Allow"), "POST");
    http_free(&a);
    http_rig_wait(0);
}
END_TEST

START_TEST(http_prompt_beyond_the_context_is_refused)
{
    struct buf b = { 0 };
    buf_addf(&b, "{\"max_tokens\":5,\"prompt\":[1");
    for (int i = 1; i < HTTP_RIG_CTX - 1; i++)
        buf_addf(&b, ",1");
    buf_addf(&b, "]}");
    http_rig_expect("POST", "/v1/completions", b.p, 200, "\"completion_tokens\":1,");
    b.n -= 2;
    buf_addf(&b, ",1]}");
    http_rig_expect("POST", "/v1/completions", b.p, 400, "context_length_exceeded");
    buf_clear(&b);
    buf_addf(&b, "{\"prompt\":\"");
    for (int i = 0; i < HTTP_RIG_CTX; i++)
        buf_addf(&b, "fox dog ");
    buf_addf(&b, "\"}");
    http_rig_expect("POST", "/v1/completions", b.p, 400, "context_length_exceeded");
    buf_free(&b);
}
END_TEST

START_TEST(http_body_over_the_limit_is_413)
{
    struct buf b = { 0 };
    for (int i = 0; i < HTTP_RIG_BODY + 1; i++)
        buf_add(&b, " ", 1);
    http_rig_expect("POST", "/v1/completions", b.p, 413, "body_too_large");
    /* The same without a length in front. */
    struct http_answer a;
    int fd = http_connect(http_rig.url);
    struct buf q = { 0 };
    buf_addf(&q, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n", b.n, b.p);
    http_send(fd, q.p, q.n);
    http_finish(fd, &a);
    ck_assert_int_eq(a.status, 413);
    http_free(&a);
    buf_free(&q);
    buf_free(&b);
}
END_TEST

START_TEST(http_chunked_body_is_put_together)
{
    static const char q[] = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n"
                            "5\r\n{\"pro\r\n1a\r\nmpt\":\"The fox\",\"stream\":tr\r\n3\r\nue}\r\n"
                            "0\r\n\r\n";
    bool done;
    struct http_answer a;
    struct buf want = http_rig_direct("The fox", 12, 5);
    int fd = http_connect(http_rig.url);
    http_send(fd, q, sizeof q - 1);
    http_finish(fd, &a);
    struct buf text = http_text(&a, 0, &done);
    ck_assert_str_eq(text.p, want.p);
    ck_assert(done);
    buf_free(&text);
    buf_free(&want);
    http_free(&a);
}
END_TEST

START_TEST(http_connection_serves_one_request_after_another)
{
    struct http_answer a;
    int fd = http_connect(http_rig.url);
    for (int i = 0; i < 3; i++) {
        http_request(fd, "POST", "/v1/completions", "{\"prompt\":\"The fox\",\"max_tokens\":2}",
                     false);
        http_read_some(fd, 300);
    }
    http_request(fd, "HEAD", "/health", NULL, true);
    http_finish(fd, &a);
    ck_assert_ptr_nonnull(strstr(a.head.p, "200 OK"));
    http_free(&a);
}
END_TEST

START_TEST(http_models_name_what_is_served)
{
    http_rig_expect("GET", "/v1/models", NULL, 200, "\"data\":[{\"id\":\"story\"");
    http_rig_expect("GET", "/", NULL, 200, "<title>bitnetd</title>");
    http_rig_expect("GET", "/selection", NULL, 200, "org.bitnetd.scalar-ref");
    http_rig_expect("GET", "/v1/models/story", NULL, 200, "{\"id\":\"story\"");
}
END_TEST

START_TEST(http_drain_finishes_what_runs_and_takes_nothing_new)
{
    struct http_answer a;
    int idle = http_connect(http_rig.url);
    http_request(idle, "GET", "/health", NULL, false);
    http_read_some(idle, 100);
    int fd = http_connect(http_rig.url);
    http_request(fd, "POST", "/v1/completions",
                 "{\"prompt\":\"Once\",\"max_tokens\":40,\"stream\":true}", true);
    http_read_some(fd, 300);
    serve_drain(http_rig.serve);
    ck_assert_int_eq(http_try(http_rig.url), -1);
    http_request(idle, "POST", "/v1/completions", "{\"prompt\":\"x\"}", true);
    http_finish(idle, &a);
    ck_assert_int_eq(a.status, 503);
    ck_assert_ptr_nonnull(strstr(a.body.p, "shutting_down"));
    http_free(&a);
    struct buf all = { 0 };
    for (char c; read(fd, &c, 1) == 1;)
        buf_add(&all, &c, 1);
    ck_assert_ptr_nonnull(strstr(all.p, "data: [DONE]\n\n"));
    buf_free(&all);
    close(fd);
    http_rig_wait(0);
}
END_TEST

START_TEST(http_close_cuts_what_runs_and_waits_for_the_engine)
{
    struct http_answer a[2];
    int fd[2] = { start_long(true), start_long(false) };
    http_rig_wait(2);
    serve_drain(http_rig.serve);
    serve_close(http_rig.serve);
    http_rig.serve = NULL;
    ck_assert_uint_eq(http_rig_running(), 0);
    for (int i = 0; i < 2; i++) {
        http_finish(fd[i], &a[i]);
        ck_assert(!a[i].whole);
        http_free(&a[i]);
    }
}
END_TEST

START_TEST(http_before_listen_nobody_can_connect)
{
    http_rig_bind();
    ck_assert_int_eq(http_try(http_rig.url), -1);
    serve_close(http_rig.serve);
}
END_TEST

START_TEST(http_before_ready_only_health_answers)
{
    http_rig_bind();
    http_rig_listen();
    http_rig_expect("GET", "/health", NULL, 503, "{\"status\":\"loading\"}");
    http_rig_expect("GET", "/v1/models", NULL, 503, "loading");
    http_rig_expect("GET", "/selection", NULL, 503, "loading");
    http_rig_expect("GET", "/style.css", NULL, 200, ":root");
    http_rig_expect("POST", "/v1/completions", "{\"prompt\":\"x\"}", 503, "loading");
    http_rig_expect("GET", "/nothing", NULL, 404, "no such path");
    http_rig_engine();
    http_rig_ready();
    http_rig_expect("GET", "/health", NULL, 200, "{\"status\":\"ok\"}");
    http_rig_expect("POST", "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":1}", 200, "text");
    http_rig_teardown();
}
END_TEST

START_TEST(http_port_in_use_is_known_at_bind)
{
    struct serve *other = NULL;
    struct err e = { 0 };
    http_rig_bind();
    http_rig_listen();
    const uint32_t port = (uint32_t)atoi(strrchr(http_rig.url, ':') + 1);
    const struct serve_conf c = { .host = "127.0.0.1", .port = port,
                                  .n_threads = 1, .max_connections = 1, .max_body_size = 1,
                                  .timeout_s = 1 };
    ck_assert_int_eq(serve_bind(&other, &c, &e), ERR_IO);
    ck_assert_ptr_null(other);
    ck_assert_ptr_nonnull(strstr(e.text, "Address already in use"));
    const struct serve_conf bad = { .host = "no.such.host.invalid", .port = 1 };
    ck_assert_int_eq(serve_bind(&other, &bad, &e), ERR_ARG);
    ck_assert_ptr_nonnull(strstr(e.text, "server.host: no.such.host.invalid"));
    serve_close(http_rig.serve);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("http");
    TCase *t = tcase_create("serving"), *u = tcase_create("starting");
    tcase_set_timeout(t, 120);
    tcase_set_timeout(u, 120);
    tcase_add_checked_fixture(t, http_rig_setup, http_rig_teardown);
    tcase_add_test(t, http_completion_is_what_the_engine_says);
    tcase_add_test(t, http_prompts_in_one_request_are_answered_apart);
    tcase_add_test(t, http_stream_ends_with_reason_usage_and_done);
    tcase_add_test(t, http_stop_string_ends_the_text);
    tcase_add_test(t, http_clients_at_once_get_what_each_gets_alone);
    tcase_add_test(t, http_client_that_leaves_frees_its_sequence);
    tcase_add_test(t, http_full_queue_says_429);
    tcase_add_test(t, http_wrong_requests_are_told_why);
    tcase_add_test(t, http_prompt_beyond_the_context_is_refused);
    tcase_add_test(t, http_body_over_the_limit_is_413);
    tcase_add_test(t, http_chunked_body_is_put_together);
    tcase_add_test(t, http_connection_serves_one_request_after_another);
    tcase_add_test(t, http_models_name_what_is_served);
    tcase_add_test(t, http_drain_finishes_what_runs_and_takes_nothing_new);
    tcase_add_test(t, http_close_cuts_what_runs_and_waits_for_the_engine);
    tcase_add_test(u, http_who_waits_longer_than_max_queue_s_gets_503);
    tcase_add_test(u, http_before_listen_nobody_can_connect);
    tcase_add_test(u, http_before_ready_only_health_answers);
    tcase_add_test(u, http_port_in_use_is_known_at_bind);
    suite_add_tcase(s, t);
    suite_add_tcase(s, u);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
