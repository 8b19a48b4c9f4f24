/* api_logprob.c - a token's name is its bytes; JSON takes only text. So the
 * older shape writes a token that is no whole text as "bytes:\xe4\xb8", which
 * keeps the names of its map apart, and the newer one adds the bytes. */
#include "core/serve/api_logprob.h"

#include "core/base/utf8.h"
#include "core/serve/api_json.h"

size_t logprob_skip_char(const char *p, size_t n, size_t to, size_t *at)
{
    size_t count = 0;
    while (*at < to) {
        uint32_t cp;
        const size_t k = utf8_decode(p + *at, n - *at, &cp);
        if (*at + (k ? k : 1) > to)
            break;
        *at += k ? k : 1;
        count++;
    }
    return count;
}

static bool is_text(const struct buf *b)
{
    size_t k = 1;
    for (size_t at = 0; k && at < b->n; at += k) {
        uint32_t cp;
        k = utf8_decode(b->p + at, b->n - at, &cp);
    }
    return k;
}

/* The token as a name, in out. */
static void add_name(const struct vocab *v, int32_t id, struct buf *out)
{
    struct buf piece = { 0 };
    vocab_piece(v, id, true, &piece);
    if (is_text(&piece))
        buf_add(out, piece.n ? piece.p : "", piece.n);
    else {
        buf_addf(out, "bytes:");
        for (size_t i = 0; i < piece.n; i++)
            buf_addf(out, "\\x%02x", (unsigned char)piece.p[i]);
    }
    out->failed = out->failed || piece.failed;
    buf_free(&piece);
}

static json_t *name_json(const struct vocab *v, int32_t id)
{
    struct buf name = { 0 };
    add_name(v, id, &name);
    json_t *j = name.failed ? NULL : api_text(name.p, name.n);
    buf_free(&name);
    return j;
}

/* ---- the older shape ---- */

void logprob_list_open(struct logprob_list *l)
{
    *l = (struct logprob_list){ json_array(), json_array(), json_array(), json_array(), false };
}

/* A token with a NUL in its text cannot be a key, and is left out. */
static bool put_top(json_t *map, const struct vocab *v, int32_t id, float logprob)
{
    struct buf name = { 0 };
    add_name(v, id, &name);
    const bool ok = !name.failed && (!name.n || !json_object_set_new(map, name.p,
                                                                     json_real((double)logprob)));
    buf_free(&name);
    return ok;
}

static json_t *top_map(const struct vocab *v, int32_t id, const struct token_logprob *p)
{
    json_t *map = json_object();
    bool ok = map;
    for (uint32_t i = 0; ok && i < p->n_top; i++)
        ok = put_top(map, v, p->top[i].id, p->top[i].logprob);
    ok = ok && put_top(map, v, id, p->logprob);
    if (ok)
        return map;
    json_decref(map);
    return NULL;
}

void logprob_list_add(struct logprob_list *l, const struct vocab *v, int32_t id,
                      const struct token_logprob *p, size_t offset)
{
    json_t *top = p && p->n_top ? top_map(v, id, p) : json_null();
    if (json_array_append_new(l->tokens, name_json(v, id)) ||
        json_array_append_new(l->logprobs, p ? json_real((double)p->logprob) : json_null()) ||
        json_array_append_new(l->top, top) ||
        json_array_append_new(l->offsets, json_integer((json_int_t)offset)))
        l->failed = true;
}

json_t *logprob_list_json(struct logprob_list *l)
{
    json_t *j = json_pack("{s:o,s:o,s:o,s:o}", "tokens", l->tokens, "token_logprobs", l->logprobs,
                          "top_logprobs", l->top, "text_offset", l->offsets);
    if (!l->failed)
        return j;
    json_decref(j);
    return NULL;
}

/* ---- the newer shape ---- */

/* {"token", "logprob", "bytes"} */
static json_t *token_json(const struct vocab *v, int32_t id, float logprob)
{
    struct buf piece = { 0 };
    vocab_piece(v, id, true, &piece);
    json_t *bytes = json_array();
    for (size_t i = 0; i < piece.n; i++)
        if (json_array_append_new(bytes, json_integer((unsigned char)piece.p[i])))
            piece.failed = true;
    json_t *j = json_pack("{s:o,s:f,s:o}", "token", api_text(piece.n ? piece.p : "", piece.n),
                          "logprob", (double)logprob, "bytes", bytes);
    const bool ok = !piece.failed;
    buf_free(&piece);
    if (ok)
        return j;
    json_decref(j);
    return NULL;
}

static json_t *content_json(const struct vocab *v, const struct token_logprob *p)
{
    json_t *top = json_array(), *j = token_json(v, p->id, p->logprob);
    bool ok = true;
    for (uint32_t i = 0; ok && i < p->n_top; i++)
        ok = !json_array_append_new(top, token_json(v, p->top[i].id, p->top[i].logprob));
    if (!json_object_set_new(j, "top_logprobs", top) && ok)
        return j;
    json_decref(j);
    return NULL;
}

json_t *logprob_content_json(const struct vocab *v, const struct token_logprob *p, uint32_t n)
{
    json_t *list = json_array();
    bool ok = true;
    for (uint32_t i = 0; ok && i < n; i++)
        ok = !json_array_append_new(list, content_json(v, &p[i]));
    if (ok)
        return json_pack("{s:o,s:n}", "content", list, "refusal");
    json_decref(list);
    return NULL;
}
