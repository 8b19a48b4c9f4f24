/* api_completions.c - POST /v1/completions: a prompt goes on. */
#include "core/serve/api_completions.h"

#include <string.h>

/* ---- reading ---- */

static int read_prompt(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    static const char want[] = "a string, an array of token ids, or an array of up to 16 of these";
    struct api_completion *c = to;
    if (json_is_string(j)) {
        c->n_prompt = 1;
        return api_read_text(in, j, f, &c->prompt[0].text);
    }
    const size_t n = json_array_size(j);
    if (!n)
        return json_is_array(j) ? api_bad_value(in, "the array is empty") : api_wrong_type(in, want);
    if (json_is_integer(json_array_get(j, 0))) {
        c->n_prompt = 1;
        c->prompt[0].is_token = true;
        return api_read_ids(in, j, f, &c->prompt[0].ids);
    }
    if (n > API_MAX_PROMPT)
        return api_bad_value(in, "%zu prompts, at most %d are taken", n, API_MAX_PROMPT);
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        const json_t *v = json_array_get(j, i);
        const size_t at = api_enter_index(in, i);
        c->prompt[i].is_token = json_is_array(v);
        rc = json_is_string(v)  ? api_read_text(in, v, f, &c->prompt[i].text)
             : json_is_array(v) ? api_read_ids(in, v, f, &c->prompt[i].ids)
                                : api_wrong_type(in, "a string or an array of token ids");
        api_leave(in, at);
    }
    c->n_prompt = (unsigned)n;
    return rc;
}

/* ---- fields of OpenAI's that would change the answer and that we lack: the
 * value that changes nothing is accepted, any other is refused ---- */

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

static const struct api_field field[] = {
    { "prompt", read_prompt, 0, 0, 0 },
    { "max_tokens", api_read_u32, offsetof(struct api_completion, common.gen.max_new), 1,
      API_MAX_NEW },
    { "echo", api_read_bool, offsetof(struct api_completion, echo), 0, 0 },
    { "best_of", only_n, 0, 0, 0 },
    { "suffix", only_empty, 0, 0, 0 },
};

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
    if (!rc && !out->n_prompt)
        rc = api_missing(&in, "prompt");
    json_decref(root);
    return rc;
}

/* ---- answering ---- */

static json_t *choice_json(unsigned index, const char *p, size_t n, const char *finish)
{
    return json_pack("{s:I,s:o,s:n,s:o}", "index", (json_int_t)index, "text", api_text(p, n),
                     "logprobs", "finish_reason", api_text_or_null(finish));
}

/* An answer or an event of one. choice, usage: taken over; usage NULL: no such
 * field. */
static json_t *completion_json(const struct gen *g, json_t *choices, json_t *usage)
{
    json_t *j = json_pack("{s:s,s:s,s:I,s:o,s:o}", "id", g->id, "object", "text_completion",
                          "created", (json_int_t)g->created, "model",
                          api_text_or_null(g->model->id), "choices", choices);
    if (usage && json_object_set_new(j, "usage", usage)) {
        json_decref(j);
        j = NULL;
    }
    return j;
}

static const char *finish_name(enum finish f)
{
    return f == FINISH_LENGTH ? "length" : "stop";
}

static void put_event(const struct gen *g, struct buf *out, json_t *choices, json_t *usage)
{
    const struct api_completion *c = g->own;
    if (!usage && c->common.include_usage)
        usage = json_null();
    api_put_event(out, NULL, completion_json(g, choices, usage));
}

static void put_text(struct gen *g, unsigned index, const struct buf *text, struct buf *out)
{
    put_event(g, out, json_pack("[o]", choice_json(index, text->p, text->n, NULL)), NULL);
}

/* The prompt's own text. */
static void add_prompt(const struct gen *g, unsigned index, struct buf *out)
{
    const struct api_completion *c = g->own;
    const struct api_prompt *p = &c->prompt[index / g->params.n];
    struct detok d = { 0 };
    if (!p->is_token)
        buf_add(out, p->text.p, p->text.n);
    for (uint32_t i = 0; i < p->ids.n; i++)
        detok_feed(g->model->vocab, &d, p->ids.id[i], false, out);
    detok_finish(&d, out);
}

static void begin(struct gen *g, struct buf *out)
{
    const struct api_completion *c = g->own;
    struct buf text = { 0 };
    for (unsigned i = 0; c->echo && i < g->n_choice; i++) {
        buf_clear(&text);
        add_prompt(g, i, &text);
        out->failed = out->failed || text.failed;
        put_text(g, i, &text, out);
    }
    buf_free(&text);
}

static void piece(struct gen *g, struct gen_choice *c, struct buf *out)
{
    put_text(g, c->index, &c->text, out);
}

static void end_choice(struct gen *g, struct gen_choice *c, struct buf *out)
{
    put_event(g, out, json_pack("[o]", choice_json(c->index, "", 0, finish_name(c->finish))), NULL);
}

static void end(struct gen *g, struct buf *out)
{
    const struct api_completion *c = g->own;
    const struct api_usage u = gen_usage(g);
    if (c->common.include_usage)
        put_event(g, out, json_array(), api_usage_json(&u));
    buf_addf(out, "data: [DONE]\n\n");
}

static void whole(struct gen *g, struct buf *out)
{
    const struct api_completion *q = g->own;
    const struct api_usage u = gen_usage(g);
    json_t *list = json_array();
    for (unsigned i = 0; i < g->n_choice; i++) {
        const struct gen_choice *c = &g->choice[i];
        struct buf text = { 0 };
        if (q->echo)
            add_prompt(g, i, &text);
        buf_add(&text, c->text.p, c->text.n);
        if (text.failed || json_array_append_new(list, choice_json(i, text.p, text.n,
                                                                   finish_name(c->finish))))
            out->failed = true;
        buf_free(&text);
    }
    api_put(out, completion_json(g, list, api_usage_json(&u)));
}

static const struct dialect completions = {
    .id_prefix = "cmpl-", .begin = begin, .piece = piece, .end_choice = end_choice, .end = end,
    .error_event = api_put_error_event, .whole = whole,
};

static int add_prompts(struct gen *g, const struct api_completion *c, struct api_error *e)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < c->n_prompt; i++) {
        const struct api_prompt *p = &c->prompt[i];
        rc = p->is_token ? gen_add(g, p->ids.id, p->ids.n, e)
                         : gen_add_text(g, p->text, VOCAB_BOS | VOCAB_SPECIAL, e);
    }
    return rc;
}

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
    if (add_prompts(g, c, &e))
        return api_refuse_error(x, &e);
    return gen_start(g);
}

const struct route api_completions_route[] = {
    { "POST", "/v1/completions", false, false, SCOPE_INFER, start, NULL },
    { .method = NULL }
};
