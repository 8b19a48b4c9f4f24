/* http.c - connections: bodies in, answers out, nobody waiting in a thread.
 *
 * libmicrohttpd runs a few epoll threads. A request whose answer is not there
 * yet suspends its connection; the engine's wake resumes it. Both sides meet
 * under the exchange's lock: `awake` is cleared before the answer is looked
 * at, and the connection is suspended only if it is still clear afterwards,
 * so a wake between the look and the suspension is never lost. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/serve/exchange.h"
#include "core/serve/hangup.h"
#include "core/serve/serve.h"

enum {
    CONNECTION_MEMORY = 32 << 10, /* bounds request line and headers           */
    STREAM_BLOCK = 4096,
    /* A body over the limit is read and dropped up to this many times the
     * limit, so that the client gets to read its 413. */
    DROP_FACTOR = 8
};

struct serve {
    struct serve_conf conf;
    struct serve_model model;
    _Atomic int state;            /* enum serve_state                          */
    int fd;                       /* the listening socket                      */
    bool deaf;                    /* it listens no more                        */
    char url[128];
    struct MHD_Daemon *daemon;
    struct hangup *hangup;
    pthread_mutex_t lock;         /* guards the next four                      */
    struct exchange *active;      /* being answered                            */
    struct exchange *orphan;      /* client gone, engine not yet               */
    uint32_t n_active;
    uint64_t serial;
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

enum serve_state serve_state(const struct serve *s)
{
    return (enum serve_state)atomic_load_explicit(&s->state, memory_order_acquire);
}

const struct serve_model *serve_model(const struct serve *s)
{
    return &s->model;
}

const char *serve_url(const struct serve *s)
{
    return s->url;
}

/* ---- exchanges ---- */

static void list_add(struct exchange **list, struct exchange *x)
{
    x->prev = NULL;
    x->next = *list;
    if (x->next)
        x->next->prev = x;
    *list = x;
}

static void list_take(struct exchange **list, struct exchange *x)
{
    if (x->next)
        x->next->prev = x->prev;
    *(x->prev ? &x->prev->next : list) = x->next;
}

static void exchange_free(struct exchange *x)
{
    api_free(x);                  /* first: it outwaits a wake in progress */
    pthread_mutex_destroy(&x->lock);
    buf_free(&x->body);
    buf_free(&x->out);
    free(x->path);
    free(x);
}

/* Frees the orphans that the engine has let go of; true when none is left. */
static bool reap(struct serve *s)
{
    struct exchange *done = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct exchange *x = s->orphan, *next; x; x = next) {
        next = x->next;
        if (!api_is_idle(x))
            continue;
        list_take(&s->orphan, x);
        list_add(&done, x);
    }
    bool none = !s->orphan;
    pthread_mutex_unlock(&s->lock);
    for (struct exchange *x = done, *next; x; x = next) {
        next = x->next;
        exchange_free(x);
    }
    return none;
}

/* A client's own id is kept if it can stand in a log and a header as it is. */
static void set_request_id(struct exchange *x)
{
    static const char fine[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-";
    const char *given = exchange_header(x, "X-Request-Id");
    const size_t n = given ? strlen(given) : 0;
    if (n && n < sizeof x->request_id && strspn(given, fine) == n) {
        memcpy(x->request_id, given, n + 1);
        return;
    }
    unsigned char raw[16];
    randombytes_buf(raw, sizeof raw);
    sodium_bin2hex(x->request_id, sizeof x->request_id, raw, sizeof raw);
}

static struct exchange *exchange_new(struct serve *s, struct MHD_Connection *conn, const char *path)
{
    reap(s);
    struct exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->path = strdup(path);
    if (!x->path || pthread_mutex_init(&x->lock, NULL)) {
        free(x->path);
        free(x);
        return NULL;
    }
    x->serve = s;
    x->conn = conn;
    x->watched_fd = -1;
    x->start_us = now_us();
    set_request_id(x);
    pthread_mutex_lock(&s->lock);
    x->serial = ++s->serial;
    list_add(&s->active, x);
    s->n_active++;
    pthread_mutex_unlock(&s->lock);
    return x;
}

void exchange_wake(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->awake = true;
    if (x->suspended) {
        x->suspended = false;
        MHD_resume_connection(x->conn);
    }
    pthread_mutex_unlock(&x->lock);
}

static void exchange_look(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->awake = false;
    pthread_mutex_unlock(&x->lock);
}

/* Suspends the connection; false when there was a wake since exchange_look,
 * or when the server stops: then nothing may be suspended any more. */
static bool exchange_sleep(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    bool sleep = !x->awake && serve_state(x->serve) != SERVE_STOPPING;
    if (sleep) {
        x->suspended = true;
        MHD_suspend_connection(x->conn);
    }
    pthread_mutex_unlock(&x->lock);
    return sleep;
}

/* The client is gone, or the server stops. */
static bool exchange_is_lost(struct exchange *x)
{
    return atomic_load_explicit(&x->hung_up, memory_order_relaxed) ||
           serve_state(x->serve) == SERVE_STOPPING;
}

/* From now on a hang-up wakes the exchange, suspended or not. */
static void exchange_watch(struct exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info && hangup_add(x->serve->hangup, info->connect_fd, x->serial))
        x->watched_fd = info->connect_fd;
}

/* [hang-up thread] */
static void on_hangup(void *ctx, uint64_t serial)
{
    struct serve *s = ctx;
    pthread_mutex_lock(&s->lock);
    struct exchange *x = s->active;
    while (x && x->serial != serial)
        x = x->next;
    if (x) {
        atomic_store_explicit(&x->hung_up, true, memory_order_relaxed);
        exchange_wake(x);
    }
    pthread_mutex_unlock(&s->lock);
}

/* [http] The request is over, answered or not: MHD's last word on it. */
static void on_completed(void *ctx, struct MHD_Connection *conn, void **slot,
                         enum MHD_RequestTerminationCode code)
{
    (void)ctx;
    (void)conn;
    struct exchange *x = *slot;
    if (!x)
        return;
    *slot = NULL;
    struct serve *s = x->serve;
    if (x->watched_fd >= 0)
        hangup_remove(s->hangup, x->watched_fd);
    /* Waits for a wake that is still inside MHD_resume_connection. */
    pthread_mutex_lock(&x->lock);
    x->suspended = false;
    pthread_mutex_unlock(&x->lock);
    const char *how = code == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "" : ", not to the end";
    log_debug("http: %s %u in %llu us%s", x->route ? x->route->path : x->path, x->status,
              (unsigned long long)(now_us() - x->start_us), how);
    api_cancel(x);
    pthread_mutex_lock(&s->lock);
    list_take(&s->active, x);
    list_add(&s->orphan, x);
    s->n_active--;
    pthread_mutex_unlock(&s->lock);
    reap(s);
}

uint32_t serve_active(struct serve *s)
{
    pthread_mutex_lock(&s->lock);
    uint32_t n = s->n_active;
    pthread_mutex_unlock(&s->lock);
    return n;
}

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
        enum answer a = api_more(x);
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
        a = api_more(x);
    }
}

/* ---- requests ---- */

static const struct route *const route_table[] = { api_route };
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
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *url,
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
        return exchange_is_lost(x) ? MHD_NO : go_on(x, api_more(x));
    enum answer a = start(x, method);
    if (a == ANSWER_WAIT || a == ANSWER_STREAM)
        exchange_watch(x);
    return go_on(x, a);
}

__attribute__((format(printf, 2, 0)))
static void on_mhd_log(void *ctx, const char *fmt, va_list ap)
{
    (void)ctx;
    char line[512];
    if (vsnprintf(line, sizeof line, fmt, ap) < 0)
        return;
    line[strcspn(line, "\n")] = 0;
    log_debug("http: %s", line);
}

/* ---- the socket ---- */

static void make_url(struct serve *s)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    char host[INET6_ADDRSTRLEN + 32] = "?", port[8] = "?";
    if (!getsockname(s->fd, (struct sockaddr *)&a, &n))
        getnameinfo((struct sockaddr *)&a, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    const char *bracket = strchr(host, ':') ? "[" : "";
    snprintf(s->url, sizeof s->url, "http://%s%s%s:%s", bracket, host, *bracket ? "]" : "", port);
}

/* Binds the first address that can be; errno tells about the last. */
static int bind_first(const struct addrinfo *list)
{
    int fd = -1, one = 1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
        /* Without it a restart waits for the old connections' TIME_WAIT. */
        if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
                        bind(fd, a->ai_addr, a->ai_addrlen))) {
            int no = errno;
            close(fd);
            fd = -1;
            errno = no;
        }
    }
    return fd;
}

static int fail_address(const struct serve_conf *c, struct err *e)
{
    int no = errno;
    const char *hint = no == EADDRINUSE ? "; another program listens there, choose another "
                                          "server.port" : "";
    return err_set(e, ERR_IO, "server: cannot listen on %s port %u: %s%s", c->host, c->port,
                   strerror(no), hint);
}

int serve_bind(struct serve **out, const struct serve_conf *conf, struct err *e)
{
    *out = NULL;
    char port[16];
    snprintf(port, sizeof port, "%u", conf->port);
    const struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(conf->host, port, &hints, &list);
    if (rc)
        return err_set(e, ERR_ARG, "server.host: %s: %s", conf->host,
                       rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    int fd = bind_first(list);
    if (fd < 0)
        rc = fail_address(conf, e);
    freeaddrinfo(list);
    if (rc)
        return rc;
    struct serve *s = calloc(1, sizeof *s);
    if (!s || sodium_init() < 0 || pthread_mutex_init(&s->lock, NULL)) {
        free(s);
        close(fd);
        return err_set(e, ERR_NOMEM, "server: no memory");
    }
    s->conf = *conf;
    s->fd = fd;
    atomic_init(&s->state, SERVE_LOADING);
    make_url(s);
    *out = s;
    return 0;
}

int serve_listen(struct serve *s, struct err *e)
{
    if (listen(s->fd, SOMAXCONN))
        return fail_address(&s->conf, e);
    int rc = hangup_open(&s->hangup, on_hangup, s, e);
    if (rc)
        return rc;
    uint32_t n = s->conf.n_threads;
    if (n > s->conf.max_connections)
        n = s->conf.max_connections;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, s->fd,
        MHD_OPTION_THREAD_POOL_SIZE, n > 1 ? n : 0,
        MHD_OPTION_CONNECTION_LIMIT, s->conf.max_connections,
        MHD_OPTION_CONNECTION_TIMEOUT, s->conf.timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_END);
    if (!s->daemon)
        return err_set(e, ERR_IO, "server: cannot start its threads: %s", strerror(errno));
    return 0;
}

void serve_ready(struct serve *s, const struct serve_model *m)
{
    s->model = *m;
    atomic_store_explicit(&s->state, SERVE_READY, memory_order_release);
}

/* MHD's threads may still hold the socket's number, so it cannot be closed
 * here; the shutdown alone makes the kernel refuse connections. */
static void stop_listening(struct serve *s)
{
    if (!s->daemon || s->deaf)
        return;
    MHD_quiesce_daemon(s->daemon);
    shutdown(s->fd, SHUT_RDWR);
    s->deaf = true;
}

void serve_drain(struct serve *s)
{
    atomic_store_explicit(&s->state, SERVE_DRAINING, memory_order_release);
    stop_listening(s);
}

void serve_close(struct serve *s)
{
    if (!s)
        return;
    atomic_store_explicit(&s->state, SERVE_STOPPING, memory_order_release);
    pthread_mutex_lock(&s->lock);
    for (struct exchange *x = s->active; x; x = x->next)
        exchange_wake(x);
    pthread_mutex_unlock(&s->lock);
    stop_listening(s);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    hangup_close(s->hangup);
    /* What is left was cancelled, and ends with the engine's current step. */
    while (!reap(s))
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
