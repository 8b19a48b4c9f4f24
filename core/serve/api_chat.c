/* api_chat.c - POST /v1/chat/completions: a conversation is answered. */
#include "core/serve/api_chat.h"

#include <string.h>

#include "core/serve/api_logprob.h"
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

static const char *finish_name(const struct gen_choice *c)
{
    return c->finish == FINISH_LENGTH ? "length" : "stop";
}

static json_t *logprobs_json(const struct gen *g, const struct gen_choice *c)
{
    if (!g->params.logprob)
        return json_null();
    return logprob_content_json(g->model->vocab, c->req.logprob + c->tok_from,
                                c->tok_to - c->tok_from);
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

static void piece(struct gen *g, struct gen_choice *c, struct buf *out)
{
    put_delta(g, c, out, json_pack("{s:o}", "content", api_text(c->text.p, c->text.n)),
              logprobs_json(g, c), NULL);
}

static void end_choice(struct gen *g, struct gen_choice *c, struct buf *out)
{
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

static json_t *message_json(const struct gen_choice *c)
{
    return json_pack("{s:s,s:o,s:n}", "role", "assistant", "content",
                     api_text(c->text.n ? c->text.p : "", c->text.n), "refusal");
}

static void whole(struct gen *g, struct buf *out)
{
    const struct api_usage u = gen_usage(g);
    json_t *list = json_array();
    for (unsigned i = 0; i < g->n_choice; i++) {
        const struct gen_choice *c = &g->choice[i];
        json_t *j = json_pack("{s:I,s:o,s:o,s:s}", "index", (json_int_t)i, "message",
                              message_json(c), "logprobs", logprobs_json(g, c), "finish_reason",
                              finish_name(c));
        if (json_array_append_new(list, j))
            out->failed = true;
    }
    api_put(out, chat_json(g, "chat.completion", list, api_usage_json(&u)));
}

static const struct dialect chat = {
    .id_prefix = "chatcmpl-", .begin = begin, .piece = piece, .end_choice = end_choice, .end = end,
    .error_event = api_put_error_event, .whole = whole,
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
    const struct chat_in in = { .msg = c->msg, .n_msg = c->n_msg, .tool = c->tool,
                                .n_tool = c->n_tool, .add_generation = true };
    if (gen_add_chat(g, &in, &e))
        return api_refuse_error(x, &e);
    return gen_start(g);
}

const struct route api_chat_route[] = {
    { "POST", "/v1/chat/completions", false, false, SCOPE_INFER, start, NULL },
    { .method = NULL }
};
