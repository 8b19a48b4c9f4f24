/* bitnet_synth_kv.c - the tokenizer's keys: another file's, or our own. */
#include "tools/bitnet_synth.h"

#include <string.h>

#include "core/model/bpe.h"
#include "core/model/gguf.h"

#define KEY(name) "tokenizer.ggml." name

/* -------------------------------------------------------- another file's */

static int copy_keys(struct gguf_put *kv, const struct gguf *g, uint32_t n_vocab, struct err *e)
{
    static const char prefix[] = "tokenizer.";
    const struct gguf_kv *tokens = gguf_kv(g, KEY("tokens"));
    if (!tokens || tokens->type != GGUF_ARRAY || tokens->n != n_vocab)
        return err_set(e, ERR_DATA, "%s: %llu tokens, expected %u, as the shape has", gguf_name(g),
                       tokens && tokens->type == GGUF_ARRAY ? (unsigned long long)tokens->n : 0ull,
                       n_vocab);
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *from = gguf_kv_at(g, i);
        if (from->key.n >= sizeof prefix - 1 && !memcmp(from->key.p, prefix, sizeof prefix - 1))
            gguf_put_copy(kv, from);
    }
    return 0;
}

int synth_vocab_copy(struct gguf_put *kv, const char *path, uint32_t n_vocab, struct err *e)
{
    struct gguf *g;
    int rc = gguf_open(&g, path, e);
    if (rc)
        return rc;
    rc = copy_keys(kv, g, n_vocab, e);
    gguf_close(g);
    return rc;
}

/* --------------------------------------------------------------- our own
 *
 * Token 0..255 is that byte. Token 256 + m joins two earlier ones: m counts
 * through all words of two characters, then of three, then of four, whose
 * first character is a space or a letter and whose others are letters. A word
 * joins the word without its last letter with that letter. */

enum { FIRST = 27, LETTERS = 26, BYTES = 256 };

/* Word number `index` of `length` characters, spelled as tokens are. */
static size_t spell_word(unsigned length, uint32_t index, char out[8])
{
    size_t n = 0;
    uint32_t power = 1;
    for (unsigned i = 1; i < length; i++)
        power *= LETTERS;
    const uint32_t first = index / power;
    if (first)
        out[n++] = (char)('a' + first - 1);
    else                                    /* a space, spelled as U+0120 */
        n += (size_t)(stpcpy(out, "\xc4\xa0") - out);
    while (power /= LETTERS)
        out[n++] = (char)('a' + index / power % LETTERS);
    out[n] = 0;
    return n;
}

/* The word of merge m: its length, *m becomes its number. */
static unsigned word_of(uint32_t *m)
{
    unsigned length = 2;
    for (uint32_t n = FIRST * LETTERS; *m >= n; n *= LETTERS, length++)
        *m -= n;
    return length;
}

static void put_tokens(struct buf *b, uint32_t n_merge, uint32_t n_special)
{
    struct buf text = { 0 };
    char word[8];
    for (unsigned i = 0; i < BYTES; i++) {
        const char byte = (char)i;
        buf_clear(&text);
        bpe_spell(&text, &byte, 1);
        b->failed |= text.failed;
        gguf_put_string(b, text.p, text.n);
    }
    for (uint32_t i = 0; i < n_merge; i++) {
        uint32_t m = i;
        const unsigned length = word_of(&m);
        gguf_put_string(b, word, spell_word(length, m, word));
    }
    for (uint32_t i = 0; i < n_special; i++) {
        buf_clear(&text);
        if (i == 0 || i == 1 || i == 9)     /* where Llama 3 has them */
            buf_addf(&text, "<|%s|>", i == 0 ? "begin_of_text" : i == 1 ? "end_of_text" : "eot_id");
        else
            buf_addf(&text, "<|reserved_special_token_%u|>", i);
        b->failed |= text.failed;
        gguf_put_string(b, text.p, text.n);
    }
    buf_free(&text);
}

static void put_merges(struct buf *b, uint32_t n_merge)
{
    char text[16];
    for (uint32_t i = 0; i < n_merge; i++) {
        uint32_t m = i;
        const unsigned length = word_of(&m);
        size_t n = spell_word(length - 1, m / LETTERS, text);
        text[n++] = ' ';
        text[n++] = (char)('a' + m % LETTERS);
        gguf_put_string(b, text, n);
    }
}

void synth_vocab_make(struct gguf_put *kv, uint32_t n_vocab, uint32_t n_special)
{
    const uint32_t n_plain = n_vocab - n_special, n_merge = n_plain - BYTES;
    gguf_put_text(kv, KEY("model"), "gpt2");
    gguf_put_text(kv, KEY("pre"), "llama-bpe");
    gguf_put_array(kv, KEY("tokens"), GGUF_STR, n_vocab);
    put_tokens(&kv->b, n_merge, n_special);
    gguf_put_array(kv, KEY("token_type"), GGUF_I32, n_vocab);
    for (uint32_t i = 0; i < n_vocab; i++) {
        const int32_t type = i < n_plain ? 1 : 3;       /* normal, control */
        buf_add(&kv->b, &type, sizeof type);
    }
    gguf_put_array(kv, KEY("merges"), GGUF_STR, n_merge);
    put_merges(&kv->b, n_merge);
    gguf_put_u32(kv, KEY("bos_token_id"), n_plain);
    gguf_put_u32(kv, KEY("eos_token_id"), n_plain + 1);
    gguf_put_u32(kv, KEY("padding_token_id"), n_plain + 1);
    gguf_put_bool(kv, KEY("add_bos_token"), true);
}
