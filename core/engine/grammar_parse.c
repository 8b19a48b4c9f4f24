/* grammar_parse.c - GBNF text to trees.
 *
 * By recursive descent; parentheses and operators that stand on each other are
 * counted, and the count bounds the recursion here and in whoever walks the
 * tree. A rule ends with its line, except that a line may go on with `|`, and
 * that lines do not count inside parentheses. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/engine/grammar.h"
#include "core/engine/grammar_tree.h"

enum {
    MAX_MEMORY = 64 << 20,              /* of the tree; a text at its limit stays far below */
    N_SLOT = 2 * GRAMMAR_MAX_RULE,      /* a power of two */
    MAX_CP = 0x10ffff
};

struct parse {
    struct tree *t;
    struct err *e;
    size_t at;
    uint32_t *slot;                     /* [N_SLOT] name -> rule + 1              */
    struct range *range;                /* of the class being read                */
    size_t n_range, cap_range;
};

int grammar_fail(const struct tree *t, uint32_t at, int code, struct err *e, const char *fmt, ...)
{
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < at && i < t->n; i++) {
        if (t->text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)t->text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(what, sizeof what, fmt, ap) < 0)
        what[0] = 0;
    va_end(ap);
    return err_set(e, code, "grammar: line %u, column %u: %s", line, column, what);
}

void grammar_tree_free(struct tree *t)
{
    arena_free(&t->arena);
}

#define FAIL(p, place, ...) grammar_fail((p)->t, (uint32_t)(place), ERR_ARG, (p)->e, __VA_ARGS__)

static int no_memory(struct parse *p)
{
    return err_set(p->e, ERR_NOMEM, "grammar: no memory for %zu bytes of text; send less", p->t->n);
}

/* -1 at the end. */
static int peek(const struct parse *p)
{
    return p->at < p->t->n ? (unsigned char)p->t->text[p->at] : -1;
}

static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
}

/* White space and comments; over the ends of lines only if asked. */
static void skip(struct parse *p, bool lines)
{
    for (;; p->at++) {
        if (peek(p) == '#')
            while (peek(p) != -1 && peek(p) != '\n' && peek(p) != '\r')
                p->at++;
        const int c = peek(p);
        if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r')))
            return;
    }
}

/* ---- nodes ---- */

static struct node *node_new(struct parse *p, enum node_kind kind, size_t at)
{
    struct node *const n = arena_alloc(&p->t->arena, 1, sizeof *n);
    if (!n)
        return NULL;
    n->kind = kind;
    n->at = (uint32_t)at;
    n->height = 1;
    p->t->n_node++;
    return n;
}

static void node_add(struct node *parent, struct node *part)
{
    part->parent = parent;
    part->prev = parent->last;
    part->next = NULL;
    if (parent->last)
        parent->last->next = part;
    else
        parent->first = part;
    parent->last = part;
    if (parent->height <= part->height)
        parent->height = (uint16_t)(part->height + 1);
}

/* ---- names ---- */

static struct str read_name(struct parse *p)
{
    const size_t from = p->at;
    while (is_name(peek(p)))
        p->at++;
    return (struct str){ p->t->text + from, p->at - from };
}

static int rule_of(struct parse *p, struct str name, size_t at, uint32_t *out)
{
    uint32_t h = 0x811c9dc5u;
    for (size_t i = 0; i < name.n; i++)
        h = (h ^ (unsigned char)name.p[i]) * 0x01000193u;
    struct tree *const t = p->t;
    uint32_t *s = &p->slot[h % N_SLOT];
    while (*s) {
        const struct str old = t->rule[*s - 1].name;
        if (old.n == name.n && memcmp(old.p, name.p, name.n) == 0) {
            *out = *s - 1;
            return 0;
        }
        s = s + 1 < p->slot + N_SLOT ? s + 1 : p->slot;
    }
    if (t->n_rule == GRAMMAR_MAX_RULE)
        return grammar_fail(t, (uint32_t)at, ERR_LIMIT, p->e,
                            "more than %d rules, the most allowed", GRAMMAR_MAX_RULE);
    t->rule[t->n_rule] = (struct rule){ .name = name, .at = (uint32_t)at };
    *out = t->n_rule++;
    *s = t->n_rule;
    return 0;
}

static int read_ref(struct parse *p, struct node **out)
{
    const size_t at = p->at;
    uint32_t rule;
    const int rc = rule_of(p, read_name(p), at, &rule);
    if (rc)
        return rc;
    struct node *const n = *out = node_new(p, NODE_REF, at);
    if (!n)
        return no_memory(p);
    n->rule = rule;
    n->same = p->t->rule[rule].ref;
    p->t->rule[rule].ref = n;
    p->t->n_ref++;
    return 0;
}

/* ---- characters ---- */

static int hex_of(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int read_hex(struct parse *p, size_t start, unsigned digits, uint32_t *cp)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < digits; i++, p->at++) {
        const int d = hex_of(peek(p));
        if (d < 0)
            return FAIL(p, start, "the escape wants %u hexadecimal digits", digits);
        v = v << 4 | (uint32_t)d;
    }
    if (v > MAX_CP || (v >= 0xd800 && v <= 0xdfff))
        return FAIL(p, start, "the escape is no code point, expected up to 10FFFF and no surrogate");
    *cp = v;
    return 0;
}

static int read_escape(struct parse *p, uint32_t *cp)
{
    const size_t start = p->at++;
    const int c = peek(p);
    p->at++;
    switch (c) {
    case 'x': return read_hex(p, start, 2, cp);
    case 'u': return read_hex(p, start, 4, cp);
    case 'U': return read_hex(p, start, 8, cp);
    case 't': *cp = '\t'; return 0;
    case 'r': *cp = '\r'; return 0;
    case 'n': *cp = '\n'; return 0;
    case '\\': case '"': case '[': case ']': case '-': case '^':
        *cp = (uint32_t)c;
        return 0;
    default:
        return FAIL(p, start, "an unknown escape, expected \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ "
                    "\\xHH \\uHHHH \\UHHHHHHHH");
    }
}

/* One character of a literal or a class. */
static int read_char(struct parse *p, const char *where, uint32_t *cp)
{
    const int c = peek(p);
    if (c == -1 || c == '\n' || c == '\r')
        return FAIL(p, p->at, "the line ends inside %s; write \\n for a new line", where);
    if (c == '\\')
        return read_escape(p, cp);
    const size_t n = utf8_decode(p->t->text + p->at, p->t->n - p->at, cp);
    if (!n)
        return FAIL(p, p->at, "byte 0x%02X is not UTF-8", (unsigned)c);
    p->at += n;
    return 0;
}

static int read_text(struct parse *p, struct node **out)
{
    const size_t start = p->at++;
    /* No escape is shorter than the bytes that it stands for. */
    const char *const quote = p->t->text + p->at;
    size_t most = 0;
    while (p->at + most < p->t->n && quote[most] != '"' && quote[most] != '\n')
        most += quote[most] == '\\' && p->at + most + 1 < p->t->n ? 2 : 1;
    char *const bytes = arena_alloc(&p->t->arena, most + 1, 1);
    struct node *const n = *out = node_new(p, NODE_TEXT, start);
    if (!bytes || !n)
        return no_memory(p);
    size_t used = 0;
    while (peek(p) != '"') {
        uint32_t cp = 0;
        const int rc = read_char(p, "a literal", &cp);
        if (rc)
            return rc;
        char utf8[4];
        const size_t k = utf8_encode(cp, utf8);
        memcpy(bytes + used, utf8, k);
        used += k;
    }
    p->at++;
    n->text = (struct str){ bytes, used };
    return 0;
}

/* ---- classes ---- */

static int range_add(struct parse *p, uint32_t lo, uint32_t hi)
{
    if (p->n_range == p->cap_range) {
        const size_t cap = p->cap_range ? p->cap_range * 2 : 64;
        struct range *const r = realloc(p->range, cap * sizeof *r);
        if (!r)
            return no_memory(p);
        p->range = r;
        p->cap_range = cap;
    }
    p->range[p->n_range++] = (struct range){ lo, hi };
    return 0;
}

static int by_lo(const void *a, const void *b)
{
    const uint32_t x = ((const struct range *)a)->lo, y = ((const struct range *)b)->lo;
    return (x > y) - (x < y);
}

/* Sorts and joins, turns over if asked, cuts the surrogates out, and leaves the
 * result in the node. */
static int range_store(struct parse *p, struct node *n, bool negate)
{
    if (p->n_range)
        qsort(p->range, p->n_range, sizeof *p->range, by_lo);
    const size_t most = p->n_range + 2;
    struct range *const r = arena_alloc(&p->t->arena, most, sizeof *r);
    struct range *const cut = arena_alloc(&p->t->arena, most + 1, sizeof *cut);
    if (!r || !cut)
        return no_memory(p);
    size_t k = 0;
    for (size_t i = 0; i < p->n_range; i++) {
        const struct range x = p->range[i];
        if (k && x.lo <= r[k - 1].hi + 1)
            r[k - 1].hi = x.hi > r[k - 1].hi ? x.hi : r[k - 1].hi;
        else
            r[k++] = x;
    }
    if (negate) {
        uint32_t from = 0;
        size_t m = 0;
        for (size_t i = 0; i < k; i++) {
            const struct range x = r[i];
            if (x.lo > from)
                r[m++] = (struct range){ from, x.lo - 1 };
            from = x.hi + 1;
        }
        if (from <= MAX_CP)
            r[m++] = (struct range){ from, MAX_CP };
        k = m;
    }
    uint32_t n_cut = 0;
    for (size_t i = 0; i < k; i++) {
        if (r[i].lo < 0xd800)
            cut[n_cut++] = (struct range){ r[i].lo, r[i].hi < 0xd800 ? r[i].hi : 0xd7ff };
        if (r[i].hi > 0xdfff)
            cut[n_cut++] = (struct range){ r[i].lo > 0xdfff ? r[i].lo : 0xe000, r[i].hi };
    }
    if (!n_cut)
        return FAIL(p, n->at, "the class holds no character");
    n->range = cut;
    n->n_range = n_cut;
    return 0;
}

static int read_class(struct parse *p, struct node **out)
{
    static const char where[] = "a character class";
    struct node *const n = *out = node_new(p, NODE_CLASS, p->at);
    if (!n)
        return no_memory(p);
    p->at++;
    p->n_range = 0;
    const bool negate = peek(p) == '^';
    p->at += negate;
    while (peek(p) != ']') {
        const size_t start = p->at;
        uint32_t lo = 0, hi = 0;
        int rc = read_char(p, where, &lo);
        hi = lo;
        if (!rc && peek(p) == '-' && p->at + 1 < p->t->n && p->t->text[p->at + 1] != ']') {
            p->at++;
            rc = read_char(p, where, &hi);
        }
        if (!rc && hi < lo)
            rc = FAIL(p, start, "a range that runs backwards, from %X to %X", lo, hi);
        if (!rc)
            rc = range_add(p, lo, hi);
        if (rc)
            return rc;
    }
    p->at++;
    return range_store(p, n, negate);
}

static int read_any(struct parse *p, struct node **out)
{
    *out = node_new(p, NODE_CLASS, p->at);
    if (!*out)
        return no_memory(p);
    p->at++;
    p->n_range = 0;
    const int rc = range_add(p, 0, MAX_CP);
    return rc ? rc : range_store(p, *out, false);
}

/* ---- repetition ---- */

static int read_count(struct parse *p, uint32_t *out)
{
    const size_t start = p->at;
    uint32_t v = 0;
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
        v = v * 10 + (uint32_t)(peek(p) - '0');
        if (v > GRAMMAR_MAX_REPEAT)
            return grammar_fail(p->t, (uint32_t)start, ERR_LIMIT, p->e,
                                "a repetition of more than %d", GRAMMAR_MAX_REPEAT);
    }
    if (p->at == start)
        return FAIL(p, start, "expected a number, as in {2}, {2,} or {2,5}");
    *out = v;
    return 0;
}

/* {m} {m,} {m,n} {,n} */
static int read_counts(struct parse *p, uint32_t *min, uint32_t *max)
{
    const size_t start = p->at++;
    int rc = 0;
    skip(p, false);
    *min = 0;
    if (peek(p) != ',')
        rc = read_count(p, min);
    *max = *min;
    skip(p, false);
    if (!rc && peek(p) == ',') {
        p->at++;
        skip(p, false);
        *max = REPEAT_FOREVER;
        if (peek(p) != '}')
            rc = read_count(p, max);
    }
    skip(p, false);
    if (!rc && peek(p) != '}')
        rc = FAIL(p, p->at, "expected } after the count");
    if (!rc && *max < *min)
        rc = FAIL(p, start, "at least %u and at most %u times is never", *min, *max);
    p->at++;
    return rc;
}

/* Whatever operators follow *n, each around all before it. */
static int read_repeat(struct parse *p, struct node **n)
{
    for (;;) {
        const size_t start = p->at;
        uint32_t min = 0, max = REPEAT_FOREVER;
        int rc = 0;
        switch (peek(p)) {
        case '*': p->at++; break;
        case '+': min = 1; p->at++; break;
        case '?': max = 1; p->at++; break;
        case '{': rc = read_counts(p, &min, &max); break;
        default: return 0;
        }
        struct node *const r = rc ? NULL : node_new(p, NODE_REPEAT, start);
        if (!r)
            return rc ? rc : no_memory(p);
        r->min = min;
        r->max = max;
        node_add(r, *n);
        if (r->height > 4 * GRAMMAR_MAX_NEST)
            return grammar_fail(p->t, (uint32_t)start, ERR_LIMIT, p->e,
                                "more than %d operators on each other", 4 * GRAMMAR_MAX_NEST);
        *n = r;
        skip(p, false);
    }
}

/* ---- sequences and alternatives ---- */

static int read_alt(struct parse *p, unsigned nest, struct node **out);

static int read_group(struct parse *p, unsigned nest, struct node **out)
{
    const size_t start = p->at++;
    if (nest == GRAMMAR_MAX_NEST)
        return grammar_fail(p->t, (uint32_t)start, ERR_LIMIT, p->e,
                            "more than %d parentheses in each other", GRAMMAR_MAX_NEST);
    const int rc = read_alt(p, nest + 1, out);
    if (rc)
        return rc;
    if (peek(p) != ')')
        return FAIL(p, start, "the parenthesis is never closed");
    p->at++;
    return 0;
}

static int read_seq(struct parse *p, unsigned nest, struct node **out)
{
    struct node *const seq = *out = node_new(p, NODE_SEQ, p->at);
    if (!seq)
        return no_memory(p);
    for (;;) {
        skip(p, nest > 0);
        struct node *part = NULL;
        const int c = peek(p);
        int rc;
        if (c == '"')
            rc = read_text(p, &part);
        else if (c == '[')
            rc = read_class(p, &part);
        else if (c == '.')
            rc = read_any(p, &part);
        else if (c == '(')
            rc = read_group(p, nest, &part);
        else if (is_name(c))
            rc = read_ref(p, &part);
        else
            return 0;
        if (!rc) {
            skip(p, false);
            rc = read_repeat(p, &part);
        }
        if (rc)
            return rc;
        node_add(seq, part);
    }
}

/* Whether another alternative follows; outside parentheses it may start the
 * next line. */
static bool more(struct parse *p)
{
    const size_t end = p->at;
    skip(p, true);
    if (peek(p) == '|') {
        p->at++;
        return true;
    }
    p->at = end;
    return false;
}

static int read_alt(struct parse *p, unsigned nest, struct node **out)
{
    struct node *const alt = *out = node_new(p, NODE_ALT, p->at);
    if (!alt)
        return no_memory(p);
    do {
        struct node *seq = NULL;
        skip(p, true);
        const int rc = read_seq(p, nest, &seq);
        if (rc)
            return rc;
        node_add(alt, seq);
    } while (more(p));
    skip(p, nest > 0);
    return 0;
}

static int read_rule(struct parse *p)
{
    const size_t start = p->at;
    const struct str name = read_name(p);
    if (!name.n)
        return FAIL(p, start, "expected the name of a rule: letters, digits, - and _");
    uint32_t i;
    int rc = rule_of(p, name, start, &i);
    if (rc)
        return rc;
    if (p->t->rule[i].body)
        return FAIL(p, start, "rule \"%.*s\" is defined a second time",
                    (int)(name.n < 60 ? name.n : 60), name.p);
    p->t->rule[i].at = (uint32_t)start;
    skip(p, false);
    if (p->t->n - p->at < 3 || memcmp(p->t->text + p->at, "::=", 3) != 0)
        return FAIL(p, p->at, "expected ::= after the name of a rule");
    p->at += 3;
    struct node *body = NULL;
    rc = read_alt(p, 0, &body);
    if (rc)
        return rc;
    p->t->rule[i].body = body;
    body->rule = i;
    const int c = peek(p);
    if (c != -1 && c != '\n' && c != '\r')
        return FAIL(p, p->at, "expected a literal, a class, a name, ( or the end of the line");
    return 0;
}

int grammar_parse(struct tree *t, const char *text, size_t n, struct err *e)
{
    if (n > GRAMMAR_MAX_TEXT)
        return err_set(e, ERR_LIMIT, "grammar: %zu bytes, at most %d are allowed", n,
                       GRAMMAR_MAX_TEXT);
    t->text = text;
    t->n = n;
    t->arena.max = MAX_MEMORY;
    struct parse p = { .t = t, .e = e };
    t->rule = arena_alloc(&t->arena, GRAMMAR_MAX_RULE, sizeof *t->rule);
    p.slot = arena_alloc(&t->arena, N_SLOT, sizeof *p.slot);
    if (!t->rule || !p.slot)
        return no_memory(&p);
    uint32_t root;
    int rc = rule_of(&p, (struct str){ "root", 4 }, 0, &root);
    for (skip(&p, true); !rc && peek(&p) != -1; skip(&p, true))
        rc = read_rule(&p);
    free(p.range);
    return rc;
}
