/* bitnet_load.c - a model on its plugins, as the common options say. */
#include <stdlib.h>
#include <string.h>

#include "core/base/path.h"
#include "core/plug/isa.h"
#include "core/plug/timings.h"
#include "tools/bitnet.h"
#include "tools/bitnet_bar.h"

int load_word(const char *verb, const struct words *w, struct err *e)
{
    if (w->n > 1 || (w->n && common.model))
        return err_set(e, ERR_ARG, "%s: %.100s: one file too many, expected one model", verb,
                       w->at[w->n - 1]);
    if (w->n)
        common.model = w->at[0];
    return 0;
}

int load_path(char path[PATH_MAX], struct err *e)
{
    if (!common.model) {
        if (path_default_model(path, PATH_MAX))
            return err_set(e, ERR_IO, "%s: the default model is not there: name one with -m", path);
        return 0;
    }
    size_t n = strlen(common.model);
    if (n >= PATH_MAX)
        return err_set(e, ERR_ARG, "--model: a path of %zu bytes, expected less than %d", n,
                       PATH_MAX);
    memcpy(path, common.model, n + 1);
    return 0;
}

int load_options(struct model_opts *o, struct err *e)
{
    static const char *const layout[] = { [I2S_A] = "a", [I2S_B] = "b", [I2S_C] = "c",
                                          [I2S_RS_INLINE32] = "rs-inline32",
                                          [I2S_RS_QK256] = "rs-qk256" };
    const char *s = common.i2s_layout ? common.i2s_layout : "a";
    unsigned l = 0;
    while (l < sizeof layout / sizeof *layout && strcmp(s, layout[l]))
        l++;
    if (l == sizeof layout / sizeof *layout)
        return err_set(e, ERR_ARG, "--i2s-layout: %.100s, expected a, b, c, rs-inline32 or "
                       "rs-qk256", s);
    *o = (struct model_opts){
        .i2s_layout = (enum i2s_layout)l, .tl_preset = common.tl_preset, .pre = common.pre,
        .activation = common.activation
    };
    return 0;
}

int load_model(struct loaded *l, struct err *e)
{
    char path[PATH_MAX];
    struct model_opts opts;
    int rc = load_options(&opts, e);
    if (!rc)
        rc = load_path(path, e);
    if (!rc)
        rc = model_open(&l->model, path, &opts, e);
    return rc;
}

static void draw_load(void *ctx, uint64_t done, uint64_t all)
{
    bar_draw(ctx, done, all, NULL);
}

int load_is_for_text(const struct loaded *l, struct err *e)
{
    if (l->model->hp.pooling == POOLING_NONE)
        return 0;
    return err_set(e, ERR_UNSUPPORTED, "%s: makes vectors of texts and no text, expected a text "
                   "model: have bitnetd serve it, and ask /v1/embeddings",
                   gguf_name(l->model->file));
}

/* --------------------------------------------------------- plugins and weights */

static int open_plugins(struct loaded *l, struct err *e)
{
    static char dir[PATH_MAX];
    struct plug_opts o = { .dir = common.plugin_dir, .n_threads = common.n_threads,
                           .isa_mask = UINT64_MAX, .only = common.plugin, .need_ref = true };
    if (common.isa && isa_parse(common.isa, &o.isa_mask))
        return err_set(e, ERR_ARG, "--isa: %.100s, expected \"all\", \"baseline\" or names such as "
                       "\"avx2,avxvnni\"", common.isa);
    if (!o.dir) {
        if (plug_default_dir(dir, sizeof dir))
            return err_set(e, ERR_IO, "%s: no plugin directory: name one with --plugin-dir", dir);
        o.dir = dir;
    }
    return plug_open(&l->plug, &o, e);
}

/* Why the plugin that was asked for has no device. */
static int no_device(const struct plug *p, const char *id, struct err *e)
{
    for (unsigned i = 0; i < p->n_entry; i++)
        if (p->entry[i]->has_note && !strcmp(p->entry[i]->note.raw.id, id))
            return err_set(e, ERR_PLUGIN, "--plugin: %.100s: not usable: %s", id,
                           p->entry[i]->reason[0] ? p->entry[i]->reason : "it offers no device");
    return err_set(e, ERR_PLUGIN, "--plugin: %.100s: no plugin has this id, see `bitnet-plugins "
                   "list`", id);
}

/* The plugin asked for does every family it has; the rest goes by the route. */
static int pin(const struct plug *p, const char *id, struct route_opts *r, struct err *e)
{
    bool found = false;
    for (unsigned i = 0; i < p->n_dev; i++) {
        const struct dev *d = p->dev[i];
        if (strcmp(d->plugin->note.raw.id, id))
            continue;
        found = true;
        r->pin_linear = d->linear ? id : r->pin_linear;
        r->pin_attn = d->attn ? id : r->pin_attn;
        r->pin_point = d->point ? id : r->pin_point;
    }
    return found ? 0 : no_device(p, id, e);
}

int load_forward_conf(struct loaded *l, struct forward_conf *c, struct err *e)
{
    struct bar bar;
    bar_open(&bar, "loading");
    c->page_tok = LOAD_PAGE_TOK;
    c->route.min_det = BNP_DET_EXACT;
    c->progress_ctx = &bar;
    c->progress = draw_load;
    int rc = l->plug ? 0 : open_plugins(l, e);
    if (!rc && common.plugin)
        rc = pin(l->plug, common.plugin, &c->route, e);
    if (!rc)
        rc = forward_open(&l->forward, l->model, l->plug, c, e);
    bar_clear(&bar);
    for (unsigned i = 0; !rc && i < l->model->n_warning; i++)
        fprintf(stderr, "bitnet: warning: %s\n", l->model->warning[i]);
    return rc;
}

int load_forward(struct loaded *l, uint32_t n_ctx, uint32_t max_tok, uint32_t max_out,
                 struct err *e)
{
    char timings[PATH_MAX];
    const uint32_t most = l->model->hp.n_ctx;
    struct forward_conf c = { .n_ctx = n_ctx < most ? n_ctx : most, .max_tok = max_tok,
                              .max_seq = 1, .max_out = max_out,
                              .route = { .timings = timings_path(NULL, timings) } };
    return load_forward_conf(l, &c, e);
}

void load_unload(struct loaded *l)
{
    forward_close(l->forward);
    model_close(l->model);
    l->forward = NULL;
    l->model = NULL;
}

void load_close(struct loaded *l)
{
    load_unload(l);
    plug_close(l->plug);
    l->plug = NULL;
}
