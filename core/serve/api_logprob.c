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

static void put_name(struct buf *out, const struct vocab *v, int32_t id)
{
    struct buf name = { 0 };
    add_name(v, id, &name);
    api_put(out, name.failed ? NULL : api_text(name.n ? name.p : "", name.n));
    buf_free(&name);
}

/* JSON has no infinity; OpenAI writes this number for what cannot be. */
static double told(float logprob)
{
    return logprob > -9999.0f ? (double)logprob : -9999.0;
}

/* ---- the older shape ---- */

/* Tokens of the same bytes give a map the same name twice. */
static void put_top(struct buf *out, const struct vocab *v, const struct token_logprob *p)
{
    bool has_own = false;
    buf_addf(out, "{");
    for (uint32_t i = 0; i < p->n_top; i++) {
        buf_addf(out, "%s", i ? "," : "");
        put_name(out, v, p->top[i].id);
        buf_addf(out, ":%.9g", told(p->top[i].logprob));
        has_own = has_own || p->top[i].id == p->id;
    }
    if (!has_own) {
        buf_addf(out, ",");
        put_name(out, v, p->id);
        buf_addf(out, ":%.9g", told(p->logprob));
    }
    buf_addf(out, "}");
}

void logprob_list_add(struct logprob_list *l, const struct vocab *v, int32_t id,
                      const struct token_logprob *p, size_t offset)
{
    const char *comma = l->tokens.n ? "," : "";
    buf_addf(&l->tokens, "%s", comma);
    put_name(&l->tokens, v, id);
    if (p)
        buf_addf(&l->logprobs, "%s%.9g", comma, told(p->logprob));
    else
        buf_addf(&l->logprobs, "%snull", comma);
    buf_addf(&l->top, "%s", comma);
    if (p && p->n_top)
        put_top(&l->top, v, p);
    else
        buf_addf(&l->top, "null");
    buf_addf(&l->offsets, "%s%zu", comma, offset);
}

static void put_list(struct buf *out, const char *name, struct buf *list)
{
    buf_addf(out, "\"%s\":[", name);
    if (list->n)
        buf_add(out, list->p, list->n);
    buf_addf(out, "]");
    out->failed = out->failed || list->failed;
    buf_free(list);
}

void logprob_list_put(struct logprob_list *l, struct buf *out)
{
    buf_addf(out, "{");
    put_list(out, "tokens", &l->tokens);
    buf_addf(out, ",");
    put_list(out, "token_logprobs", &l->logprobs);
    buf_addf(out, ",");
    put_list(out, "top_logprobs", &l->top);
    buf_addf(out, ",");
    put_list(out, "text_offset", &l->offsets);
    buf_addf(out, "}");
}

/* ---- the newer shape ---- */

/* "token", "logprob", "bytes" */
static void put_token(struct buf *out, const struct vocab *v, int32_t id, float logprob)
{
    struct buf piece = { 0 };
    vocab_piece(v, id, true, &piece);
    buf_addf(out, "\"token\":");
    api_put(out, piece.failed ? NULL : api_text(piece.n ? piece.p : "", piece.n));
    buf_addf(out, ",\"logprob\":%.9g,\"bytes\":[", told(logprob));
    for (size_t i = 0; i < piece.n; i++)
        buf_addf(out, "%s%u", i ? "," : "", (unsigned char)piece.p[i]);
    buf_addf(out, "]");
    buf_free(&piece);
}

void logprob_put_content(struct buf *out, const struct vocab *v, const struct token_logprob *p,
                         uint32_t n)
{
    buf_addf(out, "{\"content\":[");
    for (uint32_t i = 0; i < n; i++) {
        buf_addf(out, "%s{", i ? "," : "");
        put_token(out, v, p[i].id, p[i].logprob);
        buf_addf(out, ",\"top_logprobs\":[");
        for (uint32_t k = 0; k < p[i].n_top; k++) {
            buf_addf(out, "%s{", k ? "," : "");
            put_token(out, v, p[i].top[k].id, p[i].top[k].logprob);
            buf_addf(out, "}");
        }
        buf_addf(out, "]}");
    }
    buf_addf(out, "],\"refusal\":null}");
}
