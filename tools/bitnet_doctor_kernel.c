/* bitnet_doctor_kernel.c - every plugin's logits, bit by bit, against
 * scalar-ref's.
 *
 * The known-answer test has tried each kernel alone; here it is the model's own
 * matrices, shapes and numbers. */
#include <stdlib.h>
#include <string.h>

#include "tools/bitnet_doctor.h"

enum { MANY = 32, FEW = 4 };      /* tokens; FEW of a model that takes scalar-ref a */
#define LARGE (UINT64_C(100) << 20)                 /* second or more for one  */

struct rows {                     /* [n][n_vocab]                              */
    float *at;
    uint32_t n, n_vocab;
};

static int keep(void *ctx, const struct score_rows *r, struct err *e)
{
    struct rows *to = ctx;
    (void)e;
    for (uint32_t i = 0; i < r->n; i++)
        memcpy(to->at + (size_t)(r->pos + i) * to->n_vocab, r->logits + i * r->stride,
               to->n_vocab * sizeof *to->at);
    return 0;
}

/* With the plugin for everything it has. */
static int logits_on(struct doctor *d, const char *id, const struct tokens *t, struct rows *to,
                     struct err *e)
{
    struct score s = { 0 };
    const char *asked = common.plugin;
    common.plugin = id;
    int rc = doctor_open(d, &d->opts, e);
    if (!rc)
        rc = score_open(&s, &d->l, (uint32_t)t->n, 0, e);
    if (!rc)
        score_begin(&s);
    if (!rc)
        rc = score_feed(&s, t->id, (uint32_t)t->n, 0, keep, to, e);
    score_close(&s);
    load_unload(&d->l);
    common.plugin = asked;
    return rc;
}

static int first_ids(struct doctor *d, struct tokens *t, struct rows rows[2], struct err *e)
{
    int rc = doctor_open(d, &d->opts, e);
    if (rc)
        return rc;
    const struct model *m = d->l.model;
    const size_t most = gguf_file_size(m->file) < LARGE ? MANY : FEW;
    rc = doctor_ids(m, m->vocab, doctor_text, t, e);
    t->n = t->n < most ? t->n : most;
    for (int i = 0; !rc && i < 2; i++) {
        rows[i] = (struct rows){ .n = (uint32_t)t->n, .n_vocab = m->hp.n_vocab };
        rows[i].at = calloc(t->n, m->hp.n_vocab * sizeof *rows[i].at);
        if (!rows[i].at)
            rc = err_set(e, ERR_NOMEM, "doctor: no memory for %zu rows of logits", t->n);
    }
    load_unload(&d->l);
    return rc;
}

static void pin(struct doctor *d, const char *id)
{
    doctor_mend(d, "plugins", "linear", id, NULL);
    doctor_mend(d, "plugins", "attention", id, NULL);
    doctor_mend(d, "plugins", "pointwise", id, NULL);
}

/* Position and id of the first difference. */
static void say_differs(struct doctor *d, const char *id, const struct rows *ours,
                        const struct rows *ref)
{
    size_t i = 0;
    while (!memcmp(&ours->at[i], &ref->at[i], sizeof *ours->at))
        i++;
    doctor_say(d, DOCTOR_KERNEL, DOCTOR_MEND, "%s is wrong: position %zu, logit %zu is %.9g, "
               "scalar-ref says %.9g", id, i / ref->n_vocab, i % ref->n_vocab,
               (double)ours->at[i], (double)ref->at[i]);
}

static int compare_all(struct doctor *d, const struct tokens *t, struct rows rows[2],
                       struct err *e)
{
    struct buf same = { 0 };
    const struct plug *p = d->l.plug;
    bool wrong = false;
    int rc = logits_on(d, PLUG_REF_ID, t, &rows[0], e);
    buf_addf(&same, "%s", PLUG_REF_ID);
    for (unsigned i = 0; !rc && i < p->n_dev; i++) {
        const char *id = p->dev[i]->plugin->note.raw.id;
        struct err why = { 0 };
        if (p->dev[i] == p->ref || p->dev[i]->index)
            continue;
        if (logits_on(d, id, t, &rows[1], &why)) {
            buf_addf(&same, "; %s did not run it (%s)", id, why.text);
        } else if (memcmp(rows[0].at, rows[1].at,
                          (size_t)t->n * rows[0].n_vocab * sizeof *rows[0].at)) {
            say_differs(d, id, &rows[1], &rows[0]);
            wrong = true;
        } else {
            buf_addf(&same, ", %s", id);
        }
    }
    if (wrong)
        pin(d, PLUG_REF_ID);
    if (!rc)
        doctor_say(d, DOCTOR_KERNEL, DOCTOR_OK, "the same bits in %zu rows of logits: %s", t->n,
                   same.p ? same.p : "");
    buf_free(&same);
    return rc;
}

int doctor_kernel(struct doctor *d, struct err *e)
{
    struct tokens t = { 0 };
    struct rows rows[2] = { { 0 }, { 0 } };
    if (!d->is_generator) {
        doctor_say(d, DOCTOR_KERNEL, DOCTOR_SKIPPED, "a model for embeddings has no logits");
        return 0;
    }
    int rc = first_ids(d, &t, rows, e);
    if (!rc)
        rc = compare_all(d, &t, rows, e);
    free(rows[0].at);
    free(rows[1].at);
    free(t.id);
    return rc;
}
