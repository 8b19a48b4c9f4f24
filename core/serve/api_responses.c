/* api_responses.c - POST /v1/responses: OpenAI's newer form of a conversation.
 *
 * An answer is a list of items: messages with text, and calls. In a stream each
 * item is added, goes on and is done before the next; the last event repeats
 * the whole answer. What is not streamed goes the same way without the events,
 * so both have the same items. */
#include "core/serve/api_responses.h"

#include <stdio.h>
#include <string.h>

#include "core/serve/api_said.h"

enum { MAX_ITEM = 2 * TOOLS_MAX_CALL + 1, ITEM_ID = 64 };

struct item {
    bool call;
    unsigned k;                       /* which call; of a text which item      */
    size_t from, to;                  /* of a text: bytes of said.text         */
};

struct responses {
    struct api_chat chat;
    struct str echo;
    struct said said;                 /* of the one choice                     */
    struct item item[MAX_ITEM];
    unsigned n_item;
    bool open;                        /* the last item, a text, goes on        */
    unsigned n_event;
};

/* ---- items ---- */

static const char *item_id(const struct gen *g, const struct item *it, char id[ITEM_ID])
{
    const char *const hex = strchr(g->id, '_') + 1;
    snprintf(id, ITEM_ID, "%s%.40s%02x", it->call ? "fc_" : "msg_", hex, it->k);
    return id;
}

static struct str text_of(const struct responses *r, const struct item *it)
{
    return (struct str){ it->to > it->from ? r->said.text.p + it->from : "", it->to - it->from };
}

static json_t *part_json(struct str text)
{
    return json_pack("{s:s,s:o,s:[],s:[]}", "type", "output_text", "text", api_text(text.p, text.n),
                     "annotations", "logprobs");
}

static json_t *item_json(const struct gen *g, const struct item *it, bool done)
{
    const struct responses *const r = g->own;
    const char *const status = done ? "completed" : "in_progress";
    char id[ITEM_ID];
    unsigned n;
    item_id(g, it, id);
    if (!it->call)
        return json_pack("{s:s,s:s,s:s,s:s,s:o}", "id", id, "type", "message", "status", status,
                         "role", "assistant", "content",
                         done ? json_pack("[o]", part_json(text_of(r, it))) : json_array());
    const struct chat_call *const c = &said_calls(&r->said, &n)[it->k];
    return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o}", "id", id, "type", "function_call", "status", status,
                     "call_id", api_text(c->id.p, c->id.n), "name", api_text(c->name.p, c->name.n),
                     "arguments", done ? api_text(c->arguments.p, c->arguments.n) : json_string(""));
}

/* ---- the answer ---- */

static json_t *usage_json(const struct gen *g)
{
    const struct api_usage u = gen_usage(g);
    return json_pack("{s:I,s:{s:I},s:I,s:{s:I},s:I}", "input_tokens", (json_int_t)u.n_prompt,
                     "input_tokens_details", "cached_tokens", (json_int_t)u.n_cached,
                     "output_tokens", (json_int_t)u.n_new, "output_tokens_details",
                     "reasoning_tokens", (json_int_t)0, "total_tokens",
                     (json_int_t)(u.n_prompt + u.n_new));
}

static bool is_cut(const struct gen *g)
{
    return g->choice[0].finish == FINISH_LENGTH;
}

static json_t *answer_json(const struct gen *g, bool done)
{
    const struct responses *const r = g->own;
    const bool cut = done && is_cut(g);
    json_t *const items = json_array();
    for (unsigned i = 0; done && i < r->n_item; i++)
        json_array_append_new(items, item_json(g, &r->item[i], true));
    json_t *const j = json_pack("{s:s,s:s,s:I,s:s,s:n,s:o,s:o,s:o,s:n,s:b,s:o}", "id", g->id,
                                "object", "response", "created_at", (json_int_t)g->created,
                                "status", !done ? "in_progress" : cut ? "incomplete" : "completed",
                                "error", "incomplete_details",
                                cut ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null(),
                                "model", api_text_or_null(g->model->id), "output", items,
                                "previous_response_id", "store", 0, "usage",
                                done ? usage_json(g) : json_null());
    json_t *const echo = json_loadb(r->echo.p, r->echo.n, 0, NULL);
    const bool lost = !j || !echo || json_object_update(j, echo) ||
                      json_array_size(items) != (done ? r->n_item : 0);
    json_decref(echo);
    if (!lost)
        return j;
    json_decref(j);
    return NULL;
}

/* ---- events; in an answer that is no stream they are not written ---- */

/* rest: what stands beside type and number; taken over. */
static void event(struct gen *g, struct buf *out, const char *type, json_t *rest)
{
    struct responses *const r = g->own;
    json_t *const j = json_pack("{s:s,s:I}", "type", type, "sequence_number",
                                (json_int_t)r->n_event++);
    const bool ok = j && rest && !json_object_update(j, rest);
    json_decref(rest);
    if (ok)
        api_put_event(out, type, j);
    else
        out->failed = true;
    if (!ok)
        json_decref(j);
}

static void answer_event(struct gen *g, struct buf *out, const char *type, bool done)
{
    event(g, out, type, json_pack("{s:o}", "response", answer_json(g, done)));
}

static void item_event(struct gen *g, struct buf *out, const char *type, bool done)
{
    const struct responses *const r = g->own;
    event(g, out, type, json_pack("{s:I,s:o}", "output_index", (json_int_t)r->n_item - 1, "item",
                                  item_json(g, &r->item[r->n_item - 1], done)));
}

/* What is of the last item's only part, or of its arguments: its place, and one
 * more value, which is taken over. */
static void inner_event(struct gen *g, struct buf *out, const char *type, const char *key,
                        json_t *value)
{
    const struct responses *const r = g->own;
    const struct item *const it = &r->item[r->n_item - 1];
    char id[ITEM_ID];
    json_t *const j = json_pack("{s:s,s:I,s:o}", "item_id", item_id(g, it, id), "output_index",
                                (json_int_t)r->n_item - 1, key, value);
    if (j && !it->call)
        json_object_set_new(j, "content_index", json_integer(0));
    event(g, out, type, j);
}

static void text_event(struct gen *g, struct buf *out, const char *type, const char *key,
                       struct str text)
{
    inner_event(g, out, type, key, api_text(text.p, text.n));
}

static struct item *add_item(struct responses *r, struct item it)
{
    r->item[r->n_item] = it;
    return &r->item[r->n_item++];
}

static void open_text(struct gen *g, struct buf *out)
{
    struct responses *const r = g->own;
    add_item(r, (struct item){ .k = r->n_item, .from = r->said.told, .to = r->said.told });
    r->open = true;
    if (!g->stream)
        return;
    item_event(g, out, "response.output_item.added", false);
    inner_event(g, out, "response.content_part.added", "part", part_json((struct str){ "", 0 }));
}

static void text_goes_on(struct gen *g, struct buf *out)
{
    struct responses *const r = g->own;
    const struct str more = { r->said.text.p + r->said.told, r->said.text.n - r->said.told };
    if (!r->open)
        open_text(g, out);
    r->said.told = r->item[r->n_item - 1].to = r->said.text.n;
    if (g->stream)
        text_event(g, out, "response.output_text.delta", "delta", more);
}

static void close_text(struct gen *g, struct buf *out)
{
    struct responses *const r = g->own;
    const struct str text = text_of(r, &r->item[r->n_item - 1]);
    r->open = false;
    if (!g->stream)
        return;
    text_event(g, out, "response.output_text.done", "text", text);
    inner_event(g, out, "response.content_part.done", "part", part_json(text));
    item_event(g, out, "response.output_item.done", true);
}

static void tell_call(struct gen *g, struct buf *out, const struct chat_call *c)
{
    struct responses *const r = g->own;
    add_item(r, (struct item){ .call = true, .k = r->said.n_told++ });
    if (!g->stream)
        return;
    item_event(g, out, "response.output_item.added", false);
    text_event(g, out, "response.function_call_arguments.delta", "delta", c->arguments);
    text_event(g, out, "response.function_call_arguments.done", "arguments", c->arguments);
    item_event(g, out, "response.output_item.done", true);
}

/* An answer without calls has a text, if only an empty one. */
static void tell(struct gen *g, struct gen_choice *c, struct buf *out, bool end)
{
    struct responses *const r = g->own;
    unsigned n;
    said_more(&r->said, c, r->chat.tool, r->chat.n_tool, g->model->chat, end);
    out->failed = out->failed || r->said.text.failed;
    if (r->said.text.n > r->said.told)
        text_goes_on(g, out);
    const struct chat_call *const call = said_calls(&r->said, &n);
    if (end && !r->n_item && !n)
        open_text(g, out);
    if (r->open && (end || r->said.n_told < n))
        close_text(g, out);
    while (r->said.n_told < n)
        tell_call(g, out, &call[r->said.n_told]);
}

static void begin(struct gen *g, struct buf *out)
{
    answer_event(g, out, "response.created", false);
    answer_event(g, out, "response.in_progress", false);
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
    answer_event(g, out, is_cut(g) ? "response.incomplete" : "response.completed", true);
}

static void whole(struct gen *g, struct buf *out)
{
    tell(g, &g->choice[0], out, true);
    api_put(out, answer_json(g, true));
}

static void put_error_event(struct buf *out, const struct api_error *e)
{
    api_put_event(out, "error", json_pack("{s:s,s:o,s:o,s:o}", "type", "error", "code",
                                          api_text_or_null(e->code), "message",
                                          api_text_or_null(e->message), "param",
                                          api_text_or_null(*e->param ? e->param : NULL)));
}

static void forget(struct gen *g)
{
    struct responses *const r = g->own;
    if (r)
        said_free(&r->said);
}

static const struct dialect responses = {
    .id_prefix = "resp_", .begin = begin, .piece = piece, .end_choice = end_choice, .end = end,
    .error_event = put_error_event, .whole = whole, .close = forget,
};

static enum answer start(struct exchange *x)
{
    struct gen *const g = gen_open(x, &responses);
    struct responses *const r = g ? arena_alloc(&g->arena, 1, sizeof *r) : NULL;
    struct api_error e;
    if (!r)
        return api_refuse_memory(x);
    g->own = r;
    if (api_parse_responses(x->body.p, x->body.n, &g->arena, &r->chat, &r->echo, &e) ||
        gen_check_model(g, r->chat.common.model, &e))
        return api_refuse_error(x, &e);
    buf_free(&x->body);
    g->stream = r->chat.common.stream;
    g->params = r->chat.common.gen;
    return api_ask(g, &r->chat, false, "text.format", &e) ? api_refuse_error(x, &e) : gen_start(g);
}

const struct route api_responses_route[] = {
    { "POST", "/v1/responses", false, false, SCOPE_INFER, start, NULL },
    { .method = NULL }
};
