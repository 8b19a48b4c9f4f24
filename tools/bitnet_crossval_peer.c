/* bitnet_crossval_peer.c - what an endpoint is asked.
 *
 * For each text its tokens (/tokenize); then, with our ids as the prompt, a
 * greedy continuation with the log-probabilities of prompt and answer
 * (/v1/completions with echo and logprobs); and where those do not come,
 * llama-server's own /completion with n_probs. An answer that says there is no
 * such thing is not asked for again. */
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "tools/bitnet_crossval.h"

struct peer {
    struct url *url;
    struct answer_in in;
    bool no_tokenize, no_completions, no_native;
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
    p->no_tokenize = !a;
    if (a)
        rc = answer_tokens(&p->in, a, e);
    json_decref(a);
    return rc;
}

/* prompt: taken over. */
static int completions(struct peer *p, json_t *prompt, json_t **a, double *s, struct err *e)
{
    const struct cv_ask *ask = p->in.cv->ask;
    json_t *body = json_pack("{s:o,s:I,s:f,s:b,s:I,s:I,s:b}", "prompt", prompt, "max_tokens",
                             (json_int_t)ask->n_new, "temperature", 0.0, "echo", 1, "logprobs",
                             (json_int_t)ask->n_top, "seed", (json_int_t)0, "stream", 0);
    if (body && *p->in.cv->ref_model)
        json_object_set_new(body, "model", json_string(p->in.cv->ref_model));
    return url_call(p->url, "/v1/completions", body, a, s, e);
}

static int ask_completions(struct peer *p, struct err *e)
{
    const struct cv_text *t = p->in.text;
    json_t *a;
    double s;
    int rc = completions(p, ids_json(&t->id), &a, &s, e);
    if (!rc && !a)                /* perhaps it takes no ids */
        rc = completions(p, json_text(t->text.p, t->text.n), &a, &s, e);
    p->no_completions = !a;
    if (a)
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
    p->no_native = !a;
    if (a)
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
            rc = err_set(e, ERR_ARG, "crossval: text %u has no tokens", i);
        if (!rc && !p->no_tokenize)
            rc = ask_tokens(p, e);
        if (!rc && t->has_ref_id)
            cv_compare_ids(c, i, &t->id, &t->ref_id);
        if (!rc && !p->no_completions)
            rc = ask_completions(p, e);
        if (!rc && !p->no_native && !t->n_top)
            rc = ask_native(p, e);
    }
    if (!rc && p->no_tokenize && p->no_completions && p->no_native)
        rc = err_set(e, ERR_UNSUPPORTED, "%.200s: no /tokenize, /v1/completions or /completion: "
                     "nothing to compare with", c->ask->ref);
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
