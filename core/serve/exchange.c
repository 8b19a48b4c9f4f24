/* exchange.c - the life of an exchange: asleep, awake, orphaned, freed.
 *
 * The connection's side and the engine's meet under the exchange's lock:
 * `awake` is cleared before the answer is looked at, and the connection is
 * suspended only if it is still clear afterwards, so a wake between the look
 * and the suspension is never lost. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/serve/access.h"
#include "core/serve/serve_parts.h"

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
    gen_free(x);                  /* first: it outwaits a wake in progress */
    pthread_mutex_destroy(&x->lock);
    buf_free(&x->body);
    buf_free(&x->out);
    buf_free(&x->logged);
    settings_unref(x->settings);
    free(x->path);
    free(x);
}

bool exchange_reap(struct serve *s)
{
    struct exchange *done = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct exchange *x = s->orphan, *next; x; x = next) {
        next = x->next;
        if (!gen_is_idle(x))
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

const char *exchange_header(struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->conn, MHD_HEADER_KIND, name);
}

struct exchange *exchange_new(struct serve *s, struct MHD_Connection *conn, const char *method,
                              const char *path)
{
    exchange_reap(s);
    struct exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->path = strdup(path);
    if (!x->path || pthread_mutex_init(&x->lock, NULL)) {
        free(x->path);
        free(x);
        return NULL;
    }
    const struct conn *c = conn_of(conn);
    x->serve = s;
    x->settings = serve_settings(s);
    snprintf(x->method, sizeof x->method, "%s", method);
    snprintf(x->peer, sizeof x->peer, "%s", c ? c->peer : "?");
    x->conn = conn;
    x->watched_fd = -1;
    x->start_us = clock_us();
    set_request_id(x);
    trace_begin(&x->trace, exchange_header(x, "traceparent"), s->conf.trace_percent);
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

void exchange_look(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->awake = false;
    pthread_mutex_unlock(&x->lock);
}

bool exchange_sleep(struct exchange *x)
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

bool exchange_is_lost(struct exchange *x)
{
    return atomic_load_explicit(&x->hung_up, memory_order_relaxed) ||
           serve_state(x->serve) == SERVE_STOPPING;
}

void exchange_watch(struct exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info && hangup_add(x->serve->hangup, info->connect_fd, x->serial))
        x->watched_fd = info->connect_fd;
}

void exchange_on_hangup(void *ctx, uint64_t serial)
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

/* The status that the log has: what was sent, or why it was not. 499 is nginx's
 * number for a client that left. */
static unsigned log_status(const struct exchange *x, enum MHD_RequestTerminationCode code)
{
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        return x->status;
    if (serve_state(x->serve) == SERVE_STOPPING)
        return 503;
    if (x->out.failed || x->body.failed)
        return 500;
    const bool idle = code == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED;
    if (!x->started && (idle || conn_is_cut(conn_of(x->conn))))
        return 408;
    return x->started || !x->body_over ? 499 : 413;
}

void exchange_end(struct exchange *x, enum MHD_RequestTerminationCode code)
{
    struct serve *s = x->serve;
    if (x->watched_fd >= 0)
        hangup_remove(s->hangup, x->watched_fd);
    /* Waits for a wake that is still inside MHD_resume_connection. */
    pthread_mutex_lock(&x->lock);
    x->suspended = false;
    pthread_mutex_unlock(&x->lock);
    const uint64_t end_us = clock_us();
    const unsigned status = log_status(x, code);
    log_debug("http: %s %u in %llu us", x->route ? x->route->path : x->path, status,
              (unsigned long long)(end_us - x->start_us));
    metrics_count(&s->metrics, x, status);
    gen_count(x);
    access_put(x->settings->access, x, status, end_us);
    spans_put(x, status, end_us);
    gen_cancel(x);
    pthread_mutex_lock(&s->lock);
    list_take(&s->active, x);
    list_add(&s->orphan, x);
    s->n_active--;
    pthread_mutex_unlock(&s->lock);
    exchange_reap(s);
}
