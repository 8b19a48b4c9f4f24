/* grammar_rig.c - see the header. */
#include "grammar_rig.h"

#include <stdlib.h>
#include <string.h>

#include "core/model/bpe.h"
#include "vocab_make.h"

static const char *const runs[] = {
    "{\"", "\":", "\": ", "\",", "\", ", "\", \"", "\"}", "\"}]", "}}", "]}", "[{\"", "{}", "[]",
    "[[", "]]", "true", "false", "null", "tr", "ue", " \"", "  ", "\n  ", "ab", "abc", "aab", "ba",
    "12", "-1", "0.5", ".5", "e1", "\\\"", "\\u", "\\u00", "\xc3\xa4", "a\xc3", "\xa4z", "\xe6\xbc",
    "\xa2\xe5\xad\x97", "\xf0\x9f\x98\x80", "\x9f\x98", "name", "\"name\":", "id\":", "x, y",
};

static void need(bool holds)
{
    if (!holds)
        abort();
}

/* A space is written as U+2581 in SPM vocabularies. */
static void add_spm(struct make *m, const char *bytes)
{
    struct buf text = { 0 };
    for (const char *p = bytes; *p; p++)
        buf_add(&text, *p == ' ' ? "\xe2\x96\x81" : p, *p == ' ' ? 3 : 1);
    need(!text.failed);
    make_token(m, text.p, 1, 0);
    buf_free(&text);
}

static void add_bpe(struct make *m, const char *bytes)
{
    struct buf text = { 0 };
    bpe_spell(&text, bytes, strlen(bytes));
    need(!text.failed);
    make_token(m, text.p, 1, 0);
    buf_free(&text);
}

void rig_open(struct rig *r, bool spm)
{
    struct make *const m = calloc(1, sizeof *m);
    struct err e = { 0 };
    need(m != NULL);
    if (spm) {
        make_spm_base(m);
        add_spm(m, " ");
        add_spm(m, " a");
        add_spm(m, "a");
        add_spm(m, " {");
        r->control = 1;
        r->end = 2;
        make_spm(m);
        make_u32(m, "tokenizer.ggml.eos_token_id", 2);
    } else {
        make_bpe_bytes(m);
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
            add_bpe(m, runs[i]);
        r->control = make_token(m, "<|x|>", 3, 0);
        r->end = make_token(m, "<|end|>", 3, 0);
        make_bpe(m);
        make_u32(m, "tokenizer.ggml.eos_token_id", (uint32_t)r->end);
    }
    need(make_open(m, &r->vocab, spm ? NULL : "llama-bpe", NULL, &e) == 0);
    need(grammar_vocab_open(&r->tokens, r->vocab, NULL, 0, &e) == 0);
    make_free(m);
}

void rig_close(struct rig *r)
{
    grammar_vocab_unref(r->tokens);
    vocab_close(r->vocab);
}

struct grammar *rig_compile(const struct rig *r, const char *gbnf, struct err *e)
{
    struct grammar *g;
    *e = (struct err){ 0 };
    grammar_compile(&g, r->tokens, gbnf, strlen(gbnf), e);
    return g;
}

int rig_read(const struct rig *r, struct grammar *g, const char *text, size_t n)
{
    struct grammar_state *s;
    need(grammar_state_open(&s, g, NULL) == 0);
    int result = 0;
    for (size_t i = 0; i < n && result == 0; i++)
        result = grammar_accept(s, (uint8_t)text[i], NULL) ? -1 : 0;
    if (result == 0)
        result = grammar_allows(s, r->end);
    grammar_state_close(s);
    return result;
}

bool rig_has(const uint32_t *mask, int32_t id)
{
    return mask[id / 32] >> (id % 32) & 1;
}

int32_t rig_draw(const struct rig *r, const uint32_t *mask, uint64_t *seed, bool close)
{
    static const char closing[] = "\"}]";
    if (close)
        for (const char *c = closing; *c; c++)
            if (rig_has(mask, *c))
                return *c;
    const int32_t n = (int32_t)vocab_n(r->vocab);
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++)
        count += i != r->end && rig_has(mask, i);
    if (!count)
        return -1;
    int32_t k = (int32_t)(noise_next(seed) % (uint64_t)count);
    for (int32_t i = 0;; i++)
        if (i != r->end && rig_has(mask, i) && k-- == 0)
            return i;
}

bool rig_walk(const struct rig *r, struct grammar_state *s, unsigned n, uint64_t *seed,
              struct buf *out)
{
    for (unsigned i = 0; i < n + 4000; i++) {
        const uint32_t *const mask = grammar_mask(s);
        if (!mask)
            return false;
        if (rig_has(mask, r->end) && (i >= n || noise_next(seed) % 8 == 0))
            return grammar_accept(s, r->end, NULL) == 0;
        const int32_t id = rig_draw(r, mask, seed, i >= n || noise_next(seed) % 4 == 0);
        if (id < 0)
            return grammar_accept(s, r->end, NULL) == 0;
        need(grammar_allows(s, id));
        need(grammar_accept(s, id, NULL) == 0);
        vocab_piece(r->vocab, id, false, out);
    }
    return false;
}
