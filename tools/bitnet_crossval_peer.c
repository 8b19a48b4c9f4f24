/* bitnet_crossval_peer.c - what an endpoint is asked.
 *
 * For each text its tokens (/tokenize); then, with our ids as the prompt, a
 * greedy continuation with the log-probabilities of prompt and answer
 * (/v1/completions with echo and logprobs; if that is refused without echo, if
 * that is too with the text for a prompt); and where no log-probabilities come,
 * llama-server's own /completion with n_probs. What the first text found out
 * holds for the others: what was not there is not asked for again, what was must
 * stay. */
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "tools/bitnet_crossval.h"

enum { UNKNOWN, OFFERED, ABSENT };

struct peer {
    struct url *url;
    struct answer_in in;
    int tokenize, completions, native;   /* UNKNOWN, OFFERED, ABSENT           */
    bool no_echo, no_ids;                /* of completions                     */
    double seconds;               /* of requests that generated,               */
    uint64_t n_tok;               /*   and the tokens that came of them        */
};

static json_t *ids_json(const struct tokens *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++)
        json_array_append_new(list, json_integer(t->id[i]));
    return list;
}

/* Whether `path` answered, in a state; what was there may not go. */
static int found(const struct peer *p, int *state, const json_t *a, const char *path, struct err *e)
{
    if (!a && *state == OFFERED)
        return err_set(e, ERR_IO, "%.200s%s: refused text %u, took those before, expected an "
                       "answer to each", p->in.cv->ask->ref, path,
                       (uint32_t)(p->in.text - p->in.cv->text));
    *state = a ? OFFERED : ABSENT;
    return 0;
}

/* An id that this program did not ask for is no argument against the answer. */
static int ask_model(struct peer *p, struct err *e)
{
    json_t *a;
    double s;
    int rc = url_call(p->url, "/v1/models", NULL, &a, &s, e);
    const char *id = json_string_value(json_object_get(
        json_array_get(json_object_get(a, "data"), 0), "id"));
    if (id)
        snprintf(p->in.cv->ref_model, sizeof p->in.cv->ref_model, "%s", id);
    json_decref(a);
    return rc;
}

static int ask_tokens(struct peer *p, struct err *e)
{
    const struct buf *text = &p->in.text->text;
    json_t *a;
    double s;
    int rc = url_call(p->url, "/tokenize",
                      json_pack("{s:o,s:b,s:b}", "content", json_text(text->p, text->n),
                                "add_special", 1, "parse_special", 0), &a, &s, e);
    if (!rc)
        rc = found(p, &p->tokenize, a, "/tokenize", e);
    if (a && !rc)
        rc = answer_tokens(&p->in, a, e);
    json_decref(a);
    return rc;
}

static int completions(struct peer *p, json_t **a, double *s, struct err *e)
{
    const struct cv_ask *ask = p->in.cv->ask;
    const struct cv_text *t = p->in.text;
    json_t *prompt = p->no_ids ? json_text(t->text.p, t->text.n) : ids_json(&t->id);
    json_t *body = json_pack("{s:o,s:I,s:f,s:b,s:I,s:I,s:b}", "prompt", prompt, "max_tokens",
                             (json_int_t)ask->n_new, "temperature", 0.0, "echo", !p->no_echo,
                             "logprobs", (json_int_t)ask->n_top, "seed", (json_int_t)0, "stream", 0);
    if (body && *p->in.cv->ref_model)
        json_object_set_new(body, "model", json_string(p->in.cv->ref_model));
    return url_call(p->url, "/v1/completions", body, a, s, e);
}

static int ask_completions(struct peer *p, struct err *e)
{
    const struct cv_text *t = p->in.text;
    json_t *a;
    double s;
    int rc = completions(p, &a, &s, e);
    for (int i = 0; !rc && !a && i < 2 && p->completions == UNKNOWN; i++) {
        p->no_ids = p->no_echo;
        p->no_echo = true;
        rc = completions(p, &a, &s, e);
    }
    if (!rc)
        rc = found(p, &p->completions, a, "/v1/completions", e);
    if (a && !rc)
        rc = answer_completion(&p->in, a, e);
    if (a && !rc) {
        p->seconds += s;
        p->n_tok += t->greedy.n;
    }
    json_decref(a);
    return rc;
}

static int ask_native(struct peer *p, struct err *e)
{
    const struct cv_ask *ask = p->in.cv->ask;
    json_t *a;
    double s;
    int rc = url_call(p->url, "/completion",
                      json_pack("{s:o,s:I,s:f,s:I,s:b,s:b,s:I,s:b}", "prompt",
                                ids_json(&p->in.text->id), "n_predict", (json_int_t)ask->n_new,
                                "temperature", 0.0, "n_probs", (json_int_t)ask->n_top,
                                "return_tokens", 1, "cache_prompt", 0, "seed", (json_int_t)0,
                                "stream", 0), &a, &s, e);
    if (!rc)
        rc = found(p, &p->native, a, "/completion", e);
    if (a && !rc)
        rc = answer_native(&p->in, a, e);
    if (a && !rc) {
        p->seconds += s;
        p->n_tok += p->in.text->greedy.n;
    }
    json_decref(a);
    return rc;
}

static int ask_all(struct peer *p, const struct model *m, struct err *e)
{
    struct cv *c = p->in.cv;
    int rc = 0;
    for (uint32_t i = 0; !rc && i < c->n_text; i++) {
        struct cv_text *t = p->in.text = &c->text[i];
        rc = vocab_encode(m->vocab, t->text.p, t->text.n, VOCAB_BOS, m->hp.n_ctx, &t->id, e);
        if (!rc && !t->id.n)
            rc = err_set(e, ERR_ARG, "crossval: text %u has no tokens, expected some", i);
        if (!rc && p->tokenize != ABSENT)
            rc = ask_tokens(p, e);
        if (!rc && t->has_ref_id)
            cv_compare_ids(c, i, &t->id, &t->ref_id);
        if (!rc && p->completions != ABSENT)
            rc = ask_completions(p, e);
        if (!rc && p->native != ABSENT && !t->n_top)
            rc = ask_native(p, e);
    }
    if (!rc && p->tokenize == ABSENT && p->completions == ABSENT && p->native == ABSENT)
        rc = err_set(e, ERR_UNSUPPORTED, "%.200s: refuses /tokenize, /v1/completions and "
                     "/completion, expected an endpoint with one of them", c->ask->ref);
    return rc;
}

int cv_open_url(struct cv *c, const struct model *m, struct err *e)
{
    struct peer p = { .in = { .vocab = m->vocab, .cv = c } };
    struct pieces *pieces = NULL;
    c->kind = "an endpoint";
    c->log_probs = true;
    int rc = curl_global_init(CURL_GLOBAL_DEFAULT)
             ? err_set(e, ERR_NOMEM, "crossval: no memory for a client") : 0;
    if (!rc)
        rc = url_open(&p.url, c->ask->ref, c->ask->key, c->ask->timeout_s, e);
    if (!rc)
        rc = pieces_open(&pieces, m->vocab, e);
    p.in.pieces = pieces;
    if (!rc)
        rc = cv_texts(c, e);
    if (!rc)
        rc = ask_model(&p, e);
    if (!rc)
        rc = ask_all(&p, m, e);
    if (!rc && !c->ref_speed.how && p.n_tok && p.seconds > 0)
        c->ref_speed = (struct cv_speed){ 0, (double)p.n_tok / p.seconds,
                                          "whole requests, prompts and answers" };
    pieces_close(pieces);
    url_close(p.url);
    return rc;
}
