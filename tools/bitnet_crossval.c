/* bitnet_crossval.c - `bitnet crossval`: whether a model says here what it says
 * elsewhere. Exit code 0 within the limits, 1 outside, 2 when nothing could be
 * compared. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/conf.h"
#include "tools/bitnet_crossval.h"

extern char **environ;

enum { MAX_TIMEOUT_S = 86400 };

static struct cv_ask ask = {
    .n_new = 32, .n_top = 10, .timeout_s = 120,
    .limits = { NAN, NAN, NAN, NAN, NAN, NAN }    /* NaN: as the configuration has it */
};
static const char *format = "text";

static const struct opt options[] = {
    { "ref", 'r', OPT_TEXT, &ask.ref, "REF", "saved logits, plain f32 with --tokens, or http://..." },
    { "tokens", 0, OPT_TEXT, &ask.tokens, "FILE", "the ids of plain f32 rows, a text a line" },
    { "prompts", 0, OPT_TEXT, &ask.prompts, "FILE", "texts, one a line (an endpoint: some of ours)" },
    { "texts", 0, OPT_U32, &ask.n_text, "N", "only the first N texts" },
    { "n-tokens", 'n', OPT_U32, &ask.n_new, "N", "of a greedy continuation (default 32)" },
    { "top", 'k', OPT_U32, &ask.n_top, "K", "likeliest tokens that are compared (default 10)" },
    { "key", 0, OPT_TEXT, &ask.key, "KEY", "the endpoint's API key" },
    { "timeout", 0, OPT_U32, &ask.timeout_s, "S", "seconds that one answer may take (default 120)" },
    { "conf", 0, OPT_TEXT, &ask.conf, "FILE", "limits from its section [crossval]" },
    { "min-correlation", 0, OPT_F64, &ask.limits.min_correlation, "C", "default 0.999" },
    { "min-top1", 0, OPT_F64, &ask.limits.min_top1, "P", "share of equal likeliest tokens" },
    { "min-topk", 0, OPT_F64, &ask.limits.min_topk, "P", "share of common K likeliest tokens" },
    { "min-greedy", 0, OPT_F64, &ask.limits.min_greedy, "P", "share of the continuation" },
    { "max-mse", 0, OPT_F64, &ask.limits.max_mse, "X", "mean square of differences" },
    { "max-difference", 0, OPT_F64, &ask.limits.max_difference, "X", "largest difference" },
    { "report", 0, OPT_TEXT, &ask.report, "FILE", "the report as JSON" },
    { "output", 'o', OPT_TEXT, &format, "FORMAT", "text (default) or json" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "crossval", "[-m FILE] --ref REF [OPTION]...",
    "Compares a model with a reference of the same model: token ids, logits, greedy\n"
    "continuation, speed. Exit code: 0 within the limits, 1 outside, 2 not compared.",
    { options, common_file, common_compute, common_reading }
};

static bool is_url(const char *s)
{
    return !strncmp(s, "http://", 7) || !strncmp(s, "https://", 8);
}

static void take_limit(double *to, double conf)
{
    *to = isnan(*to) ? conf : *to;
}

static int get_limits(struct err *e)
{
    struct conf c = { 0 };
    struct cv_limits *l = &ask.limits;
    int rc = conf_load(&c, ask.conf, environ, NULL, 0, e);
    if (!rc) {
        take_limit(&l->min_correlation, c.cv_min_correlation);
        take_limit(&l->min_top1, c.cv_min_top1);
        take_limit(&l->min_topk, c.cv_min_topk);
        take_limit(&l->min_greedy, c.cv_min_greedy);
        take_limit(&l->max_mse, c.cv_max_mse);
        take_limit(&l->max_difference, c.cv_max_difference);
    }
    conf_free(&c);
    return rc;
}

static int check_limit(const char *name, double v, double most, struct err *e)
{
    return v >= 0 && v <= most ? 0 : err_set(e, ERR_ARG, "--%s: %g, expected 0 to %g", name, v, most);
}

static int check_limits(struct err *e)
{
    const struct cv_limits *l = &ask.limits;
    const struct {
        const char *name;
        double v, most;
    } all[] = {
        { "min-correlation", l->min_correlation, 1 }, { "min-top1", l->min_top1, 1 },
        { "min-topk", l->min_topk, 1 }, { "min-greedy", l->min_greedy, 1 },
        { "max-mse", l->max_mse, 1e30 }, { "max-difference", l->max_difference, 1e30 },
    };
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof all / sizeof *all; i++)
        rc = check_limit(all[i].name, all[i].v, all[i].most, e);
    return rc;
}

static int check_options(const struct words *w, struct err *e)
{
    if (w->n)
        return err_set(e, ERR_ARG, "crossval: %.100s: unexpected, a reference is given with --ref",
                       w->at[0]);
    if (!ask.ref)
        return err_set(e, ERR_ARG, "crossval: no reference, expected --ref");
    if (!ask.n_new || ask.n_new > CV_MAX_NEW)
        return err_set(e, ERR_ARG, "--n-tokens: %u, expected 1 to %d", ask.n_new, CV_MAX_NEW);
    if (!ask.n_top || ask.n_top > CV_MAX_TOP)
        return err_set(e, ERR_ARG, "--top: %u, expected 1 to %d", ask.n_top, CV_MAX_TOP);
    if (!ask.timeout_s || ask.timeout_s > MAX_TIMEOUT_S)
        return err_set(e, ERR_ARG, "--timeout: %u, expected 1 to %d", ask.timeout_s, MAX_TIMEOUT_S);
    if (ask.tokens && is_url(ask.ref))
        return err_set(e, ERR_ARG, "--tokens: an endpoint is asked, expected --prompts");
    int rc = opt_output(format, e);
    if (!rc)
        rc = get_limits(e);
    return rc ? rc : check_limits(e);
}

double cv_correlation(const struct cv *c)
{
    return c->n_whole_pos ? c->worst : stat_correlation(&c->all);
}

/* 0 within the limits, 1 outside, ERR_DATA: nothing to judge. */
static int judge(const struct cv *c, struct err *e)
{
    const struct cv_limits *l = &c->ask->limits;
    const double n = (double)c->n_pos;
    if (!c->n_pos && (l->min_correlation > 0 || !c->greedy.n || !(l->min_greedy > 0)))
        return err_set(e, ERR_DATA, "%.200s: offers no log-probabilities: nothing to judge the "
                       "correlation by; --min-correlation 0 --min-greedy P judges the texts alone",
                       c->ask->ref);
    if (l->min_greedy > 0 && !c->greedy.n)
        return err_set(e, ERR_DATA, "%.200s: offers no greedy continuation, which --min-greedy is "
                       "about", c->ask->ref);
    if (c->n_ids_same != c->n_ids)
        return 1;
    if (c->n_pos && (cv_correlation(c) < l->min_correlation ||
                     (double)c->n_top1 / n < l->min_top1 || c->overlap / n < l->min_topk ||
                     (l->max_mse > 0 && c->all.sq / (double)c->all.n > l->max_mse) ||
                     (l->max_difference > 0 && c->all.worst > l->max_difference)))
        return 1;
    return l->min_greedy > 0 && (double)c->greedy.n_same / (double)c->greedy.n < l->min_greedy;
}

static int crossval(struct cv *c, struct loaded *l, int *verdict, struct err *e)
{
    int rc = load_model(l, e);
    if (!rc)
        rc = is_url(ask.ref) ? cv_open_url(c, l->model, e) : cv_open_file(c, l->model, e);
    if (!rc)
        rc = cv_run(c, l, e);
    if (!rc)
        rc = cv_sha256(gguf_name(l->model->file), c->sha, e);
    if (!rc)
        rc = *verdict = judge(c, e);
    return rc < 0 ? rc : cv_print(c, l, *verdict, e);
}

int verb_crossval(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    struct loaded l = { 0 };
    struct cv c = { .ask = &ask };
    int verdict = 0;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    rc = check_options(&w, &e);
    if (!rc)
        rc = crossval(&c, &l, &verdict, &e);
    cv_close(&c);
    load_close(&l);
    if (rc < 0) {
        tool_exit(rc, &e);
        return 2;                 /* not compared, or used wrongly */
    }
    return verdict;
}
