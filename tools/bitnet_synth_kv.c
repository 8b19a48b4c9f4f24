/* bitnet_synth_kv.c - the tokenizer's keys: another file's, or our own. */
#include "tools/bitnet_synth.h"

#include <stdio.h>
#include <string.h>

#include "core/model/bpe.h"
#include "core/model/spm.h"
#include "core/model/vocab.h"

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

/* Word number `index` of `length` characters, spelled as tokens are: space is
 * how they spell a space. */
static size_t spell_word(unsigned length, uint32_t index, const char *space, char out[8])
{
    size_t n = 0;
    uint32_t power = 1;
    for (unsigned i = 1; i < length; i++)
        power *= LETTERS;
    const uint32_t first = index / power;
    if (first)
        out[n++] = (char)('a' + first - 1);
    else
        n += (size_t)(stpcpy(out, space) - out);
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

/* What the families' tokenizers differ in. */
static const struct kind {
    const char *pre;                        /* NULL: SPM                        */
    const char *bos, *eos, *turn;           /* control tokens 0, 1 and 9        */
    bool add_bos, add_eos, add_space;
    const char *first[4];                   /* SPM: before the bytes            */
} kinds[] = {
    [SYNTH_MICROSOFT] = { "llama-bpe", "begin_of_text", "end_of_text", "eot_id", true, false, false,
                          { NULL } },
    [SYNTH_LLAMA3] = { "llama-bpe", "begin_of_text", "end_of_text", "eot_id", true, false, false,
                       { NULL } },
    [SYNTH_FALCON3] = { "falcon3", "startoftext", "endoftext", "im_end", false, false, false,
                        { NULL } },
    [SYNTH_FALCON_E] = { "falcon3", "begin_of_text", "end_of_text", "im_end", false, false, false,
                         { NULL } },
    [SYNTH_QWEN3] = { "qwen2", "im_start", "endoftext", "im_end", false, true, false, { NULL } },
    [SYNTH_1BITLLM] = { NULL, "<s>", "</s>", NULL, true, false, true,
                        { "<unk>", "<s>", "</s>", NULL } },
    [SYNTH_GEMMA3] = { NULL, "<bos>", "<eos>", NULL, true, true, false,
                       { "<pad>", "<eos>", "<bos>", "<unk>" } },
};

static void put_special(struct buf *b, const struct kind *k, uint32_t n_special)
{
    struct buf text = { 0 };
    for (uint32_t i = 0; i < n_special; i++) {
        buf_clear(&text);
        if (k->pre && (i == 0 || i == 1 || i == 9))     /* where Llama 3 has them */
            buf_addf(&text, "<|%s|>", i == 0 ? k->bos : i == 1 ? k->eos : k->turn);
        else
            buf_addf(&text, "<|reserved_special_token_%u|>", i);
        b->failed |= text.failed;
        gguf_put_string(b, text.p, text.n);
    }
    buf_free(&text);
}

static void put_words(struct buf *b, uint32_t n_word, const char *space)
{
    char word[8];
    for (uint32_t i = 0; i < n_word; i++) {
        uint32_t m = i;
        const unsigned length = word_of(&m);
        gguf_put_string(b, word, spell_word(length, m, space, word));
    }
}

static void put_i32(struct buf *b, uint32_t n, int32_t v)
{
    for (uint32_t i = 0; i < n; i++)
        buf_add(b, &v, sizeof v);
}

/* --------------------------------------------------------- byte-level BPE */

static const char bpe_space[] = "\xc4\xa0";            /* U+0120 */

static void put_bytes(struct buf *b)
{
    struct buf text = { 0 };
    for (unsigned i = 0; i < BYTES; i++) {
        const char byte = (char)i;
        buf_clear(&text);
        bpe_spell(&text, &byte, 1);
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
        size_t n = spell_word(length - 1, m / LETTERS, bpe_space, text);
        text[n++] = ' ';
        text[n++] = (char)('a' + m % LETTERS);
        gguf_put_string(b, text, n);
    }
}

static void make_bpe(struct gguf_put *kv, const struct kind *k, uint32_t n_vocab,
                     uint32_t n_special)
{
    const uint32_t n_plain = n_vocab - n_special, n_merge = n_plain - BYTES;
    gguf_put_text(kv, KEY("model"), "gpt2");
    gguf_put_text(kv, KEY("pre"), k->pre);
    gguf_put_array(kv, KEY("tokens"), GGUF_STR, n_vocab);
    put_bytes(&kv->b);
    put_words(&kv->b, n_merge, bpe_space);
    put_special(&kv->b, k, n_special);
    gguf_put_array(kv, KEY("token_type"), GGUF_I32, n_vocab);
    put_i32(&kv->b, n_plain, TOKEN_NORMAL);
    put_i32(&kv->b, n_special, TOKEN_CONTROL);
    gguf_put_array(kv, KEY("merges"), GGUF_STR, n_merge);
    put_merges(&kv->b, n_merge);
    gguf_put_u32(kv, KEY("bos_token_id"), n_plain);
    gguf_put_u32(kv, KEY("eos_token_id"), n_plain + 1);
    gguf_put_u32(kv, KEY("padding_token_id"), n_plain + 1);
}

/* --------------------------------------------------------------------- SPM
 *
 * Control tokens, the bytes, a space and the letters, then the words, each
 * with a score below those of all before it. */

static uint32_t n_first(const struct kind *k)
{
    uint32_t n = 0;
    while (n < sizeof k->first / sizeof *k->first && k->first[n])
        n++;
    return n;
}

static void put_pieces(struct buf *b, const struct kind *k)
{
    char text[8];
    for (uint32_t i = 0; i < n_first(k); i++)
        gguf_put_string(b, k->first[i], strlen(k->first[i]));
    for (unsigned i = 0; i < BYTES; i++) {
        snprintf(text, sizeof text, "<0x%02X>", i);
        gguf_put_string(b, text, strlen(text));
    }
    for (uint32_t i = 0; i < FIRST; i++)
        gguf_put_string(b, text, spell_word(1, i, SPM_SPACE, text));
}

static void put_scores(struct buf *b, uint32_t n_zero, uint32_t n_word, uint32_t n_special)
{
    const float zero = 0, last = -1000;
    for (uint32_t i = 0; i < n_zero; i++)
        buf_add(b, &zero, sizeof zero);
    for (uint32_t i = 0; i < n_word; i++) {
        const float score = -(float)(i + 1);
        buf_add(b, &score, sizeof score);
    }
    for (uint32_t i = 0; i < n_special; i++)
        buf_add(b, &last, sizeof last);
}

static void put_spm_types(struct buf *b, const struct kind *k, uint32_t n_plain, uint32_t n_special)
{
    for (uint32_t i = 0; i < n_first(k); i++)
        put_i32(b, 1, strcmp(k->first[i], "<unk>") ? TOKEN_CONTROL : TOKEN_UNKNOWN);
    put_i32(b, BYTES, TOKEN_BYTE);
    put_i32(b, n_plain, TOKEN_NORMAL);
    put_i32(b, n_special, TOKEN_CONTROL);
}

static void put_role(struct gguf_put *kv, const struct kind *k, const char *key, const char *text)
{
    for (uint32_t i = 0; i < n_first(k); i++)
        if (!strcmp(k->first[i], text))
            gguf_put_u32(kv, key, i);
}

static void make_spm(struct gguf_put *kv, const struct kind *k, uint32_t n_vocab,
                     uint32_t n_special)
{
    const uint32_t n_zero = n_first(k) + BYTES + FIRST, n_word = n_vocab - n_zero - n_special;
    gguf_put_text(kv, KEY("model"), "llama");
    gguf_put_text(kv, KEY("pre"), "default");
    gguf_put_array(kv, KEY("tokens"), GGUF_STR, n_vocab);
    put_pieces(&kv->b, k);
    put_words(&kv->b, n_word, SPM_SPACE);
    put_special(&kv->b, k, n_special);
    gguf_put_array(kv, KEY("scores"), GGUF_F32, n_vocab);
    put_scores(&kv->b, n_zero, n_word, n_special);
    gguf_put_array(kv, KEY("token_type"), GGUF_I32, n_vocab);
    put_spm_types(&kv->b, k, FIRST + n_word, n_special);
    put_role(kv, k, KEY("bos_token_id"), k->bos);
    put_role(kv, k, KEY("eos_token_id"), k->eos);
    put_role(kv, k, KEY("unknown_token_id"), "<unk>");
    put_role(kv, k, KEY("padding_token_id"), "<pad>");
    gguf_put_bool(kv, KEY("add_space_prefix"), k->add_space);
}

void synth_vocab_make(struct gguf_put *kv, enum synth_family family, uint32_t n_vocab,
                      uint32_t n_special)
{
    const struct kind *const k = &kinds[family];
    if (k->pre)
        make_bpe(kv, k, n_vocab, n_special);
    else
        make_spm(kv, k, n_vocab, n_special);
    gguf_put_bool(kv, KEY("add_bos_token"), k->add_bos);
    if (k->add_eos)
        gguf_put_bool(kv, KEY("add_eos_token"), true);
}
