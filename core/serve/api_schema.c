/* api_schema.c - JSON schemas to GBNF.
 *
 * Every schema becomes a rule, found again by its place in memory, so a $ref
 * that leads back makes a recursive grammar. A schema that says nothing of a
 * type's details allows fewer documents here than in the specification
 * (properties that are not named are forbidden, a type is guessed from the
 * keywords), never more.
 *
 * Layout: one blank or none after a colon; after { [ , and before ] } nothing,
 * a blank, or a line end and up to 32 blanks. That is bounded, so a text never
 * gets lost in blanks. */
#include "core/serve/api_schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/grammar.h"
#include "core/serve/api_schema_parts.h"

#define USE(name) ((uint32_t)1 << COMMON_##name)

#define CHAR_GBNF \
    "[^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" (" \
    "[0-9a-cA-CefEF] hex{3} | [dD] [0-7] hex{2} | " \
    "[dD] [89abAB] hex{2} \"\\\\u\" [dD] [c-fC-F] hex{2}))"
#define STRING_GBNF "\"\\\"\" char* \"\\\"\""
#define HEX_GBNF "[0-9a-fA-F]"
#define INTEGER_GBNF "\"0\" | \"-\"? [1-9] [0-9]{0,17}"
#define NUMBER_GBNF \
    "\"-\"? (\"0\" | [1-9] [0-9]{0,17}) (\".\" [0-9]{1,17})? ([eE] [-+]? [0-9]{1,2})?"
#define VALUE_GBNF "object | array | string | number | \"true\" | \"false\" | \"null\""
#define OBJECT_GBNF \
    "\"{\" ws (string \":\" sp value (\",\" ws string \":\" sp value)* ws)? \"}\""
#define ARRAY_GBNF "\"[\" ws (value (\",\" ws value)* ws)? \"]\""
#define WS_GBNF "(\" \" | \"\\n\" \" \"{0,32})?"
#define SP_GBNF "\" \"?"
/* Dates are those of the calendar, 29 February included. */
#define DATE_GBNF \
    "[0-9]{4} \"-\" ((\"0\" [13578] | \"1\" [02]) \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" [01]) | " \
    "(\"0\" [469] | \"11\") \"-\" (\"0\" [1-9] | [12] [0-9] | \"30\") | " \
    "\"02-\" (\"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8])) | " \
    "([0-9]{2} (\"0\" [48] | [2468] [048] | [13579] [26]) | " \
    "([02468] [048] | [13579] [26]) \"00\") \"-02-29\""
/* RFC 3339, without leap seconds. */
#define TIME_GBNF \
    "([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9] \":\" [0-5] [0-9] (\".\" [0-9]{1,9})? " \
    "(\"Z\" | [-+] ([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9])"
#define OCTET_GBNF "\"25\" [0-5] | \"2\" [0-4] [0-9] | \"1\" [0-9]{2} | [1-9]? [0-9]"

/* In dependency order: a rule is written after all that may ask for it. */
static const struct common {
    enum schema_common id;
    const char *name, *gbnf;
    uint32_t uses;
} commons[] = {
    { COMMON_VALUE, "value", VALUE_GBNF, USE(OBJECT) | USE(ARRAY) | USE(STRING) | USE(NUMBER) },
    { COMMON_OBJECT, "object", OBJECT_GBNF, USE(VALUE) | USE(STRING) | USE(WS) | USE(SP) |
      USE(ARRAY) | USE(NUMBER) },
    { COMMON_ARRAY, "array", ARRAY_GBNF, USE(VALUE) | USE(WS) },
    { COMMON_STRING, "string", STRING_GBNF, USE(CHAR) },
    { COMMON_CHAR, "char", CHAR_GBNF, USE(HEX) },
    { COMMON_NUMBER, "number", NUMBER_GBNF, 0 },
    { COMMON_INTEGER, "integer", INTEGER_GBNF, 0 },
    { COMMON_TIME, "time", TIME_GBNF, 0 },
    { COMMON_DATE, "date", DATE_GBNF, 0 },
    { COMMON_OCTET, "octet", OCTET_GBNF, 0 },
    { COMMON_HEX, "hex", HEX_GBNF, 0 },
    { COMMON_WS, "ws", WS_GBNF, 0 },
    { COMMON_SP, "sp", SP_GBNF, 0 },
};

const char api_json_object_gbnf[] =
    "root ::= object\n"
    "value ::= " VALUE_GBNF "\n"
    "object ::= " OBJECT_GBNF "\n"
    "array ::= " ARRAY_GBNF "\n"
    "string ::= " STRING_GBNF "\n"
    "char ::= " CHAR_GBNF "\n"
    "number ::= " NUMBER_GBNF "\n"
    "hex ::= " HEX_GBNF "\n"
    "ws ::= " WS_GBNF "\n"
    "sp ::= " SP_GBNF "\n";

void schema_common(struct schema *s, enum schema_common c, struct buf *out)
{
    for (size_t i = 0; i < COMMON_N; i++)
        if (commons[i].id == c)
            buf_addf(out, "%s", commons[i].name);
    s->used |= (uint32_t)1 << c;
}

void schema_char(struct schema *s, struct buf *out)
{
    buf_addf(out, "(%s)", CHAR_GBNF);
    s->used |= USE(HEX);
}

static void write_commons(struct schema *s)
{
    for (uint32_t before = 0; before != s->used;) {
        before = s->used;
        for (size_t i = 0; i < COMMON_N; i++)
            if (s->used >> commons[i].id & 1)
                s->used |= commons[i].uses;
    }
    for (size_t i = 0; i < COMMON_N; i++)
        if (s->used >> commons[i].id & 1)
            buf_addf(s->out, "%s ::= %s\n", commons[i].name, commons[i].gbnf);
}

int schema_fail(struct schema *s, int code, const char *keyword, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(what, sizeof what, fmt, ap) < 0)
        what[0] = 0;
    va_end(ap);
    const char *const path = s->path.p ? s->path.p : "";
    const bool cut = s->path.n > 160;
    return err_set(s->e, code, "#%.160s%s%s%s: %s", path, cut ? "..." : "", keyword ? "/" : "",
                   keyword ? keyword : "", what);
}

/* ---- pieces ---- */

/* A GBNF literal of these bytes. */
static void put_literal(const char *p, size_t n, struct buf *out)
{
    buf_addf(out, "\"");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)p[i];
        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c < 0x20)
            buf_addf(out, "\\x%02X", c);
        else
            buf_add(out, p + i, 1);
    }
    buf_addf(out, "\"");
}

/* In the fewest digits that give the same value. */
int schema_value(struct schema *s, const json_t *v, struct buf *out)
{
    for (unsigned digits = 15; digits <= 17; digits++) {
        char *const text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY |
                                      JSON_REAL_PRECISION(digits));
        json_t *const back = text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
        const bool same = back && json_equal(back, v);
        json_decref(back);
        if (same)
            put_literal(text, strlen(text), out);
        free(text);
        if (same)
            return 0;
    }
    return schema_fail(s, ERR_NOMEM, NULL, "no memory for a value; send a smaller schema");
}

int schema_count(struct schema *s, const json_t *j, const char *keyword, uint32_t max, bool *has,
                 uint32_t *out)
{
    const json_t *const v = json_object_get(j, keyword);
    *has = v != NULL;
    *out = 0;
    if (!v)
        return 0;
    const double d = json_is_number(v) ? json_number_value(v) : -1;
    if (!(d >= 0) || d != (double)(int64_t)(d < 1e15 ? d : 0))
        return schema_fail(s, ERR_ARG, keyword, "must be a whole number from 0");
    if (d > (double)max)
        return schema_fail(s, ERR_LIMIT, keyword, "more than %u", max);
    *out = (uint32_t)d;
    return 0;
}

/* ---- the path, which messages show ---- */

/* Without a keyword the name is a reference, which stands for itself. */
static size_t path_push(struct schema *s, const char *keyword, const char *name)
{
    const size_t before = s->path.n;
    if (keyword)
        buf_addf(&s->path, "/%s", keyword);
    if (name)
        buf_addf(&s->path, keyword ? "/%.80s" : " -> %.80s", name);
    return before;
}

static void path_pop(struct schema *s, size_t before)
{
    if (s->path.p && before <= s->path.n) {
        s->path.n = before;
        s->path.p[before] = 0;
    }
}

/* As a comment may show it. */
static const char *schema_path(struct schema *s)
{
    for (size_t i = 0; i < s->path.n; i++)
        if ((unsigned char)s->path.p[i] < 0x20)
            s->path.p[i] = ' ';
    return s->path.p ? s->path.p : "";
}

static int body(struct schema *s, const json_t *j, struct buf *out);

int schema_rule(struct schema *s, const json_t *j, const char *keyword, const char *name,
                struct buf *out)
{
    for (unsigned i = 0; i < s->n_part; i++)
        if (s->part[i].j == j) {
            buf_addf(out, "s%u", s->part[i].rule);
            return 0;
        }
    const size_t before = path_push(s, keyword, name);
    if (s->n_part == SCHEMA_MAX_PART)
        return schema_fail(s, ERR_LIMIT, NULL, "more than %d schemas in one", SCHEMA_MAX_PART);
    if (s->depth++ >= SCHEMA_MAX_DEPTH)
        return schema_fail(s, ERR_LIMIT, NULL, "more than %d schemas in each other",
                           SCHEMA_MAX_DEPTH);
    const unsigned number = s->n_rule++;
    s->part[s->n_part++] = (struct schema_part){ j, number };
    struct buf text = { 0 };
    const int rc = body(s, j, &text);
    if (!rc) {
        buf_addf(s->out, "# #%s\ns%u ::= %s\n", schema_path(s), number, text.p ? text.p : "");
        buf_addf(out, "s%u", number);
    }
    s->out->failed |= text.failed;
    buf_free(&text);
    s->depth--;
    path_pop(s, before);
    return rc;
}

/* ---- alternatives ---- */

static const char *assertion_beside(const json_t *j, const char *keyword)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
        if (strcmp(key, keyword) != 0 && !schema_is_note(key))
            return key;
    return NULL;
}

static int any_of(struct schema *s, const json_t *j, const char *keyword, struct buf *out)
{
    const json_t *const list = json_object_get(j, keyword);
    if (!json_is_array(list) || !json_array_size(list))
        return schema_fail(s, ERR_ARG, keyword, "must be an array of schemas");
    json_t *rest = NULL;
    if (assertion_beside(j, keyword)) {
        rest = json_copy((json_t *)(uintptr_t)j);
        if (!rest || json_object_del(rest, keyword) || json_array_append_new(s->kept, rest))
            return schema_fail(s, ERR_NOMEM, NULL, "no memory for it; send a smaller schema");
    }
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) {
        char name[24];
        snprintf(name, sizeof name, "%zu", i);
        json_t *one = rest ? schema_flat(s, v) : v;
        if (one && rest)
            one = schema_merge(s, rest, one);
        if (!one)
            return s->e->code;
        buf_addf(out, i ? " | " : "");
        const int rc = schema_rule(s, one, keyword, name, out);
        if (rc)
            return rc;
    }
    return 0;
}

static bool type_holds(const char *type, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return strcmp(type, "object") == 0;
    case JSON_ARRAY: return strcmp(type, "array") == 0;
    case JSON_STRING: return strcmp(type, "string") == 0;
    case JSON_INTEGER: return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case JSON_REAL: return strcmp(type, "number") == 0;
    case JSON_TRUE: case JSON_FALSE: return strcmp(type, "boolean") == 0;
    case JSON_NULL: return strcmp(type, "null") == 0;
    }
    return false;
}

/* Whether a value has one of the types; absent types allow all. */
static bool types_hold(const json_t *types, const json_t *v)
{
    size_t i;
    const json_t *t;
    if (!types)
        return true;
    if (json_is_string(types))
        return type_holds(json_string_value(types), v);
    json_array_foreach(types, i, t)
        if (json_is_string(t) && type_holds(json_string_value(t), v))
            return true;
    return false;
}

static int values(struct schema *s, const json_t *j, struct buf *out)
{
    const json_t *const list = json_object_get(j, "enum");
    const json_t *const only = json_object_get(j, "const");
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
        if (strcmp(key, "enum") != 0 && strcmp(key, "const") != 0 && strcmp(key, "type") != 0 &&
            strcmp(key, "nullable") != 0 && !schema_is_note(key))
            return schema_fail(s, ERR_UNSUPPORTED, key, "not supported beside enum or const; "
                               "leave it out and list fewer values");
    if (list && !json_is_array(list))
        return schema_fail(s, ERR_ARG, "enum", "must be an array");
    if (json_array_size(list) > SCHEMA_MAX_ENUM)
        return schema_fail(s, ERR_LIMIT, "enum", "%zu values, at most %d are allowed",
                           json_array_size(list), SCHEMA_MAX_ENUM);
    const json_t *const types = json_object_get(j, "type");
    bool any = false;
    for (size_t i = 0; i < (list ? json_array_size(list) : 1); i++) {
        const json_t *const x = list ? json_array_get(list, i) : only;
        if (!types_hold(types, x) || (only && !json_equal((json_t *)(uintptr_t)only,
                                                           (json_t *)(uintptr_t)x)))
            continue;
        buf_addf(out, any ? " | " : "");
        any = true;
        const int rc = schema_value(s, x, out);
        if (rc)
            return rc;
    }
    return any ? 0 : schema_fail(s, ERR_ARG, list ? "enum" : "const", "no value fits");
}

/* ---- types ---- */

/* Keywords that assert nothing about a document. */
static const char *const notes[] = {
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly",
    "$schema", "$id", "$comment", "$defs", "definitions", "$vocabulary", "contentEncoding",
    "contentMediaType", "externalDocs", "strict"
};

bool schema_is_note(const char *key)
{
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        if (strcmp(key, notes[i]) == 0)
            return true;
    return strncmp(key, "x-", 2) == 0;
}

/* Those that assert something, and the type they are about. */
static const struct keyword {
    const char *name, *type;
} keywords[] = {
    { "type", "" }, { "enum", "" }, { "const", "" }, { "anyOf", "" }, { "oneOf", "" },
    { "allOf", "" }, { "$ref", "" }, { "nullable", "" },
    { "properties", "object" }, { "required", "object" }, { "additionalProperties", "object" },
    { "minProperties", "object" }, { "maxProperties", "object" },
    { "unevaluatedProperties", "object" },
    { "items", "array" }, { "prefixItems", "array" }, { "additionalItems", "array" },
    { "minItems", "array" }, { "maxItems", "array" }, { "uniqueItems", "array" },
    { "minLength", "string" }, { "maxLength", "string" }, { "pattern", "string" },
    { "format", "string" },
    { "minimum", "number" }, { "maximum", "number" }, { "exclusiveMinimum", "number" },
    { "exclusiveMaximum", "number" }, { "multipleOf", "number" },
};

static const struct keyword *keyword_of(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(name, keywords[i].name) == 0)
            return &keywords[i];
    return NULL;
}

static int check_keywords(struct schema *s, const json_t *j)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
        if (!schema_is_note(key) && !keyword_of(key))
            return schema_fail(s, ERR_UNSUPPORTED, key, "not a keyword that can be guaranteed; "
                               "leave it out");
    return 0;
}

static int of_type(struct schema *s, const json_t *j, const char *type, struct buf *out)
{
    if (strcmp(type, "object") == 0)
        return schema_object(s, j, out);
    if (strcmp(type, "array") == 0)
        return schema_array(s, j, out);
    if (strcmp(type, "string") == 0)
        return schema_string(s, j, out);
    if (strcmp(type, "number") == 0 || strcmp(type, "integer") == 0)
        return schema_number(s, j, type[0] == 'i', out);
    if (strcmp(type, "boolean") == 0)
        buf_addf(out, "\"true\" | \"false\"");
    else if (strcmp(type, "null") == 0)
        buf_addf(out, "\"null\"");
    else
        return schema_fail(s, ERR_ARG, "type", "\"%.40s\" is no type, expected object, array, "
                           "string, number, integer, boolean or null", type);
    return 0;
}

/* Without a type: those that the keywords are about; any value without those. */
static int guessed(struct schema *s, const json_t *j, struct buf *out)
{
    static const char *const types[] = { "object", "array", "string", "number" };
    bool any = false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        bool about = false;
        for (size_t k = 0; k < sizeof keywords / sizeof *keywords; k++)
            about |= strcmp(keywords[k].type, types[i]) == 0 &&
                     json_object_get(j, keywords[k].name);
        if (!about)
            continue;
        buf_addf(out, any ? " | " : "");
        any = true;
        const int rc = of_type(s, j, types[i], out);
        if (rc)
            return rc;
    }
    if (!any)
        schema_common(s, COMMON_VALUE, out);
    return 0;
}

static int typed(struct schema *s, const json_t *j, struct buf *out)
{
    const json_t *const type = json_object_get(j, "type");
    if (!type)
        return guessed(s, j, out);
    if (json_is_string(type))
        return of_type(s, j, json_string_value(type), out);
    if (!json_is_array(type) || !json_array_size(type) || json_array_size(type) > 7)
        return schema_fail(s, ERR_ARG, "type", json_array_size(type) ? "must be a name, or an "
                           "array of names" : "no type is left");
    size_t i;
    json_t *v;
    json_array_foreach(type, i, v) {
        if (!json_is_string(v))
            return schema_fail(s, ERR_ARG, "type", "must be a name, or an array of names");
        buf_addf(out, i ? " | " : "");
        const int rc = of_type(s, j, json_string_value(v), out);
        if (rc)
            return rc;
    }
    return 0;
}

static int by_keyword(struct schema *s, const json_t *j, struct buf *out)
{
    const bool any = json_object_get(j, "anyOf"), one = json_object_get(j, "oneOf");
    if (any && one)
        return schema_fail(s, ERR_UNSUPPORTED, "oneOf", "not supported beside anyOf");
    if (any || one)
        return any_of(s, j, any ? "anyOf" : "oneOf", out);
    if (json_object_get(j, "enum") || json_object_get(j, "const"))
        return values(s, j, out);
    return typed(s, j, out);
}

static int body(struct schema *s, const json_t *j, struct buf *out)
{
    if (json_is_true(j)) {
        schema_common(s, COMMON_VALUE, out);
        return 0;
    }
    if (!json_is_object(j))
        return schema_fail(s, ERR_ARG, NULL, json_is_false(j)
                           ? "false allows nothing; leave the property or the item out"
                           : "a schema must be an object, true or false");
    const int rc = check_keywords(s, j);
    if (rc)
        return rc;
    const json_t *const ref = json_object_get(j, "$ref");
    if (ref && !assertion_beside(j, "$ref")) {
        const json_t *const target = schema_resolve(s, ref);
        return target ? schema_rule(s, target, NULL, json_string_value(ref), out) : s->e->code;
    }
    const json_t *flat = schema_flat(s, j);
    if (!flat)
        return s->e->code;
    if (flat != j) {
        const int bad = check_keywords(s, flat);
        if (bad)
            return bad;
    }
    if (!json_is_true(json_object_get(flat, "nullable")))
        return by_keyword(s, flat, out);
    buf_addf(out, "\"null\" | ");
    return by_keyword(s, flat, out);
}

/* ---- all of it ---- */

static int translate(struct schema *s)
{
    struct buf root = { 0 };
    int rc = schema_rule(s, s->root, NULL, NULL, &root);
    if (!rc) {
        write_commons(s);
        buf_addf(s->out, "root ::= %s\n", root.p ? root.p : "");
        s->out->failed |= root.failed | s->path.failed;
    }
    buf_free(&root);
    if (!rc && s->out->failed)
        rc = schema_fail(s, ERR_NOMEM, NULL, "no memory for its grammar; send a smaller schema");
    if (!rc && s->out->n > GRAMMAR_MAX_TEXT)
        rc = schema_fail(s, ERR_LIMIT, NULL, "its grammar has %zu bytes, at most %d are allowed; "
                         "send a smaller schema", s->out->n, GRAMMAR_MAX_TEXT);
    return rc;
}

int api_schema_to_gbnf(const char *json, size_t n, struct buf *gbnf, struct err *e)
{
    struct err own = { 0 };
    json_error_t at;
    if (n > SCHEMA_MAX_TEXT)
        return err_set(e, ERR_LIMIT, "#: %zu bytes of schema, at most %d are allowed", n,
                       SCHEMA_MAX_TEXT);
    struct schema *const s = calloc(1, sizeof *s);
    struct buf out = { 0 };
    if (!s)
        return err_set(e, ERR_NOMEM, "#: no memory for the schema; send a smaller one");
    s->e = &own;
    s->out = &out;
    s->kept = json_array();
    s->root = json_loadb(json, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
    int rc;
    if (!s->root)
        rc = err_set(&own, ERR_ARG, "#: not JSON: %s, line %d, column %d", at.text, at.line,
                     at.column);
    else
        rc = s->kept ? translate(s) : schema_fail(s, ERR_NOMEM, NULL, "no memory for the schema");
    if (!rc)
        buf_add(gbnf, out.p, out.n);
    else if (e)
        *e = own;
    json_decref(s->root);
    json_decref(s->kept);
    buf_free(&out);
    buf_free(&s->path);
    free(s);
    return rc;
}
