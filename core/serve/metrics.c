/* metrics.c - what is counted here, and the page with everything. */
#include "core/serve/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bitnet_plugin.h"
#include "core/engine/forward.h"
#include "core/serve/metrics_put.h"
#include "core/serve/serve_parts.h"

/* ---- counting ---- */

int metrics_open(struct metrics *m)
{
    m->start = time(NULL);
    return pthread_mutex_init(&m->lock, NULL);
}

void metrics_close(struct metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

static void count_route(struct metrics *m, const struct route *route, unsigned status)
{
    for (unsigned i = 0; i < m->n_route; i++) {
        if (m->route[i].route == route && m->route[i].status == status) {
            m->route[i].n++;
            return;
        }
    }
    if (m->n_route < METRICS_MAX_ROUTE)
        m->route[m->n_route++] = (struct metrics_route){ route, status, 1 };
    else
        m->n_other++;
}

static void count_code(struct metrics *m, const char *code)
{
    for (unsigned i = 0; i < m->n_code; i++) {
        if (!strcmp(m->code[i].code, code)) {
            m->code[i].n++;
            return;
        }
    }
    if (m->n_code < METRICS_MAX_CODE)
        m->code[m->n_code++] = (struct metrics_code){ code, 1 };
}

void metrics_count(struct metrics *m, const struct exchange *x, unsigned status)
{
    pthread_mutex_lock(&m->lock);
    count_route(m, x->route, status);
    if (x->error_code)
        count_code(m, x->error_code);
    pthread_mutex_unlock(&m->lock);
}

/* ---- the page: this process ---- */

static uint64_t resident_bytes(void)
{
    unsigned long long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%llu %llu", &size, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_files(void)
{
    uint64_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n > 3 ? n - 3 : 0;     /* ".", "..", and the folder itself */
}

static uint64_t cpu_us(void)
{
    struct rusage r;
    if (getrusage(RUSAGE_SELF, &r))
        return 0;
    return (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static void put_process(struct buf *b, const struct metrics *m)
{
    static const struct metrics_label version = { "version", BITNET_VERSION };
    struct rlimit files = { 0 };
    getrlimit(RLIMIT_NOFILE, &files);
    metrics_family(b, "build_info", "gauge", "Always 1; the labels tell the build.");
    metrics_sample(b, "build_info", &version, 1, 1, METRICS_ONE);
    metrics_one(b, "start_time_seconds", "gauge", "When the process started, since 1970.",
                (uint64_t)m->start, METRICS_ONE);
    metrics_one(b, "process_resident_bytes", "gauge", "Memory of the process that is resident.",
                resident_bytes(), METRICS_ONE);
    metrics_one(b, "process_open_fds", "gauge", "Open file descriptors.", open_files(),
                METRICS_ONE);
    metrics_one(b, "process_max_fds", "gauge", "File descriptors that may be open.",
                files.rlim_cur, METRICS_ONE);
    metrics_one(b, "process_cpu_seconds_total", "counter", "Processor time, user and system.",
                cpu_us(), METRICS_US);
}

/* ---- HTTP ---- */

static void put_routes(struct buf *b, struct metrics *m)
{
    metrics_family(b, "http_requests_total", "counter", "Requests answered, by route and status.");
    for (unsigned i = 0; i < m->n_route; i++) {
        const struct route *r = m->route[i].route;
        char path[128], status[16];
        snprintf(path, sizeof path, "%s%s", r ? r->path : "none", r && r->prefix ? "*" : "");
        snprintf(status, sizeof status, "%u", m->route[i].status);
        const struct metrics_label label[] = {
            { "route", path }, { "method", r ? r->method : "" }, { "status", status }
        };
        metrics_sample(b, "http_requests_total", label, 3, m->route[i].n, METRICS_ONE);
    }
    if (m->n_other) {
        const struct metrics_label label[] = {
            { "route", "other" }, { "method", "" }, { "status", "" }
        };
        metrics_sample(b, "http_requests_total", label, 3, m->n_other, METRICS_ONE);
    }
    metrics_family(b, "http_errors_total", "counter", "Errors told to clients, by their code.");
    for (unsigned i = 0; i < m->n_code; i++) {
        const struct metrics_label label = { "code", m->code[i].code };
        metrics_sample(b, "http_errors_total", &label, 1, m->code[i].n, METRICS_ONE);
    }
}

static void put_spans(struct buf *b, const struct otlp *o)
{
    struct otlp_count n = { 0 };
    if (o)
        otlp_count(o, &n);
    const struct { const char *result; uint64_t n; } row[] = {
        { "sent", n.n_sent }, { "dropped", n.n_dropped }, { "failed", n.n_failed }
    };
    metrics_family(b, "trace_spans_total", "counter", "Spans, by what became of them.");
    for (unsigned i = 0; i < 3; i++) {
        const struct metrics_label label = { "result", row[i].result };
        metrics_sample(b, "trace_spans_total", &label, 1, row[i].n, METRICS_ONE);
    }
}

static void put_http(struct buf *b, struct serve *s)
{
    metrics_one(b, "ready", "gauge", "1 while requests are served.",
                serve_state(s) == SERVE_READY, METRICS_ONE);
    metrics_one(b, "http_connections", "gauge", "Open connections.",
                serve_connections(s), METRICS_ONE);
    metrics_one(b, "http_active_requests", "gauge", "Requests being answered, this one too.",
                serve_active(s), METRICS_ONE);
    put_spans(b, s->otlp);
    pthread_mutex_lock(&s->metrics.lock);
    put_routes(b, &s->metrics);
    pthread_mutex_unlock(&s->metrics.lock);
}

/* ---- the engine ---- */

static void put_model(struct buf *b, const struct serve_model *m)
{
    const struct forward *f = engine_forward(m->engine);
    char layers[16];
    snprintf(layers, sizeof layers, "%u", f->model->hp.n_layer);
    const struct metrics_label label[] = {
        { "model", m->id }, { "arch", f->model->arch }, { "layers", layers },
        { "kv", f->conf.kv_format == BNP_KV_I8 ? "i8" : "f16" }
    };
    metrics_family(b, "model_info", "gauge", "Always 1; the labels tell the model.");
    metrics_sample(b, "model_info", label, 4, 1, METRICS_ONE);
    metrics_one(b, "context_tokens", "gauge", "Tokens of a sequence, at most.",
                engine_n_ctx(m->engine), METRICS_ONE);
}

static void put_requests(struct buf *b, const struct engine_stats *s)
{
    static const char *const finish[FINISH_N] = {
        [FINISH_STOP] = "stop", [FINISH_LENGTH] = "length", [FINISH_CANCELLED] = "cancelled",
        [FINISH_ERROR] = "error", [FINISH_DEADLINE] = "deadline", [FINISH_QUEUE] = "queue"
    };
    metrics_family(b, "requests_total", "counter",
                   "Requests that the engine ended, by the reason. An answer may need several.");
    for (unsigned i = FINISH_NONE + 1; i < FINISH_N; i++) {
        const struct metrics_label label = { "finish", finish[i] };
        metrics_sample(b, "requests_total", &label, 1, s->n_finish[i], METRICS_ONE);
    }
    metrics_one(b, "requests_running", "gauge", "Requests that take part in steps.",
                s->n_running, METRICS_ONE);
    metrics_one(b, "requests_waiting", "gauge", "Requests that wait for a place.",
                s->n_waiting, METRICS_ONE);
    metrics_one(b, "requests_parked", "gauge", "Requests that wait for a slow reader.",
                s->n_parked, METRICS_ONE);
    metrics_one(b, "preemptions_total", "counter",
                "Requests that gave their KV pages to others and were computed again.",
                s->n_preempt, METRICS_ONE);
    metrics_one(b, "prompt_tokens_total", "counter", "Prompt tokens computed.", s->n_prompt_tok,
                METRICS_ONE);
    metrics_one(b, "generated_tokens_total", "counter", "Tokens generated.", s->n_new_tok,
                METRICS_ONE);
}

static void put_hists(struct buf *b, const struct engine_hists *h)
{
    metrics_hist(b, "queue_seconds", "From a request's submission until it takes part in steps.",
                 &h->queue);
    metrics_hist(b, "first_token_seconds", "From a request's submission to its first token.",
                 &h->first_token);
    metrics_hist(b, "inter_token_seconds", "From a token of a request to its next.",
                 &h->inter_token);
    metrics_hist(b, "request_seconds", "From a request's submission to its end, however it ended.",
                 &h->whole);
    metrics_hist(b, "step_seconds", "A step: handed to the devices until its outputs are there.",
                 &h->step);
    metrics_hist(b, "step_rows", "Token rows of a step.", &h->step_row);
    metrics_hist(b, "step_sequences", "Sequences in a step: the batch.", &h->step_seq);
}

static void put_kv(struct buf *b, const struct engine_stats *s, const struct forward *f)
{
    const uint32_t held = s->kv_page_used + s->kv_page_cached;   /* read at two moments */
    const struct { const char *state; uint32_t n; } page[] = {
        { "used", s->kv_page_used }, { "cached", s->kv_page_cached },
        { "free", s->kv_page_all > held ? s->kv_page_all - held : 0 }
    };
    metrics_family(b, "kv_pages", "gauge",
                   "Pages of keys and values: sequences', the prefix cache's alone, nobody's.");
    for (unsigned i = 0; i < 3; i++) {
        const struct metrics_label label = { "state", page[i].state };
        metrics_sample(b, "kv_pages", &label, 1, page[i].n, METRICS_ONE);
    }
    metrics_one(b, "kv_page_tokens", "gauge", "Tokens in a page.", f->kv.page_tok, METRICS_ONE);
    metrics_one(b, "prefix_cache_query_tokens_total", "counter",
                "Prompt tokens looked up in the prefix cache.", s->n_prefix_query, METRICS_ONE);
    metrics_one(b, "prefix_cache_hit_tokens_total", "counter",
                "Prompt tokens found in the prefix cache.", s->n_prefix_hit, METRICS_ONE);
    metrics_one(b, "prefix_cache_evicted_pages_total", "counter",
                "Pages that left the prefix cache for others.", s->n_prefix_evict, METRICS_ONE);
}

static void put_draft(struct buf *b, const struct engine_stats *s)
{
    metrics_one(b, "draft_tokens_total", "counter",
                "Tokens guessed from the text so far, and checked in a step.", s->n_draft_all,
                METRICS_ONE);
    metrics_one(b, "draft_accepted_tokens_total", "counter",
                "Guessed tokens that were drawn.", s->n_draft_ok, METRICS_ONE);
}

static void put_head(struct buf *b, const struct head_count *h)
{
    const struct metrics_label all = { "logits", "all" }, top = { "logits", "largest" };
    metrics_family(b, "head_outputs_total", "counter",
                   "Rows that wanted logits: all of them, or the largest with a certificate.");
    metrics_sample(b, "head_outputs_total", &all, 1, h->n_full, METRICS_ONE);
    metrics_sample(b, "head_outputs_total", &top, 1, h->n_top, METRICS_ONE);
    metrics_one(b, "head_certified_rows_total", "counter",
                "Rows of the head computed exactly for outputs that wanted the largest logits.",
                h->n_exact, METRICS_ONE);
}

static void put_calls(struct buf *b, const struct plug *p, const char *name, const char *help,
                      bool time)
{
    metrics_family(b, name, "counter", help);
    for (unsigned i = 0; i < p->n_dev; i++) {
        const struct dev *d = p->dev[i];
        char index[16];
        snprintf(index, sizeof index, "%u", d->index);
        for (unsigned c = 0; c < DEV_N_CALL; c++) {
            const uint64_t n = atomic_load_explicit(&d->n_call[c], memory_order_relaxed);
            if (!n)
                continue;
            const uint64_t ns = atomic_load_explicit(&d->call_ns[c], memory_order_relaxed);
            const struct metrics_label label[] = {
                { "plugin", d->plugin->note.raw.id }, { "device", index },
                { "family", plug_call_name((enum dev_call)c) }
            };
            metrics_sample(b, name, label, 3, time ? ns : n, time ? METRICS_NS : METRICS_ONE);
        }
    }
}

static void put_devices(struct buf *b, const struct engine_stats *s, const struct plug *p)
{
    put_calls(b, p, "device_calls_total", "Calls of a plugin's device in steps.", false);
    put_calls(b, p, "device_seconds_total",
              "Time in these calls; an asynchronous device's work is in family wait.", true);
    metrics_one(b, "device_losses_total", "counter",
                "Times that a device was lost and others took over.", s->n_recover, METRICS_ONE);
    metrics_one(b, "memory_copies_total", "counter", "Copies to and from memory of devices.",
                s->n_cross, METRICS_ONE);
    metrics_one(b, "memory_copied_bytes_total", "counter", "Bytes of these copies.",
                s->cross_size, METRICS_ONE);
    metrics_one(b, "memory_waits_total", "counter", "Times that a step stood still for a copy.",
                s->n_cross_wait, METRICS_ONE);
}

static enum answer get_metrics(struct exchange *x)
{
    struct buf *b = &x->out;
    put_process(b, &x->serve->metrics);
    put_http(b, x->serve);
    const enum serve_state state = serve_state(x->serve);
    if (state == SERVE_READY || state == SERVE_DRAINING) {
        const struct serve_model *m = serve_model(x->serve);
        if (m->engine) {          /* draining may begin while loading */
            struct engine_stats s;
            engine_stats(m->engine, &s);
            put_model(b, m);
            put_requests(b, &s);
            put_hists(b, engine_hists(m->engine));
            put_kv(b, &s, engine_forward(m->engine));
            put_draft(b, &s);
            put_head(b, &s.head);
            put_devices(b, &s, engine_forward(m->engine)->plug);
        }
    }
    x->status = 200;
    x->type = "text/plain; version=0.0.4; charset=utf-8";
    return ANSWER_DONE;
}

const struct route metrics_route[] = {
    { "GET", "/metrics", false, true, SCOPE_READ, get_metrics, NULL },
    { .method = NULL }
};
