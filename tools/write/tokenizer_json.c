/* tokenizer_json.c - tokens, merges and splits as tokenizer.json has them.
 *
 * jansson builds and prints; a vocabulary of 262,144 tokens takes some 100 MB
 * while it does. */
#include "tools/write/tokenizer_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/pretok.h"
#include "core/model/spm.h"
#include "core/model/vocab.h"

#define KEY(name) "tokenizer.ggml." name

struct making {
    const struct gguf *g;
    const struct gguf_kv *tokens, *types, *scores, *merges;
    bool spm, pairs;
    json_t *vocab, *added, *merge;
    struct str unknown;           /* the token for what is none; p NULL: none  */
    bool failed;                  /* no memory, or no UTF-8                    */
    struct err *e;
};

static json_t *text_of(struct str s)
{
    return json_stringn(s.p, s.n);
}

static int no_memory(struct err *e, const struct gguf *g)
{
    return err_set(e, ERR_NOMEM, "%s: no memory for its tokenizer as JSON, or a text that is not "
                   "UTF-8", gguf_name(g));
}

/* ------------------------------------------------------------------ splits */

static json_t *byte_level(bool regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", regex);
}

static json_t *split_at(const char *regex)
{
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                     "type", "Split", "pattern", "Regex", regex, "behavior", "Isolated",
                     "invert", 0, byte_level(false));
}

static json_t *falcon_splits(void)
{
    return json_pack("{s:s, s:[{s:s, s:s}, o, {s:s, s:b}]}", "type", "Sequence", "pretokenizers",
                     "type", "Punctuation", "behavior", "Contiguous", byte_level(true),
                     "type", "Digits", "individual_digits", 1);
}

static int put_splits(const struct making *m, json_t *top, bool *whole)
{
    struct str pre = { "llama-bpe", 9 };
    const int rc = gguf_get_str(m->g, KEY("pre"), &pre, m->e);
    if (rc < 0)
        return rc;
    char name[16] = "";
    if (pre.n < sizeof name)
        memcpy(name, pre.p, pre.n);
    *whole = !strcmp(name, "llama-bpe");
    json_t *const j = *whole                     ? split_at(PRETOK_LLAMA3("\\p{N}{1,3}"))
                      : !strcmp(name, "qwen2")   ? split_at(PRETOK_LLAMA3("\\p{N}"))
                      : !strcmp(name, "gpt-2")   ? byte_level(true)
                      : !strcmp(name, "falcon3") ? falcon_splits()
                                                 : NULL;
    if (!j)
        return err_set(m->e, ERR_UNSUPPORTED, "%s: " KEY("pre") ": %.*s, expected llama-bpe, "
                       "qwen2, gpt-2 or falcon3", gguf_name(m->g),
                       (int)(pre.n < 64 ? pre.n : 64), pre.p);
    return json_object_set_new(top, "pre_tokenizer", j) ? no_memory(m->e, m->g) : 0;
}

/* Spaces become U+2581, with one in front where the file says so. */
static void put_normalizer(struct making *m, json_t *top, bool prefix)
{
    json_t *const list = json_array();
    if (prefix)
        m->failed |= json_array_append_new(list, json_pack("{s:s, s:s}", "type", "Prepend",
                                                           "prepend", SPM_SPACE)) != 0;
    m->failed |= json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace",
                                                       "pattern", "String", " ", "content",
                                                       SPM_SPACE)) != 0;
    m->failed |= json_object_set_new(top, "normalizer",
                                     json_pack("{s:s, s:o}", "type", "Sequence", "normalizers",
                                               list)) != 0;
}

/* ------------------------------------------------------------------ merges */

static void add_merge(struct making *m, struct str l, struct str r)
{
    if (m->pairs) {
        m->failed |= json_array_append_new(m->merge, json_pack("[o, o]", text_of(l),
                                                               text_of(r))) != 0;
        return;
    }
    struct buf b = { 0 };
    buf_add(&b, l.p, l.n);
    buf_add(&b, " ", 1);
    buf_add(&b, r.p, r.n);
    m->failed |= b.failed ||
                 json_array_append_new(m->merge, text_of((struct str){ b.p, b.n })) != 0;
    buf_free(&b);
}

struct piece {
    struct str text;
    double score;
    uint32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct piece *const x = a, *const y = b;
    return x->score != y->score ? (x->score < y->score) - (x->score > y->score)
                                : (x->id > y->id) - (x->id < y->id);
}

/* Every place where a piece falls into two others, the pieces in the order of
 * their scores: what SPM joins, said as merges. */
static void spm_merges(struct making *m, struct piece *p, size_t n)
{
    qsort(p, n, sizeof *p, by_score);
    for (size_t i = 0; i < n; i++)
        for (size_t cut = 1; cut < p[i].text.n; cut++) {
            const struct str l = { p[i].text.p, cut };
            const struct str r = { p[i].text.p + cut, p[i].text.n - cut };
            if (json_object_getn(m->vocab, l.p, l.n) && json_object_getn(m->vocab, r.p, r.n))
                add_merge(m, l, r);
        }
}

static int bpe_merges(struct making *m)
{
    struct str s;
    uint64_t pos = 0;
    while (gguf_next_str(m->merges, &pos, &s)) {
        const char *const cut = s.n ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
        if (!cut)
            return err_set(m->e, ERR_DATA, "%s: " KEY("merges") ": one is none, expected two "
                           "tokens with a space between them", gguf_name(m->g));
        add_merge(m, (struct str){ s.p, (size_t)(cut - s.p) },
                  (struct str){ cut + 1, s.n - (size_t)(cut - s.p) - 1 });
    }
    return 0;
}

/* ------------------------------------------------------------------ tokens */

static void add_special(struct making *m, uint32_t id, struct str s, int type)
{
    json_t *const j = json_pack("{s:i, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content",
                                text_of(s), "single_word", 0, "lstrip", 0, "rstrip", 0,
                                "normalized", 0, "special", type != TOKEN_USER);
    m->failed |= json_array_append_new(m->added, j) != 0;
}

static int put_tokens(struct making *m)
{
    struct piece *const piece = calloc((size_t)m->tokens->n + 1, sizeof *piece);
    size_t n = 0;
    struct str s;
    uint64_t pos = 0;
    m->failed |= !piece;
    for (uint32_t i = 0; !m->failed && gguf_next_str(m->tokens, &pos, &s); i++) {
        const int type = m->types ? (int)gguf_num_at(m->types, i) : TOKEN_NORMAL;
        if (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_USER)
            add_special(m, i, s, type);
        else if (type != TOKEN_UNUSED)
            m->failed |= json_object_setn_new(m->vocab, s.p, s.n, json_integer(i)) != 0;
        if (type == TOKEN_UNKNOWN && !m->unknown.p)
            m->unknown = s;
        if (m->spm && type == TOKEN_NORMAL)
            piece[n++] = (struct piece){ s, gguf_num_at(m->scores, i), i };
    }
    int rc = 0;
    if (m->spm && !m->failed)
        spm_merges(m, piece, n);
    else if (!m->failed)
        rc = bpe_merges(m);
    free(piece);
    return rc;
}

/* ------------------------------------------------------------------- roles */

/* The text of the token under a key; false when there is none. */
static bool token_of(const struct gguf *g, const char *key, struct str *s)
{
    uint64_t id, pos = 0;
    const struct gguf_kv *const kv = gguf_kv(g, KEY("tokens"));
    if (gguf_get_u64(g, key, &id, NULL) != 1 || !kv || id >= kv->n)
        return false;
    for (uint64_t i = 0; i <= id; i++)
        if (!gguf_next_str(kv, &pos, s))
            return false;
    return true;
}

static bool flag(const struct gguf *g, const char *key)
{
    bool v = false;
    (void)gguf_get_bool(g, key, &v, NULL);
    return v;
}

/* BOS and EOS around a text, as the file adds them. */
static json_t *post_processor(const struct gguf *g)
{
    struct str s;
    json_t *const single = json_array();
    if (flag(g, KEY("add_bos_token")) && token_of(g, KEY("bos_token_id"), &s))
        json_array_append_new(single, json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", text_of(s),
                                                "type_id", 0));
    json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
    if (flag(g, KEY("add_eos_token")) && token_of(g, KEY("eos_token_id"), &s))
        json_array_append_new(single, json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", text_of(s),
                                                "type_id", 0));
    return json_pack("{s:s, s:o, s:[], s:{}}", "type", "TemplateProcessing", "single", single,
                     "pair", "special_tokens");
}

int tokenizer_json_config(struct buf *out, const struct gguf *g, struct err *e)
{
    static const struct {
        const char *key, *name;
    } role[] = {
        { KEY("bos_token_id"), "bos_token" }, { KEY("eos_token_id"), "eos_token" },
        { KEY("unknown_token_id"), "unk_token" }, { KEY("padding_token_id"), "pad_token" },
    };
    struct str s;
    json_t *const top = json_object();
    bool failed = !top;
    for (size_t i = 0; i < sizeof role / sizeof *role; i++)
        if (token_of(g, role[i].key, &s))
            failed |= json_object_set_new(top, role[i].name, text_of(s)) != 0;
    failed |= json_object_set_new(top, "add_bos_token",
                                  json_boolean(flag(g, KEY("add_bos_token")))) != 0;
    if (gguf_get_str(g, "tokenizer.chat_template", &s, NULL) == 1)
        failed |= json_object_set_new(top, "chat_template", text_of(s)) != 0;
    failed |= json_object_set_new(top, "tokenizer_class",
                                  json_string("PreTrainedTokenizerFast")) != 0;
    char *const text = failed ? NULL : json_dumps(top, JSON_INDENT(2));
    if (text)
        buf_addf(out, "%s\n", text);
    free(text);
    json_decref(top);
    return text && !out->failed ? 0 : no_memory(e, g);
}

/* ---------------------------------------------------------------- together */

static int put_sections(struct making *m, json_t *top, json_t *model)
{
    bool whole = false;
    int rc = 0;
    if (m->spm) {
        bool prefix = true;
        (void)gguf_get_bool(m->g, KEY("add_space_prefix"), &prefix, NULL);
        put_normalizer(m, top, prefix);
        m->failed |= json_object_set_new(top, "decoder", json_pack("{s:s}", "type",
                                                                   "ByteFallback")) != 0;
    } else {
        rc = put_splits(m, top, &whole);
        m->failed |= json_object_set_new(top, "decoder", byte_level(true)) != 0;
    }
    if (m->unknown.p)
        m->failed |= json_object_set_new(model, "unk_token", text_of(m->unknown)) != 0;
    m->failed |= json_object_set_new(model, "byte_fallback", json_boolean(m->spm)) != 0 ||
                 json_object_set_new(model, "ignore_merges", json_boolean(whole)) != 0 ||
                 json_object_set_new(top, "post_processor", post_processor(m->g)) != 0;
    return rc;
}

static int make(struct making *m, json_t *top, json_t *model)
{
    m->vocab = json_object();
    m->added = json_array();
    m->merge = json_array();
    m->failed = json_object_set_new(top, "version", json_string("1.0")) != 0 ||
                json_object_set_new(top, "added_tokens", m->added) != 0 ||
                json_object_set_new(top, "model", model) != 0 ||
                json_object_set_new(model, "type", json_string("BPE")) != 0 ||
                json_object_set_new(model, "vocab", m->vocab) != 0 ||
                json_object_set_new(model, "merges", m->merge) != 0;
    int rc = m->failed ? 0 : put_tokens(m);
    if (!rc && !m->failed)
        rc = put_sections(m, top, model);
    return !rc && m->failed ? no_memory(m->e, m->g) : rc;
}

static int add_text(const char *p, size_t n, void *out)
{
    buf_add(out, p, n);
    return 0;
}

int tokenizer_json(struct buf *out, const struct gguf *g, bool pairs, struct err *e)
{
    struct making m = {
        .g = g, .e = e, .pairs = pairs, .tokens = gguf_kv(g, KEY("tokens")),
        .types = gguf_kv(g, KEY("token_type")), .scores = gguf_kv(g, KEY("scores")),
        .merges = gguf_kv(g, KEY("merges")),
    };
    struct str model = { NULL, 0 };
    const int has = gguf_get_str(g, KEY("model"), &model, e);
    m.spm = str_is(model, "llama");
    if (has < 0)
        return has;
    if (!m.tokens || (m.spm ? !m.scores || !m.types : !m.merges))
        return err_set(e, ERR_DATA, "%s: its tokenizer has no tokens, or no %s, expected both",
                       gguf_name(g), m.spm ? "scores and types" : "merges");
    json_t *const top = json_object();
    int rc = top ? make(&m, top, json_object()) : no_memory(e, g);
    if (!rc && json_dump_callback(top, add_text, out, JSON_COMPACT))
        rc = no_memory(e, g);
    json_decref(top);
    return !rc && out->failed ? no_memory(e, g) : rc;
}
