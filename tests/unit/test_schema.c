/* test_schema.c - schemas become grammars of the documents they allow.
 *
 * Random walks through the grammars must give JSON that a validator of our own
 * finds valid: it reads the schema as the specification has it, and shares
 * nothing with the compiler. */
#include <check.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/serve/api_schema.h"
#include "grammar_rig.h"

static struct rig rig;
static struct err e;

/* ---- the validator ---- */

static const json_t *schema_root;

static const json_t *at(const json_t *j, const char *key)
{
    return json_object_get(j, key);
}

static bool matches(const char *pattern, const char *text, size_t n)
{
    int code;
    size_t where;
    pcre2_code *const re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &where, NULL);
    ck_assert_msg(re != NULL, "%s", pattern);
    pcre2_match_data *const m = pcre2_match_data_create_from_pattern(re, NULL);
    const int rc = pcre2_match(re, (PCRE2_SPTR)text, n, 0, 0, m, NULL);
    pcre2_match_data_free(m);
    pcre2_code_free(re);
    return rc >= 0;
}

static bool date_holds(const char *t)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int y, m, d;
    if (sscanf(t, "%4d-%2d-%2d", &y, &m, &d) != 3 || m < 1 || m > 12 || d < 1)
        return false;
    const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return d <= days[m - 1] + (m == 2 && leap);
}

static bool format_holds(const char *format, const char *text)
{
    static const char date[] = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
    static const char time[] = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?"
                               "(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])";
    char re[256];
    if (strcmp(format, "ipv4") == 0)
        return matches("^((25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)(\\.|$)){4}$", text, strlen(text)) &&
               text[strlen(text) - 1] != '.';
    if (strcmp(format, "uuid") == 0)
        return matches("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", text, strlen(text));
    snprintf(re, sizeof re, "^%s%s%s$", format[0] == 'd' ? date : "",
             strcmp(format, "date-time") == 0 ? "T" : "", strcmp(format, "date") == 0 ? "" : time);
    return matches(re, text, strlen(text)) && (format[0] != 'd' || date_holds(text));
}

static bool type_is(const char *t, const json_t *v)
{
    return strcmp(t, "object") == 0    ? json_is_object(v)
           : strcmp(t, "array") == 0   ? json_is_array(v)
           : strcmp(t, "string") == 0  ? json_is_string(v)
           : strcmp(t, "integer") == 0 ? json_is_integer(v)
           : strcmp(t, "number") == 0  ? json_is_number(v)
           : strcmp(t, "boolean") == 0 ? json_is_boolean(v)
                                       : json_is_null(v);
}

static bool valid(const json_t *schema, const json_t *v);

static bool type_valid(const json_t *t, const json_t *v)
{
    size_t i;
    const json_t *x;
    if (!t || json_is_string(t))
        return !t || type_is(json_string_value(t), v);
    json_array_foreach(t, i, x)
        if (type_is(json_string_value(x), v))
            return true;
    return false;
}

static size_t code_points(const char *p)
{
    size_t n = 0;
    for (; *p; p++)
        n += ((unsigned char)*p & 0xc0) != 0x80;
    return n;
}

static bool string_valid(const json_t *s, const json_t *v)
{
    const char *const t = json_string_value(v);
    const size_t n = code_points(t);
    if (strlen(t) != json_string_length(v))               /* a NUL: lengths only */
        return true;
    return (!at(s, "minLength") || n >= (size_t)json_integer_value(at(s, "minLength"))) &&
           (!at(s, "maxLength") || n <= (size_t)json_integer_value(at(s, "maxLength"))) &&
           (!at(s, "pattern") || matches(json_string_value(at(s, "pattern")), t, strlen(t))) &&
           (!at(s, "format") || format_holds(json_string_value(at(s, "format")), t));
}

static bool number_valid(const json_t *s, const json_t *v)
{
    const double d = json_number_value(v);
    return (!at(s, "minimum") || d >= json_number_value(at(s, "minimum"))) &&
           (!at(s, "maximum") || d <= json_number_value(at(s, "maximum"))) &&
           (!at(s, "exclusiveMinimum") || d > json_number_value(at(s, "exclusiveMinimum"))) &&
           (!at(s, "exclusiveMaximum") || d < json_number_value(at(s, "exclusiveMaximum")));
}

static bool array_valid(const json_t *s, const json_t *v)
{
    const size_t n = json_array_size(v), n_fixed = json_array_size(at(s, "prefixItems"));
    if ((at(s, "minItems") && n < (size_t)json_integer_value(at(s, "minItems"))) ||
        (at(s, "maxItems") && n > (size_t)json_integer_value(at(s, "maxItems"))))
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *const one = i < n_fixed ? json_array_get(at(s, "prefixItems"), i)
                                              : at(s, "items");
        if (one && !valid(one, json_array_get(v, i)))
            return false;
    }
    return true;
}

static bool object_valid(const json_t *s, json_t *v)
{
    size_t i;
    json_t *x;
    const char *key;
    json_array_foreach(at(s, "required"), i, x)
        if (!json_object_get(v, json_string_value(x)))
            return false;
    json_object_foreach(v, key, x) {
        const json_t *const named = json_object_get(at(s, "properties"), key);
        const json_t *const other = at(s, "additionalProperties");
        if (named ? !valid(named, x) : other && !valid(other, x))
            return false;
    }
    return true;
}

static bool any_valid(const json_t *list, const json_t *v)
{
    size_t i;
    const json_t *s;
    json_array_foreach(list, i, s)
        if (valid(s, v))
            return true;
    return !list;
}

static bool valid(const json_t *s, const json_t *v)
{
    size_t i;
    json_t *x;
    if (json_is_boolean(s))
        return json_is_true(s);
    if (json_is_true(at(s, "nullable")) && json_is_null(v))
        return true;
    if (at(s, "$ref")) {
        const char *const r = json_string_value(at(s, "$ref"));
        const json_t *const to = r[1] ? at(at(schema_root, "$defs"), strrchr(r, '/') + 1) : schema_root;
        if (!valid(to, v))
            return false;
    }
    json_array_foreach(at(s, "allOf"), i, x)
        if (!valid(x, v))
            return false;
    if (at(s, "const") && !json_equal((json_t *)(uintptr_t)at(s, "const"), (json_t *)(uintptr_t)v))
        return false;
    bool listed = !at(s, "enum");
    json_array_foreach(at(s, "enum"), i, x)
        listed |= json_equal(x, (json_t *)(uintptr_t)v);
    return listed && type_valid(at(s, "type"), v) && any_valid(at(s, "anyOf"), v) &&
           any_valid(at(s, "oneOf"), v) && (!json_is_string(v) || string_valid(s, v)) &&
           (!json_is_number(v) || number_valid(s, v)) && (!json_is_array(v) || array_valid(s, v)) &&
           (!json_is_object(v) || object_valid(s, (json_t *)(uintptr_t)v));
}

/* ---- schemas, documents of theirs, and documents that are not ---- */

static const struct {
    const char *schema, *yes[5], *no[7];
} cases[] = {
    { "{\"type\":\"string\"}", { "\"\"", "\"a\\u00e4\\ud83d\\ude00\\n\"", "\"\xc3\xa4\"" },
      { "\"\n\"", "\"\\ud83d\"", "\"\\ud83dx\"", "\"\\ude00\"", "\"\\x\"", "1", "\"\xff\"" } },
    { "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
      { "\"ab\"", "\"\xc3\xa4\\n\\ud83d\\ude00\"" }, { "\"a\"", "\"abcd\"", "\"\"" } },
    { "{\"type\":\"integer\",\"minimum\":-12,\"maximum\":345}",
      { "-12", "0", "345", "-9", "299" }, { "-13", "346", "1000", "-20", "1.5", "00", "-0" } },
    { "{\"type\":\"integer\",\"exclusiveMinimum\":99}", { "100", "12345", "900" },
      { "99", "98", "-100", "0", "10" } },
    { "{\"type\":\"integer\",\"maximum\":-7.5}", { "-8", "-1000", "-10" }, { "-7", "0", "8" } },
    { "{\"type\":\"integer\",\"minimum\":107,\"maximum\":10203}", { "107", "999", "1000", "10203" },
      { "106", "10204", "11000", "99", "20000" } },
    { "{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":10}",
      { "0.5", "10", "9.99", "10.0", "0.001" }, { "0", "0.0", "10.1", "-1", "11", "1e2" } },
    { "{\"type\":\"number\",\"minimum\":-2,\"exclusiveMaximum\":3}",
      { "-2", "-1.5", "2.99", "0", "-2.0" }, { "-2.1", "3", "3.0", "-3" } },
    { "{\"type\":\"number\"}", { "1", "-0.5e-10", "1E+9", "0" }, { "01", "1.", ".5", "+1", "1e999" } },
    { "{\"type\":[\"boolean\",\"null\"]}", { "true", "false", "null" }, { "0", "\"\"", "tru" } },
    { "{\"enum\":[\"a\",1,null,{\"x\":[1.5,\"\\\"\"]}]}", { "\"a\"", "1", "null",
      "{\"x\":[1.5,\"\\\"\"]}" }, { "\"b\"", "2", "{}" } },
    { "{\"type\":\"string\",\"enum\":[\"a\",2,\"b\"]}", { "\"a\"", "\"b\"" }, { "2" } },
    { "{\"const\":0.1}", { "0.1" }, { "0.2", "0.10" } },
    { "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}},"
      "\"required\":[\"a\"]}", { "{\"a\": 1}", "{\"a\":1,\"b\":\"\"}", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}" },
      { "{}", "{\"b\":\"\"}", "{\"b\":\"\",\"a\":1}", "{\"a\":1,}", "{\"a\":1,\"c\":2}", "{\"a\":\"1\"}" } },
    { "{\"properties\":{\"a\":{},\"b\":{},\"c\":{}}}",
      { "{}", "{\"a\":1}", "{\"b\":[]}", "{\"a\":1,\"c\":{\"x\":null}}", "{\"b\":2,\"c\":3}" },
      { "{\"b\":1,\"a\":2}", "{\"d\":1}", "{,\"a\":1}", "{\"a\":1,\"a\":1}" } },
    { "{\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"required\":[\"b\"]}",
      { "{\"b\":1}", "{\"a\":1,\"b\":2}", "{\"b\":1,\"c\":2}" }, { "{\"a\":1}", "{}", "{\"c\":1}" } },
    { "{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"null\"},\"ac\":{\"type\":\"null\"},"
      "\"\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"integer\"}}",
      { "{\"ab\":null,\"x\":1}", "{\"a\":1,\"abc\":2}", "{\"b\":3}", "{}" },
      { "{\"ab\":1}", "{\"x\":null}", "{\"\":1}", "{\"ac\":2}", "{\"\\u0061b\":1}" } },
    { "{\"type\":\"object\",\"additionalProperties\":true}", { "{}", "{\"a\":{\"b\":[1,{}]}}" },
      { "[]", "{\"a\"}", "{\"a\":}" } },
    { "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
      { "[1]", "[1, 2,3]", "[\n1\n]" }, { "[]", "[1,2,3,4]", "[1,]", "[\"\"]", "[,1]" } },
    { "{\"type\":\"array\",\"maxItems\":0}", { "[]", "[ ]" }, { "[1]" } },
    { "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],"
      "\"items\":{\"type\":\"null\"},\"minItems\":1,\"maxItems\":3}",
      { "[1]", "[1,\"\"]", "[1,\"\",null]" }, { "[]", "[\"\"]", "[1,null]", "[1,\"\",null,null]" } },
    { "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}",
      { "[1,\"\"]" }, { "[1]", "[1,\"\",2]" } },
    { "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#\"}},"
      "\"required\":[\"n\"]}]}", { "1", "{\"n\":1}", "{\"n\":{\"n\":2}}" }, { "{}", "null", "{\"n\":null}" } },
    { "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":"
      "\"integer\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}},\"required\":[\"v\"]}}}",
      { "{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]},{\"v\":3}]}" }, { "{\"v\":1,\"kids\":[1]}" } },
    { "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":3}},\"required\":[\"a\"]},"
      "{\"properties\":{\"a\":{\"maximum\":5},\"b\":{\"type\":\"null\"}},\"required\":[\"b\"]}],"
      "\"type\":\"object\"}", { "{\"a\":3,\"b\":null}", "{\"a\":5, \"b\": null}" },
      { "{\"a\":2,\"b\":null}", "{\"a\":6,\"b\":null}", "{\"a\":4}" } },
    { "{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}},\"required\":[\"k\"],"
      "\"anyOf\":[{\"properties\":{\"k\":{\"enum\":[\"x\"]},\"n\":{\"type\":\"null\"}},\"required\":[\"n\"]},"
      "{\"properties\":{\"k\":{\"const\":\"y\"}}}]}",
      { "{\"k\":\"x\",\"n\":null}", "{\"k\":\"y\"}" }, { "{\"k\":\"x\"}", "{\"k\":\"z\"}" } },
    { "{\"type\":\"integer\",\"nullable\":true,\"minimum\":5}", { "5", "null" }, { "4" } },
    { "{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}\\\\d+(-(?:a|b.)*?)?$\"}",
      { "\"AB1\"", "\"XY12-\"", "\"XY12-abxa\"" }, { "\"AB\"", "\"A1\"", "\"AB1-c\"", "\"AB1 \"" } },
    { "{\"type\":\"string\",\"pattern\":\"^x*[^\\\\w\\\\s]\\\\\\\\\\\"\"}",
      { "\"xx!\\\\\\\"yy\"", "\"-\\\\\\\"\"" }, { "\"a\\\\\\\"\"", "\"\"", "\"-\"" } },
    { "{\"type\":\"string\",\"pattern\":\"\\\\}$\"}", { "\"}\"", "\"a\\n}\"" },
      { "\"\"", "\"}a\"" } },
    { "{\"format\":\"date\"}", { "\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\"" },
      { "\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\"", "\"2024-13-01\"", "\"2024-00-10\"" } },
    { "{\"format\":\"date-time\"}", { "\"2024-01-31T23:59:59.123Z\"", "\"2024-01-31T00:00:00+01:30\"" },
      { "\"2024-01-31 00:00:00Z\"", "\"2024-01-31T24:00:00Z\"", "\"2024-01-31T00:00:00\"" } },
    { "{\"format\":\"ipv4\"}", { "\"127.0.0.1\"", "\"255.249.10.0\"" },
      { "\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\"", "\"1.2.3.4.\"" } },
    { "{\"format\":\"uuid\"}", { "\"3f2504e0-4f89-11d3-9a0c-0305e82c3301\"" }, { "\"3f2504e0\"" } },
    { "true", { "1", "[{\"a\":[]}]", "\"x\"" }, { "", "{", "nul", "[1,]" } },
    { "{\"type\":\"object\",\"properties\":{\"\\u00e4 \\\"q\\\"\":{\"type\":\"null\"}},"
      "\"required\":[\"\\u00e4 \\\"q\\\"\"]}", { "{\"\xc3\xa4 \\\"q\\\"\":null}" }, { "{}" } },
};

static struct grammar *compile(const char *schema)
{
    struct buf gbnf = { 0 };
    struct err why = { 0 };
    ck_assert_msg(api_schema_to_gbnf(schema, strlen(schema), &gbnf, &why) == 0, "%s: %s", schema,
                  why.text);
    struct grammar *const g = rig_compile(&rig, gbnf.p, &e);
    ck_assert_msg(g != NULL, "%s: %s in\n%s", schema, e.text, gbnf.p);
    buf_free(&gbnf);
    return g;
}

START_TEST(schema_lets_its_documents_through_and_no_others)
{
    struct grammar *const g = compile(cases[_i].schema);
    for (int i = 0; i < 5 && cases[_i].yes[i]; i++) {
        const char *const t = cases[_i].yes[i];
        ck_assert_msg(rig_read(&rig, g, t, strlen(t)) == 1, "%s refuses %s", cases[_i].schema, t);
    }
    for (int i = 0; i < 7 && cases[_i].no[i]; i++) {
        const char *const t = cases[_i].no[i];
        ck_assert_msg(rig_read(&rig, g, t, strlen(t)) != 1, "%s takes %s", cases[_i].schema, t);
    }
    grammar_unref(g);
}
END_TEST

START_TEST(schema_walks_give_valid_documents)
{
    struct grammar *const g = compile(cases[_i].schema);
    json_t *const schema = json_loads(cases[_i].schema, JSON_DECODE_ANY, NULL);
    struct grammar_state *s;
    uint64_t seed = (uint64_t)_i * 2654435761u + 1;
    ck_assert_int_eq(grammar_state_open(&s, g, &e), 0);
    schema_root = schema;
    for (int i = 0; i < 60; i++) {
        struct buf text = { 0 };
        json_error_t why;
        grammar_state_reset(s, false);
        ck_assert_msg(rig_walk(&rig, s, 40, &seed, &text), "%s has no end: %.200s",
                      cases[_i].schema, text.p);
        json_t *const v = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
        /* jansson knows no NUL in a key. */
        ck_assert_msg(v || strstr(why.text, "NUL byte in object key"), "%s: %s: %.200s",
                      cases[_i].schema, why.text, text.p);
        ck_assert_msg(!v || valid(schema, v), "%s gave %.200s", cases[_i].schema, text.p);
        json_decref(v);
        buf_free(&text);
    }
    grammar_state_close(s);
    json_decref(schema);
    grammar_unref(g);
}
END_TEST

static const struct {
    const char *schema, *says;
    int code;
} refused[] = {
    { "{", "#: not JSON", ERR_ARG },
    { "[]", "#: a schema must be", ERR_ARG },
    { "false", "#: false allows nothing", ERR_ARG },
    { "{\"type\":\"text\"}", "#/type: \"text\" is no type", ERR_ARG },
    { "{\"properties\":{\"a\":{\"not\":{}}}}", "#/properties/a/not: not a keyword", ERR_UNSUPPORTED },
    { "{\"anyOf\":[{},{\"uniqueItems\":true}]}", "#/anyOf/1/uniqueItems: not", ERR_UNSUPPORTED },
    { "{\"items\":{\"pattern\":\"a(?=b)\"}}", "#/items/pattern: of the groups", ERR_UNSUPPORTED },
    { "{\"pattern\":\"(a)\\\\1\"}", "#/pattern: this escape", ERR_UNSUPPORTED },
    { "{\"pattern\":\"^a|b$\"}", "#/pattern: ^ or $ beside |", ERR_UNSUPPORTED },
    { "{\"pattern\":\"a$b\"}", "known at the ends", ERR_UNSUPPORTED },
    { "{\"pattern\":\"(a\"}", "never closed", ERR_ARG },
    { "{\"pattern\":\"a)\"}", "a ) without its (", ERR_ARG },
    { "{\"pattern\":\"a**\"}", "two quantifiers", ERR_ARG },
    { "{\"pattern\":\"\\\\bx\"}", "word boundary", ERR_UNSUPPORTED },
    { "{\"format\":\"email\"}", "#/format: unknown", ERR_UNSUPPORTED },
    { "{\"type\":\"string\",\"pattern\":\"a\",\"minLength\":3}", "#/pattern: only one", ERR_UNSUPPORTED },
    { "{\"type\":\"number\",\"minimum\":0.5}", "#/minimum: bounds of numbers", ERR_UNSUPPORTED },
    { "{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", "no number is between", ERR_ARG },
    { "{\"type\":\"integer\",\"multipleOf\":3}", "#/multipleOf", ERR_UNSUPPORTED },
    { "{\"enum\":[]}", "#/enum: no value fits", ERR_ARG },
    { "{\"enum\":[1],\"type\":\"string\"}", "no value fits", ERR_ARG },
    { "{\"enum\":[\"a\"],\"minLength\":2}", "#/minLength: not supported beside", ERR_UNSUPPORTED },
    { "{\"minItems\":3,\"maxItems\":2}", "#/maxItems: 2 is less", ERR_ARG },
    { "{\"properties\":{\"a\":{}},\"required\":[\"b\"]}", "#/required: item 0", ERR_UNSUPPORTED },
    { "{\"properties\":{\"a\":{}},\"minProperties\":1}", "#/minProperties", ERR_UNSUPPORTED },
    { "{\"$ref\":\"http://x/y\"}", "#/$ref: must be", ERR_UNSUPPORTED },
    { "{\"$ref\":\"#/$defs/x\"}", "leads nowhere", ERR_ARG },
    { "{\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\"}]}", "pattern: said twice", ERR_UNSUPPORTED },
    { "{\"allOf\":[{\"properties\":{\"a\":{}},\"additionalProperties\":false},{\"properties\":{\"b\":{}}}]}",
      "additionalProperties: a schema put together", ERR_UNSUPPORTED },
    { "{\"allOf\":[{\"$ref\":\"#\"}]}", "schemas in each other", ERR_LIMIT },
    { "{\"allOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "#/type: no type is left", ERR_ARG },
};

START_TEST(schema_what_cannot_be_guaranteed_is_refused_by_its_place)
{
    struct buf gbnf = { 0 };
    e = (struct err){ 0 };
    const char *const text = refused[_i].schema;
    const int rc = api_schema_to_gbnf(text, strlen(text), &gbnf, &e);
    ck_assert_msg(rc == refused[_i].code, "%s: %d %s", text, rc, e.text);
    ck_assert_msg(strstr(e.text, refused[_i].says), "%s: %s", text, e.text);
    ck_assert_uint_eq(gbnf.n, 0);
}
END_TEST

START_TEST(schema_sizes_have_limits)
{
    struct buf b = { 0 }, gbnf = { 0 };
    for (int i = 0; i < SCHEMA_MAX_DEPTH; i++)
        buf_addf(&b, "{\"items\":");
    buf_addf(&b, "{}");
    for (int i = 0; i < SCHEMA_MAX_DEPTH; i++)
        buf_addf(&b, "}");
    ck_assert_int_eq(api_schema_to_gbnf(b.p, b.n, &gbnf, &e), ERR_LIMIT);
    buf_clear(&b);
    buf_addf(&b, "{\"enum\":[0");
    for (int i = 0; i < SCHEMA_MAX_ENUM; i++)
        buf_addf(&b, ",%d", i);
    buf_addf(&b, "]}");
    ck_assert_int_eq(api_schema_to_gbnf(b.p, b.n, &gbnf, &e), ERR_LIMIT);
    buf_clear(&b);
    buf_addf(&b, "{\"properties\":{\"p\":{}");
    for (int i = 0; i < SCHEMA_MAX_PART; i++)
        buf_addf(&b, ",\"p%d\":{}", i);
    buf_addf(&b, "}}");
    ck_assert_int_eq(api_schema_to_gbnf(b.p, b.n, &gbnf, &e), ERR_LIMIT);
    buf_free(&b);
    buf_free(&gbnf);
}
END_TEST

START_TEST(schema_any_object_is_a_grammar_too)
{
    static const char *const yes[] = { "{}", "{\"a\": [1, {\"b\": null}], \"c\": \"\\u0041\"}",
                                       "{\n  \"a\": {\n    \"b\": -1.5e3\n  }\n}" };
    static const char *const no[] = { "[]", "1", "{\"a\":}", "{'a':1}", "{}x" };
    struct grammar *const g = rig_compile(&rig, api_json_object_gbnf, &e);
    ck_assert_msg(g != NULL, "%s", e.text);
    ck_assert_str_eq(grammar_note(g), "");
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        ck_assert_int_eq(rig_read(&rig, g, yes[i], strlen(yes[i])), 1);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        ck_assert_int_ne(rig_read(&rig, g, no[i], strlen(no[i])), 1);
    grammar_unref(g);
}
END_TEST

static void open_rig(void)
{
    rig_open(&rig, false);
}

static void close_rig(void)
{
    rig_close(&rig);
}

int main(void)
{
    Suite *s = suite_create("schema");
    TCase *t = tcase_create("schema");
    const int n = sizeof cases / sizeof *cases;
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, open_rig, close_rig);
    tcase_add_loop_test(t, schema_lets_its_documents_through_and_no_others, 0, n);
    tcase_add_loop_test(t, schema_walks_give_valid_documents, 0, n);
    tcase_add_loop_test(t, schema_what_cannot_be_guaranteed_is_refused_by_its_place, 0,
                        sizeof refused / sizeof *refused);
    tcase_add_test(t, schema_sizes_have_limits);
    tcase_add_test(t, schema_any_object_is_a_grammar_too);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
