/* api_tools.c - a model's text, taken apart into content and calls of tools.
 *
 * A call is an opening (<tool_call>, [TOOL_CALLS], or in templates that write
 * nothing around it the first character of all), JSON values, and a closing.
 * Text is held back from what may be an opening on. A scanner finds where a
 * value ends, looking at each byte once; jansson then says whether it is JSON.
 * Whatever does not turn out a call of a known tool was content. */
#include "core/serve/api_tools.h"

#include <jansson.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_VALUE = 64 << 10,             /* bytes of one call; longer is content  */
    AT_ONCE = 4 << 10,                /* bytes of text that are looked through */
    ID_RANDOM = 12                    /* bytes of chance in an id              */
};

enum kind { TAGS, LIST, BARE };

static const struct opening {
    const char *open, *close;         /* close "": the value's own end         */
} opening[] = {
    [TAGS] = { "<tool_call>", "</tool_call>" },
    [LIST] = { "[TOOL_CALLS]", "" },
};
enum { N_OPENING = sizeof opening / sizeof *opening };

enum state {
    TEXT,                             /* no opening yet                        */
    BETWEEN,                          /* after one, outside a value            */
    VALUE                             /* inside                                */
};

struct tools {
    const struct chat_template *t;
    const struct chat_tool *tool;     /* [n_tool]                              */
    unsigned n_tool;
    struct buf held;                  /* not decided yet                       */
    bool begun;                       /* anything but white space is decided   */
    enum state state;
    enum kind kind;
    size_t body;                      /* where the opening ends in held        */
    size_t at;                        /* next byte of held to be looked at     */
    size_t value;                     /* where the value began                 */
    unsigned depth;
    bool in_string, escaped;
    struct chat_call call[TOOLS_MAX_CALL];
    void *memory[TOOLS_MAX_CALL];     /* of each call's texts                  */
    unsigned n_call, n_sure;          /* parsed; of those, given out           */
    bool failed;                      /* no memory                             */
};

struct tools *tools_open(const struct chat_template *t, const struct chat_tool *tool,
                         unsigned n_tool)
{
    struct tools *const s = calloc(1, sizeof *s);
    if (s) {
        s->t = t;
        s->tool = tool;
        s->n_tool = n_tool;
    }
    return s;
}

static void forget_calls(struct tools *s, unsigned from)
{
    while (s->n_call > from)
        free(s->memory[--s->n_call]);
}

void tools_close(struct tools *s)
{
    if (!s)
        return;
    forget_calls(s, 0);
    buf_free(&s->held);
    free(s);
}

const struct chat_call *tools_calls(const struct tools *s, unsigned *n)
{
    *n = s->n_sure;
    return s->call;
}

/* ---- slices of JSON that jansson has seen to be right ---- */

/* The value that starts at s.p[i]. */
static struct str slice(struct str s, size_t i)
{
    const size_t from = i;
    unsigned depth = 0;
    bool in_string = false;
    for (; i < s.n; i++) {
        const char c = s.p[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']' || c == ',' || c == ':' || str_is_space(c)) {
            if (!depth)
                break;
            depth -= c == '}' || c == ']';
            if (!depth && (c == '}' || c == ']')) {
                i++;
                break;
            }
        }
    }
    return (struct str){ s.p + from, (i < s.n ? i : s.n) - from };
}

/* The next element of an array, or key of an object: *i starts at 1, behind
 * the bracket. */
static bool next(struct str s, size_t *i, struct str *out)
{
    *i = str_skip_space(s, *i);
    if (*i < s.n && s.p[*i] == ',')
        *i = str_skip_space(s, *i + 1);
    if (*i >= s.n || s.p[*i] == ']' || s.p[*i] == '}')
        return false;
    *out = slice(s, *i);
    *i += out->n;
    return true;
}

/* The value of an object's key; n 0: none. */
static struct str member(struct str object, const char *key)
{
    const size_t len = strlen(key);
    struct str k, none = { NULL, 0 };
    for (size_t i = 1; next(object, &i, &k);) {
        i = str_skip_space(object, str_skip_space(object, i) + 1);
        const struct str v = slice(object, i);
        i += v.n;
        if (k.n == len + 2 && !memcmp(k.p + 1, key, len))
            return v;
    }
    return none;
}

/* ---- values into calls ---- */

static bool is_known(const struct tools *s, const char *p, size_t n)
{
    for (unsigned i = 0; i < s->n_tool; i++)
        if (s->tool[i].name.n == n && !memcmp(s->tool[i].name.p, p, n))
            return true;
    return false;
}

static bool keep_call(struct tools *s, const char *name, size_t n_name, struct str arguments)
{
    unsigned char raw[ID_RANDOM];
    enum { ID = sizeof "call_" - 1 + 2 * ID_RANDOM };
    if (s->n_call == TOOLS_MAX_CALL)
        return false;
    char *const m = malloc(ID + 1 + n_name + arguments.n);
    if (!m) {
        s->failed = true;
        return false;
    }
    randombytes_buf(raw, sizeof raw);
    memcpy(m, "call_", 5);
    sodium_bin2hex(m + 5, 2 * ID_RANDOM + 1, raw, sizeof raw);
    memcpy(m + ID, name, n_name);
    memcpy(m + ID + n_name, arguments.p, arguments.n);
    s->memory[s->n_call] = m;
    s->call[s->n_call++] = (struct chat_call){ { m, ID }, { m + ID, n_name },
                                               { m + ID + n_name, arguments.n } };
    return true;
}

/* Arguments as an object, as a string that holds one, or none at all. */
static bool keep_arguments(struct tools *s, const json_t *name, struct str a)
{
    static const struct str none = { "{}", 2 };
    const char *const p = json_string_value(name);
    const size_t n = json_string_length(name);
    if (!a.n || *a.p == 'n')
        return keep_call(s, p, n, none);
    if (*a.p == '{')
        return keep_call(s, p, n, a);
    if (*a.p != '"')
        return false;
    json_t *const text = json_loadb(a.p, a.n, JSON_DECODE_ANY, NULL);
    json_t *const object = text ? json_loadb(json_string_value(text), json_string_length(text),
                                             JSON_REJECT_DUPLICATES, NULL) : NULL;
    const bool ok = json_is_object(object) &&
                    keep_call(s, p, n, (struct str){ json_string_value(text),
                                                     json_string_length(text) });
    json_decref(object);
    json_decref(text);
    return ok;
}

static bool parse_call(struct tools *s, struct str object)
{
    if (!object.n || *object.p != '{')
        return false;
    const struct str inner = member(object, "function");
    if (inner.n && *inner.p == '{')
        object = inner;
    const struct str name = member(object, "name");
    json_t *const j = name.n ? json_loadb(name.p, name.n, JSON_DECODE_ANY, NULL) : NULL;
    bool ok = json_is_string(j) && is_known(s, json_string_value(j), json_string_length(j));
    if (ok) {
        struct str a = member(object, "arguments");
        if (!a.n)
            a = member(object, "parameters");
        ok = keep_arguments(s, j, a);
    }
    json_decref(j);
    return ok;
}

static bool parse_value(struct tools *s, struct str v)
{
    json_t *const j = json_loadb(v.p, v.n, JSON_REJECT_DUPLICATES, NULL);
    bool ok = j;
    json_decref(j);
    if (!ok || *v.p == '{')
        return ok && parse_call(s, v);
    struct str each;
    const unsigned before = s->n_call;
    for (size_t i = 1; ok && next(v, &i, &each);)
        ok = parse_call(s, each);
    return ok && s->n_call > before;
}

/* ---- the text ---- */

static void drop(struct tools *s, size_t n)
{
    s->held.n -= n;
    memmove(s->held.p, s->held.p + n, s->held.n);
}

static void give(struct tools *s, size_t n, struct buf *content)
{
    if (!n)
        return;
    buf_add(content, s->held.p, n);
    drop(s, n);
    s->begun = true;
}

static void accept(struct tools *s)
{
    drop(s, s->at);
    s->n_sure = s->n_call;
    s->begun = true;
    s->state = TEXT;
}

/* It was content; the next opening may stand behind this one. */
static void refuse(struct tools *s, struct buf *content)
{
    forget_calls(s, s->n_sure);
    give(s, s->body, content);
    s->begun = true;
    s->state = TEXT;
}

/* White space in front of what ends at n. */
static size_t before_space(const struct tools *s, size_t n)
{
    while (n && str_is_space(s->held.p[n - 1]))
        n--;
    return n;
}

/* Bytes of held that are content for sure when no opening is in it. */
static size_t sure(const struct tools *s)
{
    size_t keep = 0;
    for (int k = 0; k < N_OPENING; k++)
        for (size_t n = strlen(opening[k].open) - 1; n > keep; n--)
            if (n <= s->held.n && !memcmp(s->held.p + s->held.n - n, opening[k].open, n))
                keep = n;
    return before_space(s, s->held.n - keep);
}

static bool find_opening(struct tools *s, size_t *at)
{
    const char *first = NULL;
    for (int k = 0; k < N_OPENING; k++) {
        const char *const p = memmem(s->held.p, s->held.n, opening[k].open, strlen(opening[k].open));
        if (p && (!first || p < first)) {
            first = p;
            s->kind = (enum kind)k;
        }
    }
    if (first)
        *at = (size_t)(first - s->held.p);
    return first;
}

static void enter(struct tools *s, size_t body)
{
    s->state = BETWEEN;
    s->body = s->at = body;
}

/* Each returns whether there is more to do with what is held. */
static bool text_step(struct tools *s, bool end, struct buf *content)
{
    size_t at = str_skip_space((struct str){ s->held.p, s->held.n }, 0);
    if (!s->begun && chat_calls(s->t) == CHAT_CALL_JSON) {
        if (at == s->held.n && !end)
            return false;
        if (at < s->held.n && s->held.p[at] == '{') {
            s->kind = BARE;
            enter(s, at);
            return true;
        }
    }
    if (find_opening(s, &at)) {
        const size_t n = before_space(s, at);
        give(s, n, content);
        enter(s, at - n + strlen(opening[s->kind].open));
        return true;
    }
    if (!end)
        give(s, sure(s), content);
    else
        give(s, s->n_sure ? before_space(s, s->held.n) : s->held.n, content);
    return false;
}

/* s->at is outside a value: at another one, at the closing, or at neither. */
static bool between_step(struct tools *s, bool end, struct buf *content)
{
    const struct str held = { s->held.p, s->held.n };
    const bool some = s->n_call > s->n_sure;
    const char *const close = s->kind == BARE ? "" : opening[s->kind].close;
    const size_t n = strlen(close);
    if (some && s->kind == LIST) {
        accept(s);
        return true;
    }
    s->at = str_skip_space(held, s->at);
    while (s->kind == BARE && some && s->at < held.n && held.p[s->at] == ';')
        s->at = str_skip_space(held, s->at + 1);
    const size_t rest = held.n - s->at;
    if (rest && (held.p[s->at] == '{' || (held.p[s->at] == '[' && s->kind != BARE))) {
        s->state = VALUE;
        s->value = s->at;
        s->depth = 0;
        s->in_string = s->escaped = false;
    } else if (some && n && rest >= n && !memcmp(held.p + s->at, close, n)) {
        s->at += n;
        accept(s);
    } else if (!end && rest < (n ? n : 1) && !memcmp(held.p + s->at, close, rest)) {
        return false;
    } else if (end && some && !memcmp(held.p + s->at, close, rest < n ? rest : n) && rest <= n) {
        s->at = held.n;               /* a turn may end without the closing    */
        accept(s);
    } else {
        refuse(s, content);
    }
    return true;
}

/* One byte of a value; false when no JSON has it there. */
static bool scan(struct tools *s, char c)
{
    if (s->in_string) {
        s->in_string = s->escaped || c != '"';
        s->escaped = !s->escaped && c == '\\';
        return true;
    }
    s->in_string = c == '"';
    s->depth += c == '{' || c == '[';
    s->depth -= c == '}' || c == ']';
    return c && strchr("{}[],:\" \t\r\n-+.0123456789eEtrufalsn", c);
}

static bool value_step(struct tools *s, bool end, struct buf *content)
{
    bool ok = true;
    while (ok && s->at < s->held.n) {
        ok = scan(s, s->held.p[s->at++]) && s->at - s->value <= MAX_VALUE;
        if (ok && !s->depth) {
            s->state = BETWEEN;
            ok = parse_value(s, (struct str){ s->held.p + s->value, s->at - s->value });
            break;
        }
    }
    if (!ok || (end && s->state == VALUE))
        refuse(s, content);
    return s->state != VALUE;
}

static void feed(struct tools *s, const char *p, size_t n, bool end, struct buf *content)
{
    buf_add(&s->held, p, n);
    bool more = s->held.n && !s->held.failed;
    while (more)
        more = s->state == TEXT      ? text_step(s, end, content)
               : s->state == BETWEEN ? between_step(s, end, content)
                                     : value_step(s, end, content);
}

/* In portions, since text behind an opening that is none is looked at again. */
void tools_feed(struct tools *s, const char *p, size_t n, bool end, struct buf *content)
{
    for (; n > AT_ONCE; p += AT_ONCE, n -= AT_ONCE)
        feed(s, p, AT_ONCE, false, content);
    feed(s, p, n, end, content);
    content->failed = content->failed || s->failed || s->held.failed;
}
