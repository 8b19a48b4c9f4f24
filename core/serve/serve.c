/* serve.c - the server as a whole: the order in which its parts open and close. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/log.h"
#include "core/serve/serve_parts.h"

enum { HEADER_SIZE = 32 << 10 };  /* bytes, when the configuration has none    */

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
    return s->listen.url;
}

uint32_t serve_active(struct serve *s)
{
    pthread_mutex_lock(&s->lock);
    uint32_t n = s->n_active;
    pthread_mutex_unlock(&s->lock);
    return n;
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

uint32_t serve_connections(struct serve *s)
{
    return s->conns ? conn_all_count(s->conns) : 0;
}

struct settings *serve_settings(struct serve *s)
{
    pthread_mutex_lock(&s->reload);
    struct settings *now = settings_ref(s->settings);
    pthread_mutex_unlock(&s->reload);
    return now;
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* Everybody on the network may use a server without keys: that should be meant. */
static int check_open(const struct serve *s, const struct serve_conf *c, const struct settings *set,
                      struct err *e)
{
    if (set->keys || s->listen.is_local || c->open)
        return 0;
    if (c->strict)
        return err_set(e, ERR_STRICT, "server.keys: is empty, and others can connect to %s; strict "
                       "mode expects a file of keys, a loopback address, or server.open = yes",
                       s->listen.url);
    log_warn("server.keys: is empty, so everybody who can connect to %s may use it; server.open = "
             "yes says that this is meant", s->listen.url);
    return 0;
}

static void keep_numbers(struct serve_conf *to, const struct serve_conf *from)
{
    *to = *from;
    to->host = to->socket_mode = to->tls_cert = to->tls_key = NULL;
    to->keys = to->cors_origin = to->access_log = to->otlp_url = NULL;
    if (!to->max_header_size)
        to->max_header_size = HEADER_SIZE;
}

static int take_conf(struct serve *s, const struct serve_conf *c, struct err *e)
{
    int rc = settings_open(&s->settings, c, e);
    if (!rc)
        rc = tls_open(&s->tls, or_empty(c->tls_cert), or_empty(c->tls_key), e);
    const struct listen_conf l = { .host = c->host, .port = c->port, .mode = c->socket_mode,
                                   .tls = s->tls.cert };
    if (!rc)
        rc = listen_bind(&s->listen, &l, e);
    if (!rc && *or_empty(c->otlp_url))
        rc = otlp_open(&s->otlp, c->otlp_url, e);
    return rc ? rc : check_open(s, c, s->settings, e);
}

int serve_bind(struct serve **out, const struct serve_conf *conf, struct err *e)
{
    *out = NULL;
    struct serve *s = calloc(1, sizeof *s);
    if (!s || sodium_init() < 0 || metrics_open(&s->metrics)) {
        free(s);
        return err_set(e, ERR_NOMEM, "server: no memory");
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->reload, NULL);
    s->listen.fd = -1;
    keep_numbers(&s->conf, conf);
    atomic_init(&s->state, SERVE_LOADING);
    const int rc = take_conf(s, conf, e);
    if (rc)
        serve_close(s);
    else
        *out = s;
    return rc;
}

int serve_reload(struct serve *s, const struct serve_conf *conf, struct err *e)
{
    struct settings *fresh, *old;
    int rc = settings_open(&fresh, conf, e);
    if (!rc)
        rc = check_open(s, conf, fresh, e);
    if (rc) {
        settings_unref(fresh);
        return rc;
    }
    pthread_mutex_lock(&s->reload);
    old = s->settings;
    s->settings = fresh;
    pthread_mutex_unlock(&s->reload);
    settings_unref(old);
    return 0;
}

static int start_daemon(struct serve *s, struct err *e)
{
    const struct serve_conf *c = &s->conf;
    const uint32_t n = c->n_threads < c->max_connections ? c->n_threads : c->max_connections;
    unsigned flags = MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ERROR_LOG;
    struct MHD_OptionItem more[5] = { { MHD_OPTION_END, 0, NULL } };
    unsigned m = 0;
    if (s->tls.cert) {
        flags |= MHD_USE_TLS;
        more[m++] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_CERT, 0, s->tls.cert };
        more[m++] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_KEY, 0, s->tls.key };
        more[m++] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_PRIORITIES };
    }
    more[m] = (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_on_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, s->listen.fd,
        MHD_OPTION_THREAD_POOL_SIZE, n > 1 ? n : 0,
        MHD_OPTION_CONNECTION_LIMIT, c->max_connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, *s->listen.path ? 0 : c->max_per_address,
        MHD_OPTION_CONNECTION_TIMEOUT, c->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, c->max_header_size,
        MHD_OPTION_URI_LOG_CALLBACK, http_on_line, s,
        MHD_OPTION_NOTIFY_CONNECTION, conn_all_notify, s->conns,
        MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, NULL,
        MHD_OPTION_ARRAY, more,
        MHD_OPTION_END);
    if (!s->daemon)
        return err_set(e, ERR_IO, "server: cannot start its threads: %s", strerror(errno));
    return 0;
}

int serve_listen(struct serve *s, struct err *e)
{
    const struct conn_conf c = { .read_s = s->conf.read_timeout_s, .idle_s = s->conf.timeout_s,
                                  .tls = s->tls.cert };
    int rc = listen_open(&s->listen, e);
    if (!rc)
        rc = hangup_open(&s->hangup, exchange_on_hangup, s, e);
    if (!rc)
        rc = conn_all_open(&s->conns, &c, e);
    return rc ? rc : start_daemon(s, e);
}

void serve_stalled(struct serve *s, bool stalled)
{
    atomic_store_explicit(&s->stalled, stalled, memory_order_relaxed);
}

void serve_ready(struct serve *s, const struct serve_model *m)
{
    s->model = *m;
    if (m->engine)
        route_explain(engine_forward(m->engine)->route, &s->selection);
    if (s->otlp)
        otlp_model(s->otlp, m->id);
    atomic_store_explicit(&s->state, SERVE_READY, memory_order_release);
}

static void stop_listening(struct serve *s)
{
    if (!s->daemon || s->listen.shut)
        return;
    MHD_quiesce_daemon(s->daemon);
    listen_shut(&s->listen);
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
    conn_all_close(s->conns);
    hangup_close(s->hangup);
    /* What is left was cancelled, and ends with the engine's current step. */
    while (!exchange_reap(s))
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    listen_close(&s->listen);
    otlp_close(s->otlp);
    metrics_close(&s->metrics);
    tls_close(&s->tls);
    buf_free(&s->selection);
    settings_unref(s->settings);
    pthread_mutex_destroy(&s->reload);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
