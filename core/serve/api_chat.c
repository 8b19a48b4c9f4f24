/* api_chat.c - POST /v1/chat/completions: a conversation is answered. */
#include "core/serve/api_chat.h"

#include <string.h>

#include "core/serve/api_logprob.h"
#include "core/serve/api_said.h"
#include "core/serve/gen.h"

static json_t *chat_json(const struct gen *g, const char *object, json_t *choices, json_t *usage)
{
    json_t *j = json_pack("{s:s,s:s,s:I,s:o,s:o}", "id", g->id, "object", object, "created",
                          (json_int_t)g->created, "model", api_text_or_null(g->model->id), "choices",
                          choices);
    if (usage && json_object_set_new(j, "usage", usage)) {
        json_decref(j);
        j = NULL;
    }
    return j;
}

static json_t *logprobs_json(const struct gen *g, const struct gen_choice *c)
{
    if (!g->params.logprob)
        return json_null();
    return logprob_content_json(g->model->vocab, c->req.logprob + c->tok_from,
                                c->tok_to - c->tok_from);
}

static json_t *call_json(const struct chat_call *c, int index)
{
    json_t *j = json_pack("{s:o,s:s,s:{s:o,s:o}}", "id", api_text(c->id.p, c->id.n), "type",
                          "function", "function", "name", api_text(c->name.p, c->name.n),
                          "arguments", api_text(c->arguments.p, c->arguments.n));
    if (index >= 0 && json_object_set_new(j, "index", json_integer(index))) {
        json_decref(j);
        j = NULL;
    }
    return j;
}

/* The calls that no event has yet; NULL: none. */
static json_t *calls_json(struct said *s, bool with_index, bool *failed)
{
    unsigned n = 0;
    const struct chat_call *call = said_calls(s, &n);
    if (s->n_told >= n)
        return NULL;
    json_t *list = json_array();
    for (; s->n_told < n; s->n_told++)
        if (json_array_append_new(list, call_json(&call[s->n_told],
                                                  with_index ? (int)s->n_told : -1)))
            *failed = true;
    return list;
}

/* The content that no event has yet. */
static json_t *content_json(struct said *s, bool *failed)
{
    json_t *j = api_text(s->text.n ? s->text.p + s->told : "", s->text.n - s->told);
    s->told = s->text.n;
    *failed = *failed || s->text.failed;
    return j;
}

static void take_text(struct gen *g, struct gen_choice *c, bool end)
{
    const struct api_chat *q = g->own;
    said_more(c->own, c, q->tool, q->n_tool, g->model->chat, end);
}

static const char *finish_name(const struct gen_choice *c)
{
    const struct said *s = c->own;
    if (c->finish == FINISH_LENGTH)
        return "length";
    return s->n_told ? "tool_calls" : "stop";
}

/* ---- a stream ---- */

static void put_chunk(const struct gen *g, struct buf *out, json_t *choices, json_t *usage)
{
    const struct api_chat *q = g->own;
    if (!usage && q->common.include_usage)
        usage = json_null();
    api_put_event(out, NULL, chat_json(g, "chat.completion.chunk", choices, usage));
}

static void put_delta(const struct gen *g, const struct gen_choice *c, struct buf *out,
                      json_t *delta, json_t *logprobs, const char *finish)
{
    put_chunk(g, out, json_pack("[{s:I,s:o,s:o,s:o}]", "index", (json_int_t)c->index, "delta", delta,
                                "logprobs", logprobs, "finish_reason", api_text_or_null(finish)),
              NULL);
}

static void begin(struct gen *g, struct buf *out)
{
    for (unsigned i = 0; i < g->n_choice; i++)
        put_delta(g, &g->choice[i], out, json_pack("{s:s,s:s}", "role", "assistant", "content", ""),
                  json_null(), NULL);
}

/* What the text brought: content, with the tokens that came, and whole calls. */
static void put_new(struct gen *g, struct gen_choice *c, struct buf *out)
{
    struct said *s = c->own;
    if (s->text.n > s->told || c->tok_to > c->tok_from)
        put_delta(g, c, out, json_pack("{s:o}", "content", content_json(s, &out->failed)),
                  logprobs_json(g, c), NULL);
    json_t *calls = calls_json(s, true, &out->failed);
    if (calls)
        put_delta(g, c, out, json_pack("{s:o}", "tool_calls", calls), json_null(), NULL);
    out->failed = out->failed || s->text.failed;
}

static void piece(struct gen *g, struct gen_choice *c, struct buf *out)
{
    take_text(g, c, false);
    put_new(g, c, out);
}

static void end_choice(struct gen *g, struct gen_choice *c, struct buf *out)
{
    take_text(g, c, true);
    put_new(g, c, out);
    put_delta(g, c, out, json_object(), json_null(), finish_name(c));
}

static void end(struct gen *g, struct buf *out)
{
    const struct api_chat *q = g->own;
    const struct api_usage u = gen_usage(g);
    if (q->common.include_usage)
        put_chunk(g, out, json_array(), api_usage_json(&u));
    buf_addf(out, "data: [DONE]\n\n");
}

/* ---- a whole answer ---- */

static json_t *message_json(struct gen *g, struct gen_choice *c, bool *failed)
{
    struct said *s = c->own;
    take_text(g, c, true);
    json_t *calls = calls_json(s, false, failed);
    json_t *content = calls && !s->text.n ? json_null() : content_json(s, failed);
    json_t *j = json_pack("{s:s,s:o,s:n}", "role", "assistant", "content", content, "refusal");
    if (calls && json_object_set_new(j, "tool_calls", calls))
        *failed = true;
    return j;
}

static void whole(struct gen *g, struct buf *out)
{
    const struct api_usage u = gen_usage(g);
    json_t *list = json_array();
    for (unsigned i = 0; i < g->n_choice; i++) {
        struct gen_choice *c = &g->choice[i];
        json_t *message = message_json(g, c, &out->failed);
        json_t *j = json_pack("{s:I,s:o,s:o,s:s}", "index", (json_int_t)i, "message", message,
                              "logprobs", logprobs_json(g, c), "finish_reason", finish_name(c));
        if (json_array_append_new(list, j))
            out->failed = true;
    }
    api_put(out, chat_json(g, "chat.completion", list, api_usage_json(&u)));
}

static void close_choices(struct gen *g)
{
    for (unsigned i = 0; i < g->n_choice; i++)
        if (g->choice[i].own)
            said_free(g->choice[i].own);
}

static const struct dialect chat = {
    .id_prefix = "chatcmpl-", .choice_size = sizeof(struct said), .begin = begin, .piece = piece, .end_choice = end_choice, .end = end,
    .error_event = api_put_error_event, .whole = whole, .close = close_choices,
};

static enum answer start(struct exchange *x)
{
    struct gen *g = gen_open(x, &chat);
    struct api_chat *c = g ? arena_alloc(&g->arena, 1, sizeof *c) : NULL;
    struct api_error e;
    if (!c)
        return api_refuse_memory(x);
    g->own = c;
    if (api_parse_chat(x->body.p, x->body.n, &g->arena, c, &e) ||
        gen_check_model(g, c->common.model, &e))
        return api_refuse_error(x, &e);
    buf_free(&x->body);
    g->stream = c->common.stream;
    g->params = c->common.gen;
    return api_ask(g, c, false, "response_format", &e) ? api_refuse_error(x, &e) : gen_start(g);
}

const struct route api_chat_route[] = {
    { "POST", "/v1/chat/completions", false, false, SCOPE_INFER, start, NULL },
    { .method = NULL }
};
