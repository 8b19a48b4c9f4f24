/* api_chat.c - POST /v1/chat/completions: a conversation is answered. */
#include "core/serve/api_chat.h"

#include <string.h>

#include "core/serve/api_answer.h"
#include "core/serve/api_logprob.h"
#include "core/serve/api_said.h"
#include "core/serve/gen.h"

/* A choice of an answer ("message") or an event ("delta"). what: taken over.
 * with_logprobs: of the tokens that came with this. */
static void put_choice(struct buf *out, const struct gen *g, const struct gen_choice *c,
                       const char *name, json_t *what, bool with_logprobs, const char *finish)
{
    buf_addf(out, "{\"index\":%u,\"%s\":", c->index, name);
    api_put(out, what);
    buf_addf(out, ",\"logprobs\":");
    if (with_logprobs && g->params.logprob)
        logprob_put_content(out, g->model->vocab, c->req.logprob + c->tok_from,
                            c->tok_to - c->tok_from);
    else
        buf_addf(out, "null");
    buf_addf(out, ",\"finish_reason\":");
    api_put(out, api_text_or_null(finish));
    buf_addf(out, "}");
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

static void begin_chunk(const struct gen *g, struct buf *out)
{
    buf_addf(out, "data: ");
    api_put_head(out, g, "chat.completion.chunk");
}

static void end_chunk(const struct gen *g, const struct api_usage *u, struct buf *out)
{
    const struct api_chat *q = g->own;
    api_put_tail(out, u, q->common.include_usage);
    buf_addf(out, "\n\n");
}

static void put_delta(const struct gen *g, const struct gen_choice *c, struct buf *out,
                      json_t *delta, bool with_logprobs, const char *finish)
{
    begin_chunk(g, out);
    put_choice(out, g, c, "delta", delta, with_logprobs, finish);
    end_chunk(g, NULL, out);
}

static void begin(struct gen *g, struct buf *out)
{
    for (unsigned i = 0; i < g->n_choice; i++)
        put_delta(g, &g->choice[i], out, json_pack("{s:s,s:s}", "role", "assistant", "content", ""),
                  false, NULL);
}

/* What the text brought: content, with the tokens that came, and whole calls. */
static void put_new(struct gen *g, struct gen_choice *c, struct buf *out)
{
    struct said *s = c->own;
    if (s->text.n > s->told || c->tok_to > c->tok_from)
        put_delta(g, c, out, json_pack("{s:o}", "content", content_json(s, &out->failed)),
                  true, NULL);
    json_t *calls = calls_json(s, true, &out->failed);
    if (calls)
        put_delta(g, c, out, json_pack("{s:o}", "tool_calls", calls), false, NULL);
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
    put_delta(g, c, out, json_object(), false, finish_name(c));
}

static void end(struct gen *g, struct buf *out)
{
    const struct api_chat *q = g->own;
    const struct api_usage u = gen_usage(g);
    if (q->common.include_usage) {
        begin_chunk(g, out);
        end_chunk(g, &u, out);
    }
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
    api_put_head(out, g, "chat.completion");
    for (unsigned i = 0; i < g->n_choice; i++) {
        struct gen_choice *c = &g->choice[i];
        json_t *message = message_json(g, c, &out->failed);
        buf_addf(out, "%s", i ? "," : "");
        put_choice(out, g, c, "message", message, true, finish_name(c));
    }
    api_put_tail(out, &u, false);
}

static void close_choices(struct gen *g)
{
    for (unsigned i = 0; i < g->n_choice; i++)
        if (g->choice[i].own)
            said_free(g->choice[i].own);
}

static const struct dialect chat = {
    .id_prefix = "chatcmpl-", .choice_size = sizeof(struct said), .begin = begin, .piece = piece,
    .end_choice = end_choice, .end = end,
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
