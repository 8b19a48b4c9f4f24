/* api_json_put.c - writing answers: jansson builds, we mend the text first. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/serve/api_json.h"

/* Takes over j, which may be NULL after a failed allocation. */
static void put(struct buf *out, json_t *j)
{
    char *s = j ? json_dumps(j, JSON_COMPACT) : NULL;
    if (s)
        buf_add(out, s, strlen(s));
    else
        out->failed = true;
    free(s);
    json_decref(j);
}

static json_t *text(const char *p, size_t n)
{
    struct buf b = { 0 };
    utf8_mend(p, n, &b);
    json_t *j = b.failed ? NULL : json_stringn_nocheck(b.n ? b.p : "", b.n);
    buf_free(&b);
    return j;
}

static json_t *text_or_null(const char *s)
{
    return s ? text(s, strlen(s)) : json_null();
}

static json_t *choice(const struct api_choice *c)
{
    return json_pack("{s:I,s:o,s:n,s:o}", "index", (json_int_t)c->index, "text",
                     text(c->text.p, c->text.n), "logprobs", "finish_reason",
                     text_or_null(c->finish));
}

static json_t *usage_object(const struct api_usage *u)
{
    return json_pack("{s:I,s:I,s:I}", "prompt_tokens", (json_int_t)u->n_prompt,
                     "completion_tokens", (json_int_t)u->n_new, "total_tokens",
                     (json_int_t)(u->n_prompt + u->n_new));
}

void api_put_completion(struct buf *out, const struct api_head *h, const struct api_choice *c,
                        unsigned n_choice, const struct api_usage *usage, bool null_usage)
{
    json_t *list = json_array();
    bool ok = list;
    for (unsigned i = 0; i < n_choice; i++)
        ok = ok && !json_array_append_new(list, choice(&c[i]));
    json_t *j = ok ? json_pack("{s:s,s:s,s:I,s:o,s:O}", "id", h->id, "object", "text_completion",
                               "created", (json_int_t)h->created, "model", text_or_null(h->model),
                               "choices", list) : NULL;
    json_decref(list);
    if (j && (usage || null_usage) &&
        json_object_set_new(j, "usage", usage ? usage_object(usage) : json_null())) {
        json_decref(j);
        j = NULL;
    }
    put(out, j);
}

static json_t *model(const char *id, int64_t created)
{
    return json_pack("{s:o,s:s,s:I,s:s}", "id", text_or_null(id), "object", "model", "created",
                     (json_int_t)created, "owned_by", "bitnetd");
}

void api_put_model(struct buf *out, const char *id, int64_t created)
{
    put(out, model(id, created));
}

void api_put_models(struct buf *out, const char *id, int64_t created)
{
    put(out, json_pack("{s:s,s:[o]}", "object", "list", "data", model(id, created)));
}

void api_put_error(struct buf *out, const struct api_error *e)
{
    put(out, json_pack("{s:{s:o,s:s,s:o,s:o}}", "error", "message", text_or_null(e->message), "type",
                       e->status >= 500 ? "server_error" : "invalid_request_error", "param",
                       text_or_null(e->param), "code", text_or_null(e->code)));
}

void api_put_status(struct buf *out, const char *status)
{
    put(out, json_pack("{s:o}", "status", text_or_null(status)));
}
