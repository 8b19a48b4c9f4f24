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
    DROP_FACTOR = 8,
    LOGGED_MAX = 32 << 10         /* bytes of a body that log.prompts shows    */
};

/* ---- answers ---- */

struct header {
    const char *name, *value;     /* NULL: left out                            */
};

static bool add_headers(struct MHD_Response *r, const struct header *h, unsigned n)
{
    bool ok = true;
    for (unsigned i = 0; i < n; i++)
        if (h[i].value)
            ok = ok && MHD_add_response_header(r, h[i].name, h[i].value) == MHD_YES;
    return ok;
}

/* What a page of an origin that may call gets to see. */
static bool add_cors(struct exchange *x, struct MHD_Response *r)
{
    const struct cors *c = &x->settings->cors;
    const char *origin = exchange_header(x, MHD_HTTP_HEADER_ORIGIN);
    if (!c->any && !c->n)
        return true;
    const bool let = origin && cors_allows(c, origin);
    const char *asked = x->preflight
        ? exchange_header(x, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_HEADERS) : NULL;
    const struct header h[] = {
        { MHD_HTTP_HEADER_VARY, c->any ? NULL : "Origin" },
        { MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, !let ? NULL : c->any ? "*" : origin },
        { MHD_HTTP_HEADER_ACCESS_CONTROL_EXPOSE_HEADERS, let ? "X-Request-Id, Retry-After" : NULL },
        { MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, x->preflight ? x->allow : NULL },
        { MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS, asked },
        { MHD_HTTP_HEADER_ACCESS_CONTROL_MAX_AGE, x->preflight ? "600" : NULL },
    };
    return add_headers(r, h, sizeof h / sizeof *h);
}

static enum MHD_Result queue(struct exchange *x, struct MHD_Response *r, const char *type)
{
    if (!r)
        return MHD_NO;
    char retry[16];
    const bool later = x->status == 429 || x->status == 503;
    snprintf(retry, sizeof retry, "%u", x->retry_s ? x->retry_s : 1);
    const struct header h[] = {
        { MHD_HTTP_HEADER_CONTENT_TYPE, x->preflight ? NULL : x->type ? x->type : type },
        { MHD_HTTP_HEADER_CACHE_CONTROL, x->cache ? x->cache : "no-store" },
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
        { "Content-Security-Policy", x->csp ? x->csp : "default-src 'none'; frame-ancestors 'none'" },
        { "X-Request-Id", x->request_id },
        { MHD_HTTP_HEADER_ETAG, x->etag },
        { MHD_HTTP_HEADER_ALLOW, x->preflight ? NULL : x->allow },
        { MHD_HTTP_HEADER_RETRY_AFTER, later ? retry : NULL },
        { MHD_HTTP_HEADER_WWW_AUTHENTICATE, x->status == 401 ? "Bearer realm=\"bitnetd\"" : NULL },
        /* Its body was not waited for. */
        { MHD_HTTP_HEADER_CONNECTION, x->cut ? "close" : NULL },
    };
    enum MHD_Result rc = MHD_NO;
    if (add_headers(r, h, sizeof h / sizeof *h) && add_cors(x, r))
        rc = MHD_queue_response(x->conn, x->status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result send_whole(struct exchange *x)
{
    if (x->out.failed)
        return MHD_NO;
    x->finished = true;
    x->n_sent = x->out.n;
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
            x->n_sent += n;
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

static enum answer start(struct exchange *x)
{
    x->started = true;
    if (x->refused)
        return ANSWER_DONE;
    if (x->body_over) {
        char text[96];
        snprintf(text, sizeof text, "the body has more than %zu bytes, the most this server takes",
                 x->settings->max_body_size);
        return api_refuse(x, 413, "body_too_large", text);
    }
    enum serve_state st = serve_state(x->serve);
    if (st != SERVE_READY && !x->route->while_loading)
        return api_refuse(x, 503, st == SERVE_LOADING ? "loading" : "shutting_down",
                          st == SERVE_LOADING ? "the model is still being loaded"
                                              : "the server is shutting down");
    if (x->body.failed)
        return api_refuse(x, 500, NULL, "no memory for the body");
    if (x->settings->log_prompts)
        buf_add(&x->logged, x->body.p, x->body.n < LOGGED_MAX ? x->body.n : LOGGED_MAX);
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
    size_t max = x->settings->max_body_size;
    x->body_seen += n;
    x->body_over = x->body_over || x->body_seen > max;
    if (x->refused || x->body_over)
        buf_free(&x->body);
    else
        buf_add(&x->body, p, n);
    return x->body_seen / DROP_FACTOR > max ? MHD_NO : MHD_YES;
}

/* The first of MHD's calls: the headers are there. */
static enum MHD_Result on_headers(struct exchange *x, const char *method)
{
    const size_t size = announced_size(x->conn), max = x->settings->max_body_size;
    x->refused = !admit(x, method);
    x->body_over = size > max;
    /* A client that asks before it sends the body need not send it. */
    const bool asks = (x->refused || x->body_over) && exchange_header(x, MHD_HTTP_HEADER_EXPECT);
    if (!asks && size / DROP_FACTOR <= max)
        return MHD_YES;
    x->cut = true;
    return go_on(x, start(x));
}

/* MHD calls this once with the headers, once per piece of the body, once at
 * its end, and again after each resumption until an answer is queued. */
enum MHD_Result http_on_request(void *ctx, struct MHD_Connection *conn, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_size, void **slot)
{
    (void)version;
    struct exchange *x = *slot;
    if (!x) {
        x = *slot = exchange_new(ctx, conn, method, url);
        return x ? on_headers(x, method) : MHD_NO;
    }
    if (*data_size) {
        enum MHD_Result rc = take_body(x, data, *data_size);
        *data_size = 0;
        return rc;
    }
    conn_whole(conn_of(conn));
    exchange_look(x);
    if (x->started)
        return exchange_is_lost(x) ? MHD_NO : go_on(x, gen_more(x));
    enum answer a = start(x);
    if (a == ANSWER_WAIT || a == ANSWER_STREAM)
        exchange_watch(x);
    return go_on(x, a);
}

/* MHD takes what this returns for the slot of http_on_request. */
void *http_on_line(void *ctx, const char *line, struct MHD_Connection *conn)
{
    (void)ctx;
    (void)line;
    conn_begin(conn_of(conn));
    return NULL;
}

void http_on_completed(void *ctx, struct MHD_Connection *conn, void **slot,
                       enum MHD_RequestTerminationCode code)
{
    (void)ctx;
    struct exchange *x = *slot;
    *slot = NULL;
    if (x)
        exchange_end(x, code);
    conn_next(conn_of(conn));
}
