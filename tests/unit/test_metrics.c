/* test_metrics.c - GET /metrics: its format, its numbers, and its documentation. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/engine/engine.h"
#include "core/serve/metrics_put.h"
#include "core/serve/serve.h"
#include "http_client.h"
#include "prom.h"
#include "tests/golden/rig.h"

enum { N_CTX = 256, MAX_SEQ = 4 };

static struct rig rig;
static struct engine *engine;
static struct serve *serve;
static struct prom page;

static void setup(void)
{
    struct err e = { 0 };
    rig_open(&rig, &(struct rig_opts){ .n_ctx = N_CTX, .max_seq = MAX_SEQ, .max_out = MAX_SEQ,
                                       .max_tok = 64 });
    const struct engine_conf c = { .max_seq = MAX_SEQ, .row_budget = 64, .prefill_chunk = 16,
                                   .max_queue = 4 };
    ck_assert_msg(!engine_open(&engine, rig.f, &c, &e), "%s", e.text);
    const struct serve_conf s = { .host = "127.0.0.1", .n_threads = 1, .max_connections = 16,
                                  .max_body_size = 4096, .timeout_s = 30 };
    ck_assert_msg(!serve_bind(&serve, &s, &e), "%s", e.text);
    ck_assert_msg(!serve_listen(serve, &e), "%s", e.text);
}

static void ready(void)
{
    const struct serve_model m = { .id = "a \"story\\\n\xff", .created = 1, .engine = engine,
                                   .vocab = rig.model->vocab, .max_new_default = 12, .seed = 5 };
    serve_ready(serve, &m);
}

static void teardown(void)
{
    serve_close(serve);
    engine_close(engine, 0);
    rig_close(&rig);
}

static void scrape(void)
{
    struct http_answer a = http_call(serve_url(serve), "GET", "/metrics", NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(http_header(&a, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    const char *wrong = prom_read(&page, a.body.p);
    ck_assert_msg(!wrong, "%s", wrong);
    http_free(&a);
}

static double value(const char *key)
{
    const double v = prom_value(&page, key);
    ck_assert_msg(v >= 0, "%s: no such sample", key);
    return v;
}

static void expect(const char *method, const char *path, const char *body, int status)
{
    struct http_answer a = http_call(serve_url(serve), method, path, body);
    ck_assert_int_eq(a.status, status);
    http_free(&a);
}

#define DONE(status) \
    "bitnetd_http_requests_total{route=\"/v1/completions\",method=\"POST\",status=\"" status "\"}"

START_TEST(metrics_are_what_was_sent)
{
    ready();
    for (int i = 0; i < 3; i++)
        expect("POST", "/v1/completions", "{\"prompt\":[5,6,7,8],\"max_tokens\":6,\"top_k\":0,"
               "\"logit_bias\":{}}", 200);
    expect("POST", "/v1/completions", "{\"prompt\":7}", 400);
    expect("POST", "/v1/completions", "no JSON", 400);
    expect("GET", "/v1/completions", NULL, 405);
    expect("GET", "/v1/models/other", NULL, 404);
    for (int i = 0; i < 5; i++)
        expect("GET", "/no/such/path", NULL, 404);
    for (int i = 0; i < 2000; i++) {          /* an answer is counted after it was sent */
        scrape();
        if (prom_value(&page, "bitnetd_http_requests_total{route=\"none\",method=\"\",status="
                       "\"404\"}") == 5)
            break;
        usleep(1000);
    }
    ck_assert_double_eq(value(DONE("200")), 3);
    ck_assert_double_eq(value(DONE("400")), 2);
    ck_assert_double_eq(value("bitnetd_http_requests_total{route=\"none\",method=\"\",status="
                              "\"405\"}"), 1);
    ck_assert_double_eq(value("bitnetd_http_requests_total{route=\"/v1/models/*\",method=\"GET\","
                              "status=\"404\"}"), 1);
    ck_assert_double_eq(value("bitnetd_http_errors_total{code=\"not_found\"}"), 5);
    ck_assert_double_eq(value("bitnetd_http_errors_total{code=\"invalid_json\"}"), 1);
    ck_assert_double_eq(value("bitnetd_http_errors_total{code=\"model_not_found\"}"), 1);

    struct engine_stats s;
    engine_stats(engine, &s);
    const double new_tok = value("bitnetd_generated_tokens_total");
    ck_assert_double_eq(new_tok, (double)s.n_new_tok);
    ck_assert_double_gt(new_tok, 3);
    ck_assert_double_le(new_tok, 18);
    ck_assert_double_eq(value("bitnetd_queue_seconds_count"), 3);
    ck_assert_double_eq(value("bitnetd_first_token_seconds_count") +
                        value("bitnetd_inter_token_seconds_count"), new_tok);
    ck_assert_double_eq(value("bitnetd_request_seconds_count"), 3);
    ck_assert_double_eq(value("bitnetd_step_seconds_count"), (double)s.n_step);
    ck_assert_double_eq(value("bitnetd_requests_total{finish=\"stop\"}") +
                        value("bitnetd_requests_total{finish=\"length\"}"), 3);
    ck_assert_double_eq(value("bitnetd_requests_running"), 0);
    ck_assert_double_eq(value("bitnetd_kv_pages{state=\"used\"}") +
                        value("bitnetd_kv_pages{state=\"cached\"}") +
                        value("bitnetd_kv_pages{state=\"free\"}"), rig.f->kv.n_page);
    ck_assert_double_gt(value("bitnetd_device_calls_total{plugin=\"org.bitnetd.scalar-ref\","
                              "device=\"0\",family=\"attention\"}"), 0);
    ck_assert_double_gt(value("bitnetd_device_seconds_total{plugin=\"org.bitnetd.scalar-ref\","
                              "device=\"0\",family=\"linear\"}"), 0);
    ck_assert_double_gt(value("bitnetd_process_resident_bytes"), 1e6);
    ck_assert_double_gt(value("bitnetd_process_open_fds"), 3);
    ck_assert_double_eq(value("bitnetd_ready"), 1);
    ck_assert_double_ge(value("bitnetd_http_connections"), 1);
    value("bitnetd_build_info{version=\"" BITNET_VERSION "\"}");
}
END_TEST

START_TEST(metrics_escape_what_a_label_holds)
{
    char layers[16], want[200];
    ready();
    scrape();
    snprintf(layers, sizeof layers, "%u", rig.model->hp.n_layer);
    snprintf(want, sizeof want, "bitnetd_model_info{model=\"a \\\"story\\\\\\n\xef\xbf\xbd\","
             "arch=\"%s\",layers=\"%s\",kv=\"f16\"}", rig.model->arch, layers);
    ck_assert_double_eq(value(want), 1);
}
END_TEST

START_TEST(metrics_are_there_while_loading)
{
    scrape();
    ck_assert_double_eq(value("bitnetd_ready"), 0);
    ck_assert_double_eq(prom_value(&page, "bitnetd_requests_running"), -1);
    expect("GET", "/health/live", NULL, 200);
    expect("GET", "/health/ready", NULL, 503);
    expect("GET", "/health", NULL, 503);
    ready();
    expect("GET", "/health/ready", NULL, 200);
    serve_stalled(serve, true);
    expect("GET", "/health/live", NULL, 503);
    expect("GET", "/health/ready", NULL, 200);
    serve_stalled(serve, false);
    expect("GET", "/health/live", NULL, 200);
}
END_TEST

START_TEST(metrics_are_documented_and_nothing_else_is)
{
    struct err e = { 0 };
    char *doc = NULL, cell[160];
    size_t n = 0;
    unsigned rows = 0;
    ready();
    scrape();
    ck_assert_msg(!file_read("docs/metrics.md", 1 << 20, &doc, &n, &e), "%s", e.text);
    for (unsigned i = 0; i < page.n_family; i++) {
        snprintf(cell, sizeof cell, "\n| `%s` | %s |", page.family[i].name, page.family[i].type);
        ck_assert_msg(strstr(doc, cell) != NULL, "docs/metrics.md: no row%s", cell);
    }
    for (const char *p = doc; (p = strstr(p, "\n| `bitnetd_")); p++)
        rows++;
    ck_assert_uint_eq(rows, page.n_family);
    free(doc);
}
END_TEST

/* The reader of the test can say no. */
START_TEST(prom_refuses_what_is_wrong)
{
    static const char *const bad[] = {
        "x 1\n", "# HELP x h\n# TYPE x counter\nx 1", "# HELP x h\n# TYPE x counter\nx one\n",
        "# HELP x h\n# TYPE x counter\nx 1\nx 2\n", "# HELP x h\n# TYPE x counter\ny 1\n",
        "# HELP x h\n# TYPE x counter\n# HELP x h\n", "# HELP x h\n# TYPE x sum\n",
        "# HELP x h\n# TYPE x gauge\nx{a=\"\\q\"} 1\n", "# HELP x h\n# TYPE x gauge\nx{a=\"b} 1\n",
        "# HELP x h\n# TYPE x gauge\nx{9=\"b\"} 1\n",
        "# HELP x h\n# TYPE x histogram\nx_bucket{le=\"1\"} 2\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\n"
        "x_count 1\n",
        "# HELP x h\n# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"2\"} 1\nx_sum 1\n"
        "x_count 1\n",
        "# HELP x h\n# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 1\n"
        "x_count 1\n",
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(prom_read(&page, bad[i]) != NULL, "%s", bad[i]);
    ck_assert_ptr_null(prom_read(&page, "# HELP x h\n# TYPE x histogram\nx_bucket{le=\"1\"} 1\n"
                                 "x_bucket{le=\"+Inf\"} 2\nx_sum 1.5\nx_count 2\n"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("metrics");
    TCase *t = tcase_create("metrics");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, metrics_are_what_was_sent);
    tcase_add_test(t, metrics_escape_what_a_label_holds);
    tcase_add_test(t, metrics_are_there_while_loading);
    tcase_add_test(t, metrics_are_documented_and_nothing_else_is);
    suite_add_tcase(s, t);
    t = tcase_create("reader");
    tcase_add_test(t, prom_refuses_what_is_wrong);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
