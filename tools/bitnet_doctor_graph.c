/* bitnet_doctor_graph.c - byte order and activation, by the likelihood of a text.
 *
 * Neither is in the file for certain, and the wrong one gives no error: three
 * byte orders of I2_S have one type number and one size, and models of two
 * activations have the same tensors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/arch.h"
#include "tools/bitnet_doctor.h"

static const char *const layout_name[] = { [I2S_A] = "a", [I2S_B] = "b", [I2S_C] = "c" };
static const uint32_t glu[] = { BNP_GLU_RELU2, BNP_GLU_SILU, BNP_GLU_GELU };
enum { N_LAYOUT = 3, N_GLU = sizeof glu / sizeof *glu };

/* A text of which less than this share of the nats of blind guessing is left
 * to say was read; a wrong byte order leaves more than all of it. */
#define READ_SHARE 0.9

static int likelihood(struct doctor *d, double *nats, uint32_t *n_tok, struct err *e)
{
    struct tokens t = { 0 };
    struct score s = { 0 };
    const struct model *m = d->l.model;
    int rc = doctor_ids(m, m->vocab, doctor_text, &t, e);
    if (!rc)
        rc = score_open(&s, &d->l, (uint32_t)t.n, 0, e);
    if (!rc)
        rc = score_nll(&s, t.id, (uint32_t)t.n, 0, nats, e);
    *n_tok = t.n ? (uint32_t)t.n - 1 : 0;
    score_close(&s);
    free(t.id);
    return rc;
}

/* A model that does not open under a reading, or whose logits are no numbers,
 * is not read so: no failure of the examination. */
static int try(struct doctor *d, const struct model_opts *o, struct reading *r, struct err *e)
{
    struct err why = { 0 };
    if (!r)
        return err_set(e, ERR_INTERNAL, "doctor: no room for another reading");
    int rc = doctor_open(d, o, &why);
    if (!rc)
        rc = likelihood(d, &r->nats, &r->n_tok, &why);
    r->ran = !rc;
    snprintf(r->why, sizeof r->why, "%s", rc ? why.text : "");
    load_unload(&d->l);
    if (rc == ERR_NOMEM || rc == ERR_LIMIT || rc == ERR_PLUGIN || rc == ERR_INTERNAL) {
        *e = why;
        return rc;
    }
    return 0;
}

/* What the model has under opts. */
struct graph {
    bool i2s;                     /* tensors of a byte order                   */
    uint32_t glu, n_vocab;
};

static int look(struct doctor *d, struct graph *g, struct err *e)
{
    int rc = doctor_open(d, &d->opts, e);
    if (rc)
        return rc;
    const struct gguf *file = d->l.model->file;
    for (size_t i = 0; i < gguf_n_tensors(file); i++) {
        const char *name = wtype_name_of(gguf_tensor_at(file, i));
        g->i2s = g->i2s || (name && !strcmp(name, "I2_S"));
    }
    g->i2s = g->i2s && d->opts.i2s_layout <= I2S_C;
    g->glu = d->l.model->hp.glu;
    g->n_vocab = d->l.model->hp.n_vocab;
    load_unload(&d->l);
    return 0;
}

static bool was_read(const struct reading *r, const struct graph *g)
{
    return r->nats < READ_SHARE * r->n_tok * log(g->n_vocab);
}

static int layouts(struct doctor *d, const struct graph *g, struct err *e)
{
    int rc = 0;
    for (int i = 0; !rc && g->i2s && i < N_LAYOUT; i++) {
        struct model_opts o = d->opts;
        o.i2s_layout = (enum i2s_layout)i;
        rc = try(d, &o, doctor_reading(d, "I2_S layout", layout_name[i],
                                       i == (int)d->opts.i2s_layout), e);
    }
    return rc;
}

/* Of the byte order chosen; what was measured for it holds for the activation
 * in use. */
static int activations(struct doctor *d, const struct graph *g, const struct reading *known,
                       struct err *e)
{
    int rc = 0;
    for (int i = 0; !rc && i < N_GLU; i++) {
        struct model_opts o = d->opts;
        struct reading *r = doctor_reading(d, "activation", arch_glu_name(glu[i]),
                                           glu[i] == g->glu);
        o.activation = arch_glu_name(glu[i]);
        if (known && r && r->in_use) {
            r->ran = true;
            r->nats = known->nats;
            r->n_tok = known->n_tok;
        } else {
            rc = try(d, &o, r, e);
        }
    }
    return rc;
}

/* Both are wrong: no single change makes sense of the text. */
static int pairs(struct doctor *d, const struct graph *g, struct err *e)
{
    int rc = 0;
    for (int i = 0; !rc && g->i2s && i < N_LAYOUT; i++)
        for (int k = 0; !rc && k < N_GLU; k++) {
            struct model_opts o = d->opts;
            char name[48];
            if (i == (int)d->opts.i2s_layout || glu[k] == g->glu)
                continue;
            o.i2s_layout = (enum i2s_layout)i;
            o.activation = arch_glu_name(glu[k]);
            snprintf(name, sizeof name, "%s, %s", layout_name[i], o.activation);
            rc = try(d, &o, doctor_reading(d, "layout and activation", name, false), e);
        }
    return rc;
}

static void choose_layout(struct doctor *d, const char *name)
{
    for (int i = 0; i < N_LAYOUT; i++)
        if (!strcmp(layout_name[i], name))
            d->opts.i2s_layout = (enum i2s_layout)i;
    doctor_mend(d, "model", "i2s_layout", layout_name[d->opts.i2s_layout], "in-i2s-layout");
}

static void choose_activation(struct doctor *d, const char *name)
{
    for (int k = 0; k < N_GLU; k++)
        if (!strcmp(arch_glu_name(glu[k]), name))
            d->opts.activation = arch_glu_name(glu[k]);
    doctor_mend(d, "model", "activation", d->opts.activation, "activation");
}

static void say_mended(struct doctor *d, const struct reading *best, double margin)
{
    doctor_say(d, DOCTOR_GRAPH, DOCTOR_MEND, "%s %s, not as it is read now: the text takes %.3f "
               "nats per token so, %.0f fewer in all", best->what, best->name,
               doctor_per_token(best), margin);
}

/* What the readings from first on say; takes the best over when its margin is
 * clear. Readings that all make no sense differ by as much, and say nothing. */
static const struct reading *settle(struct doctor *d, unsigned first, const struct graph *g,
                                    void (*choose)(struct doctor *, const char *))
{
    double margin = 0;
    const struct reading *best = doctor_best(d, first, &margin);
    if (best && !best->in_use && margin >= DOCTOR_CLEAR && was_read(best, g)) {
        choose(d, best->name);
        say_mended(d, best, margin);
    }
    return best;
}

static void choose_pair(struct doctor *d, const char *name)
{
    const char layout[2] = { name[0], 0 };
    choose_layout(d, layout);
    choose_activation(d, name + 3);
}

static void say_fine(struct doctor *d, unsigned first_glu)
{
    double margin = 0;
    const struct reading *best = doctor_best(d, first_glu, &margin);
    if (best->in_use && margin >= DOCTOR_CLEAR)
        doctor_say(d, DOCTOR_GRAPH, DOCTOR_OK, "activation %s: the text takes %.3f nats per token, "
                   "%.0f fewer in all than under any other", best->name, doctor_per_token(best),
                   margin);
    else
        doctor_say(d, DOCTOR_GRAPH, DOCTOR_OK, "no other activation is clearly better: the text "
                   "takes %.3f nats per token", doctor_per_token(best));
}

/* The measured reading of the byte order that is used from here on. */
static const struct reading *of_layout(const struct doctor *d)
{
    for (unsigned i = 0; i < d->n_reading; i++)
        if (d->reading[i].ran && !strcmp(d->reading[i].name, layout_name[d->opts.i2s_layout]))
            return &d->reading[i];
    return NULL;
}

/* *best: the likeliest so far; a pair of readings that makes sense replaces it. */
static int settle_pairs(struct doctor *d, const struct graph *g, const struct reading **best,
                        struct err *e)
{
    const unsigned first = d->n_reading;
    double margin;
    int rc = pairs(d, g, e);
    struct reading *pair = rc ? NULL : doctor_best(d, first, &margin);
    if (!pair)
        return rc;
    pair->best = was_read(pair, g) && (*best)->nats - pair->nats >= DOCTOR_CLEAR;
    if (pair->best) {
        choose_pair(d, pair->name);
        say_mended(d, pair, (*best)->nats - pair->nats);
        *best = pair;
    }
    return 0;
}

int doctor_graph(struct doctor *d, struct err *e)
{
    struct graph g = { 0 };
    int rc = look(d, &g, e);
    if (!d->is_generator)
        doctor_say(d, DOCTOR_GRAPH, DOCTOR_SKIPPED, "a model for embeddings: no text has a "
                   "likelihood under it");
    if (rc || !d->is_generator)
        return rc;
    rc = layouts(d, &g, e);
    if (rc)
        return rc;
    settle(d, 0, &g, choose_layout);
    const unsigned first_glu = d->n_reading;
    rc = activations(d, &g, g.i2s ? of_layout(d) : NULL, e);
    const struct reading *best = rc ? NULL : settle(d, first_glu, &g, choose_activation);
    if (best && !was_read(best, &g))
        rc = settle_pairs(d, &g, &best, e);
    if (rc)
        return rc;
    d->was_read = best && was_read(best, &g);
    if (!d->was_read)
        doctor_say(d, DOCTOR_GRAPH, DOCTOR_MEND, "no reading makes sense of an English text: random "
                   "or damaged weights, or a model of something else%s", best ? "" : "; none ran");
    else if (d->layer[DOCTOR_GRAPH].state < DOCTOR_OK)
        say_fine(d, first_glu);
    return 0;
}
