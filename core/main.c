/* main.c - bitnetd: brings the rooms up in order, serves, takes them down.
 *
 * Order of start: arguments, configuration, log, address, plugins, model,
 * devices and memory, parity, engine, service. What can fail cheaply fails
 * early; every failure is one line and exit status 1 (2 for the command
 * line). In normal mode the socket opens when the files are known to be good,
 * before the weights are prepared, and answers 503; in strict mode it opens
 * after the proof. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "core/base/conf.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/engine/engine.h"
#include "core/engine/forward.h"
#include "core/engine/strict.h"
#include "core/model/model.h"
#include "core/plug/isa.h"
#include "core/plug/plug.h"
#include "core/plug/timings.h"
#include "core/serve/serve.h"

extern char **environ;

enum {
    FAULT_LOOK_MS = 500,          /* how often the engine is asked for a fault */
    PROGRESS_S = 5                /* seconds between lines about a long load   */
};

struct args {
    const char *conf_path;
    const char **set;
    unsigned n_set;
    bool check;
};

struct bitnetd {
    struct args args;
    struct conf conf;
    char model_path[4096], plugin_dir[4096], weight_cache[4096], timings[PATH_MAX];
    char model_id[256];
    struct serve *serve;
    struct plug *plug;
    struct model *model;
    struct forward *forward;
    struct engine *engine;
    time_t progress_at;
};

/* ---- signals: one thread takes them, all others never see them ---- */

enum phase { LOADING, SERVING, STOPPING };

static struct {
    _Atomic int phase;            /* enum phase                                */
    int stop;                     /* eventfd, readable after the first signal  */
} signals = { .stop = -1 };

static void *take_signals(void *arg)
{
    const sigset_t *set = arg;
    int sig;
    while (!sigwait(set, &sig)) {
        int phase = SERVING;
        if (atomic_compare_exchange_strong(&signals.phase, &phase, STOPPING))
            eventfd_write(signals.stop, 1);
        else
            _exit(phase == LOADING ? 0 : 1);   /* nothing to drain; or impatience */
    }
    return NULL;
}

static int start_signals(struct err *e)
{
    static sigset_t set;          /* read by the thread for ever */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_t thread;
    signal(SIGPIPE, SIG_IGN);
    signals.stop = eventfd(0, EFD_CLOEXEC);
    int no = signals.stop < 0 ? errno : pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (!no)
        no = pthread_create(&thread, NULL, take_signals, &set);
    if (no)
        return err_set(e, ERR_IO, "signals: cannot start their thread: %s", strerror(no));
    pthread_detach(thread);
    return 0;
}

/* ---- a model file that shrinks, or whose disk fails, while it is mapped ---- */

/* The page that was touched has no bytes behind it: nothing can be computed any
 * more. The line was made before, since little may be called here. */
static struct {
    char line[4400];
    size_t n;
} bus;

static void on_bus(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code != BUS_ADRERR) {      /* not of a file: as if there were no handler */
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    ssize_t written = write(STDERR_FILENO, bus.line, bus.n);
    (void)written;
    _exit(1);
}

static void watch_model_file(const char *path)
{
    const int n = snprintf(bus.line, sizeof bus.line, "bitnetd: %s: part of it is gone: the file "
                           "was cut or its disk failed while in use; restore it and start again\n",
                           path);
    bus.n = n < (int)sizeof bus.line ? (size_t)n : sizeof bus.line - 1;
    struct sigaction a = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
    sigemptyset(&a.sa_mask);
    sigaction(SIGBUS, &a, NULL);
}

/* ---- arguments ---- */

static const char usage[] =
    "usage: bitnetd [--conf FILE] [--set section.key=value]... [--check]\n"
    "       bitnetd --version | --help\n"
    "\n"
    "  --conf FILE   read the configuration from FILE (see bitnet.ini(5))\n"
    "  --set K=V     override one key; may be given many times\n"
    "  --check       check configuration, model and plugins, print what would be\n"
    "                used, and exit: 0 when bitnetd would start\n";

/* Returns -1 to go on, or the exit status. */
static int read_args(struct args *a, int argc, char **argv)
{
    static const struct option opts[] = {
        { "conf", required_argument, NULL, 'c' }, { "set", required_argument, NULL, 's' },
        { "check", no_argument, NULL, 'k' },      { "version", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },       { NULL, 0, NULL, 0 }
    };
    a->set = calloc((size_t)argc, sizeof *a->set);
    if (!a->set)
        return 1;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, ":", opts, NULL)) != -1;) {
        switch (o) {
        case 'c': a->conf_path = optarg; break;
        case 's': a->set[a->n_set++] = optarg; break;
        case 'k': a->check = true; break;
        case 'v': puts("bitnetd " BITNET_VERSION); return 0;
        case 'h': fputs(usage, stdout); return 0;
        default:
            fprintf(stderr, "bitnetd: %s: %s; see bitnetd --help\n", argv[optind - 1],
                    o == ':' ? "needs an argument" : "unknown option");
            return 2;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "bitnetd: %s: unexpected argument; see bitnetd --help\n", argv[optind]);
    return 2;
}

/* ---- pieces of the configuration ---- */

static const char *or_null(const char *s, const char *nothing)
{
    return strcmp(s, nothing) ? s : NULL;
}

/* What one key alone cannot tell. */
static int check_conf(const struct conf *c, struct err *e)
{
    if (c->row_budget < c->max_seq)
        return err_set(e, ERR_ARG, "engine.row_budget: %u, expected at least engine.max_seq, %u",
                       c->row_budget, c->max_seq);
    return 0;
}

static int find_model(struct bitnetd *d, struct err *e)
{
    int rc = 0;
    if (*d->conf.model_path)
        snprintf(d->model_path, sizeof d->model_path, "%s", d->conf.model_path);
    else if ((rc = path_default_model(d->model_path, sizeof d->model_path)))
        return err_set(e, rc, "model.path: is empty, and the default model is not at %s",
                       d->model_path);
    const char *slash = strrchr(d->model_path, '/');
    snprintf(d->model_id, sizeof d->model_id, "%.200s", slash ? slash + 1 : d->model_path);
    size_t n = strlen(d->model_id);
    if (n > 5 && !strcmp(d->model_id + n - 5, ".gguf"))
        d->model_id[n - 5] = 0;
    if (*d->conf.model_name)
        snprintf(d->model_id, sizeof d->model_id, "%.200s", d->conf.model_name);
    return 0;
}

static const char *plugin_option(void *conf, const char *id, const char *key)
{
    return conf_option(conf, id, key);
}

static void log_table(const char *text)
{
    while (text && *text) {
        int n = (int)strcspn(text, "\n");
        log_info("%.*s", n, text);
        text += n + (text[n] == '\n');
    }
}

/* ---- start ---- */

static int open_plugins(struct bitnetd *d, struct err *e)
{
    const struct conf *c = &d->conf;
    int rc = 0;
    if (*c->plugin_dir)
        snprintf(d->plugin_dir, sizeof d->plugin_dir, "%s", c->plugin_dir);
    else if ((rc = plug_default_dir(d->plugin_dir, sizeof d->plugin_dir)))
        return err_set(e, rc, "plugins.dir: is empty, and there is no folder %s", d->plugin_dir);
    struct plug_opts o = {
        .dir = d->plugin_dir, .n_threads = c->n_threads, .bind = c->bind, .isa_mask = UINT64_MAX,
        .only = or_null(c->plugin_only, ""), .need_ref = true, .option = plugin_option,
        .option_ctx = &d->conf,
    };
    if (isa_parse(c->isa, &o.isa_mask))
        return err_set(e, ERR_ARG, "plugins.isa: \"%s\" is not a list of instruction sets; "
                       "bitnet-plugins names them", c->isa);
    rc = plug_open(&d->plug, &o, e);
    for (unsigned i = 0; !rc && i < d->plug->n_entry; i++)
        if (d->plug->entry[i]->state == PLUG_REJECTED)
            log_warn("plugin %s rejected: %s", d->plug->entry[i]->file, d->plug->entry[i]->reason);
    return rc;
}

static int open_model(struct bitnetd *d, struct err *e)
{
    const struct conf *c = &d->conf;
    const struct model_opts o = {
        .i2s_layout = (enum i2s_layout)c->i2s_layout, .pre = or_null(c->pre, "auto"),
        .activation = or_null(c->activation, "auto"),
    };
    watch_model_file(d->model_path);
    int rc = model_open(&d->model, d->model_path, &o, e);
    for (unsigned i = 0; !rc && i < d->model->n_warning; i++)
        log_warn("%s", d->model->warning[i]);
    return rc;
}

static void on_progress(void *ctx, uint64_t done, uint64_t all)
{
    struct bitnetd *d = ctx;
    time_t now = time(NULL);
    if (now - d->progress_at < PROGRESS_S || !all)
        return;
    d->progress_at = now;
    unsigned percent = (unsigned)((double)done / (double)all * 100);
    log_info("preparing weights: %u %%", percent);
    sd_notifyf(0, "STATUS=Preparing weights: %u %%", percent);
}

/* The folder of prepared weights, or NULL. */
static const char *weight_cache(struct bitnetd *d)
{
    const char *asked = d->conf.weight_cache;
    if (!strcmp(asked, "off") || !*asked)
        return NULL;
    if (strcmp(asked, "auto"))
        return asked;
    if (d->conf.strict || path_cache_dir(d->weight_cache, sizeof d->weight_cache - 8))
        return NULL;
    strcat(d->weight_cache, "/weights");
    return d->weight_cache;
}

static int open_forward(struct bitnetd *d, const char *exclude, struct err *e)
{
    const struct conf *c = &d->conf;
    struct buf missing = { 0 };
    const struct forward_conf f = {
        .n_ctx = c->n_ctx, .max_tok = c->row_budget, .max_seq = c->max_seq, .max_out = c->max_seq,
        .kv_tok = c->kv_tok, .page_tok = c->page_tok, .kv_format = c->kv_format,
        .max_mem = (uint64_t)c->max_mem_mib << 20,
        .route = { .min_det = c->determinism, .strict = c->strict,
                   .pin_linear = or_null(c->pin_linear, ""), .pin_attn = or_null(c->pin_attn, ""),
                   .pin_point = or_null(c->pin_point, ""),
                   .layers = or_null(c->pin_layers, ""), .exclude = exclude,
                   .timings = timings_path(c->timings, d->timings) },
        .weight_cache = weight_cache(d),
        .weight_cache_size = (uint64_t)c->weight_cache_mib << 20,
        .dry = d->args.check, .progress = on_progress, .progress_ctx = d,
        .missing = c->strict || d->args.check ? &missing : NULL,
    };
    d->progress_at = time(NULL);
    const int rc = forward_open(&d->forward, d->model, d->plug, &f, e);
    if (missing.n)
        fputs(missing.p, stderr);
    buf_free(&missing);
    return rc;
}

/* The plugin whose device the parity check disabled, or NULL: scalar-ref can
 * be left out for nobody. */
static const char *disabled_plugin(const struct plug *p)
{
    for (unsigned i = 0; i < p->n_dev; i++)
        if (p->dev[i]->disabled && p->dev[i] != p->ref)
            return p->dev[i]->plugin->note.raw.id;
    return NULL;
}

/* Holds the devices against scalar-ref. In normal mode the plugin of a device
 * that differs is left out, once, and the rest is checked again. */
static int check_parity(struct bitnetd *d, struct err *e)
{
    struct buf table = { 0 };
    int rc = strict_check(d->forward, &table, e);
    const char *id = rc && !d->conf.strict ? disabled_plugin(d->plug) : NULL;
    if (id) {
        log_error("parity: %s; going on without %s", e->text, id);
        forward_close(d->forward);
        d->forward = NULL;
        buf_clear(&table);
        *e = (struct err){ 0 };
        rc = open_forward(d, id, e);
        if (!rc)
            rc = strict_check(d->forward, &table, e);
    }
    if (d->args.check || rc)
        fprintf(rc ? stderr : stdout, "%s", table.p ? table.p : "");
    else
        log_table(table.p);
    buf_free(&table);
    return rc;
}

static int open_engine(struct bitnetd *d, struct err *e)
{
    const struct conf *c = &d->conf;
    const struct engine_conf ec = { .max_seq = c->max_seq, .row_budget = c->row_budget,
                                    .prefill_chunk = c->prefill_chunk, .max_queue = c->max_queue };
    return engine_open(&d->engine, d->forward, &ec, e);
}

/* The tables that explain what will be used. */
static void explain(struct bitnetd *d)
{
    struct buf b = { 0 };
    forward_mem_table(d->forward, &b);
    route_explain(d->forward->route, &b);
    if (d->args.check)
        fputs(b.p ? b.p : "", stdout);
    else
        log_table(b.p);
    buf_free(&b);
}

/* What can be wrong with a file is found here, and takes no time. */
static int read_files(struct bitnetd *d, struct err *e)
{
    int rc = find_model(d, e);
    if (!rc)
        rc = open_plugins(d, e);
    return rc ? rc : open_model(d, e);
}

/* Weights onto devices: seconds to minutes. */
static int load(struct bitnetd *d, struct err *e)
{
    int rc = open_forward(d, NULL, e);
    if (!rc && (d->conf.strict || d->conf.parity))
        rc = check_parity(d, e);
    if (!rc)
        explain(d);
    return rc;
}

/* Every connection is a file descriptor. */
static void raise_file_limit(uint32_t n)
{
    struct rlimit r;
    const rlim_t want = (rlim_t)n + 128;
    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= want)
        return;
    r.rlim_cur = want < r.rlim_max ? want : r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur < want)
        log_warn("server.max_connections: %u, but only %llu files may be open", n,
                 (unsigned long long)r.rlim_cur);
}

static int bind_address(struct bitnetd *d, struct err *e)
{
    const struct conf *c = &d->conf;
    const struct serve_conf s = {
        .host = c->host, .port = c->port, .n_threads = c->http_threads,
        .max_connections = c->max_connections, .max_body_size = (size_t)c->max_body_kib << 10,
        .timeout_s = c->timeout_s,
    };
    raise_file_limit(c->max_connections);
    return serve_bind(&d->serve, &s, e);
}

static int listen_early(struct bitnetd *d, struct err *e)
{
    const int rc = serve_listen(d->serve, e);
    if (!rc)
        log_info("%s answers 503 until the model is loaded", serve_url(d->serve));
    return rc;
}

static int start(struct bitnetd *d, struct err *e)
{
    sd_notify(0, "STATUS=Loading the model");
    int rc = bind_address(d, e);
    if (!rc)
        rc = read_files(d, e);
    if (!rc && !d->conf.strict)
        rc = listen_early(d, e);
    if (!rc)
        rc = load(d, e);
    if (!rc)
        rc = open_engine(d, e);
    if (!rc && d->conf.strict)
        rc = serve_listen(d->serve, e);
    if (rc)
        return rc;
    const struct serve_model m = {
        .id = d->model_id, .created = (int64_t)time(NULL), .engine = d->engine,
        .vocab = d->model->vocab, .max_new_default = d->conf.max_new_default,
        .seed = d->conf.seed, .seed_random = d->conf.seed_random,
    };
    serve_ready(d->serve, &m);
    atomic_store(&signals.phase, SERVING);
    printf("listening on %s\n", serve_url(d->serve));
    fflush(stdout);
    sd_notifyf(0, "READY=1\nSTATUS=Serving %s on %s", d->model_id, serve_url(d->serve));
    return 0;
}

/* ---- service and its end ---- */

/* Until a signal (0) or a fault of the engine (its code, e filled). */
static int serve_until_stopped(struct bitnetd *d, struct err *e)
{
    struct pollfd p = { .fd = signals.stop, .events = POLLIN };
    int rc = 0;
    while (!rc && poll(&p, 1, FAULT_LOOK_MS) <= 0)
        rc = engine_fault(d->engine, e);
    return rc;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void drain(struct bitnetd *d)
{
    atomic_store(&signals.phase, STOPPING);
    sd_notify(0, "STOPPING=1\nSTATUS=Finishing the running requests");
    serve_drain(d->serve);
    uint32_t n = serve_active(d->serve);
    log_info("stopping, %u requests to finish", n);
    const uint64_t until = now_ms() + (uint64_t)d->conf.drain_s * 1000;
    while ((n = serve_active(d->serve)) && now_ms() < until)
        nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000000 }, NULL);
    if (n)
        log_warn("%u requests were not finished within server.drain_s, %u s", n, d->conf.drain_s);
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

static void bitnetd_close(struct bitnetd *d)
{
    serve_close(d->serve);
    engine_close(d->engine, 0);
    forward_close(d->forward);
    model_close(d->model);
    plug_close(d->plug);
    conf_free(&d->conf);
    free(d->args.set);
}

static int run(struct bitnetd *d, struct err *e)
{
    int rc = conf_load(&d->conf, d->args.conf_path, environ, d->args.set, d->args.n_set, e);
    if (rc)
        return rc;
    log_setup((enum log_level)d->conf.log_level, d->conf.log_json);
    rc = check_conf(&d->conf, e);
    if (rc)
        return rc;
    if (d->args.check) {
        rc = read_files(d, e);
        if (!rc)
            rc = load(d, e);
        if (!rc)
            puts("ok");
        return rc;
    }
    rc = start(d, e);
    if (rc)
        return rc;
    rc = serve_until_stopped(d, e);
    drain(d);
    log_served(d);
    return rc;
}

int main(int argc, char **argv)
{
    static struct bitnetd d;
    struct err e = { 0 };
    int status = read_args(&d.args, argc, argv);
    if (status < 0) {
        int rc = start_signals(&e);
        if (!rc)
            rc = run(&d, &e);
        if (rc)
            fprintf(stderr, "bitnetd: %s\n", e.text);
        status = rc ? 1 : 0;
    }
    bitnetd_close(&d);
    return status;
}
