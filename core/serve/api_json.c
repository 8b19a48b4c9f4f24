/* api_json.c - reading JSON under limits, and saying where it is wrong.
 *
 * jansson parses, and recurses while it does: the body is scanned first, so
 * that its depth and the memory of its containers are bounded. Then tables say
 * what each field must be. */
#include "core/serve/api_json.h"

#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"

/* ---- complaints ---- */

__attribute__((format(printf, 4, 0)))
static int fail_at(struct api_in *in, unsigned status, const char *code, const char *fmt,
                   va_list ap)
{
    struct api_error *e = in->error;
    *e = (struct api_error){ .status = status, .code = code };
    memcpy(e->param, in->at, sizeof e->param);
    if (vsnprintf(e->message, sizeof e->message, fmt, ap) < 0)
        e->message[0] = 0;
    return status == 500 ? ERR_NOMEM : ERR_ARG;
}

int api_fail(struct api_in *in, unsigned status, const char *code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = fail_at(in, status, code, fmt, ap);
    va_end(ap);
    return rc;
}

int api_no_memory(struct api_in *in)
{
    return api_fail(in, 500, NULL, "no memory for the request");
}

int api_wrong_type(struct api_in *in, const char *want)
{
    return api_fail(in, 400, "invalid_type", "%s: must be %s", in->at, want);
}

int api_bad_value(struct api_in *in, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0)
        text[0] = 0;
    va_end(ap);
    return api_fail(in, 400, "invalid_value", "%s: %s", in->at, text);
}

bool api_is(const char *s, const char *what)
{
    return s && !strcmp(s, what);
}

int api_missing(struct api_in *in, const char *name)
{
    const size_t at = api_enter(in, name);
    const int rc = api_fail(in, 400, "missing_field", "%s: is required", in->at);
    api_leave(in, at);
    return rc;
}

size_t api_enter(struct api_in *in, const char *name)
{
    const size_t n = strlen(in->at);
    snprintf(in->at + n, sizeof in->at - n, "%s%s", n ? "." : "", name);
    return n;
}

size_t api_enter_index(struct api_in *in, size_t i)
{
    const size_t n = strlen(in->at);
    snprintf(in->at + n, sizeof in->at - n, "[%zu]", i);
    return n;
}

void api_leave(struct api_in *in, size_t at)
{
    in->at[at] = 0;
}

/* ---- the body ---- */

/* Nesting and containers, counted outside strings. Whether the rest is JSON
 * is jansson's to say. */
static int check_shape(struct api_in *in, const char *s, size_t n)
{
    unsigned depth = 0, count = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else
                in_string = s[i] != '"';
        } else if (s[i] == '"')
            in_string = true;
        else if (s[i] == '[' || s[i] == '{') {
            if (++depth > API_MAX_DEPTH)
                return api_fail(in, 400, "invalid_json", "the body is nested deeper than %d levels",
                                API_MAX_DEPTH);
            if (++count > API_MAX_CONTAINER)
                return api_fail(in, 400, "invalid_json",
                                "the body holds more than %d arrays and objects", API_MAX_CONTAINER);
        } else if ((s[i] == ']' || s[i] == '}') && depth)
            depth--;
    }
    return 0;
}

json_t *api_open(struct api_in *in, const char *body, size_t n, struct arena *arena,
                 struct api_error *error)
{
    *in = (struct api_in){ .arena = arena, .error = error };
    *error = (struct api_error){ 0 };
    if (check_shape(in, body, n))
        return NULL;
    json_error_t je;
    json_t *root = json_loadb(body ? body : "", n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &je);
    if (!root) {
        api_fail(in, 400, "invalid_json", "the body is not JSON: %s (line %d, column %d)", je.text,
                 je.line, je.column);
    } else if (!json_is_object(root)) {
        json_decref(root);
        root = NULL;
        api_fail(in, 400, "invalid_type", "the body must be a JSON object");
    }
    return root;
}

int api_read_fields(struct api_in *in, const json_t *object, const struct api_field *f, unsigned n,
                    void *base)
{
    int rc = 0;
    for (unsigned i = 0; !rc && i < n; i++) {
        const json_t *j = json_object_get(object, f[i].name);
        if (!j || json_is_null(j))
            continue;
        const size_t at = api_enter(in, f[i].name);
        rc = f[i].read(in, j, &f[i], (char *)base + f[i].at);
        api_leave(in, at);
    }
    return rc;
}

/* ---- one function per kind of field; j is never null there ---- */

int api_read_bool(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    if (!json_is_boolean(j))
        return api_wrong_type(in, "true or false");
    *(bool *)to = json_is_true(j);
    return 0;
}

int api_read_u64(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    const json_int_t v = json_is_integer(j) ? json_integer_value(j) : -1;
    if (v < 0 || (uint64_t)v < f->min || (uint64_t)v > f->max)
        return api_fail(in, 400, json_is_integer(j) ? "invalid_value" : "invalid_type",
                        "%s: must be a whole number from %llu to %llu", in->at,
                        (unsigned long long)f->min, (unsigned long long)f->max);
    *(uint64_t *)to = (uint64_t)v;
    return 0;
}

int api_read_u32(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    uint64_t v = 0;
    const int rc = api_read_u64(in, j, f, &v);
    if (!rc)
        *(uint32_t *)to = (uint32_t)v;
    return rc;
}

int api_read_float(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    if (!json_is_number(j))
        return api_wrong_type(in, "a number");
    const double v = json_number_value(j);
    if (!(v >= -(double)FLT_MAX && v <= (double)FLT_MAX))
        return api_bad_value(in, "%g is out of range", v);
    *(float *)to = (float)v;
    return 0;
}

/* The text in the arena: jansson's own copy ends with the parse. */
int api_read_text(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct str *s = to;
    if (!json_is_string(j))
        return api_wrong_type(in, "a string");
    const size_t n = json_string_length(j);
    if (f->max && (n < f->min || n > f->max))
        return api_bad_value(in, "a string of %zu bytes, expected %llu to %llu", n,
                             (unsigned long long)f->min, (unsigned long long)f->max);
    *s = (struct str){ arena_strndup(in->arena, json_string_value(j), n), n };
    return s->p ? 0 : api_no_memory(in);
}

int api_read_name(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    struct str s;
    const int rc = api_read_text(in, j, f, &s);
    if (rc)
        return rc;
    if (memchr(s.p, 0, s.n))
        return api_bad_value(in, "must not hold a NUL character");
    *(const char **)to = s.p;
    return 0;
}

int api_read_json(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    struct str *s = to;
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return api_no_memory(in);
    const size_t n = strlen(text);
    *s = (struct str){ arena_strndup(in->arena, text, n), n };
    free(text);
    return s->p ? 0 : api_no_memory(in);
}

int api_read_ids(struct api_in *in, const json_t *j, const struct api_field *f, void *to)
{
    (void)f;
    if (!json_is_array(j))
        return api_wrong_type(in, "an array of token ids");
    const size_t n = json_array_size(j);
    int32_t *id = arena_alloc(in->arena, n ? n : 1, sizeof *id);
    if (!id)
        return api_no_memory(in);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(j, i);
        const json_int_t t = json_is_integer(v) ? json_integer_value(v) : -1;
        if (t < 0 || t > INT32_MAX)
            return api_bad_value(in, "element %zu is not a token id", i);
        id[i] = (int32_t)t;
    }
    *(struct api_ids *)to = (struct api_ids){ id, (uint32_t)n };
    return 0;
}
