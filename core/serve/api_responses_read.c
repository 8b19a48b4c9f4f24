/* api_responses_read.c - instructions and input items as messages of a template.
 *
 * Nothing is kept from one request to the next: whatever asks for that is
 * refused, since an answer without it would be one to another question. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_responses.h"
#include "core/serve/api_tools.h"

static int refuse_kept(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    (void)to;
    if (json_is_false(j))
        return 0;
    return api_fail(in, 400, "unsupported_value", "%s: responses are not kept here; send the whole "
                    "conversation as input", in->at);
}

/* ---- input items ---- */

struct item {
    const char *type, *role;
    struct str content, call_id, name, arguments, output;
};

struct reading {
    struct arena *arena;
    struct chat_msg *msg;             /* as many as there are items, and one   */
    unsigned n;
};

static int read_role(struct api_in *in, const char *s, enum chat_role *role)
{
    static const struct { const char *name; enum chat_role role; } known[] = {
        { "system", CHAT_SYSTEM }, { "developer", CHAT_SYSTEM }, { "user", CHAT_USER },
        { "assistant", CHAT_ASSISTANT },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (api_is(s, known[i].name)) {
            *role = known[i].role;
            return 0;
        }
    api_enter(in, "role");
    return api_bad_value(in, "must be system, developer, user or assistant");
}

/* A call belongs to the assistant's message in front of it. */
static int add_call(struct api_in *in, struct reading *r, const struct item *it)
{
    if (!it->call_id.p || !it->name.p || !it->arguments.p)
        return api_missing(in, !it->call_id.p ? "call_id" : !it->name.p ? "name" : "arguments");
    if (!r->n || r->msg[r->n - 1].role != CHAT_ASSISTANT)
        r->msg[r->n++] = (struct chat_msg){ .role = CHAT_ASSISTANT, .text = { "", 0 } };
    struct chat_msg *const m = &r->msg[r->n - 1];
    if (m->n_call == TOOLS_MAX_CALL)
        return api_bad_value(in, "more than %d calls in a row", TOOLS_MAX_CALL);
    struct chat_call *call = (struct chat_call *)(uintptr_t)m->call;   /* ours, from below */
    if (!call && !(call = arena_alloc(r->arena, TOOLS_MAX_CALL, sizeof *call)))
        return api_no_memory(in);
    call[m->n_call++] = (struct chat_call){ it->call_id, it->name, it->arguments };
    m->call = call;
    return 0;
}

static int add_output(struct api_in *in, struct reading *r, const struct item *it)
{
    if (!it->call_id.p || !it->output.p)
        return api_missing(in, it->call_id.p ? "output" : "call_id");
    struct chat_msg m = { .role = CHAT_TOOL, .text = it->output, .tool_call_id = it->call_id };
    api_name_tool(r->msg, r->n, &m);
    r->msg[r->n++] = m;
    return 0;
}

static int read_item(struct api_in *in, const json_t *j, struct reading *r)
{
    static const struct api_field field[] = {
        { "type", api_read_name, offsetof(struct item, type), 0, 0 },
        { "role", api_read_name, offsetof(struct item, role), 0, 0 },
        { "content", api_read_content, offsetof(struct item, content), 0, 0 },
        { "call_id", api_read_text, offsetof(struct item, call_id), 0, 0 },
        { "name", api_read_text, offsetof(struct item, name), 0, 0 },
        { "arguments", api_read_text, offsetof(struct item, arguments), 0, 0 },
        { "output", api_read_content, offsetof(struct item, output), 0, 0 },
    };
    struct item it = { 0 };
    if (!json_is_object(j))
        return api_wrong_type(in, "an object with type, or with role and content");
    int rc = api_read_fields(in, j, field, sizeof field / sizeof *field, &it);
    if (rc)
        return rc;
    if (api_is(it.type, "function_call"))
        return add_call(in, r, &it);
    if (api_is(it.type, "function_call_output"))
        return add_output(in, r, &it);
    if (it.type && !api_is(it.type, "message"))
        return api_fail(in, 400, "unsupported_value", "%s.type: \"%.32s\" is not supported", in->at,
                        it.type);
    struct chat_msg m = { .text = it.content };
    rc = read_role(in, it.role, &m.role);
    if (!rc && !m.text.p)
        rc = api_missing(in, "content");
    if (!rc)
        r->msg[r->n++] = m;
    return rc;
}

static int read_input(struct api_in *in, const json_t *j, struct reading *r)
{
    const size_t at = api_enter(in, "input");
    int rc = 0;
    if (json_is_string(j)) {
        struct chat_msg *const m = &r->msg[r->n++];
        *m = (struct chat_msg){ .role = CHAT_USER };
        rc = api_read_text(in, j, &(struct api_field){ .max = 0 }, &m->text);
    } else if (!json_array_size(j)) {
        rc = api_wrong_type(in, "a string or an array of at least one item");
    }
    for (size_t i = 0; !rc && i < json_array_size(j); i++) {
        const size_t inner = api_enter_index(in, i);
        rc = read_item(in, json_array_get(j, i), r);
        if (!rc)
            api_leave(in, inner);
    }
    if (!rc)
        api_leave(in, at);
    return rc;
}

static int read_messages(struct api_in *in, const json_t *root, struct api_chat *c)
{
    static const struct api_field words = { "instructions", api_read_text, 0, 0, 0 };
    const json_t *const j = json_object_get(root, "input");
    struct reading r = { .arena = in->arena };
    struct str system = { NULL, 0 };
    int rc = j && !json_is_null(j) ? 0 : api_missing(in, "input");
    if (!rc)
        rc = api_read_fields(in, root, &words, 1, &system);
    if (rc)
        return rc;
    r.msg = arena_alloc(in->arena, json_array_size(j) + 2, sizeof *r.msg);
    if (!r.msg)
        return api_no_memory(in);
    if (system.n)
        r.msg[r.n++] = (struct chat_msg){ .role = CHAT_SYSTEM, .text = system };
    rc = read_input(in, j, &r);
    c->msg = r.msg;
    c->n_msg = r.n;
    return rc;
}

/* ---- tools, and what the text must be ---- */

static int read_tool(struct api_in *in, const json_t *j, struct chat_tool *t)
{
    if (!api_is(json_string_value(json_object_get(j, "type")), "function"))
        return api_fail(in, 400, "unsupported_value", "%s.type: only function is supported", in->at);
    const int rc = api_read_function(in, j, NULL, t);
    return rc || t->name.p ? rc : api_missing(in, "name");
}

static int read_tools(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    return api_read_tools(in, j, to, read_tool);
}

static int read_tool_choice(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    return api_read_choice(in, j, "name", json_object_get(j, "name"), to);
}

static int read_text(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    static const struct api_field field = { "format", api_read_format, 0, 0, 0 };
    return json_is_object(j) ? api_read_fields(in, j, &field, 1, to) : api_wrong_type(in, "an object");
}

/* ---- all ---- */

/* A float as the decimal number that it was read from. */
static double decimal(float v)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", (double)v);
    return strtod(text, NULL);
}

static int make_echo(struct api_in *in, const json_t *root, const struct api_chat *c,
                     struct str *echo)
{
    static const char *const same[] = { "instructions", "max_output_tokens", "metadata", "text",
                                        "tool_choice", "tools", "user" };
    const struct sample_params *const s = &c->common.gen.sample;
    json_t *const j = json_pack("{s:n,s:n,s:{},s:{s:{s:s}},s:s,s:[],s:n,s:b,s:f,s:f,s:s}",
                                "instructions", "max_output_tokens", "metadata", "text", "format",
                                "type", "text", "tool_choice", "auto", "tools", "user",
                                "parallel_tool_calls", c->parallel, "temperature",
                                decimal(s->temperature), "top_p", decimal(s->top_p), "truncation",
                                "disabled");
    int rc = j ? 0 : ERR_NOMEM;
    for (size_t i = 0; !rc && i < sizeof same / sizeof *same; i++) {
        json_t *const v = json_object_get(root, same[i]);
        if (v && !json_is_null(v))
            rc = json_object_set(j, same[i], v);
    }
    rc = rc ? api_no_memory(in) : api_read_json(in, j, NULL, echo);
    json_decref(j);
    return rc;
}

int api_parse_responses(const char *body, size_t n, struct arena *arena, struct api_chat *out,
                        struct str *echo, struct api_error *error)
{
    static const struct api_field field[] = {        /* tools before tool_choice */
        { "store", refuse_kept, 0, 0, 0 },
        { "background", refuse_kept, 0, 0, 0 },
        { "previous_response_id", refuse_kept, 0, 0, 0 },
        { "conversation", refuse_kept, 0, 0, 0 },
        { "max_output_tokens", api_read_u32, offsetof(struct api_chat, common.gen.max_new), 1,
          API_MAX_NEW },
        { "text", read_text, offsetof(struct api_chat, common), 0, 0 },
        { "tools", read_tools, 0, 0, 0 },
        { "tool_choice", read_tool_choice, 0, 0, 0 },
        { "parallel_tool_calls", api_read_bool, offsetof(struct api_chat, parallel), 0, 0 },
    };
    struct api_in in;
    *out = (struct api_chat){ .common = API_COMMON_DEFAULT, .parallel = true };
    json_t *const root = api_open(&in, body, n, arena, error);
    if (!root)
        return error->status == 500 ? ERR_NOMEM : ERR_ARG;
    int rc = api_read_common(&in, root, &out->common);
    if (!rc)
        rc = api_read_fields(&in, root, field, sizeof field / sizeof *field, out);
    if (!rc)
        rc = read_messages(&in, root, out);
    if (!rc)
        rc = make_echo(&in, root, out, echo);
    json_decref(root);
    out->common.gen.n = 1;
    return rc;
}
