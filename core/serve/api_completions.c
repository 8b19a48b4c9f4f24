/* api_completions.c - POST /v1/completions: a prompt goes on. */
#include "core/serve/api_completions.h"

#include <string.h>

#include "core/serve/api_answer.h"
#include "core/serve/api_logprob.h"

/* ---- reading ---- */

/* Fields of OpenAI's that would change the answer and that we lack: the
 * value that changes nothing is accepted, any other is refused. */

static int only_n(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    const struct api_completion *c = to;
    if (json_is_integer(j) && json_integer_value(j) == (json_int_t)c->common.gen.n)
        return 0;
    return api_fail(in, 400, "unsupported_value", "%s: only the value of n is supported", in->at);
}

static int only_empty(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    (void)to;
    if ((json_is_string(j) && !json_string_length(j)) || (json_is_object(j) && !json_object_size(j)))
        return 0;
    return api_fail(in, 400, "unsupported_value", "%s: is not supported", in->at);
}

static int read_logprobs(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct gen_params *p = to;
    p->logprob = true;
    return api_read_u32(in, j, f, &p->n_top);
}

static const struct api_field field[] = {
    { "prompt", api_read_prompts, offsetof(struct api_completion, prompt), 0, API_MAX_PROMPT },
    { "max_tokens", api_read_u32, offsetof(struct api_completion, common.gen.max_new), 0,
      API_MAX_NEW },
    { "logprobs", read_logprobs, offsetof(struct api_completion, common.gen), 0, REQUEST_MAX_TOP },
    { "echo", api_read_bool, offsetof(struct api_completion, echo), 0, 0 },
    { "best_of", only_n, 0, 0, 0 },
    { "suffix", only_empty, 0, 0, 0 },
};

/* max_tokens 0 is for those who want the prompt back, with its logprobs. */
static int check_length(struct api_in *in, const json_t *root, struct api_completion *c)
{
    if (c->common.gen.max_new || !json_is_integer(json_object_get(root, "max_tokens")))
        return 0;
    c->common.gen.prompt_only = true;
    if (c->echo)
        return 0;
    const size_t at = api_enter(in, "max_tokens");
    const int rc = api_bad_value(in, "must be a whole number from 1 to %d, or 0 with echo",
                                 API_MAX_NEW);
    api_leave(in, at);
    return rc;
}

int api_parse_completion(const char *body, size_t n, struct arena *arena,
                         struct api_completion *out, struct api_error *error)
{
    struct api_in in;
    *out = (struct api_completion){ .common = API_COMMON_DEFAULT };
    json_t *root = api_open(&in, body, n, arena, error);
    if (!root)
        return error->status == 500 ? ERR_NOMEM : ERR_ARG;
    int rc = api_read_common(&in, root, &out->common);
    if (!rc)
        rc = api_read_fields(&in, root, field, sizeof field / sizeof *field, out);
    if (!rc && !out->prompt.n)
        rc = api_missing(&in, "prompt");
    if (!rc)
        rc = check_length(&in, root, out);
    out->common.gen.prompt_logprob = out->common.gen.logprob && out->echo;
    json_decref(root);
    return rc;
}

/* ---- answering ---- */

struct told {                     /* of one choice, for the next event         */
    bool echoed;
    size_t n_char;                /* characters of its text so far             */
};

/* A choice of an answer or an event. list NULL: logprobs null; closed here. */
static void put_choice(struct buf *out, unsigned index, const struct buf *text,
                       struct logprob_list *list, const char *finish)
{
    buf_addf(out, "{\"index\":%u,\"text\":", index);
    api_put(out, text->failed ? NULL : api_text(text->n ? text->p : "", text->n));
    buf_addf(out, ",\"logprobs\":");
    if (list)
        logprob_list_put(list, out);
    else
        buf_addf(out, "null");
    buf_addf(out, ",\"finish_reason\":");
    api_put(out, api_text_or_null(finish));
    buf_addf(out, "}");
}

static const char *finish_name(enum finish f)
{
    return f == FINISH_LENGTH ? "length" : "stop";
}

static void begin_event(const struct gen *g, struct buf *out)
{
    buf_addf(out, "data: ");
    api_put_head(out, g, "text_completion");
}

static void end_event(const struct gen *g, const struct api_usage *u, struct buf *out)
{
    const struct api_completion *c = g->own;
    api_put_tail(out, u, c->common.include_usage);
    buf_addf(out, "\n\n");
}

/* The prompt's own text, and its tokens. The BOS that was put in front of a
 * text is a token without any. */
static void add_prompt(const struct gen *g, const struct gen_choice *c, struct buf *text,
                       struct logprob_list *list)
{
    const struct api_completion *q = g->own;
    const struct api_prompt *p = &q->prompt.p[c->index / g->params.n];
    const struct vocab *v = g->model->vocab;
    struct detok d = { 0 };
    struct buf read = { 0 };
    size_t at = 0, n_char = 0;
    for (uint32_t i = 0; i < c->prompt->n; i++) {
        const int32_t id = c->prompt->id[i];
        n_char += logprob_skip_char(read.p, read.n, read.n, &at);
        if (list)
            logprob_list_add(list, v, id, i ? &c->req.prompt_logprob_out[i] : NULL, n_char);
        detok_feed(v, &d, id, !p->is_token && i, &read);
    }
    detok_finish(&d, &read);
    if (p->is_token)
        buf_add(text, read.p, read.n);
    else
        buf_add(text, p->text.p, p->text.n);
    text->failed = text->failed || read.failed;
    buf_free(&read);
}

/* The tokens of c->text, which begins at character n_char. */
static void add_tokens(const struct gen *g, const struct gen_choice *c, size_t n_char,
                       struct logprob_list *list)
{
    const struct reply_tok *t = reply_tok(&c->reply);
    size_t at = 0;
    for (uint32_t i = c->tok_from; i < c->tok_to; i++) {
        n_char += logprob_skip_char(c->text.p, c->text.n, t[i].at - c->text_at, &at);
        logprob_list_add(list, g->model->vocab, t[i].id, &c->req.logprob[i], n_char);
    }
}

/* One choice with what is new of it: the prompt, the first time, and text. */
static void put_new(struct gen *g, struct gen_choice *c, const char *finish, struct buf *out)
{
    const struct api_completion *q = g->own;
    struct told *told = c->own;
    struct logprob_list list = { 0 }, *l = g->params.logprob ? &list : NULL;
    struct buf text = { 0 };
    if (q->echo && !told->echoed) {
        size_t end = 0;
        add_prompt(g, c, &text, l);
        told->n_char = logprob_skip_char(text.p, text.n, text.n, &end);
    }
    told->echoed = true;
    size_t at = 0;
    if (l)
        add_tokens(g, c, told->n_char, l);
    told->n_char += logprob_skip_char(c->text.p, c->text.n, c->text.n, &at);
    buf_add(&text, c->text.p, c->text.n);
    put_choice(out, c->index, &text, l, finish);
    buf_free(&text);
}

static void piece(struct gen *g, struct gen_choice *c, struct buf *out)
{
    begin_event(g, out);
    put_new(g, c, NULL, out);
    end_event(g, NULL, out);
}

/* The prompt's logprobs are there with the first token; its text is at once. */
static void begin(struct gen *g, struct buf *out)
{
    const struct api_completion *q = g->own;
    for (unsigned i = 0; q->echo && !g->params.logprob && i < g->n_choice; i++)
        piece(g, &g->choice[i], out);
}

static void end_choice(struct gen *g, struct gen_choice *c, struct buf *out)
{
    const struct told *told = c->own;
    const struct buf none = { 0 };
    if (!told->echoed)
        piece(g, c, out);
    begin_event(g, out);
    put_choice(out, c->index, &none, NULL, finish_name(c->finish));
    end_event(g, NULL, out);
}

static void end(struct gen *g, struct buf *out)
{
    const struct api_completion *c = g->own;
    const struct api_usage u = gen_usage(g);
    if (c->common.include_usage) {
        begin_event(g, out);
        end_event(g, &u, out);
    }
    buf_addf(out, "data: [DONE]\n\n");
}

static void whole(struct gen *g, struct buf *out)
{
    const struct api_usage u = gen_usage(g);
    api_put_head(out, g, "text_completion");
    for (unsigned i = 0; i < g->n_choice; i++) {
        buf_addf(out, "%s", i ? "," : "");
        put_new(g, &g->choice[i], finish_name(g->choice[i].finish), out);
    }
    api_put_tail(out, &u, false);
}

static const struct dialect completions = {
    .id_prefix = "cmpl-", .choice_size = sizeof(struct told), .begin = begin, .piece = piece,
    .end_choice = end_choice, .end = end,
    .error_event = api_put_error_event, .whole = whole,
};

static enum answer start(struct exchange *x)
{
    struct gen *g = gen_open(x, &completions);
    struct api_completion *c = g ? arena_alloc(&g->arena, 1, sizeof *c) : NULL;
    struct api_error e;
    if (!c)
        return api_refuse_memory(x);
    g->own = c;
    if (api_parse_completion(x->body.p, x->body.n, &g->arena, c, &e) ||
        gen_check_model(g, c->common.model, &e))
        return api_refuse_error(x, &e);
    buf_free(&x->body);
    g->stream = c->common.stream;
    g->params = c->common.gen;
    if (api_add_prompts(g, &c->prompt, VOCAB_BOS | VOCAB_SPECIAL, &e) ||
        gen_set_format(g, &c->common, "response_format", &e))
        return api_refuse_error(x, &e);
    return gen_start(g);
}

const struct route api_completions_route[] = {
    { "POST", "/v1/completions", false, false, SCOPE_INFER, start, NULL },
    { .method = NULL }
};
