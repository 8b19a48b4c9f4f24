/* bitnet_crossval_out.c - the report: a page for people, JSON for programs; both
 * with the settings that it takes to do the same again. */
#include <inttypes.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "core/engine/forward_parts.h"
#include "core/plug/isa.h"
#include "tools/bitnet_crossval.h"

enum { MAX_USED = 16 };

/* ------------------------------------------------------------- who computed */

struct used {
    const struct dev *dev[MAX_USED];
    bool linear[MAX_USED], attn[MAX_USED], point[MAX_USED];
    unsigned n;
};

static unsigned use(struct used *u, const struct dev *d)
{
    unsigned i = 0;
    while (i < u->n && u->dev[i] != d)
        i++;
    if (i == u->n && i < MAX_USED)
        u->dev[u->n++] = d;
    return i < MAX_USED ? i : MAX_USED - 1;
}

static struct used used_by(const struct forward *f)
{
    struct used u = { .n = 0 };
    const struct forward_state *s = f->state;
    for (uint32_t i = 0; i < s->weights.n; i++)
        u.linear[use(&u, s->weights.w[i].dev)] = true;
    for (uint32_t i = 0; i < f->model->hp.n_layer; i++) {
        u.attn[use(&u, s->layer[i].attn)] = true;
        u.point[use(&u, s->layer[i].point)] = true;
    }
    return u;
}

static json_t *plugins_json(const struct forward *f)
{
    const struct used u = used_by(f);
    json_t *list = json_array();
    for (unsigned i = 0; i < u.n; i++) {
        const struct note *n = &u.dev[i]->plugin->note;
        json_t *does = json_array();
        if (u.linear[i])
            json_array_append_new(does, json_string("linear"));
        if (u.attn[i])
            json_array_append_new(does, json_string("attn"));
        if (u.point[i])
            json_array_append_new(does, json_string("point"));
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:o,s:o}", "id", n->raw.id, "version",
                                              n->raw.version, "build", n->build, "device",
                                              json_cstr(u.dev[i]->info.name), "families", does));
    }
    return list;
}

/* --------------------------------------------------------------------- JSON */

static json_t *or_null(bool offered, json_t *j)
{
    if (offered)
        return j;
    json_decref(j);
    return json_null();
}

/* null: not offered. */
static json_t *logits_json(const struct cv *c)
{
    const double n = c->n_pos ? (double)c->n_pos : 1, m = c->all.n ? (double)c->all.n : 1;
    return json_pack("{s:s,s:b,s:I,s:I,s:f,s:s,s:o,s:o,s:I,s:I,s:f,s:f,s:f,s:b,s:f,s:I,s:f,s:o,s:I}",
                     "of", c->log_probs ? "log-probabilities" : "logits", "whole_vocabulary",
                     c->n_whole_pos > 0, "n_position", (json_int_t)c->n_pos, "n_value",
                     (json_int_t)c->all.n, "correlation", cv_correlation(c), "correlation_is",
                     c->n_whole_pos ? "of the worst position" : "of all values",
                     "correlation_worst", or_null(c->n_corr, json_real(c->worst)),
                     "correlation_mean",
                     or_null(c->n_corr, json_real(c->n_corr ? c->sum / (double)c->n_corr : 0)),
                     "worst_text", (json_int_t)c->worst_text, "worst_position",
                     (json_int_t)c->worst_pos, "correlation_all", stat_correlation(&c->all), "mse",
                     c->all.sq / m, "max_difference", c->all.worst, "equal", !(c->all.worst > 0),
                     "top1", (double)c->n_top1 / n, "k", (json_int_t)c->ask->n_top, "topk",
                     c->overlap / n, "kl_mean", or_null(c->n_whole_pos > 0, json_real(c->kld / n)),
                     "n_unknown", (json_int_t)c->n_unknown);
}

static json_t *ids_json(const struct cv *c)
{
    return json_pack("{s:I,s:I,s:o}", "n_text", (json_int_t)c->n_ids, "n_equal",
                     (json_int_t)c->n_ids_same, "first_difference",
                     or_null(*c->ids_first, json_cstr(c->ids_first)));
}

static json_t *greedy_json(const struct cv *c)
{
    const struct cv_greedy *g = &c->greedy;
    return json_pack("{s:s,s:I,s:I,s:f,s:I,s:I}", "unit", g->unit ? g->unit : "", "n",
                     (json_int_t)g->n, "n_equal", (json_int_t)g->n_same, "share",
                     g->n ? (double)g->n_same / (double)g->n : 0.0, "n_text", (json_int_t)g->n_text,
                     "n_text_equal", (json_int_t)g->n_whole);
}

static json_t *speed_json(const struct cv_speed *s)
{
    return json_pack("{s:o,s:o}", "prompt_tok_s", or_null(s->prompt > 0, json_real(s->prompt)),
                     "decode_tok_s", or_null(s->decode > 0, json_real(s->decode)));
}

static json_t *limits_json(const struct cv_limits *l)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "min_correlation", l->min_correlation,
                     "min_top1", l->min_top1, "min_topk", l->min_topk, "min_greedy",
                     l->min_greedy, "max_mse", l->max_mse, "max_difference", l->max_difference);
}

static json_t *settings_json(const struct cv *c, const struct loaded *l)
{
    char isa[256];
    const struct cv_ask *a = c->ask;
    isa_format(l->plug->topo.abi.isa, isa, sizeof isa);
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:o,s:o,s:I,s:I,s:I,s:I,s:o,s:o}",
                     "program", "bitnet " BITNET_VERSION, "model",
                     json_cstr(gguf_name(l->model->file)), "model_sha256",
                     or_null(*c->sha, json_cstr(c->sha)), "i2s_layout",
                     json_cstr(common.i2s_layout), "tl_preset", json_cstr(common.tl_preset), "pre",
                     json_cstr(common.pre), "activation", json_cstr(common.activation),
                     "threads", (json_int_t)l->plug->topo.abi.n_workers, "seed", (json_int_t)0,
                     "isa", json_cstr(isa), "cpu", json_cstr(l->plug->topo.cpu_name), "n_text",
                     (json_int_t)c->n_text, "n_tokens", (json_int_t)a->n_new, "top",
                     (json_int_t)a->n_top, "timeout_s", (json_int_t)a->timeout_s, "prompts",
                     json_cstr(a->prompts), "plugins",
                     plugins_json(l->forward));
}

static json_t *report_json(const struct cv *c, const struct loaded *l, int verdict)
{
    char time_text[32];
    const time_t now = time(NULL);
    struct tm tm;
    strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    return json_pack("{s:b,s:s,s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:{s:o,s:o,s:o},s:o,s:o}", "within",
                     !verdict, "time", time_text, "ref", json_cstr(c->ask->ref), "ref_is", c->kind,
                     "ref_model", or_null(*c->ref_model, json_cstr(c->ref_model)), "ref_sha256",
                     or_null(*c->ref_sha, json_cstr(c->ref_sha)), "token_ids",
                     or_null(c->n_ids, ids_json(c)), "logits", or_null(c->n_pos, logits_json(c)),
                     "greedy", or_null(c->greedy.unit, greedy_json(c)), "speed", "here",
                     speed_json(&c->speed), "there", or_null(c->ref_speed.how != NULL,
                                                             speed_json(&c->ref_speed)),
                     "there_is", json_cstr(c->ref_speed.how),
                     "limits", limits_json(&c->ask->limits), "settings", settings_json(c, l));
}

static int write_report(const struct cv *c, const struct loaded *l, int verdict, struct err *e)
{
    struct file_out o;
    json_t *j = report_json(c, l, verdict);
    char *s = j ? json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(j);
    int rc = s ? file_out_open(&o, c->ask->report, e)
               : err_set(e, ERR_NOMEM, "%s: no memory to write it", c->ask->report);
    if (!rc) {
        rc = file_out_write(&o, s, strlen(s), e);
        if (!rc)
            rc = file_out_write(&o, "\n", 1, e);
        if (!rc)
            rc = file_out_commit(&o, e);
        file_out_abort(&o);
    }
    free(s);
    return rc;
}

/* --------------------------------------------------------------------- page */

static void put_limit(struct buf *b, const char *word, double limit)
{
    if (limit > 0)
        buf_addf(b, "   (%s %g)", word, limit);
    buf_addf(b, "\n");
}

static void put_logits(struct buf *b, const struct cv *c)
{
    const struct cv_limits *l = &c->ask->limits;
    const double n = (double)c->n_pos;
    if (!c->n_pos) {
        buf_addf(b, "%s        not offered\n", c->log_probs ? "ln p  " : "logits");
        return;
    }
    buf_addf(b, "compared      %s at %" PRIu64 " positions, %s\n",
             c->log_probs ? "ln p" : "logits", c->n_pos,
             c->n_whole_pos ? "the whole vocabulary" : "as many of the largest as are offered");
    buf_addf(b, "correlation   %.6f %s", cv_correlation(c),
             c->n_whole_pos ? "at the worst position" : "of all values");
    if (c->n_whole_pos)
        buf_addf(b, " (text %u, position %u)", c->worst_text, c->worst_pos);
    put_limit(b, "at least", l->min_correlation);
    if (c->n_corr)
        buf_addf(b, "              %.6f at an average position, %.6f at the worst\n",
                 c->sum / (double)c->n_corr, c->worst);
    buf_addf(b, "mean square   %.3g", c->all.sq / (double)c->all.n);
    put_limit(b, "at most", l->max_mse);
    buf_addf(b, "largest       %.6g%s", c->all.worst, c->all.worst > 0 ? "" : ": equal");
    put_limit(b, "at most", l->max_difference);
    if (c->n_whole_pos)
        buf_addf(b, "KL mean       %.3g\n", c->kld / n);
    buf_addf(b, "likeliest     the same at %.2f %%", 100 * (double)c->n_top1 / n);
    put_limit(b, "at least", l->min_top1);
    buf_addf(b, "top %-9u %.2f %% in common", c->ask->n_top, 100 * c->overlap / n);
    put_limit(b, "at least", l->min_topk);
    if (c->n_unknown)
        buf_addf(b, "left out      %" PRIu64 " entries that name no token, or several\n",
                 c->n_unknown);
}

static void put_greedy(struct buf *b, const struct cv *c)
{
    const struct cv_greedy *g = &c->greedy;
    if (!g->unit) {
        buf_addf(b, "greedy        not offered\n");
        return;
    }
    buf_addf(b, "greedy        %" PRIu64 " of %" PRIu64 " %s before the first other one; %u of %u "
             "texts to the end", g->n_same, g->n, g->unit, g->n_whole, g->n_text);
    put_limit(b, "at least", c->ask->limits.min_greedy);
}

static void put_speed(struct buf *b, const char *name, const struct cv_speed *s, const char *none)
{
    buf_addf(b, "%s", name);
    if (!(s->prompt > 0) && !(s->decode > 0))
        buf_addf(b, "%s", none);
    if (s->prompt > 0)
        buf_addf(b, "prompts %.1f tokens/s  ", s->prompt);
    if (s->decode > 0)
        buf_addf(b, "answers %.1f tokens/s", s->decode);
    if (s->how)
        buf_addf(b, "  (%s)", s->how);
    buf_addf(b, "\n");
}

static int print_page(const struct cv *c, const struct loaded *l, int verdict, struct err *e)
{
    struct buf b = { 0 };
    const struct used u = used_by(l->forward);
    buf_addf(&b, "model         %s\n", gguf_name(l->model->file));
    buf_addf(&b, "  sha256      %s\n", *c->sha ? c->sha : "none: no single file");
    buf_addf(&b, "reference     %s: %s", c->ask->ref, c->kind);
    if (*c->ref_model) {
        buf_addf(&b, ", model ");
        put_escaped(&b, c->ref_model, strlen(c->ref_model));
    }
    buf_addf(&b, "\n");
    for (unsigned i = 0; i < u.n; i++)
        buf_addf(&b, "%s%s %s, build %.16s, %s\n", i ? "              " : "computed by   ",
                 u.dev[i]->plugin->note.raw.id, u.dev[i]->plugin->note.raw.version,
                 u.dev[i]->plugin->note.build, u.dev[i]->info.name);
    buf_addf(&b, "texts         %u\n\n", c->n_text);
    if (!c->n_ids)
        buf_addf(&b, "token ids     not offered\n");
    else
        buf_addf(&b, "token ids     equal in %u of %u texts%s%s\n", c->n_ids_same, c->n_ids,
                 *c->ids_first ? "; " : "", c->ids_first);
    put_logits(&b, c);
    put_greedy(&b, c);
    put_speed(&b, "speed here    ", &c->speed, "not measured: no continuation");
    put_speed(&b, "speed there   ", &c->ref_speed, "not offered");
    buf_addf(&b, "\n%s\n", verdict ? "OUTSIDE the limits" : "within the limits");
    int rc = b.failed ? err_set(e, ERR_NOMEM, "crossval: no memory for the report")
                      : put_out(b.p, b.n, e);
    buf_free(&b);
    return rc;
}

int cv_print(const struct cv *c, const struct loaded *l, int verdict, struct err *e)
{
    int rc = c->ask->report ? write_report(c, l, verdict, e) : 0;
    if (rc)
        return rc;
    return common.json ? put_json(report_json(c, l, verdict), e) : print_page(c, l, verdict, e);
}
