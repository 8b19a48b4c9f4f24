/* chat_tools.c - tools and calls of tools, as JSON in the words of a template.
 *
 * Publishers' templates print JSON with Python's json.dumps, so a client's
 * compact schema is spaced as that does. Only strings, brackets, commas and
 * colons matter for it; whoever hands the JSON over has checked it. */
#include <string.h>

#include "core/model/chat_parts.h"

enum { MAX_LEVEL = 32 };              /* deeper is not indented further: brackets cost no n^2 */

static void line(struct buf *out, unsigned indent, unsigned level)
{
    static const char spaces[] = "                                ";
    size_t n = (size_t)indent * (level < MAX_LEVEL ? level : MAX_LEVEL);
    buf_add(out, "\n", 1);
    for (; n; n -= n < sizeof spaces - 1 ? n : sizeof spaces - 1)
        buf_add(out, spaces, n < sizeof spaces - 1 ? n : sizeof spaces - 1);
}

/* Length of the string that starts with the quote at s.p[i]. */
static size_t string_size(struct str s, size_t i)
{
    size_t k = i + 1;
    while (k < s.n && s.p[k] != '"')
        k += s.p[k] == '\\' && k + 1 < s.n ? 2 : 1;
    return (k < s.n ? k + 1 : s.n) - i;
}

/* JSON text in Python's spacing, which models were trained on: one line with
 * ", " and ": ", or indented. Says nothing about text that is no JSON but puts
 * it out as it is between the brackets, commas and colons that it finds. */
static void space_json(struct buf *out, struct str s, unsigned indent, unsigned level)
{
    for (size_t i = str_skip_space(s, 0); i < s.n; i = str_skip_space(s, i)) {
        const char c = s.p[i];
        size_t n = 1;
        if (c == '"') {
            n = string_size(s, i);
            buf_add(out, s.p + i, n);
        } else if (c == '{' || c == '[') {
            const size_t next = str_skip_space(s, i + 1);
            const bool empty = next < s.n && (s.p[next] == '}' || s.p[next] == ']');
            buf_add(out, &c, 1);
            if (empty) {
                buf_add(out, s.p + next, 1);
                n = next + 1 - i;
            } else {
                level++;
                if (indent)
                    line(out, indent, level);
            }
        } else if (c == '}' || c == ']') {
            level -= level > 0;
            if (indent)
                line(out, indent, level);
            buf_add(out, &c, 1);
        } else if (c == ',') {
            buf_add(out, indent ? "," : ", ", indent ? 1 : 2);
            if (indent)
                line(out, indent, level);
        } else if (c == ':') {
            buf_add(out, ": ", 2);
        } else {
            buf_add(out, &c, 1);
        }
        i += n;
    }
}

static void quote_json(struct buf *out, struct str s)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    buf_add(out, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        const char *const at = s.p[i] ? strchr(plain, s.p[i]) : NULL;
        if (at)
            buf_addf(out, "\\%c", letter[at - plain]);
        else if ((unsigned char)s.p[i] < 0x20)
            buf_addf(out, "\\u%04x", (unsigned)(unsigned char)s.p[i]);
        else
            buf_add(out, &s.p[i], 1);
    }
    buf_add(out, "\"", 1);
}

/* One tool in the order in which OpenAI's reference lists its fields. */
static void tool_json(struct buf *out, const struct chat_tool *t)
{
    buf_addf(out, "{\"type\":\"function\",\"function\":{\"name\":");
    quote_json(out, t->name);
    if (t->description.n) {
        buf_addf(out, ",\"description\":");
        quote_json(out, t->description);
    }
    if (t->parameters.n) {
        buf_addf(out, ",\"parameters\":");
        buf_add(out, t->parameters.p, t->parameters.n);
    }
    buf_addf(out, "}}");
}

static void call_json(struct buf *out, const struct chat_call *c, const char *arguments)
{
    static const char none[] = "{}";
    buf_addf(out, "{\"name\":");
    quote_json(out, c->name);
    buf_addf(out, ",\"%s\":", arguments);
    buf_add(out, c->arguments.n ? c->arguments.p : none,
            c->arguments.n ? c->arguments.n : sizeof none - 1);
    buf_addf(out, "}");
}

/* All that a client wrote goes through chat_say: its markers are text. */
static void say_json(struct chat_draft *d, const struct buf *json, unsigned indent, unsigned level)
{
    struct buf spaced = { 0 };
    space_json(&spaced, (struct str){ json->p, json->n }, indent, level);
    chat_say(d, (struct str){ spaced.p, spaced.n });
    d->failed = d->failed || spaced.failed || json->failed;
    buf_free(&spaced);
}

void chat_put_tools(struct chat_draft *d, const struct chat_in *in)
{
    const struct chat_tools *const form = d->t->tools;
    chat_put(d, form->intro);
    for (unsigned i = 0; i < in->n_tool; i++) {
        struct buf json = { 0 };
        if (i)
            chat_put(d, form->between);
        tool_json(&json, &in->tool[i]);
        say_json(d, &json, form->indent, form->level);
        buf_free(&json);
    }
    chat_put(d, form->outro);
}

void chat_put_calls(struct chat_draft *d, const struct chat_msg *m)
{
    const struct chat_tools *const form = d->t->tools;
    chat_put(d, form->call_before);
    for (unsigned i = 0; i < m->n_call; i++) {
        struct buf json = { 0 };
        if (i)
            chat_put(d, form->call_between);
        call_json(&json, &m->call[i], form->arguments);
        say_json(d, &json, 0, 0);
        buf_free(&json);
    }
    chat_put(d, form->call_after);
}
