/* api_messages.c - POST /v1/messages: Anthropic's form of a conversation.
 *
 * An answer is a row of blocks: text, then calls of tools. In a stream each
 * block is begun, goes on and is ended before the next. */
#include "core/serve/api_messages.h"

#include <stdlib.h>
#include <string.h>

#include "core/serve/api_said.h"

struct messages {
    struct api_chat chat;
    bool begun;
    struct said said;                 /* of the one choice                     */
    unsigned n_block;                 /* begun in the stream                   */
    bool open;                        /* the last of them, a text, goes on     */
};

/* ---- errors ---- */

static const char *error_type(unsigned status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default:  return status < 500 ? "invalid_request_error" : "api_error";
    }
}

static json_t *error_json(const struct api_error *e)
{
    return json_pack("{s:s,s:{s:s,s:o}}", "type", "error", "error", "type", error_type(e->status),
                     "message", api_text_or_null(e->message));
}

static void put_error(struct buf *out, const struct api_error *e)
{
    api_put(out, error_json(e));
}

static void put_error_event(struct buf *out, const struct api_error *e)
{
    api_put_event(out, "error", error_json(e));
}

/* ---- pieces of an answer ---- */

static const char *stop_reason(const struct gen *g, const struct gen_choice *c)
{
    const struct messages *const m = g->own;
    unsigned n_call;
    said_calls(&m->said, &n_call);
    return n_call ? "tool_use" : c->finish == FINISH_LENGTH ? "max_tokens"
           : said_stop(g, c) ? "stop_sequence" : "end_turn";
}

static json_t *stop_sequence(const struct gen *g, const struct gen_choice *c)
{
    const struct str *const s = said_stop(g, c);
    return s ? api_text(s->p, s->n) : json_null();
}

static json_t *usage(const struct gen *g)
{
    const struct api_usage u = gen_usage(g);
    return json_pack("{s:I,s:I,s:I,s:I}", "input_tokens", (json_int_t)(u.n_prompt - u.n_cached),
                     "cache_creation_input_tokens", (json_int_t)0, "cache_read_input_tokens",
                     (json_int_t)u.n_cached, "output_tokens", (json_int_t)u.n_new);
}

static json_t *text_block(const char *p, size_t n)
{
    return json_pack("{s:s,s:o}", "type", "text", "text", api_text(p, n));
}

/* input: taken over. */
static json_t *use_block(const struct chat_call *c, json_t *input)
{
    return json_pack("{s:s,s:o,s:o,s:o}", "type", "tool_use", "id", api_text(c->id.p, c->id.n),
                     "name", api_text(c->name.p, c->name.n), "input", input);
}

static json_t *message(const struct gen *g, json_t *content, json_t *reason, json_t *sequence)
{
    return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o}", "id", g->id, "type", "message", "role",
                     "assistant", "model", api_text_or_null(g->model->id), "content", content,
                     "stop_reason", reason, "stop_sequence", sequence, "usage", usage(g));
}

static void say_more(struct gen *g, struct gen_choice *c, bool end)
{
    struct messages *const m = g->own;
    said_more(&m->said, c, m->chat.tool, m->chat.n_tool, g->model->chat, end);
}

/* ---- a stream ---- */

/* block: taken over. */
static void begin_block(struct messages *m, struct buf *out, json_t *block)
{
    api_put_event(out, "content_block_start",
                  json_pack("{s:s,s:I,s:o}", "type", "content_block_start", "index",
                            (json_int_t)m->n_block++, "content_block", block));
}

static void block_goes_on(const struct messages *m, struct buf *out, json_t *delta)
{
    api_put_event(out, "content_block_delta",
                  json_pack("{s:s,s:I,s:o}", "type", "content_block_delta", "index",
                            (json_int_t)m->n_block - 1, "delta", delta));
}

static void end_block(const struct messages *m, struct buf *out)
{
    api_put_event(out, "content_block_stop", json_pack("{s:s,s:I}", "type", "content_block_stop",
                                                       "index", (json_int_t)m->n_block - 1));
}

static void tell_text(struct messages *m, struct buf *out)
{
    const struct buf *const t = &m->said.text;
    if (!m->open)
        begin_block(m, out, text_block("", 0));
    m->open = true;
    block_goes_on(m, out, json_pack("{s:s,s:o}", "type", "text_delta", "text",
                                    api_text(t->p + m->said.told, t->n - m->said.told)));
    m->said.told = t->n;
}

static void tell_call(struct messages *m, struct buf *out, const struct chat_call *c)
{
    begin_block(m, out, use_block(c, json_object()));
    block_goes_on(m, out, json_pack("{s:s,s:o}", "type", "input_json_delta", "partial_json",
                                    api_text(c->arguments.p, c->arguments.n)));
    end_block(m, out);
}

static void tell(struct gen *g, struct gen_choice *c, struct buf *out, bool end)
{
    struct messages *const m = g->own;
    unsigned n;
    say_more(g, c, end);
    out->failed = out->failed || m->said.text.failed;
    if (m->said.text.n > m->said.told)
        tell_text(m, out);
    const struct chat_call *const call = said_calls(&m->said, &n);
    if (m->open && (end || m->said.n_told < n)) {
        end_block(m, out);
        m->open = false;
    }
    while (m->said.n_told < n)
        tell_call(m, out, &call[m->said.n_told++]);
}

static void begin(struct gen *g, struct buf *out)
{
    api_put_event(out, "message_start",
                  json_pack("{s:s,s:o}", "type", "message_start", "message",
                            message(g, json_array(), json_null(), json_null())));
}

static void piece(struct gen *g, struct gen_choice *c, struct buf *out)
{
    tell(g, c, out, false);
}

static void end_choice(struct gen *g, struct gen_choice *c, struct buf *out)
{
    tell(g, c, out, true);
}

static void end(struct gen *g, struct buf *out)
{
    const struct gen_choice *const c = &g->choice[0];
    api_put_event(out, "message_delta",
                  json_pack("{s:s,s:{s:s,s:o},s:o}", "type", "message_delta", "delta", "stop_reason",
                            stop_reason(g, c), "stop_sequence", stop_sequence(g, c), "usage",
                            usage(g)));
    api_put_event(out, "message_stop", json_pack("{s:s}", "type", "message_stop"));
}

/* ---- a whole answer ---- */

static void whole(struct gen *g, struct buf *out)
{
    struct messages *const m = g->own;
    struct gen_choice *const c = &g->choice[0];
    json_t *const content = json_array();
    unsigned n;
    say_more(g, c, true);
    const struct chat_call *const call = said_calls(&m->said, &n);
    int rc = m->said.text.failed;
    if (m->said.text.n)
        rc |= json_array_append_new(content, text_block(m->said.text.p, m->said.text.n));
    for (unsigned i = 0; i < n; i++) {
        json_t *const input = json_loadb(call[i].arguments.p, call[i].arguments.n, 0, NULL);
        rc |= json_array_append_new(content, use_block(&call[i], input));
    }
    out->failed = out->failed || rc;
    api_put(out, message(g, content, api_text_or_null(stop_reason(g, c)), stop_sequence(g, c)));
}

static void forget(struct gen *g)
{
    struct messages *const m = g->own;
    if (m)
        said_free(&m->said);
}

static const struct dialect messages = {
    .id_prefix = "msg_", .begin = begin, .piece = piece, .end_choice = end_choice, .end = end,
    .error_event = put_error_event, .whole = whole, .close = forget,
};

/* Reads the body; 0, or the error is filled. */
static int read_body(struct gen *g, bool counting, struct api_error *e)
{
    struct messages *const m = arena_alloc(&g->arena, 1, sizeof *m);
    if (!m) {
        *e = (struct api_error){ .status = 500, .message = "no memory for the request" };
        return ERR_NOMEM;
    }
    g->own = m;
    const int rc = api_parse_messages(g->x->body.p, g->x->body.n, &g->arena, counting, &m->chat,
                                      &m->begun, e);
    return rc ? rc : gen_check_model(g, m->chat.common.model, e);
}

static enum answer start(struct exchange *x)
{
    struct gen *const g = gen_open(x, &messages);
    struct api_error e;
    if (!g)
        return api_refuse_memory(x);
    if (read_body(g, false, &e))
        return api_refuse_error(x, &e);
    buf_free(&x->body);
    const struct messages *const m = g->own;
    g->stream = m->chat.common.stream;
    g->params = m->chat.common.gen;
    return api_ask(g, &m->chat, m->begun, "response_format", &e) ? api_refuse_error(x, &e)
                                                                : gen_start(g);
}

/* Counting needs the reading and the template, and no engine. */
static enum answer count_tokens(struct exchange *x)
{
    struct gen *const g = gen_open(x, &messages);
    struct api_error e;
    struct err err = { 0 };
    struct tokens t = { 0 };
    if (!g)
        return api_refuse_memory(x);
    if (read_body(g, true, &e) || gen_check_chat(g->model, &e))
        return api_refuse_error(x, &e);
    const struct messages *const m = g->own;
    const struct chat_in in = { .msg = m->chat.msg, .n_msg = m->chat.n_msg, .tool = m->chat.tool,
                                .n_tool = m->chat.n_tool, .add_generation = true,
                                .open_last = m->begun };
    const int rc = chat_encode(g->model->chat, g->model->vocab, &in, 0, &t, &err);
    const size_t n = t.n;
    free(t.id);
    if (rc)
        return api_refuse(x, rc == ERR_NOMEM ? 500 : 400, NULL, err.text);
    x->status = 200;
    api_put(&x->out, json_pack("{s:I}", "input_tokens", (json_int_t)n));
    return ANSWER_DONE;
}

const struct route api_messages_route[] = {
    { "POST", "/v1/messages", false, false, SCOPE_INFER, start, put_error },
    { "POST", "/v1/messages/count_tokens", false, false, SCOPE_READ, count_tokens, put_error },
    { .method = NULL }
};
