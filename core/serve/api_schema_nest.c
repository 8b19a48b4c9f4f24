/* api_schema_nest.c - arrays and objects.
 *
 * Properties come in the order in which the schema names them. Once one is
 * certainly there, a later one that may be missing is `("," pair)?`. Before
 * that the comma depends on what came: rule tK is "from property K on, with
 * something before", and the first property that is there chooses its tK. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/grammar.h"
#include "core/serve/api_schema_parts.h"

/* ---- arrays ---- */

/* min to max times item with commas between; lead: a comma before the first
 * one too. */
static void repeat(struct schema *s, struct buf *out, const char *item, uint32_t min, bool has_max,
                   uint32_t max, bool lead)
{
    const char *const open = !lead && min == 0 ? "(" : "";
    if (has_max && max == 0)
        return;
    buf_addf(out, " %s", open);
    if (!lead) {
        buf_addf(out, "%s ", item);
        min -= min > 0;
        max -= has_max;
    }
    buf_addf(out, "(\",\" ");
    schema_common(s, COMMON_WS, out);
    buf_addf(out, " %s){%u,", item, min);
    if (has_max)
        buf_addf(out, "%u", max);
    buf_addf(out, "}");
    if (!lead) {
        buf_addf(out, " ");
        schema_common(s, COMMON_WS, out);
    }
    buf_addf(out, "%s", open[0] ? ")?" : "");
}

/* The fixed items of a tuple; those from the min-th on may be missing. */
static int tuple(struct schema *s, const json_t *list, const char *keyword, uint32_t min,
                 uint32_t n, struct buf *out)
{
    for (uint32_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        if (i >= min)
            buf_addf(out, " (");
        if (i) {
            buf_addf(out, " \",\" ");
            schema_common(s, COMMON_WS, out);
        }
        buf_addf(out, " ");
        const int rc = schema_rule(s, json_array_get(list, i), keyword, name, out);
        if (rc)
            return rc;
    }
    return 0;
}

int schema_array(struct schema *s, const json_t *j, struct buf *out)
{
    bool has_min, has_max;
    uint32_t min, max;
    int rc = schema_count(s, j, "minItems", GRAMMAR_MAX_REPEAT, &has_min, &min);
    if (!rc)
        rc = schema_count(s, j, "maxItems", GRAMMAR_MAX_REPEAT, &has_max, &max);
    if (!rc && has_max && max < min)
        rc = schema_fail(s, ERR_ARG, "maxItems", "%u is less than minItems, %u", max, min);
    if (!rc && json_is_true(json_object_get(j, "uniqueItems")) && !(has_max && max <= 1))
        rc = schema_fail(s, ERR_UNSUPPORTED, "uniqueItems", "not supported; leave it out");
    if (rc)
        return rc;
    const json_t *items = json_object_get(j, "items");
    const char *fixed_key = "prefixItems", *items_key = "items";
    const json_t *fixed = json_object_get(j, fixed_key);
    if (json_is_array(items)) {                       /* until draft 2019-09 */
        fixed = items;
        fixed_key = "items";
        items_key = "additionalItems";
        items = json_object_get(j, items_key);
    }
    if (fixed && !json_is_array(fixed))
        return schema_fail(s, ERR_ARG, fixed_key, "must be an array of schemas");
    uint32_t n_fixed = (uint32_t)json_array_size(fixed);
    const bool closed = json_is_false(items) || (n_fixed && !items);
    if (closed && min > n_fixed)
        return schema_fail(s, ERR_ARG, "minItems", "%u, and there are %u items", min, n_fixed);
    if (has_max && max < n_fixed)
        n_fixed = max;
    if (!has_min)
        min = n_fixed;
    struct buf item = { 0 };
    if (!closed && (!items || json_is_true(items)))
        schema_common(s, COMMON_VALUE, &item);
    else if (!closed)
        rc = schema_rule(s, items, items_key, NULL, &item);
    buf_addf(out, "\"[\" ");
    schema_common(s, COMMON_WS, out);
    const uint32_t need = min < n_fixed ? min : n_fixed;
    if (!rc && n_fixed)
        rc = tuple(s, fixed, fixed_key, need, n_fixed, out);
    if (!rc && !closed && item.p)
        repeat(s, out, item.p, min - need, has_max, max - n_fixed, n_fixed > 0);
    for (uint32_t i = need; i < n_fixed; i++)
        buf_addf(out, ")?");
    if (n_fixed) {
        buf_addf(out, " ");
        schema_common(s, COMMON_WS, out);
    }
    buf_addf(out, " \"]\"");
    out->failed |= item.failed;
    buf_free(&item);
    return rc;
}

/* ---- objects ---- */

struct property {
    const char *name;
    struct buf pair;             /* "name": value */
    bool required;
};

struct object {
    struct schema *s;
    struct property *p;
    size_t n;
    struct buf other;            /* a pair that is not named; empty: forbidden */
    unsigned rule;               /* number of its first t rule */
};

static bool in_array(const json_t *array, const char *name)
{
    size_t i;
    const json_t *v;
    json_array_foreach(array, i, v)
        if (json_is_string(v) && strcmp(json_string_value(v), name) == 0)
            return true;
    return false;
}

static void comma(struct object *o, struct buf *out)
{
    buf_addf(out, "\",\" ");
    schema_common(o->s, COMMON_WS, out);
    buf_addf(out, " ");
}

/* What follows from property i on, something standing before it. */
static void tail(struct object *o, size_t i, struct buf *out)
{
    for (; i < o->n; i++) {
        const struct property *const p = &o->p[i];
        buf_addf(out, p->required ? " " : " (");
        comma(o, out);
        buf_addf(out, "%s%s", p->pair.p, p->required ? "" : ")?");
    }
    if (o->other.n) {
        buf_addf(out, " (");
        comma(o, out);
        buf_addf(out, "%s)*", o->other.p);
    }
    buf_addf(out, " ");
    schema_common(o->s, COMMON_WS, out);
}

/* t rules for what may follow a first property that is not the first named. */
static void write_tails(struct object *o, size_t n)
{
    struct buf *const out = o->s->out;
    for (size_t i = 0; i < n; i++) {
        const struct property *const p = &o->p[i + 1];
        buf_addf(out, "s%zu ::=", o->rule + i);
        if (i + 1 == n) {
            tail(o, i + 1, out);
        } else {
            buf_addf(out, " (");
            comma(o, out);
            buf_addf(out, "%s)%s s%zu", p->pair.p, p->required ? "" : "?", o->rule + i + 1);
        }
        buf_addf(out, "\n");
    }
}

/* Everything between the braces. */
static void members(struct object *o, struct buf *out)
{
    size_t first = 0;                       /* the first that is certainly there */
    while (first < o->n && !o->p[first].required)
        first++;
    if (first == 0 && o->n) {
        buf_addf(out, "%s", o->p[0].pair.p);
        tail(o, 1, out);
        return;
    }
    /* p0 t1 | p1 t2 | ... ; t rules only where there is a choice before them. */
    const size_t n_tail = first < o->n ? first + 1 : first;
    o->rule = o->s->n_rule;
    o->s->n_rule += (unsigned)n_tail;
    write_tails(o, n_tail);
    buf_addf(out, "(");
    for (size_t i = 0; i < n_tail; i++)
        buf_addf(out, "%s%s s%zu", i ? " | " : "", o->p[i].pair.p, o->rule + i);
    if (first == o->n) {
        if (o->other.n) {
            buf_addf(out, "%s%s", n_tail ? " | " : "", o->other.p);
            tail(o, o->n, out);
        }
        if (n_tail || o->other.n)
            buf_addf(out, " | ");
        buf_addf(out, "\"\"");
    }
    buf_addf(out, ")");
}

/* ---- names that are not those of the properties ---- */

static void put_class(struct buf *out, const char *without, size_t n)
{
    buf_addf(out, "[^\\x22\\\\\\x00-\\x1f");
    for (size_t i = 0; i < n; i++)
        buf_addf(out, "\\x%02x", (unsigned char)without[i]);
    buf_addf(out, "]");
}

/* Texts that differ from names[0..n), which are sorted and agree on their first
 * `depth` bytes; plain characters only, so that no escape spells a name. */
static void put_others(struct buf *out, const char *const *names, size_t n, size_t depth)
{
    char next[256];
    size_t n_next = 0, i = 0;
    const bool ends = n && !names[0][depth];
    buf_addf(out, "(");
    for (i = ends; i < n;) {
        const char c = names[i][depth];
        size_t to = i;
        while (to < n && names[to][depth] == c)
            to++;
        next[n_next++] = c;
        buf_addf(out, "\"%s%c\" ", c == '"' || c == '\\' ? "\\" : "", c);
        put_others(out, names + i, to - i, depth + 1);
        buf_addf(out, " | ");
        i = to;
    }
    put_class(out, next, n_next);
    buf_addf(out, " ");
    put_class(out, NULL, 0);
    buf_addf(out, "*%s)", ends ? "" : " | \"\"");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum { MAX_NAME = 48 };                     /* bytes; bounds put_others' recursion */

static int other_name(struct object *o, struct buf *out)
{
    const char **const names = calloc(o->n + 1, sizeof *names);
    if (!names)
        return schema_fail(o->s, ERR_NOMEM, NULL, "no memory for it; send a smaller schema");
    int rc = 0;
    for (size_t i = 0; i < o->n && !rc; i++) {
        names[i] = o->p[i].name;
        for (const char *c = names[i]; *c; c++)
            if (*c < 0x20 || *c > 0x7e)
                rc = schema_fail(o->s, ERR_UNSUPPORTED, "additionalProperties", "not supported "
                                 "beside a property whose name is not plain ASCII");
        if (!rc && strlen(names[i]) > MAX_NAME)
            rc = schema_fail(o->s, ERR_UNSUPPORTED, "additionalProperties", "not supported beside "
                             "a property whose name is longer than %d bytes", MAX_NAME);
    }
    if (!rc) {
        qsort(names, o->n, sizeof *names, by_name);
        buf_addf(out, "\"\\\"\" ");
        put_others(out, names, o->n, 0);
        buf_addf(out, " \"\\\"\"");
    }
    free(names);
    return rc;
}

static int read_other(struct object *o, const json_t *j)
{
    struct schema *const s = o->s;
    const json_t *const v = json_object_get(j, "additionalProperties");
    const bool bare = !json_object_get(j, "properties") && !v;
    if (json_is_false(v) || (!v && !bare))
        return 0;
    const unsigned number = s->n_rule++;
    struct buf name = { 0 }, value = { 0 };
    int rc = other_name(o, &name);
    if (!rc && v && !json_is_true(v))
        rc = schema_rule(s, v, "additionalProperties", NULL, &value);
    else if (!rc)
        schema_common(s, COMMON_VALUE, &value);
    if (!rc) {
        buf_addf(s->out, "s%u ::= %s \":\" ", number, name.p);
        schema_common(s, COMMON_SP, s->out);
        buf_addf(s->out, " %s\n", value.p);
        buf_addf(&o->other, "s%u", number);
    }
    s->out->failed |= name.failed | value.failed;
    buf_free(&name);
    buf_free(&value);
    return rc;
}

static int read_property(struct object *o, const char *name, const json_t *j, const json_t *required)
{
    struct schema *const s = o->s;
    struct property *const p = &o->p[o->n];
    const bool must = in_array(required, name);
    if (json_is_false(j) && !must)
        return 0;                           /* forbidden, as if it were not named */
    o->n++;
    p->name = name;
    p->required = must;
    json_t *const key = json_string(name);
    struct buf text = { 0 };
    int rc = key ? schema_value(s, key, &p->pair)
                 : schema_fail(s, ERR_NOMEM, NULL, "no memory for it; send a smaller schema");
    json_decref(key);
    if (!rc)
        rc = schema_rule(s, j, "properties", name, &text);
    if (!rc) {
        buf_addf(&p->pair, " \":\" ");
        schema_common(s, COMMON_SP, &p->pair);
        buf_addf(&p->pair, " %s", text.p);
    }
    s->out->failed |= text.failed | p->pair.failed;
    buf_free(&text);
    return rc;
}

/* How many properties there may be is known only where it changes nothing. */
static int check_counts(struct object *o, const json_t *j)
{
    bool has_min, has_max;
    uint32_t min, max;
    size_t n_required = 0;
    int rc = schema_count(o->s, j, "minProperties", UINT32_MAX, &has_min, &min);
    if (!rc)
        rc = schema_count(o->s, j, "maxProperties", UINT32_MAX, &has_max, &max);
    for (size_t i = 0; i < o->n; i++)
        n_required += o->p[i].required;
    if (!rc && has_min && min > n_required)
        rc = schema_fail(o->s, ERR_UNSUPPORTED, "minProperties", "not supported beyond the "
                         "required ones; require more");
    if (!rc && has_max && (o->other.n || max < o->n))
        rc = schema_fail(o->s, ERR_UNSUPPORTED, "maxProperties", "not supported below the number "
                         "of properties; name fewer");
    return rc;
}

static int read_object(struct object *o, const json_t *j)
{
    const json_t *const required = json_object_get(j, "required");
    json_t *const named = json_object_get(j, "properties");
    const char *key;
    json_t *v;
    size_t i;
    if (named && !json_is_object(named))
        return schema_fail(o->s, ERR_ARG, "properties", "must be an object of schemas");
    if (required && !json_is_array(required))
        return schema_fail(o->s, ERR_ARG, "required", "must be an array of names");
    o->p = calloc(json_object_size(named) + 1, sizeof *o->p);
    if (!o->p)
        return schema_fail(o->s, ERR_NOMEM, NULL, "no memory for it; send a smaller schema");
    json_array_foreach(required, i, v)
        if (!json_is_string(v) || !json_object_get(named, json_string_value(v)))
            return schema_fail(o->s, json_is_string(v) ? ERR_UNSUPPORTED : ERR_ARG, "required",
                               "item %zu is not the name of one of the properties", i);
    json_object_foreach(named, key, v) {
        const int rc = read_property(o, key, v, required);
        if (rc)
            return rc;
    }
    const int rc = read_other(o, j);
    return rc ? rc : check_counts(o, j);
}

int schema_object(struct schema *s, const json_t *j, struct buf *out)
{
    struct object o = { .s = s };
    const int rc = read_object(&o, j);
    if (!rc) {
        buf_addf(out, "\"{\" ");
        schema_common(s, COMMON_WS, out);
        buf_addf(out, " ");
        members(&o, out);
        buf_addf(out, " \"}\"");
    }
    for (size_t i = 0; i < o.n; i++) {
        out->failed |= o.p[i].pair.failed;
        buf_free(&o.p[i].pair);
    }
    free(o.p);
    buf_free(&o.other);
    return rc;
}
