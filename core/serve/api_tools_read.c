/* api_tools_read.c - tools and the choice among them, whatever the dialect. */
#include <string.h>

#include "core/serve/api_chat.h"
#include "core/serve/api_tools.h"

/* A field that is an object, kept as its text. */
static int read_schema(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    return json_is_object(j) ? api_read_json(in, j, f, to) : api_wrong_type(in, "a JSON schema");
}

int api_read_tools(struct api_in *in, const json_t *j, struct api_chat *c,
                   int (*one)(struct api_in *, const json_t *, struct chat_tool *))
{
    const size_t n = json_array_size(j);
    if (!json_is_array(j))
        return api_wrong_type(in, "an array of tools");
    if (n > TOOLS_MAX)
        return api_bad_value(in, "%zu tools, at most %d are taken", n, TOOLS_MAX);
    struct chat_tool *const t = arena_alloc(in->arena, n ? n : 1, sizeof *t);
    int rc = t ? 0 : api_no_memory(in);
    for (size_t i = 0; !rc && i < n; i++) {
        const size_t at = api_enter_index(in, i);
        rc = one(in, json_array_get(j, i), &t[i]);
        if (!rc)
            api_leave(in, at);
    }
    c->tool = t;
    c->n_tool = (unsigned)n;
    return rc;
}

void api_choose_none(struct api_chat *c)
{
    c->choice = API_TOOL_NONE;
    c->n_tool = 0;
}

int api_choose_any(struct api_in *in, const char *word, struct api_chat *c)
{
    c->choice = API_TOOL_REQUIRED;
    return c->n_tool ? 0 : api_bad_value(in, "%s, but there are no tools", word);
}

static const struct chat_tool *find(const struct api_chat *c, const char *name, size_t n)
{
    for (unsigned i = 0; name && i < c->n_tool; i++)
        if (c->tool[i].name.n == n && !memcmp(c->tool[i].name.p, name, n))
            return &c->tool[i];
    return NULL;
}

int api_choose_tool(struct api_in *in, const char *at, const json_t *name, struct api_chat *c)
{
    const char *const s = json_string_value(name);
    const struct chat_tool *const t = find(c, s, json_string_length(name));
    const size_t back = api_enter(in, at);
    if (!t)
        return s ? api_bad_value(in, "\"%.64s\" is none of the tools", s)
                 : api_wrong_type(in, "a string");
    api_leave(in, back);
    c->tool = t;
    c->n_tool = 1;
    c->tool_name = t->name;
    c->choice = API_TOOL_REQUIRED;
    return 0;
}

int api_read_function(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    static const struct api_field field[] = {
        { "name", api_read_text, offsetof(struct chat_tool, name), 1, 256 },
        { "description", api_read_text, offsetof(struct chat_tool, description), 0, 0 },
        { "parameters", read_schema, offsetof(struct chat_tool, parameters), 0, 0 },
    };
    return json_is_object(j) ? api_read_fields(in, j, field, 3, to) : api_wrong_type(in, "an object");
}

int api_read_choice(struct api_in *in, const json_t *j, const char *name_at, const json_t *name,
                    struct api_chat *c)
{
    const char *s = json_string_value(j);
    if (json_is_object(j))
        return api_choose_tool(in, name_at, name, c);
    if (api_is(s, "required"))
        return api_choose_any(in, s, c);
    if (api_is(s, "none"))
        api_choose_none(c);
    else if (!api_is(s, "auto"))
        return api_wrong_type(in, "none, auto, required, or an object that names a function");
    return 0;
}
