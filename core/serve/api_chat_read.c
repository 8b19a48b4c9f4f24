/* api_chat_read.c - a conversation and its tools, as OpenAI writes them.
 *
 * What is no text (images, audio, files) is refused by name: an answer that
 * passed it over would be one to another question. */
#include "core/serve/api_chat.h"

#include <string.h>

#include "core/serve/api_tools.h"

/* ---- content ---- */

struct part {
    const char *type;
    struct str text;
};

static int read_part(struct api_in *in, const json_t *j, struct buf *out)
{
    static const struct api_field type[] = {
        { "type", api_read_name, offsetof(struct part, type), 0, 0 },
    };
    static const struct api_field text[] = {
        { "text", api_read_text, offsetof(struct part, text), 0, 0 },
    };
    struct part p = { 0 };
    if (!json_is_object(j))
        return api_wrong_type(in, "an object with type and text");
    int rc = api_read_fields(in, j, type, 1, &p);
    if (!rc && !p.type)
        rc = api_missing(in, "type");
    if (!rc && !api_is(p.type, "text") && !api_is(p.type, "input_text") &&
        !api_is(p.type, "output_text"))
        rc = api_fail(in, 400, "unsupported_value", "%s.type: \"%.32s\" is not supported, only "
                      "text is", in->at, p.type);
    if (!rc)
        rc = api_read_fields(in, j, text, 1, &p);
    if (!rc && !p.text.p)
        rc = api_missing(in, "text");
    if (!rc)
        buf_add(out, p.text.p, p.text.n);
    return rc;
}

int api_read_content(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct str *s = to;
    if (json_is_string(j))
        return api_read_text(in, j, f, to);
    if (!json_is_array(j))
        return api_wrong_type(in, "a string or an array of parts");
    struct buf text = { 0 };
    int rc = 0;
    for (size_t i = 0; !rc && i < json_array_size(j); i++) {
        const size_t at = api_enter_index(in, i);
        rc = read_part(in, json_array_get(j, i), &text);
        api_leave(in, at);
    }
    *s = (struct str){ rc ? NULL : arena_strndup(in->arena, text.n ? text.p : "", text.n), text.n };
    if (!rc && (text.failed || !s->p))
        rc = api_no_memory(in);
    buf_free(&text);
    return rc;
}

/* ---- calls ---- */

static int read_function(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    static const struct api_field field[] = {
        { "name", api_read_text, offsetof(struct chat_call, name), 0, 0 },
        { "arguments", api_read_text, offsetof(struct chat_call, arguments), 0, 0 },
    };
    const struct chat_call *c = to;
    if (!json_is_object(j))
        return api_wrong_type(in, "an object");
    int rc = api_read_fields(in, j, field, 2, to);
    if (!rc && !c->name.p)
        rc = api_missing(in, "name");
    return rc || c->arguments.p ? rc : api_missing(in, "arguments");
}

static int read_calls(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    static const struct api_field field[] = {
        { "id", api_read_text, offsetof(struct chat_call, id), 0, 0 },
        { "function", read_function, 0, 0, 0 },
    };
    struct chat_msg *m = to;
    const size_t n = json_array_size(j);
    if (!json_is_array(j) || n > TOOLS_MAX_CALL)
        return api_wrong_type(in, "an array of at most 32 calls");
    struct chat_call *c = arena_alloc(in->arena, n ? n : 1, sizeof *c);
    int rc = c ? 0 : api_no_memory(in);
    for (size_t i = 0; !rc && i < n; i++) {
        const json_t *v = json_array_get(j, i);
        const size_t at = api_enter_index(in, i);
        rc = json_is_object(v) ? api_read_fields(in, v, field, 2, &c[i])
                               : api_wrong_type(in, "an object");
        if (!rc && !c[i].name.p)
            rc = api_missing(in, "function");
        api_leave(in, at);
    }
    m->call = c;
    m->n_call = (unsigned)n;
    return rc;
}

/* ---- messages ---- */

static int read_role(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    static const struct { const char *name; enum chat_role role; } role[] = {
        { "system", CHAT_SYSTEM }, { "developer", CHAT_SYSTEM }, { "user", CHAT_USER },
        { "assistant", CHAT_ASSISTANT }, { "tool", CHAT_TOOL }
    };
    const char *s = json_string_value(j);
    for (unsigned i = 0; i < sizeof role / sizeof *role; i++)
        if (api_is(s, role[i].name)) {
            *(enum chat_role *)to = role[i].role;
            return 0;
        }
    return s ? api_bad_value(in, "must be system, developer, user, assistant or tool")
             : api_wrong_type(in, "system, developer, user, assistant or tool");
}

void api_name_tool(const struct chat_msg *msg, size_t n, struct chat_msg *m)
{
    for (size_t i = n; i-- && !m->name.n;)
        for (unsigned k = 0; k < msg[i].n_call; k++) {
            const struct chat_call *c = &msg[i].call[k];
            if (c->id.n && c->id.n == m->tool_call_id.n &&
                !memcmp(c->id.p, m->tool_call_id.p, c->id.n))
                m->name = c->name;
        }
}

static int read_message(struct api_in *in, const json_t *j, struct chat_msg *m)
{
    static const struct api_field field[] = {
        { "role", read_role, offsetof(struct chat_msg, role), 0, 0 },
        { "content", api_read_content, offsetof(struct chat_msg, text), 0, 0 },
        { "name", api_read_text, offsetof(struct chat_msg, name), 0, 0 },
        { "tool_call_id", api_read_text, offsetof(struct chat_msg, tool_call_id), 0, 0 },
        { "tool_calls", read_calls, 0, 0, 0 },
    };
    if (!json_is_object(j))
        return api_wrong_type(in, "an object with role and content");
    int rc = api_read_fields(in, j, field, sizeof field / sizeof *field, m);
    if (!rc && !json_is_string(json_object_get(j, "role")))
        rc = api_missing(in, "role");
    if (!rc && !m->text.p && !(m->role == CHAT_ASSISTANT && m->n_call))
        rc = api_missing(in, "content");
    if (!rc && m->role == CHAT_TOOL && !m->tool_call_id.p)
        rc = api_missing(in, "tool_call_id");
    if (!rc && m->n_call && m->role != CHAT_ASSISTANT)
        rc = api_bad_value(in, "only an assistant's message can have tool_calls");
    if (!m->text.p)
        m->text.p = "";
    return rc;
}

static int read_messages(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    struct api_chat *c = to;
    const size_t n = json_array_size(j);
    if (!json_is_array(j))
        return api_wrong_type(in, "an array of messages");
    if (!n)
        return api_bad_value(in, "the array is empty");
    struct chat_msg *m = arena_alloc(in->arena, n, sizeof *m);
    int rc = m ? 0 : api_no_memory(in);
    for (size_t i = 0; !rc && i < n; i++) {
        const size_t at = api_enter_index(in, i);
        rc = read_message(in, json_array_get(j, i), &m[i]);
        api_leave(in, at);
        if (!rc && m[i].role == CHAT_TOOL)
            api_name_tool(m, i, &m[i]);
    }
    c->msg = m;
    c->n_msg = (unsigned)n;
    return rc;
}

/* ---- tools ---- */

static int read_tool(struct api_in *in, const json_t *j, struct chat_tool *t)
{
    static const struct api_field field[] = { { "function", api_read_function, 0, 0, 0 } };
    const json_t *type = json_object_get(j, "type");
    if (!json_is_object(j))
        return api_wrong_type(in, "an object with type and function");
    if (type && !api_is(json_string_value(type), "function"))
        return api_fail(in, 400, "unsupported_value", "%s.type: only function is supported", in->at);
    int rc = api_read_fields(in, j, field, 1, t);
    return rc || t->name.p ? rc : api_missing(in, "function.name");
}

static int read_tools(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    return api_read_tools(in, j, to, read_tool);
}

static int read_tool_choice(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    return api_read_choice(in, j, "function.name",
                           json_object_get(json_object_get(j, "function"), "name"), to);
}

/* ---- all ---- */

int api_read_conversation(struct api_in *in, const json_t *root, struct api_chat *out)
{
    static const struct api_field field[] = {        /* tools before tool_choice */
        { "messages", read_messages, 0, 0, 0 },
        { "tools", read_tools, 0, 0, 0 },
        { "tool_choice", read_tool_choice, 0, 0, 0 },
        { "parallel_tool_calls", api_read_bool, offsetof(struct api_chat, parallel), 0, 0 },
    };
    out->parallel = true;
    const int rc = api_read_fields(in, root, field, sizeof field / sizeof *field, out);
    return rc || out->n_msg ? rc : api_missing(in, "messages");
}

/* Seen after all fields are read: what one alone cannot tell. */
static int check_together(struct api_in *in, const json_t *root, const struct api_chat *c)
{
    const char *at = NULL, *what = NULL;
    if (c->common.gen.n_top && !c->common.gen.logprob) {
        at = "top_logprobs";
        what = "needs logprobs to be true";
    } else if (c->common.format != API_TEXT && c->choice == API_TOOL_REQUIRED) {
        at = json_object_get(root, "grammar") ? "grammar" : "response_format";
        what = "cannot be met together with a tool_choice that demands calls";
    }
    if (!at)
        return 0;
    api_enter(in, at);
    return api_bad_value(in, "%s", what);
}

int api_parse_chat(const char *body, size_t n, struct arena *arena, struct api_chat *out,
                   struct api_error *error)
{
    static const struct api_field field[] = {        /* the later one is stronger */
        { "max_tokens", api_read_u32, offsetof(struct api_chat, common.gen.max_new), 1, API_MAX_NEW },
        { "max_completion_tokens", api_read_u32, offsetof(struct api_chat, common.gen.max_new), 1,
          API_MAX_NEW },
        { "logprobs", api_read_bool, offsetof(struct api_chat, common.gen.logprob), 0, 0 },
        { "top_logprobs", api_read_u32, offsetof(struct api_chat, common.gen.n_top), 0,
          REQUEST_MAX_TOP },
    };
    struct api_in in;
    *out = (struct api_chat){ .common = API_COMMON_DEFAULT };
    json_t *root = api_open(&in, body, n, arena, error);
    if (!root)
        return error->status == 500 ? ERR_NOMEM : ERR_ARG;
    int rc = api_read_common(&in, root, &out->common);
    if (!rc)
        rc = api_read_fields(&in, root, field, sizeof field / sizeof *field, out);
    if (!rc)
        rc = api_read_conversation(&in, root, out);
    if (!rc)
        rc = check_together(&in, root, out);
    json_decref(root);
    return rc;
}
