/* api_schema_merge.c - references, and two schemas as one.
 *
 * The result allows what both allow. Where a keyword of both cannot be put into
 * one, it is refused. An object's properties that are not named are forbidden
 * in the end (as everywhere here), but only what a schema itself says about
 * them counts while two are put together. */
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_schema_parts.h"

enum { MAX_MERGE = 1024 };

static json_t *no_memory(struct schema *s)
{
    schema_fail(s, ERR_NOMEM, NULL, "no memory for it; send a smaller schema");
    return NULL;
}

/* Takes j over; borrowed by whoever called. */
static json_t *keep(struct schema *s, json_t *j)
{
    if (!j || json_array_append_new(s->kept, j))
        return no_memory(s);
    return j;
}

/* ---- references ---- */

static int hex_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One step of a JSON pointer in a URI: ~0 and ~1 (RFC 6901), %XX. */
static bool read_step(const char **p, struct buf *out)
{
    buf_clear(out);
    for (; **p && **p != '/'; (*p)++) {
        char c = **p;
        if (c == '%') {
            const int hi = hex_of((*p)[1]), lo = hi < 0 ? -1 : hex_of((*p)[2]);
            if (lo < 0 || hi * 16 + lo == 0)
                return false;
            c = (char)(hi * 16 + lo);
            *p += 2;
        } else if (c == '~') {
            (*p)++;
            if (**p != '0' && **p != '1')
                return false;
            c = **p == '0' ? '~' : '/';
        }
        buf_add(out, &c, 1);
    }
    return !out->failed;
}

static const json_t *descend(const json_t *j, const char *step)
{
    char *end;
    if (json_is_object(j))
        return json_object_get(j, step);
    const unsigned long i = strtoul(step, &end, 10);
    return *step >= '0' && *step <= '9' && !*end ? json_array_get(j, i) : NULL;
}

const json_t *schema_resolve(struct schema *s, const json_t *ref)
{
    const char *p = json_string_value(ref);
    if (!p || p[0] != '#' || (p[1] && p[1] != '/')) {
        schema_fail(s, p ? ERR_UNSUPPORTED : ERR_ARG, "$ref", "must be \"#\" or start with \"#/\": "
                    "only the schema itself can be referred to");
        return NULL;
    }
    const json_t *j = s->root;
    struct buf step = { 0 };
    for (p++; j && *p == '/';) {
        p++;
        j = read_step(&p, &step) ? descend(j, step.p ? step.p : "") : NULL;
    }
    buf_free(&step);
    if (!j)
        schema_fail(s, ERR_ARG, "$ref", "%.100s leads nowhere", json_string_value(ref));
    return j;
}

/* ---- keyword by keyword ---- */

static json_t *both(json_t *a, json_t *b)
{
    return json_equal(a, b) ? json_deep_copy(a) : json_pack("{s:[O,O]}", "allOf", a, b);
}

static bool is_bound(const char *key, bool *low)
{
    static const char *const lows[] = { "minimum", "exclusiveMinimum", "minLength", "minItems",
                                        "minProperties" };
    static const char *const highs[] = { "maximum", "exclusiveMaximum", "maxLength", "maxItems",
                                         "maxProperties" };
    for (size_t i = 0; i < 5; i++) {
        *low = strcmp(key, lows[i]) == 0;
        if (*low || strcmp(key, highs[i]) == 0)
            return true;
    }
    return false;
}

static json_t *merge_bound(json_t *a, json_t *b, bool low)
{
    if (!json_is_number(a) || !json_is_number(b))
        return NULL;
    const bool first = low ? json_number_value(a) >= json_number_value(b)
                           : json_number_value(a) <= json_number_value(b);
    return json_incref(first ? a : b);
}

static json_t *merge_properties(json_t *a, json_t *b)
{
    json_t *const out = json_copy(a);
    const char *key;
    json_t *v;
    if (!json_is_object(a) || !json_is_object(b) || !out) {
        json_decref(out);
        return NULL;
    }
    json_object_foreach(b, key, v) {
        json_t *const old = json_object_get(a, key);
        json_object_set_new(out, key, old ? both(old, v) : json_incref(v));
    }
    return out;
}

static bool in_array(const json_t *array, const json_t *v)
{
    size_t i;
    const json_t *x;
    json_array_foreach(array, i, x)
        if (json_equal(x, v))
            return true;
    return false;
}

static json_t *merge_required(json_t *a, json_t *b)
{
    json_t *const out = json_is_array(a) && json_is_array(b) ? json_copy(a) : NULL;
    size_t i;
    json_t *v;
    json_array_foreach(b, i, v)
        if (out && !in_array(out, v))
            json_array_append(out, v);
    return out;
}

static bool has_type(const json_t *types, const char *name)
{
    size_t i;
    const json_t *v;
    if (json_is_string(types))
        return strcmp(json_string_value(types), name) == 0;
    json_array_foreach(types, i, v)
        if (json_is_string(v) && strcmp(json_string_value(v), name) == 0)
            return true;
    return false;
}

static json_t *merge_type(const json_t *a, const json_t *b)
{
    static const char *const names[] = { "object", "array", "string", "number", "integer",
                                         "boolean", "null" };
    json_t *const out = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const bool whole = strcmp(names[i], "integer") == 0;
        const bool in_a = has_type(a, names[i]), in_b = has_type(b, names[i]);
        if ((in_a && in_b) || (whole && ((in_a && has_type(b, "number")) ||
                                         (in_b && has_type(a, "number")))))
            json_array_append_new(out, json_string(names[i]));
    }
    return out;
}

static json_t *merge_enum(const json_t *a, const json_t *b)
{
    json_t *const out = json_array();
    size_t i;
    json_t *v;
    json_array_foreach(a, i, v)
        if (in_array(b, v))
            json_array_append(out, v);
    return out;
}

/* The value for a key that both have; NULL: refused. */
static json_t *merge_key(const char *key, json_t *a, json_t *b)
{
    bool low;
    if (json_equal(a, b))
        return json_incref(a);
    if (is_bound(key, &low))
        return merge_bound(a, b, low);
    if (strcmp(key, "properties") == 0)
        return merge_properties(a, b);
    if (strcmp(key, "required") == 0)
        return merge_required(a, b);
    if (strcmp(key, "type") == 0)
        return merge_type(a, b);
    if (strcmp(key, "enum") == 0)
        return merge_enum(a, b);
    if (strcmp(key, "items") == 0 && !json_is_array(a) && !json_is_array(b))
        return both(a, b);
    if (strcmp(key, "additionalProperties") == 0 && (json_is_true(a) || json_is_true(b)))
        return json_incref(json_is_true(a) ? b : a);
    return NULL;
}

/* What a says of the properties it does not name concerns those of b. */
static int check_closed(struct schema *s, const json_t *a, const json_t *b)
{
    const json_t *const rule = json_object_get(a, "additionalProperties");
    const char *key;
    json_t *v;
    if (!rule || json_is_true(rule))
        return 0;
    json_object_foreach(json_object_get(b, "properties"), key, v)
        if (!json_object_get(json_object_get(a, "properties"), key))
            return schema_fail(s, ERR_UNSUPPORTED, "additionalProperties", "a schema put together "
                               "with this one has the property \"%.60s\" too; name all "
                               "properties in one place", key);
    return 0;
}

json_t *schema_merge(struct schema *s, const json_t *a, const json_t *b)
{
    if (s->n_merge++ >= MAX_MERGE) {
        schema_fail(s, ERR_LIMIT, NULL, "more than %d schemas are put together", MAX_MERGE);
        return NULL;
    }
    if (json_is_boolean(a) || json_is_boolean(b))
        return keep(s, json_deep_copy(json_is_true(a) ? b : a));
    if (!json_is_object(a) || !json_is_object(b)) {
        schema_fail(s, ERR_ARG, NULL, "a schema must be an object, true or false");
        return NULL;
    }
    if (check_closed(s, a, b) || check_closed(s, b, a))
        return NULL;
    /* The owner of both outlives this. */
    json_t *const out = json_copy((json_t *)(uintptr_t)a);
    const char *key;
    json_t *v;
    if (out && json_is_true(json_object_get(a, "nullable")) &&
        !json_is_true(json_object_get(b, "nullable")))
        json_object_del(out, "nullable");
    json_object_foreach((json_t *)(uintptr_t)b, key, v) {
        json_t *const old = json_object_get(out, key);
        const bool nullable = strcmp(key, "nullable") == 0;
        json_t *const new = old && !schema_is_note(key) && !nullable ? merge_key(key, old, v)
                            : old || nullable ? json_incref(old ? old : json_false())
                                              : json_incref(v);
        if (!new) {
            schema_fail(s, ERR_UNSUPPORTED, key, "said twice, by schemas that are put together, "
                        "and not in the same way");
            json_decref(out);
            return NULL;
        }
        json_object_set_new(out, key, new);
    }
    return keep(s, out);
}

/* Everything a $ref and an allOf stand for, in one. */
json_t *schema_flat(struct schema *s, const json_t *j)
{
    if (!json_object_get(j, "$ref") && !json_object_get(j, "allOf"))
        return (json_t *)(uintptr_t)j;
    if (s->depth++ >= SCHEMA_MAX_DEPTH) {
        schema_fail(s, ERR_LIMIT, NULL, "more than %d schemas in each other", SCHEMA_MAX_DEPTH);
        return NULL;
    }
    json_t *out = keep(s, json_copy((json_t *)(uintptr_t)j));
    const json_t *const ref = json_object_get(j, "$ref");
    const json_t *const all = json_object_get(j, "allOf");
    size_t i;
    json_t *v;
    if (out && all && (!json_is_array(all) || !json_array_size(all))) {
        schema_fail(s, ERR_ARG, "allOf", "must be an array of schemas");
        return NULL;
    }
    json_object_del(out, "$ref");
    json_object_del(out, "allOf");
    if (out && ref) {
        const json_t *const target = schema_resolve(s, ref);
        json_t *const flat = target ? schema_flat(s, target) : NULL;
        out = flat ? schema_merge(s, out, flat) : NULL;
    }
    json_array_foreach(all, i, v) {
        json_t *const flat = out ? schema_flat(s, v) : NULL;
        out = flat ? schema_merge(s, out, flat) : NULL;
    }
    s->depth--;
    return out;
}
