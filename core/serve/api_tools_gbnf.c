/* api_tools_gbnf.c - the grammar of an answer that is calls and nothing else.
 *
 * Each tool's schema becomes a grammar by itself, so that references inside it
 * keep their meaning; its rules get the tool's number in front of their names,
 * and a rule of ours puts the call around it. */
#include "core/serve/api_tools.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_schema.h"

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Length of what is no rule's name though it has letters in it: a literal, a
 * class, a repetition, a comment. 0: none starts here. */
static size_t opaque(const char *p, const char *end)
{
    const char close = *p == '"' ? '"' : *p == '[' ? ']' : *p == '{' ? '}' : *p == '#' ? '\n' : 0;
    const char *at = p + 1;
    if (!close)
        return 0;
    while (at < end && *at != close)
        at += *at == '\\' && close != '\n' && at + 1 < end ? 2 : 1;
    return (size_t)(at - p) + (at < end);
}

static void put_renamed(struct buf *out, const struct buf *gbnf, unsigned i)
{
    const char *p = gbnf->p, *const end = p + gbnf->n;
    while (p < end) {
        size_t n = opaque(p, end);
        if (!n && is_name(*p)) {
            while (p + n < end && is_name(p[n]))
                n++;
            buf_addf(out, "t%u-", i);
        }
        n = n ? n : 1;
        buf_add(out, p, n);
        p += n;
    }
    buf_addf(out, "\n");
}

/* A text as the inside of a literal. */
static void put_literal(struct buf *out, const char *text)
{
    for (; *text; text++)
        if (*text == '\n')
            buf_addf(out, "\\n");
        else
            buf_addf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

static int put_tool(struct buf *out, const struct chat_tool *tool, unsigned i, const char *key,
                    struct err *e)
{
    static const struct str any = { "{\"type\":\"object\"}", 17 };
    const struct str schema = tool->parameters.n ? tool->parameters : any;
    struct buf gbnf = { 0 };
    json_t *const name = json_stringn(tool->name.p, tool->name.n);
    char *const quoted = name ? json_dumps(name, JSON_ENCODE_ANY) : NULL;
    int rc = quoted ? 0 : err_set(e, ERR_ARG, "name: is not UTF-8, or there is no memory");
    if (!rc)
        rc = api_schema_to_gbnf(schema.p, schema.n, &gbnf, e);
    if (rc)
        err_prefix(e, "%.*s", tool->name.n < 64 ? (int)tool->name.n : 64, tool->name.p);
    else {
        buf_addf(out, "call%u ::= \"{\\\"name\\\": ", i);
        put_literal(out, quoted);
        buf_addf(out, ", \\\"%s\\\": \" t%u-root \"}\"\n", key, i);
        put_renamed(out, &gbnf, i);
        out->failed = out->failed || gbnf.failed;
    }
    free(quoted);
    json_decref(name);
    buf_free(&gbnf);
    return rc;
}

int tools_to_gbnf(const struct chat_template *t, const struct chat_tool *tool, unsigned n_tool,
                  bool parallel, struct buf *out, struct err *e)
{
    const bool bare = chat_calls(t) == CHAT_CALL_JSON;
    const char *const open = bare ? "" : "<tool_call>\n", *const close = bare ? "" : "\n</tool_call>";
    if (!n_tool)
        return err_set(e, ERR_ARG, "tools: is empty, and a call of one is demanded");
    buf_addf(out, "root ::= one");
    if (parallel)
        buf_addf(out, " (\"\\n\" one){0,%d}", TOOLS_MAX_CALL - 1);
    buf_addf(out, "\none ::= \"");
    put_literal(out, open);
    buf_addf(out, "\" call \"");
    put_literal(out, close);
    buf_addf(out, "\"\ncall ::= call0");
    for (unsigned i = 1; i < n_tool; i++)
        buf_addf(out, " | call%u", i);
    buf_addf(out, "\n");
    int rc = 0;
    for (unsigned i = 0; !rc && i < n_tool; i++)
        rc = put_tool(out, &tool[i], i, bare ? "parameters" : "arguments", e);
    if (!rc && out->failed)
        rc = err_set(e, ERR_NOMEM, "tools: no memory for their grammar");
    return rc;
}
