/* bitnet_doctor.c - `bitnet doctor`: is this model read as it was meant, and if
 * not, what mends it.
 *
 * Layer by layer: the file, its graph, its tokenizer, the plugins' kernels. What
 * the file leaves open is tried, and settled by likelihood. */
#include "tools/bitnet_doctor.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct usage usage = {
    "doctor", "[OPTION]... [FILE]",
    "Checks a model: the file's structure; byte order and activation, pre-tokenizer and\n"
    "chat template by the likelihood of a fixed text under each; every plugin's logits\n"
    "against scalar-ref's. Prints the settings that mend what is wrong.\n"
    "Exit code: 0 fine, 1 something to mend, 2 cannot run.",
    { common_file, common_compute, common_reading }
};

void doctor_say(struct doctor *d, enum doctor_layer l, enum doctor_state state, const char *fmt,
                ...)
{
    va_list ap;
    char *text = d->layer[l].text;
    size_t at = 0;
    if (state < d->layer[l].state)
        return;
    if (state == d->layer[l].state && state == DOCTOR_MEND)
        at = strlen(strncat(text, "; ", sizeof d->layer[l].text - strlen(text) - 1));
    d->layer[l].state = state;
    va_start(ap, fmt);
    vsnprintf(text + at, sizeof d->layer[l].text - at, fmt, ap);
    va_end(ap);
}

struct reading *doctor_reading(struct doctor *d, const char *what, const char *name, bool in_use)
{
    if (d->n_reading == sizeof d->reading / sizeof *d->reading)
        return NULL;
    struct reading *r = &d->reading[d->n_reading++];
    *r = (struct reading){ .what = what, .in_use = in_use };
    snprintf(r->name, sizeof r->name, "%s", name);
    return r;
}

struct reading *doctor_best(struct doctor *d, unsigned first, double *margin)
{
    struct reading *best = NULL, *used = NULL;
    double second = INFINITY;
    for (unsigned i = first; i < d->n_reading; i++) {
        struct reading *r = &d->reading[i];
        if (!r->ran)
            continue;
        used = r->in_use ? r : used;
        if (!best || r->nats < best->nats) {
            second = best ? best->nats : second;
            best = r;
        } else {
            second = r->nats < second ? r->nats : second;
        }
    }
    if (!best)
        return NULL;
    best->best = true;
    *margin = (used && used != best ? used->nats : second) - best->nats;
    return best;
}

double doctor_per_token(const struct reading *r)
{
    return r->nats / (r->n_tok ? r->n_tok : 1);
}

void doctor_mend(struct doctor *d, const char *section, const char *key, const char *value,
                 const char *option)
{
    if (strcmp(d->section, section) != 0)
        buf_addf(&d->ini, "[%s]\n", section);
    snprintf(d->section, sizeof d->section, "%s", section);
    buf_addf(&d->ini, "%s = %s\n", key, value);
    if (option)
        buf_addf(&d->convert, " --%s %s", option, value);
}

int doctor_open(struct doctor *d, const struct model_opts *o, struct err *e)
{
    int rc = model_open(&d->l.model, d->path, o, e);
    if (!rc)
        d->l.model->n_warning = 0;      /* said once, by the report */
    return rc;
}

/* A token is a byte at least, so a text of as many bytes as the context has
 * tokens, less BOS, fits whatever its pre-tokenizer. */
int doctor_ids(const struct model *m, const struct vocab *v, const char *text, struct tokens *t,
               struct err *e)
{
    size_t n = strlen(text);
    int rc = vocab_encode(v, text, n, VOCAB_BOS, 0, t, e);
    if (rc || t->n <= m->hp.n_ctx)
        return rc;
    t->n = 0;
    n = m->hp.n_ctx - 1 < n ? m->hp.n_ctx - 1 : n;
    return vocab_encode(v, text, n, VOCAB_BOS, 0, t, e);
}

static int examine(struct doctor *d, struct err *e)
{
    int rc = load_options(&d->opts, e);
    if (!rc)
        rc = load_path(d->path, e);
    if (!rc)
        rc = doctor_file(d, e);
    if (!rc && d->layer[DOCTOR_FILE].state != DOCTOR_BROKEN &&
        d->layer[DOCTOR_TOKENIZER].state != DOCTOR_BROKEN) {
        rc = doctor_graph(d, e);
        if (!rc)
            rc = doctor_tokenizer(d, e);
        if (!rc)
            rc = doctor_kernel(d, e);
    }
    return rc ? rc : doctor_report(d, e);
}

int verb_doctor(int argc, char **argv)
{
    static struct doctor d;
    struct err e = { 0 };
    struct words w;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    rc = load_word("doctor", &w, &e);
    if (!rc)
        rc = examine(&d, &e);
    const enum doctor_state verdict = doctor_verdict(&d);
    load_close(&d.l);
    buf_free(&d.ini);
    buf_free(&d.convert);
    if (rc) {
        tool_exit(rc, &e);
        return TOOL_USAGE;              /* nothing was decided: as bad as a broken file */
    }
    return verdict == DOCTOR_BROKEN ? TOOL_USAGE : verdict == DOCTOR_MEND ? TOOL_FAILED : TOOL_OK;
}
