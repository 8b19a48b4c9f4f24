/* fuzz_vocab.c - text through small vocabularies and back; and files that
 * claim to hold a vocabulary.
 *
 * An input that starts with "GGUF" is opened as a file, and if it opens, used.
 * Else its first byte chooses a vocabulary and the flags, and the rest is
 * text: what goes in must come out, and nothing may become a control token
 * unless the flags allow it. */
#include <stdlib.h>
#include <string.h>

#include "../unit/vocab_make.h"
#include "tests/fuzz/fuzz.h"

enum { N_BPE = 4, SPM = 4, SPM_PLAIN = 5, N_FIRST = 6, FALCON = 6, N_VOCAB = 7 };

static struct vocab *vocabs[N_VOCAB];

static void add_special(struct make *m)
{
    static const char *const control[] = { "<|eot_id|>", "<s>s", "<a", "aab", "[/I]" };
    static const char *const user[] = { "[PAD1]", "  \n", "ab", "bbbb" };
    for (size_t i = 0; i < sizeof control / sizeof *control; i++)
        make_token(m, control[i], 3, 0);
    for (size_t i = 0; i < sizeof user / sizeof *user; i++)
        make_token(m, user[i], 4, -50);
}

static void make_bpe_vocabs(void)
{
    static const char *const pre[N_BPE] = { "llama-bpe", "qwen2", "gpt-2", "default" };
    static const char *const merge[][2] = {
        { "a", "a" }, { "aa", "aa" }, { "\xc4\xa0", "a" }, { "\xc4\xa0", "\xc4\xa0" },
        { "a", "b" }, { "b", "c" }, { "ab", "c" }, { "\xc4\x8a", "\xc4\x8a" }, { "1", "2" },
        { "'", "s" }, { "\xc4\xa0\xc4\xa0", "a" }, { "\xc3\xa2", "\xc4\xa2" },
    };
    struct make *m = calloc(1, sizeof *m);
    require(m != NULL);
    make_bpe_bytes(m);
    for (size_t i = 0; i < sizeof merge / sizeof *merge; i++)
        make_merge(m, merge[i][0], merge[i][1]);
    add_special(m);
    make_bpe(m);
    make_u32(m, "tokenizer.ggml.bos_token_id", 'B');
    for (int i = 0; i < N_BPE; i++)
        require(make_open(m, &vocabs[i], pre[i], NULL, NULL) == 0);
    require(make_open(m, &vocabs[FALCON], "falcon3", NULL, NULL) == 0);
    make_free(m);
}

static void make_spm_vocab(int which)
{
    static const char *const piece[] = {
        "\xe2\x96\x81", "a", "b", "c", "aa", "\xe2\x96\x81" "a", "\xe2\x96\x81\xe2\x96\x81", "ba",
        "aaaa", "\xc3\xa9", "a\xc3\xa9", "<0x", "<0x4", "1>", "<0x41", "<s", "\xe2\x96\x81" "aa",
    };
    struct make *m = calloc(1, sizeof *m);
    require(m != NULL);
    make_spm_base(m);
    for (size_t i = 0; i < sizeof piece / sizeof *piece; i++)
        make_token(m, piece[i], 1, -(float)(i * 7 % 5));
    if (which == SPM)
        add_special(m);
    make_spm(m);
    require(make_open(m, &vocabs[which], NULL, NULL, NULL) == 0);
    make_free(m);
}

static struct buf decode(const struct vocab *v, const struct tokens *t, bool special)
{
    struct detok d = { 0 };
    struct buf out = { 0 };
    for (size_t i = 0; i < t->n; i++)
        detok_feed(v, &d, t->id[i], special, &out);
    detok_finish(&d, &out);
    return out;
}

static void fuzz_text(const struct vocab *v, unsigned flags, const char *text, size_t n, bool exact)
{
    struct tokens t = { 0 };
    require(vocab_encode(v, text, n, flags, 0, &t, NULL) == 0);
    for (size_t i = 0; i < t.n; i++) {
        require(t.id[i] >= 0 && (uint32_t)t.id[i] < vocab_n(v));
        const bool is_bos = i == 0 && flags & VOCAB_BOS && t.id[i] == vocab_bos(v);
        require(flags & VOCAB_SPECIAL || is_bos || !vocab_is_control(v, t.id[i]));
    }
    struct buf out = decode(v, &t, true);
    require(!exact || (out.n == n && (n == 0 || memcmp(out.p, text, n) == 0)));
    struct tokens again = { 0 };
    require(vocab_encode(v, text, n, flags, 0, &again, NULL) == 0);
    require(again.n == t.n && (t.n == 0 || memcmp(again.id, t.id, t.n * sizeof *t.id) == 0));
    free(again.id);
    if (t.n > 1) {
        struct tokens fewer = { 0 };
        require(vocab_encode(v, text, n, flags, t.n - 1, &fewer, NULL) == ERR_LIMIT);
        require(fewer.n == 0);
        free(fewer.id);
    }
    buf_free(&out);
    free(t.id);
}

static void fuzz_file(const void *data, size_t n)
{
    struct gguf *g;
    struct vocab *v;
    struct err e = { 0 };
    char warn[256];
    if (gguf_open_mem(&g, data, n, "fuzz", &e))
        return;
    if (vocab_open(&v, g, NULL, warn, &e) == 0) {
        static const char text[] = "<s> ab  aab\n\n12 \xff\xe2\x96\x81<|eot_id|>'S";
        fuzz_text(v, VOCAB_SPECIAL, text, sizeof text, false);
        fuzz_text(v, VOCAB_BOS, text, sizeof text, false);
        vocab_close(v);
    } else {
        require(e.code < 0 && e.text[0]);
    }
    gguf_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!vocabs[0]) {
        make_bpe_vocabs();
        make_spm_vocab(SPM);
        make_spm_vocab(SPM_PLAIN);
    }
    if (n >= 4 && memcmp(data, "GGUF", 4) == 0) {
        fuzz_file(data, n);
    } else if (n > 0) {
        const unsigned which = data[0] & 0x40 ? FALCON : data[0] % N_FIRST;
        const unsigned flags = data[0] & 0x80 ? VOCAB_SPECIAL : 0;
        /* After a special token SPM puts a space that was not there. */
        const bool exact = which != SPM && !(which == SPM_PLAIN && flags & VOCAB_SPECIAL);
        fuzz_text(vocabs[which], flags, (const char *)data + 1, n - 1, exact);
    }
    return 0;
}
