/* bitnet-plugins_explain.c - who would do what of a model, beside what the
 * machine can do at most.
 *
 * The model is opened and planned as bitnetd does it, but nothing is prepared.
 * Of weights, one row is a matter of bytes read and many rows of multiply-adds:
 * each stands beside the limit that it runs into. What attention and pointwise
 * ops read is small and comes from caches, so they have times and no limit. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/base/path.h"
#include "core/engine/engine.h"
#include "core/model/model.h"
#include "core/plug/isa.h"
#include "core/plug/limits.h"
#include "core/plug/timings.h"
#include "tools/bitnet-plugins.h"

struct opened {
    struct conf conf;
    struct plug *plug;
    struct model *model;
    struct forward *forward;
    char path[PATH_MAX];          /* of the model                              */
    double read_gbs, int8_gmacs;
};

/* What a time means: gbs or tops is 0 when the other one is meant, fraction
 * when there is no limit to hold it against. */
struct rate {
    double gbs, tops, fraction;
};

static struct rate rate_of(const struct opened *o, const struct route_question *q,
                           const struct route_candidate *c, uint32_t i)
{
    const struct route_time *t = &c->time[i];
    struct rate r = { 0 };
    if (q->family != ROUTE_LINEAR || !(t->us > 0) || !(q->d.linear.flags & BNP_W_MUL))
        return r;
    if (t->n_tok == 1) {
        r.gbs = (double)c->weight_size / t->us * 1e-3;
        r.fraction = c->cold && o->read_gbs > 0 ? r.gbs / o->read_gbs : 0;
        return r;
    }
    const double gmacs = (double)q->d.linear.rows * q->d.linear.cols * t->n_tok / t->us * 1e-3;
    r.tops = 2 * gmacs * 1e-3;
    if (q->d.linear.format == BNP_FMT_T2 && o->int8_gmacs > 0)
        r.fraction = gmacs / o->int8_gmacs;
    return r;
}

/* ---------------------------------------------------------------------- text */

static void print_time(const struct opened *o, const struct route_question *q,
                       const struct route_candidate *c, uint32_t i)
{
    const struct route_time *t = &c->time[i];
    const struct rate r = rate_of(o, q, c, i);
    printf("      %3u row%s %s", t->n_tok, t->n_tok == 1 ? ": " : "s:", t->guessed ? "~" : " ");
    if (t->us < 1000)
        printf("%8.1f us", t->us);
    else
        printf("%8.2f ms", t->us / 1000);
    if (r.gbs > 0)
        printf("  %7.2f GB/s", r.gbs);
    else if (r.tops > 0)
        printf("  %7.3f TOPS", r.tops);
    if (r.fraction > 0)
        printf("  %5.1f %%", 100 * r.fraction);
    else if (r.gbs > 0 && !c->cold)
        printf("  in cache");
    if (t->unsure)
        printf("  disturbed: measured again at the next start");
    printf("\n");
}

static void print_question(void *ctx, const struct route_question *q)
{
    const struct opened *o = ctx;
    printf("\n%s %s, x%u%s%s%s\n", route_family_name(q->family), q->shape, q->n_asked,
           q->layers_pin ? ", layers of " : "", q->layers_pin ? q->layers_pin : "",
           q->chosen ? "" : ": missing");
    for (unsigned i = 0; i < q->n; i++) {
        const struct route_candidate *c = &q->candidate[i];
        printf("  %c %s", c == q->chosen ? '*' : '-', c->name);
        if (c->cost > 0)
            printf(": cost %.1f us%s", c->cost, c->kept ? " (kept)" : "");
        if (c->crossing > 0)
            printf(", crossings %.1f us", c->crossing);
        printf("%s%s\n", c->why && c->why[0] ? ": " : "", c->why ? c->why : "");
        for (uint32_t k = 0; k < q->n_class && c->cost > 0; k++)
            print_time(o, q, c, k);
    }
}

static void print_home(void *ctx, const struct route_home *h)
{
    (void)ctx;
    printf("%c home %s", h->chosen ? '*' : '-', h->name);
    if (h->layers_pin)
        printf(", layers of %s", h->layers_pin);
    if (h->cost > 0)
        printf(": cost %.1f us with all crossings", h->cost);
    printf("\n");
}

static void print_text(struct opened *o)
{
    char isa[128];
    isa_format(o->plug->topo.abi.isa, isa, sizeof isa);
    printf("%s on %s (%s), %u worker%s\n", o->path, o->plug->topo.cpu_name, isa,
           o->plug->topo.abi.n_workers, o->plug->topo.abi.n_workers == 1 ? "" : "s");
    printf("limits: %.2f GB/s read from memory, %.3f TOPS of bytes (%s)\n", o->read_gbs,
           2e-3 * o->int8_gmacs, limits_int8_name(o->plug));
    route_each_home(o->forward->route, print_home, NULL);
    route_each(o->forward->route, print_question, o);
}

/* ---------------------------------------------------------------------- JSON */

struct writing {
    const struct opened *o;
    json_t *list;
};

static json_t *positive(double v)
{
    return v > 0 ? json_real(v) : json_null();
}

static json_t *times_json(const struct opened *o, const struct route_question *q,
                          const struct route_candidate *c)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < q->n_class && c->cost > 0; i++) {
        const struct rate r = rate_of(o, q, c, i);
        json_array_append_new(list, json_pack("{s:I, s:f, s:b, s:b, s:o, s:o, s:o}",
            "rows", (json_int_t)c->time[i].n_tok, "us", c->time[i].us, "guessed",
            (int)c->time[i].guessed, "unsure", (int)c->time[i].unsure, "gb_per_s",
            positive(r.gbs), "tops", positive(r.tops), "fraction", positive(r.fraction)));
    }
    return list;
}

static void add_question(void *ctx, const struct route_question *q)
{
    struct writing *w = ctx;
    json_t *list = json_array();
    for (unsigned i = 0; i < q->n; i++) {
        const struct route_candidate *c = &q->candidate[i];
        json_array_append_new(list, json_pack(
            "{s:o, s:s, s:I, s:b, s:b, s:o, s:b, s:b, s:I, s:o, s:f, s:f, s:o}", "name",
            text_json(c->name), "plugin", c->dev->plugin->note.raw.id,
            "device", (json_int_t)c->dev->index, "fit", (int)c->fit, "chosen",
            (int)(c == q->chosen), "why", text_json(c->why ? c->why : ""), "kept", (int)c->kept,
            "from_memory", (int)c->cold, "weight_bytes", (json_int_t)c->weight_size,
            "cost_us", positive(c->cost), "doubt", c->doubt, "crossing_us", c->crossing, "times",
            times_json(w->o, q, c)));
    }
    json_array_append_new(w->list, json_pack("{s:s, s:o, s:s?, s:I, s:o}", "family",
        route_family_name(q->family), "shape", text_json(q->shape), "layers_of", q->layers_pin,
        "asked", (json_int_t)q->n_asked, "candidates", list));
}

static void add_home(void *ctx, const struct route_home *h)
{
    json_array_append_new(ctx, json_pack("{s:o, s:s?, s:b, s:o}", "name", text_json(h->name),
        "layers_of", h->layers_pin, "chosen", (int)h->chosen, "cost_us", positive(h->cost)));
}

static int print_json(struct opened *o)
{
    struct writing w = { .o = o, .list = json_array() };
    route_each(o->forward->route, add_question, &w);
    json_t *homes = json_array();
    route_each_home(o->forward->route, add_home, homes);
    json_t *root = json_pack("{s:o, s:s, s:o, s:I, s:o, s:o, s:s, s:o, s:o}", "model",
        text_json(o->path), "cpu", o->plug->topo.cpu_name, "isa", isa_json(o->plug->topo.abi.isa),
        "workers", (json_int_t)o->plug->topo.abi.n_workers, "read_gb_per_s",
        positive(o->read_gbs), "int8_gmac_per_s", positive(o->int8_gmacs), "int8_by",
        limits_int8_name(o->plug), "homes", homes, "questions", w.list);
    const int rc = !root || json_dumpf(root, stdout, JSON_INDENT(2)) ? ERR_NOMEM : 0;
    json_decref(root);
    printf("\n");
    return rc;
}

/* ------------------------------------------------------------------- the model */

static const char *or_null(const char *s)
{
    return s && s[0] && strcmp(s, "auto") ? s : NULL;
}

static int open_model(struct opened *o, const struct args *a, struct err *e)
{
    const struct conf *c = &o->conf;
    const struct model_opts opts = { .i2s_layout = (enum i2s_layout)c->i2s_layout,
                                     .tl_preset = or_null(c->tl_preset),
                                     .pre = or_null(c->pre), .activation = or_null(c->activation) };
    const char *asked = a->model ? a->model : or_null(c->model_path);
    if (asked && snprintf(o->path, sizeof o->path, "%s", asked) >= (int)sizeof o->path)
        return err_set(e, ERR_ARG, "-m: a path of more than %zu bytes", sizeof o->path - 1);
    if (!asked && path_default_model(o->path, sizeof o->path))
        return err_set(e, ERR_IO, "%s: the default model is not there: name one with -m", o->path);
    return model_open(&o->model, o->path, &opts, e);
}

static int open_all(struct opened *o, const struct args *a, bool anew, struct err *e)
{
    char timings[PATH_MAX];
    struct plug_opts po;
    int rc = plugins_conf(a, &o->conf, &po, e);
    po.need_ref = true;
    if (rc || (rc = open_model(o, a, e)) || (rc = plug_open(&o->plug, &po, e)))
        return rc;
    const struct conf *c = &o->conf;
    const struct forward_conf f = {
        .n_ctx = c->n_ctx, .max_tok = c->row_budget, .max_seq = c->max_seq,
        .max_out = c->max_seq + ENGINE_MORE_OUT, .kv_tok = c->kv_tok, .page_tok = c->page_tok,
        .kv_format = c->kv_format, .max_mem = (uint64_t)c->max_mem_mib << 20,
        .route = { .min_det = c->determinism, .strict = c->strict,
                   .pin_linear = or_null(c->pin_linear), .pin_attn = or_null(c->pin_attn),
                   .pin_point = or_null(c->pin_point), .layers = or_null(c->pin_layers),
                   .timings = timings_path(c->timings, timings), .measure_all = true,
                   .measure_anew = anew },
        .dry = true,
    };
    return forward_open(&o->forward, o->model, o->plug, &f, e);
}

int plugins_explain(const struct args *a, bool measure_anew)
{
    struct opened o = { 0 };
    struct err e = { 0 };
    int rc = open_all(&o, a, measure_anew, &e);
    if (rc) {
        rc = complain(&e);
    } else {
        o.read_gbs = limits_read_gbs(o.plug);
        o.int8_gmacs = limits_int8_gmacs(o.plug);
        if (a->json)
            rc = print_json(&o);
        else
            print_text(&o);
        rc = close_output(rc);
    }
    forward_close(o.forward);
    plug_close(o.plug);
    model_close(o.model);
    conf_free(&o.conf);
    return rc;
}
