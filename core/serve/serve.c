/* serve.c - the server as a whole: the order in which its parts open and close. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/log.h"
#include "core/serve/serve_parts.h"

enum { CONNECTION_MEMORY = 32 << 10 };   /* bounds request line and headers */

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

int serve_bind(struct serve **out, const struct serve_conf *conf, struct err *e)
{
    *out = NULL;
    struct serve *s = calloc(1, sizeof *s);
    if (!s || sodium_init() < 0 || pthread_mutex_init(&s->lock, NULL) ||
        metrics_open(&s->metrics)) {
        free(s);
        return err_set(e, ERR_NOMEM, "server: no memory");
    }
    s->conf = *conf;
    atomic_init(&s->state, SERVE_LOADING);
    const int rc = listen_bind(&s->listen, conf->host, conf->port, e);
    if (rc)
        serve_close(s);
    else
        *out = s;
    return rc;
}

int serve_listen(struct serve *s, struct err *e)
{
    int rc = listen_open(&s->listen, e);
    if (!rc)
        rc = hangup_open(&s->hangup, exchange_on_hangup, s, e);
    if (rc)
        return rc;
    uint32_t n = s->conf.n_threads;
    if (n > s->conf.max_connections)
        n = s->conf.max_connections;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
        0, NULL, NULL, http_on_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, s->listen.fd,
        MHD_OPTION_THREAD_POOL_SIZE, n > 1 ? n : 0,
        MHD_OPTION_CONNECTION_LIMIT, s->conf.max_connections,
        MHD_OPTION_CONNECTION_TIMEOUT, s->conf.timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, NULL,
        MHD_OPTION_END);
    if (!s->daemon)
        return err_set(e, ERR_IO, "server: cannot start its threads: %s", strerror(errno));
    return 0;
}

void serve_stalled(struct serve *s, bool stalled)
{
    atomic_store_explicit(&s->stalled, stalled, memory_order_relaxed);
}

void serve_ready(struct serve *s, const struct serve_model *m)
{
    s->model = *m;
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
    hangup_close(s->hangup);
    /* What is left was cancelled, and ends with the engine's current step. */
    while (!exchange_reap(s))
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    listen_close(&s->listen);
    metrics_close(&s->metrics);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
