/* hf_json.c - see hf_json.h. */
#include "core/model/hf_json.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/log.h"

struct hf_quoted hf_quote(struct str s)
{
    enum { SHOWN = 100 };
    struct hf_quoted q = { "" };
    struct buf b = { 0 };
    log_escape(&b, s.p, s.n < SHOWN ? s.n : SHOWN, false);
    if (!b.failed && b.p)
        snprintf(q.text, sizeof q.text, "%.170s%s", b.p, s.n > SHOWN ? "..." : "");
    buf_free(&b);
    return q;
}

/* What the parser says may quote the file. */
static int fail_parse(const char *name, const json_error_t *at, struct err *e)
{
    return err_set(e, ERR_DATA, "%s: no valid JSON at line %d, column %d: %s", name, at->line,
                   at->column, hf_quote(str_of(at->text)).text);
}

/* Commas and brackets outside of texts: values, or a few more. */
static int check_values(const char *name, const char *p, size_t n, struct err *e)
{
    unsigned count = 0;
    bool in_text = false;
    for (size_t i = 0; i < n; i++) {
        if (in_text && p[i] == '\\')
            i++;
        else if (p[i] == '"')
            in_text = !in_text;
        else if (!in_text && (p[i] == ',' || p[i] == '[' || p[i] == '{') &&
                 ++count > HF_JSON_MAX_VALUES)
            return err_set(e, ERR_LIMIT, "%s: more than %d values, the most that are read", name,
                           HF_JSON_MAX_VALUES);
    }
    return 0;
}

int hf_json_parse(json_t **out, const char *name, const void *p, size_t n, struct err *e)
{
    json_error_t at;
    *out = NULL;
    if (check_values(name, p, n, e))
        return ERR_LIMIT;
    *out = json_loadb(p, n, JSON_REJECT_DUPLICATES, &at);
    if (!*out)
        return fail_parse(name, &at, e);
    if (json_is_object(*out))
        return 0;
    int rc = err_set(e, ERR_DATA, "%s: %s, expected a JSON object", name, hf_json_kind(*out));
    json_decref(*out);
    *out = NULL;
    return rc;
}

int hf_json_read(json_t **out, const char *path, size_t max, struct err *e)
{
    char *text;
    size_t n;
    *out = NULL;
    int rc = file_read(path, max, &text, &n, e);
    if (!rc)
        rc = hf_json_parse(out, path, text, n, e);
    free(text);
    return rc;
}

const char *hf_json_kind(const json_t *j)
{
    switch (j ? json_typeof(j) : JSON_NULL) {
    case JSON_OBJECT:  return "an object";
    case JSON_ARRAY:   return "an array";
    case JSON_STRING:  return "a text";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL:    return "a number";
    case JSON_TRUE:
    case JSON_FALSE:   return "a truth value";
    default:           return "null";
    }
}
