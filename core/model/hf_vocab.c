/* hf_vocab.c - tokens and merges of tokenizer.json.
 *
 * A BPE file of SentencePiece origin has merges where SentencePiece has
 * scores. The score of a piece is minus the rank of the first merge that makes
 * it: what is merged first is then the same. */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/model/hf_parts.h"
#include "core/model/spm.h"

#define KEY(name) "tokenizer.ggml." name
#define JSON "tokenizer.json"

/* Members of model.vocab by text: -1 when it has none. */
static json_int_t id_of(const struct hf_reading *r, const char *text)
{
    const json_t *const j = json_object_get(r->vocab, text);
    return json_is_integer(j) ? json_integer_value(j) : -1;
}

int32_t hf_vocab_find(const struct hf_reading *r, struct str text)
{
    for (uint32_t i = 0; text.p && i < r->n; i++)
        if (r->token[i].text.p && str_same(r->token[i].text, text))
            return (int32_t)i;
    return -1;
}

int hf_vocab_put(struct hf_reading *r, const char *file, json_int_t id, struct str text,
                 uint8_t type)
{
    if (text.n > VOCAB_MAX_TOKEN_BYTES)
        return hf_fail(r, ERR_LIMIT, file, "token %lld: %zu bytes, at most %d are read",
                       (long long)id, text.n, VOCAB_MAX_TOKEN_BYTES);
    if (id < 0 || id >= r->n)
        return hf_fail(r, ERR_DATA, file, "token \"%s\" has id %lld, but the model has %u rows of "
                       "embedding, expected an id below", hf_quote(text).text, (long long)id, r->n);
    struct hf_token *const t = &r->token[id];
    if (t->text.p && !str_same(t->text, text))
        return hf_fail(r, ERR_DATA, file, "token %lld is \"%s\" and \"%s\", expected one text",
                       (long long)id, hf_quote(t->text).text, hf_quote(text).text);
    t->text = text;
    t->type = type;
    return 0;
}

/* ------------------------------------------------------------------ tokens */

static json_int_t largest(const json_t *vocab, const json_t *added)
{
    json_int_t max = -1;
    const char *key;
    json_t *j;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)vocab, key, j)
        if (json_is_integer(j) && json_integer_value(j) > max)
            max = json_integer_value(j);
    json_array_foreach(added, i, j) {
        const json_t *const id = json_object_get(j, "id");
        if (json_is_integer(id) && json_integer_value(id) > max)
            max = json_integer_value(id);
    }
    return max;
}

static int allocate(struct hf_reading *r, const json_t *added)
{
    if (r->n == 0) {
        const json_int_t max = largest(r->vocab, added);
        if (max < 0 || max >= VOCAB_MAX_TOKENS)
            return hf_fail(r, ERR_LIMIT, JSON, "model.vocab: the largest id is %lld, expected 0 to "
                           "%d", (long long)max, VOCAB_MAX_TOKENS - 1);
        r->n = (uint32_t)max + 1;
    }
    r->token = calloc(r->n, sizeof *r->token);
    return r->token ? 0 : hf_fail(r, ERR_NOMEM, JSON, "no memory for %u tokens", r->n);
}

static bool is_byte(const char *s)
{
    return strlen(s) == 6 && memcmp(s, "<0x", 3) == 0 && s[5] == '>' &&
           strspn(s + 3, "0123456789ABCDEFabcdef") == 2;
}

static int read_vocab(struct hf_reading *r)
{
    const char *text;
    json_t *id;
    json_object_foreach((json_t *)(uintptr_t)r->vocab, text, id) {
        if (!json_is_integer(id))
            return hf_fail(r, ERR_DATA, JSON, "model.vocab: the id of \"%s\" is no whole number, "
                           "expected one", hf_quote(str_of(text)).text);
        const json_int_t i = json_integer_value(id);
        if (i >= 0 && i < r->n && r->token[i].text.p)
            return hf_fail(r, ERR_DATA, JSON, "model.vocab: id %lld belongs to two texts, one is "
                           "\"%s\", expected one text an id", (long long)i,
                           hf_quote(str_of(text)).text);
        const uint8_t type = r->spm && is_byte(text) ? TOKEN_BYTE : TOKEN_NORMAL;
        const int rc = hf_vocab_put(r, JSON, i, str_of(text), type);
        if (rc)
            return rc;
    }
    return 0;
}

static int read_added(struct hf_reading *r, const json_t *added)
{
    const struct str unk = hf_text(json_object_get(r->json, "model"), "unk_token");
    size_t i;
    const json_t *j;
    json_array_foreach(added, i, j) {
        const json_t *const id = json_object_get(j, "id");
        const struct str text = hf_text(j, "content");
        if (!json_is_integer(id) || !text.p || !text.n)
            return hf_fail(r, ERR_DATA, JSON, "added_tokens[%zu]: expected an object with a whole "
                           "number \"id\" and a text \"content\"", i);
        const bool unknown = r->spm && unk.p && str_same(unk, text);
        const uint8_t type = unknown                       ? TOKEN_UNKNOWN
                             : hf_flag(j, "special", false) ? TOKEN_CONTROL
                                                            : TOKEN_USER;
        const int rc = hf_vocab_put(r, JSON, json_integer_value(id), text, type);
        if (rc)
            return rc;
        r->token[json_integer_value(id)].score = HF_ADDED_SCORE;
    }
    return 0;
}

/* ------------------------------------------------------------------ merges */

struct pair {
    struct str left, right;
};

/* "a b", cut at the first space that is not its first character, or ["a", "b"]. */
static bool read_pair(const json_t *j, struct pair *p)
{
    if (json_is_array(j) && json_array_size(j) == 2) {
        const json_t *const l = json_array_get(j, 0), *const q = json_array_get(j, 1);
        if (!json_is_string(l) || !json_is_string(q))
            return false;
        p->left = (struct str){ json_string_value(l), json_string_length(l) };
        p->right = (struct str){ json_string_value(q), json_string_length(q) };
    } else if (json_is_string(j) && json_string_length(j)) {
        const char *const s = json_string_value(j);
        const size_t n = json_string_length(j);
        const char *const cut = memchr(s + 1, ' ', n - 1);
        if (!cut)
            return false;
        p->left = (struct str){ s, (size_t)(cut - s) };
        p->right = (struct str){ cut + 1, n - (size_t)(cut - s) - 1 };
    } else {
        return false;
    }
    /* In a GGUF the two stand with a space between them. */
    return p->left.n && p->right.n && !memchr(p->left.p + 1, ' ', p->left.n - 1) &&
           !memchr(p->left.p, 0, p->left.n) && !memchr(p->right.p, 0, p->right.n);
}

static int check_pair(const struct hf_reading *r, size_t i, const struct pair *p, struct buf *text,
                      json_int_t *made)
{
    buf_clear(text);
    buf_add(text, p->left.p, p->left.n);
    const json_int_t left = text->failed ? -1 : id_of(r, text->p);
    buf_add(text, p->right.p, p->right.n);
    *made = text->failed ? -1 : id_of(r, text->p);
    if (text->failed)
        return hf_fail(r, ERR_NOMEM, JSON, "no memory for a merge");
    const json_int_t right = id_of(r, text->p + p->left.n);
    if (left < 0 || right < 0 || *made < 0)
        return hf_fail(r, ERR_DATA, JSON, "model.merges[%zu]: \"%s\" and \"%s\": expected that "
                       "both and what they join to are tokens", i, hf_quote(p->left).text,
                       hf_quote(p->right).text);
    return 0;
}

/* Pieces of several characters start lowest: nothing makes them. */
static void start_scores(struct hf_reading *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        struct hf_token *const t = &r->token[i];
        uint32_t cp;
        if (t->type == TOKEN_NORMAL && utf8_decode(t->text.p, t->text.n, &cp) != t->text.n)
            t->score = -(float)(r->n_merge + 1);
    }
}

static int read_merges(struct hf_reading *r)
{
    const size_t n = json_array_size(r->merges);
    struct buf text = { 0 };
    int rc = 0;
    if (n > VOCAB_MAX_TOKENS)
        return hf_fail(r, ERR_LIMIT, JSON, "model.merges: %zu, at most %d are read", n,
                       VOCAB_MAX_TOKENS);
    r->n_merge = (uint32_t)n;
    start_scores(r);
    for (size_t i = n; rc == 0 && i-- > 0;) {       /* the first of several counts */
        struct pair p;
        json_int_t made = -1;
        if (!read_pair(json_array_get(r->merges, i), &p))
            rc = hf_fail(r, ERR_DATA, JSON, "model.merges[%zu]: expected two texts, as \"a b\" or "
                         "[\"a\", \"b\"]", i);
        else
            rc = check_pair(r, i, &p, &text, &made);
        if (rc == 0 && r->token[made].type == TOKEN_NORMAL)
            r->token[made].score = i ? -(float)i : 0.0f;
    }
    buf_free(&text);
    return rc;
}

int hf_vocab_read(struct hf_reading *r)
{
    const json_t *added;
    int rc = hf_member(r, JSON, r->json, "added_tokens", JSON_ARRAY, &added);
    if (rc == 0)
        rc = allocate(r, added);
    if (rc == 0)
        rc = read_vocab(r);
    if (rc == 0)
        rc = read_added(r, added);
    return rc ? rc : read_merges(r);
}

/* -------------------------------------------------------------------- keys */

static void put_tokens(const struct hf_reading *r, struct gguf_put *out)
{
    struct buf text = { 0 };
    gguf_put_array(out, KEY("tokens"), GGUF_STR, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        const struct hf_token *const t = &r->token[i];
        buf_clear(&text);
        if (!t->text.p)
            buf_addf(&text, "[PAD%u]", i);
        else if (r->spm && t->type == TOKEN_USER)
            spm_unspell(&text, t->text.p, t->text.n);     /* cut from text as it is */
        else
            buf_add(&text, t->text.p, t->text.n);
        gguf_put_string(&out->b, text.p, text.n);
        out->b.failed |= text.failed;
    }
    buf_free(&text);
}

static void put_scores(const struct hf_reading *r, struct gguf_put *out)
{
    gguf_put_array(out, KEY("scores"), GGUF_F32, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        const float score = r->token[i].text.p ? r->token[i].score : HF_ADDED_SCORE;
        buf_add(&out->b, &score, sizeof score);
    }
}

static void put_types(const struct hf_reading *r, struct gguf_put *out)
{
    gguf_put_array(out, KEY("token_type"), GGUF_I32, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        const int32_t type = r->token[i].text.p ? r->token[i].type : TOKEN_UNUSED;
        buf_add(&out->b, &type, sizeof type);
    }
}

static void put_merges(const struct hf_reading *r, struct gguf_put *out)
{
    struct buf text = { 0 };
    gguf_put_array(out, KEY("merges"), GGUF_STR, r->n_merge);
    for (uint32_t i = 0; i < r->n_merge; i++) {
        struct pair p;
        if (!read_pair(json_array_get(r->merges, i), &p))
            continue;                                     /* was checked */
        buf_clear(&text);
        buf_add(&text, p.left.p, p.left.n);
        buf_add(&text, " ", 1);
        buf_add(&text, p.right.p, p.right.n);
        gguf_put_string(&out->b, text.p, text.n);
        out->b.failed |= text.failed;
    }
    buf_free(&text);
}

void hf_vocab_keys(const struct hf_reading *r, struct gguf_put *out)
{
    put_tokens(r, out);
    if (r->spm)
        put_scores(r, out);
    put_types(r, out);
    if (!r->spm)
        put_merges(r, out);
}
