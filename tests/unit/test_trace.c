/* test_trace.c - trace context, spans as JSON, and a collector that is well,
 * unwell, or never answers: a socket of the test's own. */
#include <arpa/inet.h>
#include <check.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/serve/otlp.h"
#include "core/serve/trace.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define ZERO16 "0000000000000000"

START_TEST(trace_takes_what_the_standard_allows_and_nothing_else)
{
    static const struct { const char *text; bool ok, sampled; } try[] = {
        { "00-" ID "-" PARENT "-01", true, true },
        { "00-" ID "-" PARENT "-00", true, false },
        { "00-" ID "-" PARENT "-ff", true, true },
        { "00-" ID "-" PARENT "-0a", true, false },
        { "00-" ID "-" PARENT "-0b", true, true },
        { "01-" ID "-" PARENT "-01", true, true },
        { "01-" ID "-" PARENT "-01-more", true, true },
        { "00-" ID "-" PARENT "-01-more", false, false },
        { "01-" ID "-" PARENT "-01more", false, false },
        { "ff-" ID "-" PARENT "-01", false, false },
        { "0x-" ID "-" PARENT "-01", false, false },
        { "00-" ID "-" PARENT "-0g", false, false },
        { "00-" ID "-" PARENT "-1", false, false },
        { "00-" ZERO16 ZERO16 "-" PARENT "-01", false, false },
        { "00-" ID "-" ZERO16 "-01", false, false },
        { "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false, false },
        { "00_" ID "-" PARENT "-01", false, false },
        { "00-" ID "_" PARENT "-01", false, false },
        { "00-" ID "-" PARENT "_01", false, false },
        { " 00-" ID "-" PARENT "-01", false, false },
        { "", false, false },
    };
    for (unsigned i = 0; i < sizeof try / sizeof *try; i++) {
        struct trace t = { .trace_id = "unchanged" };
        ck_assert_msg(trace_parse(&t, try[i].text, strlen(try[i].text)) == try[i].ok, "%s",
                      try[i].text);
        ck_assert_str_eq(t.trace_id, try[i].ok ? ID : "unchanged");
        ck_assert_str_eq(t.parent_id, try[i].ok ? PARENT : "");
        ck_assert_int_eq(t.sampled, try[i].sampled);
    }
}
END_TEST

START_TEST(trace_continues_or_begins)
{
    struct trace a, b;
    trace_begin(&a, "00-" ID "-" PARENT "-00", 100);
    ck_assert_str_eq(a.trace_id, ID);
    ck_assert(!a.sampled);        /* the caller decides */
    ck_assert_uint_eq(strlen(a.span_id), 16);
    ck_assert_str_ne(a.span_id, PARENT);
    trace_begin(&a, "rubbish", 100);
    trace_begin(&b, NULL, 100);
    ck_assert_uint_eq(strlen(a.trace_id), 32);
    ck_assert_str_eq(a.parent_id, "");
    ck_assert_str_ne(a.trace_id, b.trace_id);
    ck_assert_str_ne(a.span_id, b.span_id);
    ck_assert(a.sampled && b.sampled);
    unsigned n = 0;
    for (int i = 0; i < 2000; i++) {
        trace_begin(&a, NULL, 25);
        n += a.sampled;
    }
    ck_assert_uint_gt(n, 350);    /* 500 expected, 19 its standard deviation */
    ck_assert_uint_lt(n, 650);
    for (int i = 0; i < 100; i++) {
        trace_begin(&a, NULL, 0);
        ck_assert(!a.sampled);
    }
}
END_TEST

static struct otlp_span a_span(void)
{
    return (struct otlp_span){
        .trace = { ID, "1122334455667788", PARENT, true }, .method = "POST",
        .route = "/v1/completions", .operation = "text_completion", .finish = "stop",
        .request_id = "abc", .status = 200, .n_prompt = 7, .n_cached = 3, .n_new = 11,
        .start_ns = 1000000000000000001, .queue_ns = 1000000000000000002,
        .prefill_ns = 1000000000000000003, .first_ns = 1000000000000000004,
        .end_ns = 1000000000000000005
    };
}

/* "key=value key=value" of an array of attributes, in its order. */
static void flat(const json_t *attributes, char *out, size_t size)
{
    size_t i, n = 0;
    const json_t *a;
    *out = 0;
    json_array_foreach(attributes, i, a) {
        const json_t *v = json_object_get(a, "value");
        const char *text = json_string_value(json_object_get(v, "stringValue"));
        if (!text)
            text = json_string_value(json_object_get(v, "intValue"));
        if (!text)
            text = json_string_value(json_object_get(json_array_get(json_object_get(
                json_object_get(v, "arrayValue"), "values"), 0), "stringValue"));
        n += (size_t)snprintf(out + n, size - n, "%s%s=%s", i ? " " : "",
                              json_string_value(json_object_get(a, "key")), text);
        ck_assert_uint_lt(n, size);
    }
}

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "(none)";
}

static void check_span(const json_t *s)
{
    char all[1024];
    static const char *const event[] = { "queue", "prefill", "first_token", "end" };
    ck_assert_str_eq(text_at(s, "traceId"), ID);
    ck_assert_str_eq(text_at(s, "spanId"), "1122334455667788");
    ck_assert_str_eq(text_at(s, "parentSpanId"), PARENT);
    ck_assert_str_eq(text_at(s, "name"), "POST /v1/completions");
    ck_assert_int_eq(json_integer_value(json_object_get(s, "kind")), 2);
    ck_assert_str_eq(text_at(s, "startTimeUnixNano"), "1000000000000000001");
    ck_assert_str_eq(text_at(s, "endTimeUnixNano"), "1000000000000000005");
    ck_assert_ptr_null(json_object_get(s, "status"));
    flat(json_object_get(s, "attributes"), all, sizeof all);
    ck_assert_str_eq(all, "http.request.method=POST http.route=/v1/completions "
                     "http.response.status_code=200 bitnetd.request_id=abc "
                     "gen_ai.operation.name=text_completion gen_ai.provider.name=bitnetd "
                     "gen_ai.request.model=story gen_ai.response.model=story "
                     "gen_ai.usage.input_tokens=7 gen_ai.usage.output_tokens=11 "
                     "bitnetd.usage.cached_tokens=3 gen_ai.response.finish_reasons=stop");
    const json_t *events = json_object_get(s, "events");
    ck_assert_uint_eq(json_array_size(events), 4);
    for (size_t i = 0; i < 4; i++) {
        char want[24];
        snprintf(want, sizeof want, "100000000000000000%zu", i + 2);
        ck_assert_str_eq(text_at(json_array_get(events, i), "name"), event[i]);
        ck_assert_str_eq(text_at(json_array_get(events, i), "timeUnixNano"), want);
    }
}

static const json_t *spans_of(const json_t *root)
{
    const json_t *r = json_array_get(json_object_get(root, "resourceSpans"), 0);
    return json_object_get(json_array_get(json_object_get(r, "scopeSpans"), 0), "spans");
}

START_TEST(otlp_spans_are_what_the_conventions_say)
{
    struct buf b = { 0 };
    char resource[256];
    struct otlp_span s[2] = { a_span(), a_span() };
    s[1].error = "queue_full";
    s[1].status = 429;
    s[1].trace.parent_id[0] = 0;
    s[1].finish = NULL;
    s[1].queue_ns = s[1].prefill_ns = s[1].first_ns = 0;
    otlp_write(&b, s, 2, "story");
    ck_assert(!b.failed);
    json_t *root = json_loadb(b.p, b.n, 0, NULL);
    ck_assert_ptr_nonnull(root);
    flat(json_object_get(json_object_get(json_array_get(json_object_get(root, "resourceSpans"), 0),
                                         "resource"), "attributes"), resource, sizeof resource);
    ck_assert_str_eq(resource, "service.name=bitnetd service.version=" BITNET_VERSION);
    const json_t *spans = spans_of(root), *bad = json_array_get(spans, 1);
    ck_assert_uint_eq(json_array_size(spans), 2);
    check_span(json_array_get(spans, 0));
    char all[1024];
    flat(json_object_get(bad, "attributes"), all, sizeof all);
    ck_assert_ptr_nonnull(strstr(all, "http.response.status_code=429"));
    ck_assert_ptr_nonnull(strstr(all, "error.type=queue_full"));
    ck_assert_ptr_null(strstr(all, "tokens"));
    ck_assert_ptr_null(json_object_get(bad, "parentSpanId"));
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(bad, "status"), "code")), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(bad, "events")), 1);
    json_decref(root);
    buf_free(&b);
}
END_TEST

/* ---- a collector ---- */

static struct {
    int fd;
    char url[64];
    _Atomic int status;           /* what it answers; 0: nothing               */
    _Atomic unsigned n_post, n_span;
    pthread_t thread;
    char head[4096];
    _Atomic bool first_was_right;
} collector;

/* Reads one request; its body's length, and where in out it begins. */
static size_t read_post(int fd, char *out, size_t size, const char **at)
{
    size_t n = 0, head = 0, body = 0;
    while (n + 1 < size && (!head || n < head + body)) {
        const ssize_t got = read(fd, out + n, size - 1 - n);
        if (got <= 0)
            return 0;
        n += (size_t)got;
        out[n] = 0;
        char *end = strstr(out, "\r\n\r\n"), *length = strcasestr(out, "content-length:");
        if (!head && end && length) {
            head = (size_t)(end + 4 - out);
            body = strtoul(length + 15, NULL, 10);
            if (strcasestr(out, "expect: 100-continue"))
                ck_assert_int_eq(write(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25), 25);
        }
    }
    snprintf(collector.head, sizeof collector.head, "%.*s", (int)head, out);
    *at = out + head;
    return body;
}

static void answer(int fd)
{
    static char post[1 << 20];
    const char *body;
    for (size_t n; (n = read_post(fd, post, sizeof post, &body)) > 0;) {
        json_t *root = json_loadb(body, n, 0, NULL);
        const json_t *spans = spans_of(root);
        if (!atomic_load(&collector.n_post)) {
            check_span(json_array_get(spans, 0));
            atomic_store(&collector.first_was_right, true);
        }
        collector.n_span += (unsigned)json_array_size(spans);
        json_decref(root);
        collector.n_post++;
        while (!atomic_load(&collector.status))
            usleep(1000);
        dprintf(fd, "HTTP/1.1 %d Whatever\r\nContent-Length: 2\r\n\r\n{}",
                atomic_load(&collector.status));
    }
}

static void *collect(void *ctx)
{
    (void)ctx;
    for (int fd; (fd = accept(collector.fd, NULL, NULL)) >= 0; close(fd))
        answer(fd);
    return NULL;
}

static void collector_open(int status)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    collector.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(collector.fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(collector.fd, 4), 0);
    ck_assert_int_eq(getsockname(collector.fd, (struct sockaddr *)&a, &n), 0);
    snprintf(collector.url, sizeof collector.url, "http://127.0.0.1:%u/v1/traces",
             (unsigned)ntohs(a.sin_port));
    atomic_store(&collector.status, status);
    ck_assert_int_eq(pthread_create(&collector.thread, NULL, collect, NULL), 0);
}

static void collector_close(void)
{
    shutdown(collector.fd, SHUT_RDWR);
    pthread_join(collector.thread, NULL);
    close(collector.fd);
}

static struct otlp *otlp_start(void)
{
    struct otlp *o;
    struct err e = { 0 };
    ck_assert_msg(!otlp_open(&o, collector.url, &e), "%s", e.text);
    otlp_model(o, "story");
    return o;
}

START_TEST(otlp_posts_what_it_is_given)
{
    struct otlp_count c;
    const struct otlp_span s = a_span();
    collector_open(200);
    struct otlp *o = otlp_start();
    for (int i = 0; i < 300; i++)
        otlp_add(o, &s);
    do {
        usleep(1000);
        otlp_count(o, &c);
    } while (c.n_sent < 300);
    ck_assert_uint_eq(c.n_dropped + c.n_failed, 0);
    ck_assert_uint_eq(atomic_load(&collector.n_span), 300);
    ck_assert_uint_ge(atomic_load(&collector.n_post), 3);        /* at most 128 each */
    ck_assert(atomic_load(&collector.first_was_right));
    ck_assert_ptr_nonnull(strstr(collector.head, "POST /v1/traces HTTP/1.1"));
    ck_assert_ptr_nonnull(strstr(collector.head, "Content-Type: application/json"));
    otlp_add(o, &s);
    otlp_close(o);                                               /* posts the last one too */
    ck_assert_uint_eq(atomic_load(&collector.n_span), 301);
    collector_close();
}
END_TEST

START_TEST(otlp_counts_what_is_lost)
{
    struct otlp_count c;
    const struct otlp_span s = a_span();
    collector_open(503);
    struct otlp *o = otlp_start();
    otlp_add(o, &s);
    do {
        usleep(1000);
        otlp_count(o, &c);
    } while (!c.n_failed);
    ck_assert_uint_eq(c.n_failed, 1);
    ck_assert_uint_eq(c.n_sent, 0);
    atomic_store(&collector.status, 0);                          /* hangs from now on */
    for (int i = 0; i < OTLP_MAX_QUEUE + OTLP_MAX_BATCH + 50; i++)
        otlp_add(o, &s);
    otlp_count(o, &c);
    ck_assert_uint_ge(c.n_dropped, 50);
    ck_assert_uint_le(c.n_dropped, 50 + OTLP_MAX_BATCH);
    atomic_store(&collector.status, 200);
    otlp_close(o);
    collector_close();
}
END_TEST

START_TEST(otlp_refuses_an_url_that_is_none)
{
    static const char *const bad[] = { "", "collector:4318", "file:///etc/passwd", "ftp://x/" };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct otlp *o;
        struct err e = { 0 };
        ck_assert_int_eq(otlp_open(&o, bad[i], &e), ERR_ARG);
        ck_assert_ptr_null(o);
        ck_assert_ptr_nonnull(strstr(e.text, "trace.otlp_url"));
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace");
    TCase *t = tcase_create("trace");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, trace_takes_what_the_standard_allows_and_nothing_else);
    tcase_add_test(t, trace_continues_or_begins);
    tcase_add_test(t, otlp_spans_are_what_the_conventions_say);
    tcase_add_test(t, otlp_posts_what_it_is_given);
    tcase_add_test(t, otlp_counts_what_is_lost);
    tcase_add_test(t, otlp_refuses_an_url_that_is_none);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
