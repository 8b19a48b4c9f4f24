/* http.c - requests in, answers out, nobody waiting in a thread.
 *
 * libmicrohttpd runs a few epoll threads. A request whose answer is not there
 * yet suspends its connection; the engine's wake resumes it (exchange.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/serve_parts.h"

enum {
    STREAM_BLOCK = 4096,
    /* A body over the limit is read and dropped up to this many times the
     * limit, so that the client gets to read its 413. */
    DROP_FACTOR = 8
};

/* ---- answers ---- */

static enum MHD_Result queue(struct exchange *x, struct MHD_Response *r, const char *type)
{
    if (!r)
        return MHD_NO;
    enum MHD_Result rc = MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
                                                 x->type ? x->type : type);
    if (rc == MHD_YES)
        rc = MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    if (rc == MHD_YES)
        rc = MHD_add_response_header(r, "X-Request-Id", x->request_id);
    if (rc == MHD_YES && x->allow)
        rc = MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, x->allow);
    if (rc == MHD_YES && (x->status == 429 || x->status == 503))
        rc = MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (rc == MHD_YES)
        rc = MHD_queue_response(x->conn, x->status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result send_whole(struct exchange *x)
{
    if (x->out.failed)
        return MHD_NO;
    x->finished = true;
    return queue(x, MHD_create_response_from_buffer(x->out.n, x->out.p, MHD_RESPMEM_MUST_COPY),
                 "application/json");
}

/* MHD's content reader: bytes written, 0 after a suspension, or an end. */
static ssize_t read_stream(void *ctx, uint64_t pos, char *to, size_t max)
{
    (void)pos;
    struct exchange *x = ctx;
    for (;;) {
        if (exchange_is_lost(x) || x->out.failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        size_t left = x->out.n - x->sent;
        if (left) {
            size_t n = left < max ? left : max;
            memcpy(to, x->out.p + x->sent, n);
            x->sent += n;
            return (ssize_t)n;
        }
        if (x->finished)
            return MHD_CONTENT_READER_END_OF_STREAM;
        buf_clear(&x->out);
        x->sent = 0;
        exchange_look(x);
        enum answer a = gen_more(x);
        x->finished = a == ANSWER_DONE;
        if (a == ANSWER_BROKEN)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (!x->finished && !x->out.n && exchange_sleep(x))
            return 0;
    }
}

static enum MHD_Result send_stream(struct exchange *x)
{
    return queue(x, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, x,
                                                      NULL), "text/event-stream");
}

/* [http] Goes on with the answer as far as it can be known now. */
static enum MHD_Result go_on(struct exchange *x, enum answer a)
{
    for (;;) {
        if (a == ANSWER_DONE)
            return send_whole(x);
        if (a == ANSWER_BROKEN || exchange_is_lost(x))
            return MHD_NO;
        if (a == ANSWER_STREAM)
            return send_stream(x);
        if (exchange_sleep(x))
            return MHD_YES;
        exchange_look(x);
        a = gen_more(x);
    }
}

/* ---- requests ---- */

static const struct route *const route_table[] = {
    api_completions_route,
    api_chat_route,
    api_models_route,
    health_route,
    metrics_route,
};
enum { N_ROUTE_TABLE = sizeof route_table / sizeof *route_table };

const char *exchange_header(struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->conn, MHD_HEADER_KIND, name);
}

static bool path_matches(const struct route *r, const char *path, const char **tail)
{
    size_t n = strlen(r->path);
    if (!r->prefix)
        return !strcmp(r->path, path);
    *tail = path + n;
    return !strncmp(r->path, path, n) && path[n];
}

/* The table's route for path and method, or NULL; sets allow when only the
 * method does not fit. */
static const struct route *match(struct exchange *x, const struct route *table, const char *method)
{
    for (const struct route *r = table; r->method; r++) {
        const char *tail = NULL;
        if (!path_matches(r, x->path, &tail))
            continue;
        if (!strcmp(r->method, method)) {
            x->tail = tail;
            return r;
        }
        x->allow = strcmp(r->method, MHD_HTTP_METHOD_GET) ? r->method : "GET, HEAD";
    }
    return NULL;
}

/* Sets route and tail, or answers that there is none. */
static void find_route(struct exchange *x, const char *method)
{
    /* HEAD is a GET whose body MHD keeps back. */
    const char *want = strcmp(method, MHD_HTTP_METHOD_HEAD) ? method : MHD_HTTP_METHOD_GET;
    for (unsigned i = 0; i < N_ROUTE_TABLE && !x->route; i++)
        x->route = match(x, route_table[i], want);
    if (x->route)
        x->allow = NULL;
    else if (x->allow)
        api_refuse(x, 405, "method_not_allowed", "this path does not take this method");
    else
        api_refuse(x, 404, "not_found", "no such path; see /v1/models and /v1/completions");
}

static enum answer start(struct exchange *x, const char *method)
{
    x->started = true;
    find_route(x, method);
    if (!x->route)
        return ANSWER_DONE;
    if (x->body_over) {
        char text[96];
        snprintf(text, sizeof text, "the body has more than %zu bytes, the most this server takes",
                 x->serve->conf.max_body_size);
        return api_refuse(x, 413, "body_too_large", text);
    }
    enum serve_state st = serve_state(x->serve);
    if (st != SERVE_READY && !x->route->while_loading)
        return api_refuse(x, 503, st == SERVE_LOADING ? "loading" : "shutting_down",
                          st == SERVE_LOADING ? "the model is still being loaded"
                                              : "the server is shutting down");
    if (x->body.failed)
        return api_refuse(x, 500, NULL, "no memory for the body");
    return x->route->start(x);
}

/* The size that Content-Length announces; 0 when it says nothing. */
static size_t announced_size(struct MHD_Connection *conn)
{
    const char *v = MHD_lookup_connection_value(conn, MHD_HEADER_KIND,
                                                MHD_HTTP_HEADER_CONTENT_LENGTH);
    unsigned long long n = v ? strtoull(v, NULL, 10) : 0;
    return n < SIZE_MAX ? (size_t)n : SIZE_MAX;
}

static enum MHD_Result take_body(struct exchange *x, const char *p, size_t n)
{
    size_t max = x->serve->conf.max_body_size;
    x->body_seen += n;
    if (x->body_seen <= max)
        buf_add(&x->body, p, n);
    else {
        x->body_over = true;
        buf_free(&x->body);
    }
    return x->body_seen / DROP_FACTOR > max ? MHD_NO : MHD_YES;
}

/* MHD calls this once with the headers, once per piece of the body, once at
 * its end, and again after each resumption until an answer is queued. */
enum MHD_Result http_on_request(void *ctx, struct MHD_Connection *conn, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_size, void **slot)
{
    (void)version;
    struct serve *s = ctx;
    struct exchange *x = *slot;
    if (!x) {
        x = *slot = exchange_new(s, conn, url);
        if (!x)
            return MHD_NO;
        x->body_over = announced_size(conn) > s->conf.max_body_size;
        if (x->body_over && announced_size(conn) / DROP_FACTOR > s->conf.max_body_size)
            return go_on(x, start(x, method));
        return MHD_YES;
    }
    if (*data_size) {
        enum MHD_Result rc = take_body(x, data, *data_size);
        *data_size = 0;
        return rc;
    }
    exchange_look(x);
    if (x->started)
        return exchange_is_lost(x) ? MHD_NO : go_on(x, gen_more(x));
    enum answer a = start(x, method);
    if (a == ANSWER_WAIT || a == ANSWER_STREAM)
        exchange_watch(x);
    return go_on(x, a);
}

void http_on_completed(void *ctx, struct MHD_Connection *conn, void **slot,
                       enum MHD_RequestTerminationCode code)
{
    (void)ctx;
    (void)conn;
    struct exchange *x = *slot;
    *slot = NULL;
    if (x)
        exchange_end(x, code);
}
