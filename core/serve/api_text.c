/* api_text.c - text to tokens and back, without the engine. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "core/serve/api_chat.h"
#include "core/serve/exchange.h"

/* ---- what the three have in common ---- */

struct text_in {
    struct str content;
    struct api_ids tokens;
    bool add_special;             /* BOS in front, if the model wants one      */
    bool parse_special;           /* control tokens in the text are recognised */
    bool with_pieces;
    bool skip_special;            /* control tokens are not written out        */
};

static int read_text(struct exchange *x, const struct api_field *f, unsigned n, struct arena *arena,
                     struct text_in *to, struct api_error *e)
{
    struct api_in in;
    json_t *root = api_open(&in, x->body.p, x->body.n, arena, e);
    if (!root)
        return ERR_ARG;
    int rc = api_read_fields(&in, root, f, n, to);
    if (!rc && !to->content.p && !to->tokens.id)
        rc = api_missing(&in, f[0].name);
    json_decref(root);
    return rc;
}

static enum answer answer(struct exchange *x, struct arena *arena)
{
    arena_free(arena);
    x->status = 200;
    return x->out.failed ? api_refuse_memory(x) : ANSWER_DONE;
}

static enum answer refuse(struct exchange *x, struct arena *arena, const struct api_error *e)
{
    arena_free(arena);
    return api_refuse_error(x, e);
}

/* ---- /tokenize ---- */

/* A text, or the bytes of a token that is none. */
static void put_piece(struct buf *out, const struct vocab *v, int32_t id)
{
    struct buf b = { 0 };
    vocab_piece(v, id, true, &b);
    bool whole = true;
    for (size_t at = 0, k; whole && at < b.n; at += k) {
        uint32_t cp;
        k = utf8_decode(b.p + at, b.n - at, &cp);
        whole = k;
    }
    if (whole)
        api_put(out, b.failed ? NULL : api_text(b.n ? b.p : "", b.n));
    for (size_t i = 0; !whole && i < b.n; i++)
        buf_addf(out, "%c%u", i ? ',' : '[', (unsigned char)b.p[i]);
    if (!whole)
        buf_addf(out, "]");
    buf_free(&b);
}

/* Written token by token: as one JSON value a long list would take many times
 * its length. */
static void put_tokens(struct buf *out, const struct vocab *v, const struct tokens *t, bool pieces)
{
    buf_addf(out, "{\"tokens\":[");
    for (size_t i = 0; i < t->n; i++) {
        buf_addf(out, pieces ? "%s{\"id\":%d,\"piece\":" : "%s%d", i ? "," : "", t->id[i]);
        if (!pieces)
            continue;
        put_piece(out, v, t->id[i]);
        buf_addf(out, "}");
    }
    buf_addf(out, "],\"count\":%zu}", t->n);
}

static enum answer tokenize(struct exchange *x)
{
    static const struct api_field field[] = {
        { "content", api_read_text, offsetof(struct text_in, content), 0, 0 },
        { "add_special", api_read_bool, offsetof(struct text_in, add_special), 0, 0 },
        { "parse_special", api_read_bool, offsetof(struct text_in, parse_special), 0, 0 },
        { "with_pieces", api_read_bool, offsetof(struct text_in, with_pieces), 0, 0 },
    };
    const struct vocab *v = serve_model(x->serve)->vocab;
    struct arena arena = { 0 };
    struct text_in q = { .parse_special = true };
    struct api_error e;
    if (read_text(x, field, 4, &arena, &q, &e))
        return refuse(x, &arena, &e);
    const unsigned flags = (q.add_special ? (unsigned)VOCAB_BOS : 0) |
                           (q.parse_special ? (unsigned)VOCAB_SPECIAL : 0);
    struct tokens t = { 0 };
    struct err err = { 0 };
    if (vocab_encode(v, q.content.p, q.content.n, flags, 0, &t, &err))
        x->out.failed = true;
    put_tokens(&x->out, v, &t, q.with_pieces);
    free(t.id);
    return answer(x, &arena);
}

/* ---- /detokenize ---- */

static enum answer detokenize(struct exchange *x)
{
    static const struct api_field field[] = {
        { "tokens", api_read_ids, offsetof(struct text_in, tokens), 0, 0 },
        { "skip_special", api_read_bool, offsetof(struct text_in, skip_special), 0, 0 },
    };
    const struct vocab *v = serve_model(x->serve)->vocab;
    struct arena arena = { 0 };
    struct text_in q = { 0 };
    struct api_error e;
    if (read_text(x, field, 2, &arena, &q, &e))
        return refuse(x, &arena, &e);
    struct buf text = { 0 };
    struct detok d = { 0 };
    for (uint32_t i = 0; i < q.tokens.n; i++) {
        if ((uint32_t)q.tokens.id[i] >= vocab_n(v)) {
            e = (struct api_error){ .status = 400, .code = "invalid_value", .param = "tokens" };
            snprintf(e.message, sizeof e.message, "tokens: element %u is %d, the vocabulary has %u", i,
                     q.tokens.id[i], vocab_n(v));
            buf_free(&text);
            return refuse(x, &arena, &e);
        }
        detok_feed(v, &d, q.tokens.id[i], !q.skip_special, &text);
    }
    detok_finish(&d, &text);
    api_put(&x->out, text.failed ? NULL
                                 : json_pack("{s:o}", "content",
                                             api_text(text.n ? text.p : "", text.n)));
    buf_free(&text);
    return answer(x, &arena);
}

/* ---- /apply-template ---- */

static int read_chat(struct exchange *x, struct arena *arena, struct api_chat *c, bool *generation,
                     struct api_error *e)
{
    static const struct api_field field[] = { { "add_generation_prompt", api_read_bool, 0, 0, 0 } };
    struct api_in in;
    json_t *root = api_open(&in, x->body.p, x->body.n, arena, e);
    if (!root)
        return ERR_ARG;
    int rc = api_read_conversation(&in, root, c);
    if (!rc)
        rc = api_read_fields(&in, root, field, 1, generation);
    json_decref(root);
    return rc;
}

static enum answer apply_template(struct exchange *x)
{
    const struct serve_model *m = serve_model(x->serve);
    struct arena arena = { 0 };
    struct api_chat c = { 0 };
    struct api_error e;
    bool generation = true;
    if (gen_check_chat(m, &e) || read_chat(x, &arena, &c, &generation, &e))
        return refuse(x, &arena, &e);
    const struct chat_in in = { .msg = c.msg, .n_msg = c.n_msg, .tool = c.tool, .n_tool = c.n_tool,
                                .add_generation = generation };
    struct buf text = { 0 };
    struct err err = { 0 };
    const int rc = chat_text(m->chat, &in, &text, &err);
    if (!rc || rc == ERR_NOMEM)
        api_put(&x->out, rc || text.failed ? NULL : json_pack("{s:o}", "prompt",
                                                              api_text(text.n ? text.p : "", text.n)));
    buf_free(&text);
    if (!rc || rc == ERR_NOMEM)
        return answer(x, &arena);
    e = (struct api_error){ .status = 400, .code = "invalid_value", .param = "messages" };
    snprintf(e.message, sizeof e.message, "%s", err.text);
    return refuse(x, &arena, &e);
}

const struct route api_text_route[] = {
    { "POST", "/tokenize", false, false, SCOPE_READ, tokenize, NULL },
    { "POST", "/v1/tokenize", false, false, SCOPE_READ, tokenize, NULL },
    { "POST", "/detokenize", false, false, SCOPE_READ, detokenize, NULL },
    { "POST", "/v1/detokenize", false, false, SCOPE_READ, detokenize, NULL },
    { "POST", "/apply-template", false, false, SCOPE_READ, apply_template, NULL },
    { "POST", "/v1/apply-template", false, false, SCOPE_READ, apply_template, NULL },
    { .method = NULL }
};
