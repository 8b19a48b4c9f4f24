/* hf_make.c - tokenizer.json to GGUF keys and back, for tests. */
#include "hf_make.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/vocab_parts.h"

static void need(bool holds)
{
    if (!holds)
        abort();
}

int hf_make_gguf(struct gguf **g, struct buf *bytes, const struct hf_tokenizer_files *f,
                 uint32_t n_vocab, struct err *e)
{
    struct gguf_put keys = { { 0 }, 0 };
    const uint32_t version = 3;
    const uint64_t n_tensor = 0;
    static const char padding[32];
    *g = NULL;
    *bytes = (struct buf){ 0 };
    int rc = hf_tokenizer_make(&keys, f, "dir", n_vocab, e);
    if (rc == 0) {
        buf_add(bytes, "GGUF", 4);
        buf_add(bytes, &version, sizeof version);
        buf_add(bytes, &n_tensor, sizeof n_tensor);
        buf_add(bytes, &keys.n, sizeof keys.n);
        buf_add(bytes, keys.b.p, keys.b.n);
        buf_add(bytes, padding, (32 - bytes->n % 32) % 32);
        need(!bytes->failed);
        rc = gguf_open_mem(g, bytes->p, bytes->n, "made.gguf", e);
        need(rc == 0);
    }
    buf_free(&keys.b);
    return rc;
}

/* ---- back ---- */

static json_t *text_of(struct str s)
{
    json_t *const j = json_stringn(s.p, s.n);
    need(j != NULL);
    return j;
}

/* Every place where a piece falls into two others, the pieces in the order of
 * their scores: as SentencePiece files become tokenizer.json. */
struct piece {
    struct str text;
    double score;
};

static int by_score(const void *a, const void *b)
{
    const double x = ((const struct piece *)a)->score, y = ((const struct piece *)b)->score;
    return (x < y) - (x > y);
}

static void add_merge(json_t *merges, struct str l, struct str r, bool pairs)
{
    if (pairs) {
        need(json_array_append_new(merges, json_pack("[o, o]", text_of(l), text_of(r))) == 0);
        return;
    }
    struct buf b = { 0 };
    buf_add(&b, l.p, l.n);
    buf_add(&b, " ", 1);
    buf_add(&b, r.p, r.n);
    need(!b.failed && json_array_append_new(merges, text_of((struct str){ b.p, b.n })) == 0);
    buf_free(&b);
}

static void spm_merges(json_t *merges, const json_t *vocab, struct piece *p, size_t n, bool pairs)
{
    qsort(p, n, sizeof *p, by_score);
    for (size_t i = 0; i < n; i++)
        for (size_t cut = 1; cut < p[i].text.n; cut++) {
            const struct str l = { p[i].text.p, cut };
            const struct str r = { p[i].text.p + cut, p[i].text.n - cut };
            if (json_object_getn(vocab, l.p, l.n) && json_object_getn(vocab, r.p, r.n))
                add_merge(merges, l, r, pairs);
        }
}

static void bpe_merges(json_t *merges, const struct gguf *g, bool pairs)
{
    struct str s;
    uint64_t pos = 0;
    while (gguf_next_str(gguf_kv(g, "tokenizer.ggml.merges"), &pos, &s)) {
        const char *const cut = memchr(s.p + 1, ' ', s.n - 1);
        need(cut != NULL);
        add_merge(merges, (struct str){ s.p, (size_t)(cut - s.p) },
                  (struct str){ cut + 1, s.n - (size_t)(cut - s.p) - 1 }, pairs);
    }
}

static json_t *bpe_frame(void)
{
    return json_pack("{s:{s:s, s:b}, s:{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, {s:s, s:b, s:b}]},"
                     " s:{s:s}}",
                     "model", "type", "BPE", "ignore_merges", 1,
                     "pre_tokenizer", "type", "Sequence", "pretokenizers",
                     "type", "Split", "pattern", "Regex",
                     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                     " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                     "behavior", "Isolated", "invert", 0,
                     "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0,
                     "decoder", "type", "ByteLevel");
}

static json_t *spm_frame(void)
{
    return json_pack("{s:{s:s, s:b, s:s}, s:{s:s, s:[{s:s, s:s}, {s:s, s:{s:s}, s:s}]}}",
                     "model", "type", "BPE", "byte_fallback", 1, "unk_token", "<unk>",
                     "normalizer", "type", "Sequence", "normalizers",
                     "type", "Prepend", "prepend", "\xe2\x96\x81",
                     "type", "Replace", "pattern", "String", " ", "content", "\xe2\x96\x81");
}

void hf_make_json(struct buf *out, const struct gguf *g, bool pairs)
{
    const struct gguf_kv *const tokens = gguf_kv(g, "tokenizer.ggml.tokens");
    const struct gguf_kv *const types = gguf_kv(g, "tokenizer.ggml.token_type");
    const struct gguf_kv *const scores = gguf_kv(g, "tokenizer.ggml.scores");
    const bool spm = !gguf_kv(g, "tokenizer.ggml.merges");
    json_t *const top = spm ? spm_frame() : bpe_frame(), *const vocab = json_object();
    json_t *const added = json_array(), *const merges = json_array();
    struct piece *const piece = calloc(tokens->n, sizeof *piece);
    size_t n_piece = 0;
    struct str s;
    uint64_t pos = 0;
    need(top && vocab && added && merges && piece);
    for (int i = 0; gguf_next_str(tokens, &pos, &s); i++) {
        const int type = (int)gguf_num_at(types, (uint64_t)i);
        if (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_USER)
            json_array_append_new(added, json_pack("{s:i, s:o, s:b}", "id", i, "content", text_of(s),
                                                   "special", type != TOKEN_USER));
        else
            json_object_setn_new(vocab, s.p, s.n, json_integer(i));
        if (spm && type == TOKEN_NORMAL)
            piece[n_piece++] = (struct piece){ s, gguf_num_at(scores, (uint64_t)i) };
    }
    if (spm)
        spm_merges(merges, vocab, piece, n_piece, pairs);
    else
        bpe_merges(merges, g, pairs);
    free(piece);
    json_t *const model = json_object_get(top, "model");
    need(json_object_set_new(model, "vocab", vocab) == 0 &&
         json_object_set_new(model, "merges", merges) == 0 &&
         json_object_set_new(top, "added_tokens", added) == 0);
    char *const text = json_dumps(top, JSON_COMPACT);
    need(text != NULL);
    buf_add(out, text, strlen(text));
    need(!out->failed);
    free(text);
    json_decref(top);
}
