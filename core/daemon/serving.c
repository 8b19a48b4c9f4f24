/* serving.c - the socket's life: bound, opened, served, drained. */
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/daemon/daemon.h"
#include "core/daemon/signals.h"

enum { LOOK_MS = 500 };           /* how often the engine is looked at         */

/* Every connection is a file descriptor. */
static void raise_file_limit(uint32_t n)
{
    struct rlimit r;
    const rlim_t want = (rlim_t)n + SERVING_OWN_FILES;
    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= want)
        return;
    r.rlim_cur = want < r.rlim_max ? want : r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur < want)
        log_warn("server.max_connections: %u, but only %llu files may be open", n,
                 (unsigned long long)r.rlim_cur);
}

static struct serve_conf serve_conf_of(const struct conf *c)
{
    return (struct serve_conf){
        .host = c->host, .port = c->port, .socket_mode = c->socket_mode,
        .n_threads = c->http_threads, .tls_cert = c->tls_cert, .tls_key = c->tls_key,
        .max_connections = c->max_connections, .max_per_address = c->max_per_address,
        .max_header_size = (size_t)c->max_header_kib << 10,
        .max_body_size = (size_t)c->max_body_kib << 10, .timeout_s = c->timeout_s,
        .read_timeout_s = c->read_timeout_s, .keys = c->keys, .open = c->server_open,
        .strict = c->strict, .cors_origin = c->cors_origin, .page = c->page,
        .access_log = c->access_log, .log_prompts = c->log_prompts, .otlp_url = c->otlp_url,
        .trace_percent = c->trace_percent,
    };
}

int serving_bind(struct bitnetd *d, struct err *e)
{
    const struct serve_conf s = serve_conf_of(&d->conf);
    raise_file_limit(d->conf.max_connections);
    return serve_bind(&d->serve, &s, e);
}

int serving_reload(struct bitnetd *d, const struct conf *fresh, struct err *e)
{
    const struct serve_conf s = serve_conf_of(fresh);
    return serve_reload(d->serve, &s, e);
}

int serving_listen_early(struct bitnetd *d, struct err *e)
{
    const int rc = serve_listen(d->serve, e);
    if (!rc)
        log_info("%s answers 503 until the model is loaded", serve_url(d->serve));
    return rc;
}

void serving_ready(struct bitnetd *d)
{
    const struct serve_model m = {
        .id = d->model_id, .created = (int64_t)time(NULL), .engine = d->engine,
        .vocab = d->model->vocab, .max_new_default = d->conf.max_new_default,
        .max_prompt = d->conf.max_prompt_tok, .max_new = d->conf.max_new_tok,
        .seed = d->conf.seed, .seed_random = d->conf.seed_random,
        .n_embd = d->model->hp.n_embd, .pooling = d->model->hp.pooling,
        .deadline_s = d->conf.deadline_s, .max_queue_s = d->conf.max_queue_s,
        .chat = d->chat, .grammars = d->grammars,
    };
    serve_ready(d->serve, &m);
    signals_phase(SIGNALS_SERVING);
    printf("listening on %s\n", serve_url(d->serve));
    fflush(stdout);
    sd_notifyf(0, "READY=1\nSTATUS=Serving %s on %s", d->model_id, serve_url(d->serve));
}

int serving_wait(struct bitnetd *d, struct err *e)
{
    struct pollfd p[2] = { { .fd = signals_fd(), .events = POLLIN },
                           { .fd = signals_reload_fd(), .events = POLLIN } };
    int rc = 0;
    while (!rc) {
        const int n = poll(p, 2, LOOK_MS);
        eventfd_t times;
        if (n > 0 && p[0].revents)
            return 0;
        if (n > 0 && !eventfd_read(p[1].fd, &times))
            reload(d);
        watchdog_look(d);
        rc = engine_fault(d->engine, e);
    }
    return rc;
}

/* What the head had to compute: rows of weights for each token served; what went
 * between memories; and how often other devices had to take over. */
static void log_served(struct bitnetd *d)
{
    struct engine_stats s;
    engine_stats(d->engine, &s);
    const struct head_count *h = &s.head;
    log_info("head: %llu tokens from all logits, %llu from the largest, %.1f rows computed for "
             "each of those", (unsigned long long)h->n_full, (unsigned long long)h->n_top,
             h->n_top ? (double)h->n_exact / (double)h->n_top : 0.0);
    if (s.n_cross)
        log_info("memory of devices: %llu copies in or out, %.1f MiB, %llu waits for one, in %llu "
                 "steps", (unsigned long long)s.n_cross, (double)s.cross_size / 1048576,
                 (unsigned long long)s.n_cross_wait, (unsigned long long)s.n_step);
    if (s.n_recover)
        log_warn("served on after the loss of a device: %llu times",
                 (unsigned long long)s.n_recover);
}

void serving_drain(struct bitnetd *d)
{
    signals_phase(SIGNALS_STOPPING);
    sd_notify(0, "STOPPING=1\nSTATUS=Finishing the running requests");
    serve_drain(d->serve);
    uint32_t n = serve_active(d->serve);
    log_info("stopping, %u requests to finish", n);
    const uint64_t until = clock_ms() + (uint64_t)d->conf.drain_s * 1000;
    while ((n = serve_active(d->serve)) && clock_ms() < until) {
        nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000000 }, NULL);
        watchdog_look(d);
    }
    if (n)
        log_warn("%u requests were not finished within server.drain_s, %u s", n, d->conf.drain_s);
    log_served(d);
}
