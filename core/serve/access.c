/* access.c - one write(2) per line, so threads and processes never mix. A line
 * that cannot be written is lost, and counted; no request waits for a disk
 * that is full. */
#include "core/serve/access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/log.h"

enum { COMPLAIN_S = 60 };         /* seconds between lines about lost lines    */

struct access {
    int fd;
    char *path;                   /* NULL: standard error                      */
    _Atomic uint64_t n_lost;
    _Atomic int64_t said_at;      /* CLOCK_MONOTONIC, seconds                  */
};

int access_open(struct access **out, const char *where, struct err *e)
{
    *out = NULL;
    if (!*where || !strcmp(where, "off"))
        return 0;
    struct access *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, "log.access: no memory");
    a->fd = STDERR_FILENO;
    atomic_init(&a->said_at, -COMPLAIN_S);
    if (strcmp(where, "stderr")) {
        a->path = strdup(where);
        a->fd = open(where, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
        if (a->fd < 0 || !a->path) {
            const int rc = err_set(e, ERR_IO, "log.access: %s: %s, expected a file that can be "
                                   "appended to, stderr or off", where, strerror(errno));
            access_close(a);
            return rc;
        }
    }
    *out = a;
    return 0;
}

void access_close(struct access *a)
{
    if (!a)
        return;
    if (a->fd >= 0 && a->fd != STDERR_FILENO)
        close(a->fd);
    free(a->path);
    free(a);
}

static void put_text(struct buf *b, const char *name, const char *p, size_t n)
{
    buf_addf(b, ",\"%s\":\"", name);
    log_escape(b, p, n, true);
    buf_addf(b, "\"");
}

static void put_ms(struct buf *b, const char *name, bool known, uint64_t us)
{
    if (known)
        buf_addf(b, ",\"%s\":%.3f", name, (double)us / 1000);
    else
        buf_addf(b, ",\"%s\":null", name);
}

static void put_time(struct buf *b)
{
    struct timespec now;
    struct tm tm;
    char day[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_addf(b, "{\"time\":\"%s.%03dZ\"", day, (int)(now.tv_nsec / 1000000));
}

static void put_line(struct buf *b, const struct exchange *x, unsigned status, uint64_t end_us)
{
    const struct exchange_work *w = &x->work;
    put_time(b);
    buf_addf(b, ",\"id\":\"%s\",\"client\":\"%s\"", x->request_id, x->peer);
    buf_addf(b, ",\"trace\":\"%s\"", x->trace.trace_id);
    if (x->key_name)
        put_text(b, "key", x->key_name, strlen(x->key_name));
    else
        buf_addf(b, ",\"key\":null");
    put_text(b, "method", x->method, strlen(x->method));
    put_text(b, "path", x->path, strnlen(x->path, 512));
    buf_addf(b, ",\"status\":%u,\"bytes\":%llu", status, (unsigned long long)x->n_sent);
    buf_addf(b, ",\"prompt_tokens\":%u,\"cached_tokens\":%u,\"completion_tokens\":%u", w->n_prompt,
             w->n_cached, w->n_new);
    put_ms(b, "queue_ms", w->admitted, w->queue_us);
    put_ms(b, "ttft_ms", w->first_us, w->first_us);
    put_ms(b, "total_ms", true, end_us - x->start_us);
    if (x->logged.n)
        put_text(b, "body", x->logged.p, x->logged.n);
    buf_addf(b, "}\n");
}

static void complain(struct access *a, int no)
{
    const uint64_t n = atomic_fetch_add(&a->n_lost, 1) + 1;
    const int64_t now = (int64_t)(clock_ms() / 1000);
    int64_t said = atomic_load(&a->said_at);
    if (now - said >= COMPLAIN_S && atomic_compare_exchange_strong(&a->said_at, &said, now))
        log_warn("log.access: %s: %s; %llu lines are lost", a->path ? a->path : "stderr",
                 strerror(no), (unsigned long long)n);
}

void access_put(struct access *a, const struct exchange *x, unsigned status, uint64_t end_us)
{
    if (!a)
        return;
    struct buf b = { 0 };
    put_line(&b, x, status, end_us);
    const ssize_t n = b.failed ? -1 : write(a->fd, b.p, b.n);
    if (n < 0 || (size_t)n != b.n)
        complain(a, b.failed ? ENOMEM : n < 0 ? errno : ENOSPC);
    buf_free(&b);
}
