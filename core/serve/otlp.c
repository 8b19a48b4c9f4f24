/* otlp.c - the queue, and the thread that empties it.
 *
 * The first span of a batch waits up to BATCH_MS for others, so a busy server
 * posts a few times a second. A post that fails is not repeated: what a
 * collector missed is in the counts, and the next batch is fresher. */
#include "core/serve/otlp.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/log.h"

enum {
    BATCH_MS = 500,
    POST_MS = 5000,               /* a collector gets so long to answer        */
    LAST_MS = 2000                /* and all posts at the end together         */
};

struct otlp {
    pthread_t thread;
    pthread_mutex_t lock;         /* guards the next eight                     */
    pthread_cond_t wake;
    struct otlp_span *queue;      /* [OTLP_MAX_QUEUE] a ring                   */
    unsigned first, n;
    bool closing;
    struct otlp_count count;
    char model[256];
    /* The thread's: */
    CURL *curl;
    struct curl_slist *header;
    struct otlp_span *batch;      /* [OTLP_MAX_BATCH]                          */
    bool failing;                 /* the last post failed, and a line said so  */
    uint64_t until_ms;            /* 0: not closing                            */
    char error[CURL_ERROR_SIZE];
};

void otlp_add(struct otlp *o, const struct otlp_span *s)
{
    pthread_mutex_lock(&o->lock);
    if (o->n == OTLP_MAX_QUEUE || o->closing)
        o->count.n_dropped++;
    else
        o->queue[(o->first + o->n++) % OTLP_MAX_QUEUE] = *s;
    pthread_cond_signal(&o->wake);
    pthread_mutex_unlock(&o->lock);
}

void otlp_count(const struct otlp *o, struct otlp_count *out)
{
    struct otlp *w = (struct otlp *)o;    /* only its lock is touched */
    pthread_mutex_lock(&w->lock);
    *out = o->count;
    pthread_mutex_unlock(&w->lock);
}

void otlp_model(struct otlp *o, const char *model)
{
    pthread_mutex_lock(&o->lock);
    strncpy(o->model, model, sizeof o->model - 1);
    pthread_mutex_unlock(&o->lock);
}

/* Sleeps until there is a batch worth posting; its spans move into o->batch.
 * 0: closing, and nothing is left. */
static unsigned take_batch(struct otlp *o)
{
    pthread_mutex_lock(&o->lock);
    while (!o->n && !o->closing)
        pthread_cond_wait(&o->wake, &o->lock);
    const struct timespec at = clock_after(BATCH_MS);
    while (o->n < OTLP_MAX_BATCH && !o->closing &&
           !pthread_cond_timedwait(&o->wake, &o->lock, &at))
        ;
    if (o->closing && !o->until_ms)
        o->until_ms = clock_ms() + LAST_MS;
    const unsigned n = o->n < OTLP_MAX_BATCH ? o->n : OTLP_MAX_BATCH;
    for (unsigned i = 0; i < n; i++)
        o->batch[i] = o->queue[(o->first + i) % OTLP_MAX_QUEUE];
    o->first = (o->first + n) % OTLP_MAX_QUEUE;
    o->n -= n;
    pthread_mutex_unlock(&o->lock);
    return n;
}

/* What the collector says is read and forgotten. */
static size_t forget(char *p, size_t size, size_t n, void *ctx)
{
    (void)p;
    (void)ctx;
    return size * n;
}

/* Whether the collector took it; else o->error says why. */
static bool post(struct otlp *o, const struct buf *body)
{
    long status = 0, ms = POST_MS;
    if (o->until_ms) {
        const uint64_t now = clock_ms();
        ms = now < o->until_ms ? (long)(o->until_ms - now) : 1;
    }
    o->error[0] = 0;
    curl_easy_setopt(o->curl, CURLOPT_TIMEOUT_MS, ms);
    curl_easy_setopt(o->curl, CURLOPT_POSTFIELDS, body->p);
    curl_easy_setopt(o->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->n);
    const CURLcode rc = curl_easy_perform(o->curl);
    if (rc) {
        if (!*o->error)
            snprintf(o->error, sizeof o->error, "%s", curl_easy_strerror(rc));
        return false;
    }
    curl_easy_getinfo(o->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 299)
        snprintf(o->error, sizeof o->error, "it answered %ld, expected 200", status);
    return status >= 200 && status <= 299;
}

static void send_batch(struct otlp *o, unsigned n)
{
    struct buf body = { 0 };
    char model[256];
    pthread_mutex_lock(&o->lock);
    memcpy(model, o->model, sizeof model);
    pthread_mutex_unlock(&o->lock);
    otlp_write(&body, o->batch, n, model);
    const bool ok = !body.failed && post(o, &body);
    buf_free(&body);
    pthread_mutex_lock(&o->lock);
    *(ok ? &o->count.n_sent : &o->count.n_failed) += n;
    pthread_mutex_unlock(&o->lock);
    if (!ok && !o->failing)
        log_warn("trace.otlp_url: the collector takes no spans: %s; they are lost until it does",
                 *o->error ? o->error : "no memory");
    if (ok && o->failing)
        log_info("trace.otlp_url: the collector takes spans again");
    o->failing = !ok;
}

static void *run(void *ctx)
{
    struct otlp *o = ctx;
    pthread_setname_np(pthread_self(), "bitnet-otlp");
    for (unsigned n; (n = take_batch(o)) > 0;)
        send_batch(o, n);
    return NULL;
}

static int set_up_curl(struct otlp *o, const char *url, struct err *e)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(o->curl = curl_easy_init()) ||
        !(o->header = curl_slist_append(NULL, "Content-Type: application/json")))
        return err_set(e, ERR_NOMEM, "trace.otlp_url: no memory");
    curl_easy_setopt(o->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(o->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(o->curl, CURLOPT_HTTPHEADER, o->header);
    curl_easy_setopt(o->curl, CURLOPT_WRITEFUNCTION, forget);
    curl_easy_setopt(o->curl, CURLOPT_ERRORBUFFER, o->error);
    curl_easy_setopt(o->curl, CURLOPT_USERAGENT, "bitnetd/" BITNET_VERSION);
    if ((strncmp(url, "http://", 7) && strncmp(url, "https://", 8)) ||
        curl_easy_setopt(o->curl, CURLOPT_URL, url))
        return err_set(e, ERR_ARG, "trace.otlp_url: %.200s: expected http:// or https://, as in "
                       "http://127.0.0.1:4318/v1/traces", url);
    return 0;
}

static void otlp_free(struct otlp *o)
{
    curl_easy_cleanup(o->curl);
    curl_slist_free_all(o->header);
    curl_global_cleanup();
    pthread_cond_destroy(&o->wake);
    pthread_mutex_destroy(&o->lock);
    free(o->queue);
    free(o->batch);
    free(o);
}

static int start_thread(struct otlp *o, struct err *e)
{
    sigset_t all, old;            /* signals are for others */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int no = pthread_create(&o->thread, NULL, run, o);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return no ? err_set(e, ERR_IO, "trace.otlp_url: cannot start its thread: %s", strerror(no)) : 0;
}

int otlp_open(struct otlp **out, const char *url, struct err *e)
{
    pthread_condattr_t monotonic;
    *out = NULL;
    struct otlp *o = calloc(1, sizeof *o);
    if (!o)
        return err_set(e, ERR_NOMEM, "trace.otlp_url: no memory");
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&o->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&o->lock, NULL);
    o->queue = calloc(OTLP_MAX_QUEUE, sizeof *o->queue);
    o->batch = calloc(OTLP_MAX_BATCH, sizeof *o->batch);
    int rc = o->queue && o->batch ? set_up_curl(o, url, e)
                                  : err_set(e, ERR_NOMEM, "trace.otlp_url: no memory");
    if (!rc)
        rc = start_thread(o, e);
    if (rc)
        otlp_free(o);
    else
        *out = o;
    return rc;
}

void otlp_close(struct otlp *o)
{
    if (!o)
        return;
    pthread_mutex_lock(&o->lock);
    o->closing = true;
    pthread_cond_signal(&o->wake);
    pthread_mutex_unlock(&o->lock);
    pthread_join(o->thread, NULL);
    otlp_free(o);
}
