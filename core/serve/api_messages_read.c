/* api_messages_read.c - Anthropic's conversation as messages of a template.
 *
 * One of its messages may hold blocks that are messages here: results of tools
 * come before the rest of a user's message, and become messages of their own.
 * Blocks that are no text are refused by name. */
#include <string.h>

#include "core/serve/api_messages.h"
#include "core/serve/api_tools.h"

struct block {
    const char *type;
    struct str text;                  /* of a text; of a result its content    */
    struct chat_call call;            /* tool_use                              */
    struct str tool_use_id;           /* tool_result                           */
};

struct reading {
    struct api_chat *c;
    struct chat_msg *msg;             /* [cap], c->msg later                   */
    unsigned n, cap;
};

static int read_object(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    return json_is_object(j) ? api_read_json(in, j, f, to) : api_wrong_type(in, "an object");
}

static int need(struct api_in *in, int rc, const struct str *s, const char *name)
{
    return rc || s->p ? rc : api_missing(in, name);
}

static int read_block(struct api_in *in, const json_t *j, bool from_user, struct block *b)
{
    static const struct api_field type = { "type", api_read_name, offsetof(struct block, type), 0, 0 };
    static const struct api_field text = { "text", api_read_text, offsetof(struct block, text), 0, 0 };
    static const struct api_field use[] = {
        { "id", api_read_text, offsetof(struct block, call.id), 0, 0 },
        { "name", api_read_text, offsetof(struct block, call.name), 0, 0 },
        { "input", read_object, offsetof(struct block, call.arguments), 0, 0 },
    };
    static const struct api_field result[] = {
        { "tool_use_id", api_read_text, offsetof(struct block, tool_use_id), 0, 0 },
        { "content", api_read_content, offsetof(struct block, text), 0, 0 },
    };
    if (!json_is_object(j))
        return api_wrong_type(in, "an object with type");
    int rc = api_read_fields(in, j, &type, 1, b);
    if (rc || !b->type)
        return rc ? rc : api_missing(in, "type");
    if (api_is(b->type, "text"))
        return need(in, api_read_fields(in, j, &text, 1, b), &b->text, "text");
    if (api_is(b->type, "tool_use") && !from_user) {
        rc = need(in, api_read_fields(in, j, use, 3, b), &b->call.id, "id");
        rc = need(in, rc, &b->call.name, "name");
        return need(in, rc, &b->call.arguments, "input");
    }
    if (api_is(b->type, "tool_result") && from_user)
        return need(in, api_read_fields(in, j, result, 2, b), &b->tool_use_id, "tool_use_id");
    return api_fail(in, 400, "unsupported_value", "%s.type: \"%.32s\" is not supported in a message "
                    "of this role", in->at, b->type);
}

static struct chat_msg *add(struct reading *r, enum chat_role role)
{
    struct chat_msg *const m = &r->msg[r->n++];
    *m = (struct chat_msg){ .role = role, .text = { "", 0 } };
    return m;
}

/* j: an array of blocks. */
static int read_blocks(struct api_in *in, const json_t *j, struct reading *r, enum chat_role role)
{
    const size_t n = json_array_size(j);
    struct chat_call *const call = arena_alloc(in->arena, n + 1, sizeof *call);
    struct buf text = { 0 };
    unsigned n_call = 0;
    bool said = false;
    int rc = call ? 0 : api_no_memory(in);
    for (size_t i = 0; !rc && i < n; i++) {
        struct block b = { 0 };
        const size_t at = api_enter_index(in, i);
        rc = read_block(in, json_array_get(j, i), role == CHAT_USER, &b);
        if (!rc && api_is(b.type, "tool_result")) {
            struct chat_msg *const m = add(r, CHAT_TOOL);
            m->tool_call_id = b.tool_use_id;
            m->text = b.text.p ? b.text : m->text;
            api_name_tool(r->msg, r->n - 1, m);
        } else if (!rc && api_is(b.type, "tool_use")) {
            call[n_call++] = b.call;
        } else if (!rc) {
            buf_add(&text, b.text.p, b.text.n);
            said = true;
        }
        api_leave(in, at);
    }
    if (!rc && (said || n_call || !n)) {
        struct chat_msg *const m = add(r, role);
        m->text = (struct str){ arena_strndup(in->arena, text.n ? text.p : "", text.n), text.n };
        m->call = call;
        m->n_call = n_call;
        rc = !m->text.p || text.failed ? api_no_memory(in) : 0;
    }
    buf_free(&text);
    return rc;
}

static int read_message(struct api_in *in, const json_t *j, struct reading *r)
{
    const char *const role = json_string_value(json_object_get(j, "role"));
    const json_t *const content = json_object_get(j, "content");
    if (!json_is_object(j))
        return api_wrong_type(in, "an object with role and content");
    if (!api_is(role, "user") && !api_is(role, "assistant")) {
        api_enter(in, "role");
        return api_bad_value(in, "must be user or assistant");
    }
    const enum chat_role as = api_is(role, "user") ? CHAT_USER : CHAT_ASSISTANT;
    const size_t at = api_enter(in, "content");
    int rc = json_is_string(content) || json_is_array(content)
                 ? 0 : api_wrong_type(in, "a string or an array of blocks");
    if (!rc && json_is_array(content))
        rc = read_blocks(in, content, r, as);
    else if (!rc)
        rc = api_read_text(in, content, &(struct api_field){ .max = 0 }, &add(r, as)->text);
    api_leave(in, at);
    return rc;
}

/* Every message gives one here, and every block at most one more. */
static size_t n_most(const json_t *messages)
{
    size_t i, n = 1;
    json_t *m;
    json_array_foreach(messages, i, m)
        n += 1 + json_array_size(json_object_get(m, "content"));
    return n;
}

static int read_messages(struct api_in *in, const json_t *root, struct reading *r)
{
    static const struct api_field system = { "system", api_read_content, 0, 0, 0 };
    const json_t *const j = json_object_get(root, "messages");
    struct str words = { NULL, 0 };
    int rc = j ? 0 : api_missing(in, "messages");
    if (!rc)
        rc = api_read_fields(in, root, &system, 1, &words);
    const size_t at = api_enter(in, "messages");
    if (!rc && !json_array_size(j))
        rc = api_wrong_type(in, "an array of at least one message");
    r->cap = (unsigned)n_most(j);
    r->msg = rc ? NULL : arena_alloc(in->arena, r->cap, sizeof *r->msg);
    if (!rc && !r->msg)
        rc = api_no_memory(in);
    if (!rc && words.n)
        add(r, CHAT_SYSTEM)->text = words;
    for (size_t i = 0; !rc && i < json_array_size(j); i++) {
        const size_t inner = api_enter_index(in, i);
        rc = read_message(in, json_array_get(j, i), r);
        if (!rc)
            api_leave(in, inner);
    }
    if (!rc)
        api_leave(in, at);
    r->c->msg = r->msg;
    r->c->n_msg = r->n;
    return rc;
}

/* ---- tools ---- */

static int read_tool(struct api_in *in, const json_t *j, struct chat_tool *t)
{
    static const struct api_field field[] = {
        { "name", api_read_text, offsetof(struct chat_tool, name), 1, 256 },
        { "description", api_read_text, offsetof(struct chat_tool, description), 0, 0 },
        { "input_schema", read_object, offsetof(struct chat_tool, parameters), 0, 0 },
    };
    const json_t *const type = json_object_get(j, "type");
    if (!json_is_object(j))
        return api_wrong_type(in, "an object with name and input_schema");
    if (json_is_string(type) && !api_is(json_string_value(type), "custom"))
        return api_fail(in, 400, "unsupported_value", "%s.type: \"%.32s\" is not supported, only "
                        "custom is", in->at, json_string_value(type));
    return need(in, api_read_fields(in, j, field, 3, t), &t->name, "name");
}

static int read_tools(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    return api_read_tools(in, j, to, read_tool);
}

static int read_tool_choice(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    struct api_chat *const c = to;
    const char *const type = json_string_value(json_object_get(j, "type"));
    c->parallel = !json_is_true(json_object_get(j, "disable_parallel_tool_use"));
    if (api_is(type, "tool"))
        return api_choose_tool(in, "name", json_object_get(j, "name"), c);
    if (api_is(type, "any"))
        return api_choose_any(in, type, c);
    if (api_is(type, "none"))
        api_choose_none(c);
    else if (!api_is(type, "auto"))
        return api_wrong_type(in, "an object of type auto, any, tool or none");
    return 0;
}

/* ---- all ---- */

int api_parse_messages(const char *body, size_t n, struct arena *arena, bool counting,
                       struct api_chat *out, bool *begun, struct api_error *error)
{
    static const struct api_field field[] = {        /* tools before tool_choice */
        { "max_tokens", api_read_u32, offsetof(struct api_chat, common.gen.max_new), 1, API_MAX_NEW },
        { "tools", read_tools, 0, 0, 0 },
        { "tool_choice", read_tool_choice, 0, 0, 0 },
    };
    static const struct api_field stop = { "stop_sequences", api_read_stop, 0, 0, 0 };
    struct reading r = { .c = out };
    struct api_in in;
    *out = (struct api_chat){ .common = API_COMMON_DEFAULT, .parallel = true };
    json_t *const root = api_open(&in, body, n, arena, error);
    if (!root)
        return error->status == 500 ? ERR_NOMEM : ERR_ARG;
    int rc = api_read_common(&in, root, &out->common);
    if (!rc)
        rc = api_read_fields(&in, root, field, sizeof field / sizeof *field, out);
    if (!rc)
        rc = api_read_fields(&in, root, &stop, 1, &out->common.gen);
    if (!rc && !counting && !out->common.gen.max_new)
        rc = api_missing(&in, "max_tokens");
    if (!rc)
        rc = read_messages(&in, root, &r);
    json_decref(root);
    out->common.gen.n = 1;
    *begun = !rc && r.msg[r.n - 1].role == CHAT_ASSISTANT && !r.msg[r.n - 1].n_call;
    return rc;
}
