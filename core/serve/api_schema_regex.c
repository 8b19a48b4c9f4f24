/* api_schema_regex.c - a pattern as a grammar of JSON strings.
 *
 * ECMA-262 without look-around, back references, word boundaries and Unicode
 * properties. The pattern is about the characters of the string, the grammar
 * about its JSON text: a set of characters becomes a class of those that stand
 * for themselves, and the escapes of the others, each in one spelling. Like
 * every pattern it may match anywhere in the string unless ^ and $ say
 * otherwise; they are known at the ends of the whole pattern only. */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/serve/api_schema_parts.h"

enum { MAX_RANGE = 512, MAX_NEST = 32, MAX_CP = 0x10ffff, MAX_COUNT = 65536 };

struct span {
    uint32_t lo, hi;
};

struct set {
    struct span span[MAX_RANGE];
    unsigned n;
    bool over;
};

struct regex {
    struct schema *s;
    const char *p;
    size_t n, at;
    unsigned nest;
    struct buf *out;
    struct set set, other;         /* the one being read; for turning one over */
};

static int fail(struct regex *r, int code, const char *what)
{
    return schema_fail(r->s, code, "pattern", "%s, at byte %zu", what, r->at);
}

static int peek(const struct regex *r)
{
    return r->at < r->n ? (unsigned char)r->p[r->at] : -1;
}

/* ---- sets ---- */

static void set_add(struct set *s, uint32_t lo, uint32_t hi)
{
    if (s->n == MAX_RANGE)
        s->over = true;
    else
        s->span[s->n++] = (struct span){ lo, hi };
}

static int by_lo(const void *a, const void *b)
{
    const uint32_t x = ((const struct span *)a)->lo, y = ((const struct span *)b)->lo;
    return (x > y) - (x < y);
}

static void set_join(struct set *s)
{
    unsigned n = 0;
    qsort(s->span, s->n, sizeof *s->span, by_lo);
    for (unsigned i = 0; i < s->n; i++) {
        const struct span x = s->span[i];
        if (n && x.lo <= s->span[n - 1].hi + 1)
            s->span[n - 1].hi = x.hi > s->span[n - 1].hi ? x.hi : s->span[n - 1].hi;
        else
            s->span[n++] = x;
    }
    s->n = n;
}

/* Adds what from does not hold. */
static void set_add_others(struct set *s, struct set *from)
{
    uint32_t next = 0;
    set_join(from);
    for (unsigned i = 0; i < from->n; i++) {
        if (from->span[i].lo > next)
            set_add(s, next, from->span[i].lo - 1);
        next = from->span[i].hi + 1;
    }
    if (next <= MAX_CP)
        set_add(s, next, MAX_CP);
}

/* \d \w \s and . as ECMA-262 defines them. */
static bool set_add_known(struct set *s, int c)
{
    static const struct span space[] = {
        { 0x09, 0x0d }, { 0x20, 0x20 }, { 0xa0, 0xa0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200a },
        { 0x2028, 0x2029 }, { 0x202f, 0x202f }, { 0x205f, 0x205f }, { 0x3000, 0x3000 },
        { 0xfeff, 0xfeff },
    };
    static const struct span line[] = { { '\n', '\n' }, { '\r', '\r' }, { 0x2028, 0x2029 } };
    switch (c) {
    case 'd':
        set_add(s, '0', '9');
        return true;
    case 'w':
        set_add(s, '0', '9');
        set_add(s, 'A', 'Z');
        set_add(s, '_', '_');
        set_add(s, 'a', 'z');
        return true;
    case 's':
        for (unsigned i = 0; i < sizeof space / sizeof *space; i++)
            set_add(s, space[i].lo, space[i].hi);
        return true;
    case '.':
        for (unsigned i = 0; i < sizeof line / sizeof *line; i++)
            set_add(s, line[i].lo, line[i].hi);
        return true;
    default:
        return false;
    }
}

static bool stands_for_itself(uint32_t cp)
{
    return cp >= 0x20 && cp != '"' && cp != '\\';
}

static void put_escape(struct buf *out, uint32_t cp)
{
    static const char from[] = "\b\f\n\r\t", to[] = "bfnrt";
    const char *const known = cp ? memchr(from, (int)cp, 5) : NULL;
    if (cp == '"')
        buf_addf(out, "\"\\\\\\\"\"");
    else if (cp == '\\')
        buf_addf(out, "\"\\\\\\\\\"");
    else if (known)
        buf_addf(out, "\"\\\\%c\"", to[known - from]);
    else
        buf_addf(out, "\"\\\\u%04x\"", cp);
}

/* The set, as GBNF. */
static int set_put(struct regex *r)
{
    struct set *const s = &r->set;
    struct buf *const out = r->out;
    if (s->over)
        return fail(r, ERR_LIMIT, "a class of too many ranges");
    set_join(s);
    if (!s->n)
        return fail(r, ERR_UNSUPPORTED, "an empty class, which matches nothing");
    const size_t start = out->n;
    bool plain = false;
    for (unsigned i = 0; i < s->n; i++)
        for (uint32_t c = s->span[i].lo; c <= s->span[i].hi; c++) {
            if (c > '\\') {
                plain = true;
                break;
            }
            plain |= stands_for_itself(c);
        }
    buf_addf(out, "(");
    if (plain) {
        buf_addf(out, "[");
        for (unsigned i = 0; i < s->n; i++) {
            static const struct span part[] = { { 0x20, '"' - 1 }, { '"' + 1, '\\' - 1 },
                                                { '\\' + 1, MAX_CP } };
            for (unsigned k = 0; k < 3; k++) {
                const uint32_t lo = s->span[i].lo > part[k].lo ? s->span[i].lo : part[k].lo;
                const uint32_t hi = s->span[i].hi < part[k].hi ? s->span[i].hi : part[k].hi;
                if (lo < 0xd800 && hi >= 0xd800)
                    buf_addf(out, "\\U%08X-\\U0000D7FF", lo);
                const uint32_t rest = lo >= 0xd800 && lo <= 0xdfff ? 0xe000 : lo;
                if (lo <= hi && hi < 0xd800)
                    buf_addf(out, "\\U%08X-\\U%08X", lo, hi);
                else if (lo <= hi && hi > 0xdfff)
                    buf_addf(out, "\\U%08X-\\U%08X", rest < 0xe000 ? 0xe000 : rest, hi);
            }
        }
        buf_addf(out, "]");
    }
    for (unsigned i = 0; i < s->n; i++)
        for (uint32_t c = s->span[i].lo; c <= s->span[i].hi && c <= '\\'; c++)
            if (!stands_for_itself(c)) {
                buf_addf(out, out->n > start + 1 ? " | " : "");
                put_escape(out, c);
            }
    buf_addf(out, ")");
    return 0;
}

/* ---- reading ---- */

static int hex_of(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int read_hex(struct regex *r, unsigned digits, uint32_t *cp)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < digits; i++, r->at++) {
        const int d = hex_of(peek(r));
        if (d < 0)
            return fail(r, ERR_ARG, "the escape wants hexadecimal digits");
        v = v << 4 | (uint32_t)d;
    }
    if (v >= 0xd800 && v <= 0xdfff)
        return fail(r, ERR_UNSUPPORTED, "half of a surrogate pair; write the character itself");
    *cp = v;
    return 0;
}

/* After a backslash. A character, or a set that is added: *cp is then -1. */
static int read_escape(struct regex *r, bool in_class, int64_t *cp)
{
    static const char plain[] = "^$\\.*+?()[]{}|/-\"'`~!@#%&=:;<>, _";
    const int c = peek(r);
    uint32_t v = 0;
    r->at++;
    *cp = -1;
    if (c == 'd' || c == 'w' || c == 's') {
        set_add_known(&r->set, c);
        return 0;
    }
    if (c == 'D' || c == 'W' || c == 'S') {
        r->other.n = 0;
        set_add_known(&r->other, c + ('a' - 'A'));
        set_add_others(&r->set, &r->other);
        return 0;
    }
    int rc = 0;
    switch (c) {
    case 'n': v = '\n'; break;
    case 'r': v = '\r'; break;
    case 't': v = '\t'; break;
    case 'f': v = '\f'; break;
    case 'v': v = '\v'; break;
    case '0': v = 0; break;
    case 'x': rc = read_hex(r, 2, &v); break;
    case 'u': rc = read_hex(r, 4, &v); break;
    case 'b':
        if (!in_class)
            return fail(r, ERR_UNSUPPORTED, "a word boundary is not supported");
        v = '\b';
        break;
    default:
        if (c < 0 || !strchr(plain, c))
            return fail(r, ERR_UNSUPPORTED, "this escape is not supported");
        v = (uint32_t)c;
    }
    *cp = v;
    return rc;
}

static int read_cp(struct regex *r, uint32_t *cp)
{
    const size_t n = utf8_decode(r->p + r->at, r->n - r->at, cp);
    if (!n)
        return fail(r, ERR_ARG, "not UTF-8");
    r->at += n;
    return 0;
}

/* One end of a range: *cp -1 when it was a set. */
static int read_member(struct regex *r, int64_t *cp)
{
    if (peek(r) == '\\') {
        r->at++;
        return read_escape(r, true, cp);
    }
    uint32_t v = 0;
    const int rc = peek(r) < 0 ? fail(r, ERR_ARG, "the class is never closed") : read_cp(r, &v);
    *cp = v;
    return rc;
}

static int read_class(struct regex *r)
{
    r->at++;
    const bool negate = peek(r) == '^';
    r->at += negate;
    while (peek(r) != ']') {
        int64_t lo, hi;
        int rc = read_member(r, &lo);
        hi = lo;
        if (!rc && peek(r) == '-' && r->at + 1 < r->n && r->p[r->at + 1] != ']') {
            r->at++;
            rc = read_member(r, &hi);
            if (!rc && (lo < 0 || hi < lo))
                rc = fail(r, ERR_ARG, "a range that does not run upwards");
        }
        if (rc)
            return rc;
        if (lo >= 0)
            set_add(&r->set, (uint32_t)lo, (uint32_t)hi);
    }
    r->at++;
    if (negate) {
        if (r->set.over)
            return fail(r, ERR_LIMIT, "a class of too many ranges");
        r->other = r->set;
        r->set.n = 0;
        set_add_others(&r->set, &r->other);
    }
    return set_put(r);
}

static int read_count(struct regex *r, uint32_t *out)
{
    uint32_t v = 0;
    const size_t start = r->at;
    for (; peek(r) >= '0' && peek(r) <= '9'; r->at++) {
        v = v * 10 + (uint32_t)(peek(r) - '0');
        if (v > MAX_COUNT)
            return fail(r, ERR_LIMIT, "a count above 65536");
    }
    *out = v;
    return r->at == start ? fail(r, ERR_UNSUPPORTED, "a { that starts no count must be written "
                                 "as \\{") : 0;
}

/* * + ? {m} {m,} {m,n}, and a ? after it, which changes no set of texts. */
static int read_quantifier(struct regex *r)
{
    const int c = peek(r);
    if (c == '*' || c == '+' || c == '?') {
        r->at++;
        buf_addf(r->out, "%c", c);
    } else if (c == '{') {
        uint32_t min, max;
        r->at++;
        int rc = read_count(r, &min);
        if (rc)
            return rc;
        buf_addf(r->out, "{%u", min);
        if (peek(r) == ',') {
            r->at++;
            buf_addf(r->out, ",");
            if (peek(r) != '}') {
                rc = read_count(r, &max);
                if (!rc && max < min)
                    rc = fail(r, ERR_ARG, "a count that runs backwards");
                if (rc)
                    return rc;
                buf_addf(r->out, "%u", max);
            }
        }
        if (peek(r) != '}')
            return fail(r, ERR_UNSUPPORTED, "a { that starts no count must be written as \\{");
        r->at++;
        buf_addf(r->out, "}");
    } else {
        return 0;
    }
    if (peek(r) == '?')
        r->at++;
    const int next = peek(r);
    if (next == '*' || next == '+' || next == '?' || next == '{')
        return fail(r, ERR_ARG, "two quantifiers in a row");
    return 0;
}

static int read_choice(struct regex *r);

static int read_group(struct regex *r)
{
    r->at++;
    if (peek(r) == '?') {
        if (r->at + 1 >= r->n || r->p[r->at + 1] != ':')
            return fail(r, ERR_UNSUPPORTED, "of the groups with (? only (?: is supported");
        r->at += 2;
    }
    if (++r->nest > MAX_NEST)
        return fail(r, ERR_LIMIT, "more than 32 groups in each other");
    buf_addf(r->out, "(");
    const int rc = read_choice(r);
    if (rc)
        return rc;
    if (peek(r) != ')')
        return fail(r, ERR_ARG, "a group is never closed");
    r->at++;
    r->nest--;
    buf_addf(r->out, ")");
    return 0;
}

static int read_atom(struct regex *r)
{
    const int c = peek(r);
    int64_t cp = -1;
    int rc = 0;
    r->set.n = 0;
    r->set.over = false;
    if (c == '(')
        return read_group(r);
    if (c == '[')
        return read_class(r);
    if (c == '^' || c == '$')
        return fail(r, ERR_UNSUPPORTED, "^ and $ are known at the ends of the pattern only");
    if (c == '*' || c == '+' || c == '?' || c == '{' || c == '}' || c == ']')
        return fail(r, ERR_ARG, "this character needs a backslash here");
    if (c == '.') {
        r->at++;
        r->other.n = 0;
        set_add_known(&r->other, '.');
        set_add_others(&r->set, &r->other);
        return set_put(r);
    }
    if (c == '\\') {
        r->at++;
        rc = read_escape(r, false, &cp);
    } else {
        uint32_t v = 0;
        rc = read_cp(r, &v);
        cp = v;
    }
    if (rc)
        return rc;
    if (cp >= 0)
        set_add(&r->set, (uint32_t)cp, (uint32_t)cp);
    return set_put(r);
}

static int read_choice(struct regex *r)
{
    buf_addf(r->out, "\"\"");
    for (;;) {
        const int c = peek(r);
        if (c == -1 || c == ')')
            return 0;
        if (c == '|') {
            r->at++;
            buf_addf(r->out, " | \"\"");
            continue;
        }
        buf_addf(r->out, " ");
        int rc = read_atom(r);
        if (!rc)
            rc = read_quantifier(r);
        if (rc)
            return rc;
    }
}

/* A $ at the end that no backslash takes away. */
static bool ends_anchored(const char *p, size_t n)
{
    size_t k = 0;
    if (!n || p[n - 1] != '$')
        return false;
    while (k + 1 < n && p[n - 2 - k] == '\\')
        k++;
    return k % 2 == 0;
}

/* "^a|b$" anchors each alternative at one end only. */
static bool has_bar(const char *p, size_t n)
{
    unsigned nest = 0;
    bool in_class = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\\')
            i++;
        else if (p[i] == '[')
            in_class = true;
        else if (p[i] == ']')
            in_class = false;
        else if (!in_class && p[i] == '(')
            nest++;
        else if (!in_class && p[i] == ')' && nest)
            nest--;
        else if (!in_class && p[i] == '|' && !nest)
            return true;
    }
    return false;
}

int schema_pattern(struct schema *s, const char *pattern, size_t n, struct buf *out)
{
    struct regex *const r = calloc(1, sizeof *r);
    if (!r)
        return schema_fail(s, ERR_NOMEM, "pattern", "no memory for it; send a smaller schema");
    *r = (struct regex){ .s = s, .p = pattern, .n = n, .out = out };
    const bool head = n && pattern[0] == '^', tail = ends_anchored(pattern, n);
    int rc = 0;
    if ((head || tail) && has_bar(pattern, n))
        rc = fail(r, ERR_UNSUPPORTED, "^ or $ beside | is not supported; write ^(a|b)$");
    r->at = head;
    r->n = n - (tail && n > head);
    buf_addf(out, "\"\\\"\" ");
    if (!head) {
        schema_common(s, COMMON_CHAR, out);
        buf_addf(out, "* ");
    }
    buf_addf(out, "(");
    if (!rc)
        rc = read_choice(r);
    if (!rc && r->at < r->n)
        rc = fail(r, ERR_ARG, "a ) without its (");
    buf_addf(out, ") ");
    if (!tail) {
        schema_common(s, COMMON_CHAR, out);
        buf_addf(out, "* ");
    }
    buf_addf(out, "\"\\\"\"");
    free(r);
    return rc;
}
