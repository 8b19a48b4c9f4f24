/* load.c - from a configuration to an engine: files first, then weights. */
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "core/base/aside.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/daemon/daemon.h"
#include "core/daemon/signals.h"
#include "core/engine/strict.h"
#include "core/model/chat.h"
#include "core/plug/isa.h"
#include "core/plug/timings.h"

extern char **environ;

enum { PROGRESS_S = 5 };          /* between lines about a long load           */

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

int load_conf(const struct bitnetd *d, struct conf *out, struct err *e)
{
    int rc = conf_load(out, d->args.conf_path, environ, d->args.set, d->args.n_set, e);
    if (!rc && (rc = check_conf(out, e)))
        conf_free(out);
    return rc;
}

int load_find_model(struct bitnetd *d, struct err *e)
{
    int rc = 0;
    if (*d->conf.model_path)
        snprintf(d->model_path, sizeof d->model_path, "%s", d->conf.model_path);
    else if ((rc = path_default_model(d->model_path, sizeof d->model_path)))
        return err_set(e, rc, "model.path: is empty, and the default model is not at %s",
                       d->model_path);
    /* A directory may be written with slashes behind it. */
    for (size_t end = strlen(d->model_path); end > 1 && d->model_path[end - 1] == '/'; end--)
        d->model_path[end - 1] = 0;
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

int load_plugins(struct bitnetd *d, struct err *e)
{
    const struct conf *c = &d->conf;
    int rc = 0;
    if (*c->plugin_dir)
        snprintf(d->plugin_dir, sizeof d->plugin_dir, "%s", c->plugin_dir);
    else if ((rc = plug_default_dir(d->plugin_dir, sizeof d->plugin_dir)))
        return err_set(e, rc, "plugins.dir: is empty, and there is no folder %s", d->plugin_dir);
    struct plug_opts o = {
        .dir = d->plugin_dir, .n_threads = c->n_threads, .bind = (enum topo_bind)c->bind, .isa_mask = UINT64_MAX,
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

/* The configured template, or the model's own. */
int load_chat(struct bitnetd *d, struct err *e)
{
    const char *const name = d->conf.chat_template;
    char warn[256];
    if (!strcmp(name, "auto")) {
        d->chat = chat_recognise(d->model, warn);
        if (*warn)
            log_warn("%s", warn);
        return 0;
    }
    d->chat = chat_find(name);
    if (d->chat)
        return 0;
    struct buf names = { 0 };
    chat_names(&names);
    err_set(e, ERR_ARG, "chat.template: \"%.80s\" is no template that is known, expected auto or "
            "one of %s", name, names.p ? names.p : "");
    buf_free(&names);
    return ERR_ARG;
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

struct model_job {
    struct bitnetd *d;
    struct err e;
    int rc;
};

static void read_model(void *arg)
{
    struct model_job *j = arg;
    const struct conf *c = &j->d->conf;
    const struct model_opts o = {
        .i2s_layout = (enum i2s_layout)c->i2s_layout,
        .tl_preset = or_null(c->tl_preset, "auto"), .pre = or_null(c->pre, "auto"),
        .activation = or_null(c->activation, "auto"),
        .kept = !j->d->args.check && weight_cache(j->d),
    };
    j->rc = model_open(&j->d->model, j->d->model_path, &o, &j->e);
}

static int take_model(struct bitnetd *d, const struct model_job *j, struct err *e)
{
    if (j->rc)
        return err_set(e, j->rc, "%s", j->e.text);
    for (unsigned i = 0; i < d->model->n_warning; i++)
        log_warn("%s", d->model->warning[i]);
    return 0;
}

int load_model(struct bitnetd *d, struct err *e)
{
    struct model_job j = { .d = d };
    signals_watch_file(d->model_path);
    read_model(&j);
    return take_model(d, &j, e);
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

int load_forward(struct bitnetd *d, const char *exclude, struct err *e)
{
    const struct conf *c = &d->conf;
    struct buf missing = { 0 };
    const struct forward_conf f = {
        .n_ctx = c->n_ctx, .max_tok = c->row_budget, .max_seq = c->max_seq,
        .max_out = c->max_seq + ENGINE_MORE_OUT, .kv_tok = c->kv_tok,
        .page_tok = c->page_tok, .kv_format = c->kv_format,
        .max_mem = (uint64_t)c->max_mem_mib << 20,
        .other_size = (uint64_t)c->max_grammars * GRAMMAR_MAX_MEMORY,
        .n_request = c->max_seq + c->max_queue, .prefix_cache = c->prefix_cache,
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
    if (missing.n && !d->quiet)
        fputs(missing.p, d->args.check ? stdout : stderr);
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
        rc = load_forward(d, id, e);
        if (!rc)
            rc = strict_check(d->forward, &table, e);
    }
    if (d->quiet)
        ;                         /* the finding has the sentence */
    else if (d->args.check || rc)
        fprintf(d->args.check ? stdout : stderr, "%s", table.p ? table.p : "");
    else
        log_table(table.p);
    buf_free(&table);
    return rc;
}

int load_engine(struct bitnetd *d, struct err *e)
{
    const struct conf *c = &d->conf;
    const struct engine_conf ec = { .max_seq = c->max_seq, .row_budget = c->row_budget,
                                    .prefill_chunk = c->prefill_chunk, .max_queue = c->max_queue,
                                    .n_draft = c->draft, .prefix_cache = c->prefix_cache,
                                    .prefix_cache_size = (uint64_t)c->prefix_cache_mib << 20 };
    const int rc = engine_open(&d->engine, d->forward, &ec, e);
    return rc ? rc : gen_grammars_open(&d->grammars, d->model->vocab, d->chat,
                                       d->conf.max_grammars, e);
}

/* The tables that explain what will be used. */
static void explain(struct bitnetd *d)
{
    struct buf b = { 0 };
    forward_mem_table(d->forward, &b);
    route_explain(d->forward->route, &b);
    if (d->args.check && !d->quiet)
        fputs(b.p ? b.p : "", stdout);
    else if (!d->args.check)
        log_table(b.p);
    buf_free(&b);
}

/* What can be wrong with a file is found here. The model and the plugins know
 * nothing of each other: both are checked at once. */
int load_files(struct bitnetd *d, struct err *e)
{
    struct model_job job = { .d = d };
    struct aside aside;
    int rc = load_find_model(d, e);
    if (rc)
        return rc;
    signals_watch_file(d->model_path);
    aside_start(&aside, read_model, &job);
    rc = load_plugins(d, e);
    aside_wait(&aside);
    if (!rc)
        rc = take_model(d, &job, e);
    return rc ? rc : load_chat(d, e);
}

/* Weights onto devices: seconds to minutes. */
int load_weights(struct bitnetd *d, struct err *e)
{
    int rc = load_forward(d, NULL, e);
    if (!rc && (d->conf.strict || d->conf.parity))
        rc = check_parity(d, e);
    if (!rc)
        explain(d);
    return rc;
}
