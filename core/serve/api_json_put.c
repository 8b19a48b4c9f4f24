/* api_json_put.c - writing answers: jansson builds, we mend the text first. */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/serve/api_json.h"

void api_put(struct buf *out, json_t *j)
{
    char *s = j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (s)
        buf_add(out, s, strlen(s));
    else
        out->failed = true;
    free(s);
    json_decref(j);
}

void api_put_event(struct buf *out, const char *name, json_t *j)
{
    if (name)
        buf_addf(out, "event: %s\n", name);
    buf_addf(out, "data: ");
    api_put(out, j);
    buf_addf(out, "\n\n");
}

json_t *api_text(const char *p, size_t n)
{
    struct buf b = { 0 };
    utf8_mend(p, n, &b);
    json_t *j = b.failed ? NULL : json_stringn_nocheck(b.n ? b.p : "", b.n);
    buf_free(&b);
    return j;
}

json_t *api_text_or_null(const char *s)
{
    return s ? api_text(s, strlen(s)) : json_null();
}

json_t *api_usage_json(const struct api_usage *u)
{
    return json_pack("{s:I,s:I,s:I,s:{s:I}}", "prompt_tokens", (json_int_t)u->n_prompt,
                     "completion_tokens", (json_int_t)u->n_new, "total_tokens",
                     (json_int_t)(u->n_prompt + u->n_new), "prompt_tokens_details",
                     "cached_tokens", (json_int_t)u->n_cached);
}

static json_t *error_json(const struct api_error *e)
{
    return json_pack("{s:{s:o,s:s,s:o,s:o}}", "error", "message", api_text_or_null(e->message),
                     "type", e->status >= 500 ? "server_error" : "invalid_request_error", "param",
                     api_text_or_null(*e->param ? e->param : NULL), "code",
                     api_text_or_null(e->code));
}

void api_put_error(struct buf *out, const struct api_error *e)
{
    api_put(out, error_json(e));
}

void api_put_error_event(struct buf *out, const struct api_error *e)
{
    api_put_event(out, NULL, error_json(e));
}

void api_put_status(struct buf *out, const char *status)
{
    api_put(out, json_pack("{s:o}", "status", api_text_or_null(status)));
}
