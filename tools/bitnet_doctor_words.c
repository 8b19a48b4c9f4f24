/* bitnet_doctor_words.c - pre-tokenizer, chat template and end of turn.
 *
 * Two pre-tokenizers cut the same text into other tokens, so it is the
 * likelihood of the whole text that is compared. A template is judged by the
 * likelihood of an answer, and of the token that ends it, behind a question. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/chat.h"
#include "tools/bitnet_doctor.h"
#include "tools/bitnet_stat.h"

/* -------------------------------------------------------------- pre-tokenizer */

static const char *const pre_name[] = { "llama-bpe", "falcon3", "falcon-e", "qwen2", "gpt-2",
                                        "default" };

static bool same_ids(const struct tokens *a, const struct tokens *b)
{
    return a->n == b->n && !memcmp(a->id, b->id, a->n * sizeof *a->id);
}

struct tried {                    /* ids of each reading so far; [0] in use    */
    struct tokens t[1 + sizeof pre_name / sizeof *pre_name];
    unsigned n;
};

/* Names that cut this text alike are one reading. */
static bool is_new(const struct tried *all, const struct tokens *t)
{
    for (unsigned i = 0; i < all->n; i++)
        if (same_ids(&all->t[i], t))
            return false;
    return true;
}

/* v: cuts as the name says. */
static int try_pre(struct doctor *d, struct score *s, const char *name, const struct vocab *v,
                   struct tried *all, struct err *e)
{
    struct tokens *t = &all->t[all->n];
    int rc = doctor_ids(d->l.model, v, doctor_text, t, e);
    if (rc || !is_new(all, t)) {
        free(t->id);
        *t = (struct tokens){ 0 };
        return rc;
    }
    struct reading *r = doctor_reading(d, "pre-tokenizer", name, !all->n++);
    if (!r)
        return err_set(e, ERR_INTERNAL, "doctor: no room for another reading");
    rc = score_nll(s, t->id, (uint32_t)t->n, 0, &r->nats, e);
    r->ran = !rc;
    r->n_tok = (uint32_t)t->n - 1;
    return rc;
}

static int try_pres(struct doctor *d, struct score *s, struct err *e)
{
    const struct model *m = d->l.model;
    struct tried all = { .n = 0 };
    int rc = try_pre(d, s, vocab_kind(m->vocab) + 4, m->vocab, &all, e);
    for (size_t i = 0; !rc && i < sizeof pre_name / sizeof *pre_name; i++) {
        struct vocab *v = NULL;
        struct err why = { 0 };
        char warn[256];
        if (!vocab_open(&v, m->file, pre_name[i], warn, &why))
            rc = try_pre(d, s, pre_name[i], v, &all, e);
        vocab_close(v);
    }
    for (unsigned i = 0; i < all.n; i++)
        free(all.t[i].id);
    return rc;
}

static int pre_tokenizers(struct doctor *d, struct score *s, struct err *e)
{
    const char *kind = vocab_kind(d->l.model->vocab);      /* "bpe/gpt-2" */
    const unsigned first = d->n_reading;
    double margin;
    if (strncmp(kind, "bpe/", 4) != 0)
        return 0;
    int rc = try_pres(d, s, e);
    const struct reading *best = rc ? NULL : doctor_best(d, first, &margin);
    if (best && !best->in_use && margin >= DOCTOR_CLEAR && d->was_read) {
        doctor_mend(d, "model", "pre", best->name, "pre");
        doctor_say(d, DOCTOR_TOKENIZER, DOCTOR_MEND, "pre-tokenizer %s, not %s: the text takes "
                   "%.0f nats fewer so", best->name, kind + 4, margin);
    }
    return rc;
}

/* ------------------------------------------------------------------ template */

/* The conversation's ids up to the first that ends the answer; *n_ask: of the
 * question and the answer's beginning. False: the template cannot say it, or
 * does not end turns with a token. */
static bool conversation(const struct chat_template *c, const struct vocab *v, struct tokens *t,
                         uint32_t *n_ask, uint32_t *n_all)
{
    const struct chat_msg msg[] = {
        { .role = CHAT_USER, .text = { doctor_question, strlen(doctor_question) } },
        { .role = CHAT_ASSISTANT, .text = { doctor_answer, strlen(doctor_answer) } }
    };
    struct tokens ask = { 0 };
    struct err e = { 0 };
    bool good = !chat_encode(c, v, &(struct chat_in){ .msg = msg, .n_msg = 1,
                                                      .add_generation = true }, 0, &ask, &e) &&
                !chat_encode(c, v, &(struct chat_in){ .msg = msg, .n_msg = 2 }, 0, t, &e) &&
                ask.n && ask.n < t->n && !memcmp(ask.id, t->id, ask.n * sizeof *ask.id);
    *n_ask = (uint32_t)ask.n;
    free(ask.id);
    for (*n_all = *n_ask; good && *n_all < t->n; (*n_all)++)
        if (chat_is_end(c, v, t->id[*n_all]) || vocab_is_eog(v, t->id[*n_all])) {
            ++*n_all;
            return true;
        }
    return false;
}

static int try_template(struct doctor *d, struct score *s, const char *name, bool in_use,
                        struct err *e)
{
    const struct chat_template *c = chat_find(name);
    struct tokens t = { 0 };
    uint32_t n_ask, n_all;
    int rc = 0;
    if (c && conversation(c, d->l.model->vocab, &t, &n_ask, &n_all) && n_all <= s->n_tok) {
        struct reading *r = doctor_reading(d, "chat template", name, in_use);
        rc = r ? score_nll(s, t.id, n_all, n_ask - 1, &r->nats, e)
               : err_set(e, ERR_INTERNAL, "doctor: no room for another reading");
        if (r) {
            r->ran = !rc;
            r->n_tok = n_all - n_ask;
        }
    }
    free(t.id);
    return rc;
}

struct last {                     /* what follows the answer                   */
    uint32_t n_vocab;
    int32_t id;
    double nll;
};

static int take_last(void *ctx, const struct score_rows *r, struct err *e)
{
    struct last *l = ctx;
    const float *row = r->logits + (r->n - 1) * r->stride;
    (void)e;
    l->id = (int32_t)stat_argmax(row, l->n_vocab);
    l->nll = stat_nll(row, l->n_vocab, l->id);
    return 0;
}

/* The likeliest token behind the answer should end the turn. */
static int end_of_turn(struct doctor *d, struct score *s, const struct chat_template *c,
                       struct err *e)
{
    const struct vocab *v = d->l.model->vocab;
    struct last last = { .n_vocab = d->l.model->hp.n_vocab };
    struct tokens t = { 0 };
    uint32_t n_ask, n_all;
    int rc = 0;
    if (conversation(c, v, &t, &n_ask, &n_all) && n_all <= s->n_tok) {
        score_begin(s);
        rc = score_feed(s, t.id, n_all - 1, n_all - 2, take_last, &last, e);
        if (!rc && !chat_is_end(c, v, last.id) && !vocab_is_eog(v, last.id) &&
            vocab_is_control(v, last.id) && last.nll < log(2)) {
            struct buf text = { 0 };
            vocab_piece(v, last.id, true, &text);
            doctor_say(d, DOCTOR_TOKENIZER, DOCTOR_MEND, "the model ends its turns with token %d, "
                       "%.*s, which ends none under template %s: another template, or give it as "
                       "`stop`", (int)last.id, text.n < 40 ? (int)text.n : 40,
                       text.p ? text.p : "", chat_name(c));
            buf_free(&text);
        }
    }
    free(t.id);
    return rc;
}

static int templates(struct doctor *d, struct score *s, struct err *e)
{
    char warn[256];
    const struct chat_template *used = chat_recognise(d->l.model, warn);
    const unsigned first = d->n_reading;
    struct buf names = { 0 };
    int rc = 0;
    double margin;
    if (warn[0] && d->n_warning < sizeof d->warning / sizeof *d->warning)
        memcpy(d->warning[d->n_warning++], warn, sizeof warn);
    if (!used && !gguf_kv(d->l.model->file, "tokenizer.chat_template"))
        return 0;                       /* for text, not for conversations */
    chat_names(&names);
    for (char *save = NULL, *name = names.p ? strtok_r(names.p, ", ", &save) : NULL; !rc && name;
         name = strtok_r(NULL, ", ", &save))
        rc = try_template(d, s, name, used == chat_find(name), e);
    buf_free(&names);
    const struct reading *best = rc ? NULL : doctor_best(d, first, &margin);
    if (best && !best->in_use && margin >= DOCTOR_CLEAR && d->was_read) {
        doctor_mend(d, "chat", "template", best->name, NULL);
        doctor_say(d, DOCTOR_TOKENIZER, DOCTOR_MEND, "chat template %s, not %s: an answer takes "
                   "%.0f nats fewer so", best->name, used ? chat_name(used) : "none", margin);
        used = chat_find(best->name);
    }
    return !rc && used ? end_of_turn(d, s, used, e) : rc;
}

int doctor_tokenizer(struct doctor *d, struct err *e)
{
    struct score s = { 0 };
    struct err why = { 0 };
    if (!d->is_generator)
        return 0;
    int rc = doctor_open(d, &d->opts, e);
    if (rc)
        return rc;
    const uint32_t n = (uint32_t)strlen(doctor_text) + 1, most = d->l.model->hp.n_ctx;
    rc = score_open(&s, &d->l, n < most ? n : most, 0, &why);
    if (!rc)
        rc = pre_tokenizers(d, &s, &why);
    if (!rc)
        rc = templates(d, &s, &why);
    score_close(&s);
    load_unload(&d->l);
    if (rc == ERR_NUMERIC)              /* the graph's verdict has said it */
        return 0;
    if (rc)
        *e = why;
    return rc;
}
