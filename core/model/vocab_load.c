/* vocab_load.c - builds a struct vocab from a GGUF's tokenizer keys.
 *
 * The container is sound when it gets here; what is checked here is meaning:
 * lengths that must agree, ids that must exist, types, texts. The texts are
 * copied, so the file may be closed. Loading order matters: texts, types,
 * table, bytes, special tokens, then merges, each needing the ones before. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"
#include "core/model/spm.h"
#include "core/model/vocab_parts.h"
#include "core/model/vocab_print.h"

#define KEY(name) "tokenizer.ggml." name

enum { N_LLAMA3 = 128256 };        /* tokens of every Llama 3 vocabulary */

static const char *const end_texts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<EOT>",
};
static const char *const end_keys[] = {
    KEY("eos_token_id"), KEY("eot_token_id"), KEY("eom_token_id"),
};

struct load {
    struct vocab *v;
    const struct gguf *g;
    const char *pre;
    char *warn;                    /* 256 bytes or NULL */
    struct err *e;
};

/* An error about this file. */
__attribute__((format(printf, 3, 4)))
static int fail(const struct load *l, int code, const char *fmt, ...)
{
    char text[sizeof l->e->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(l->e, code, "%s: %s", gguf_name(l->g), text);
}

/* The same for an error that a part of the vocabulary filled in. */
static int named(const struct load *l, int rc)
{
    if (rc)
        err_prefix(l->e, "%s", gguf_name(l->g));
    return rc;
}

__attribute__((format(printf, 2, 3)))
static void warn_add(const struct load *l, const char *fmt, ...)
{
    if (!l->warn)
        return;
    const size_t n = strlen(l->warn);
    const int sep = snprintf(l->warn + n, 256 - n, "%s", n ? "; " : "");
    if (sep < 0 || n + (size_t)sep >= 256)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->warn + n + sep, 256 - n - (size_t)sep, fmt, ap);
    va_end(ap);
}

static int no_memory(const struct load *l, const char *key, uint64_t n)
{
    return fail(l, ERR_NOMEM, "%s: no memory for %llu entries", key, (unsigned long long)n);
}

/* An array whose elements are of one of the types in a bit mask, n of them
 * unless n is 0. 1 found, 0 absent, or an error. */
static int get_array(const struct load *l, const char *key, unsigned types, uint64_t n,
                     const struct gguf_kv **out)
{
    const struct gguf_kv *const kv = gguf_kv(l->g, key);
    if (!kv)
        return 0;
    if (kv->type != GGUF_ARRAY || kv->elem > GGUF_F64 || !(types >> kv->elem & 1))
        return fail(l, ERR_DATA, "%s: is of type %u/%u, not the array that belongs here",
                       key, kv->type, kv->elem);
    if (n && kv->n != n)
        return fail(l, ERR_DATA, "%s: %llu entries, but there are %llu tokens", key,
                       (unsigned long long)kv->n, (unsigned long long)n);
    *out = kv;
    return 1;
}

static int need_array(const struct load *l, const char *key, unsigned types, uint64_t n,
                      const struct gguf_kv **out)
{
    const int rc = get_array(l, key, types, n, out);
    if (rc == 0)
        return fail(l, ERR_DATA, "%s: is missing, and this tokenizer cannot do without", key);
    return rc < 0 ? rc : 0;
}

static int load_texts(struct load *l)
{
    struct vocab *const v = l->v;
    const struct gguf_kv *kv = NULL;
    const int rc = need_array(l, KEY("tokens"), 1u << GGUF_STR, 0, &kv);
    if (rc)
        return rc;
    if (kv->n == 0 || kv->n > VOCAB_MAX_TOKENS || kv->size > VOCAB_MAX_BYTES)
        return fail(l, kv->n ? ERR_LIMIT : ERR_DATA,
                       KEY("tokens") ": %llu tokens in %llu bytes; 1 to %d in at most %d are read",
                       (unsigned long long)kv->n, (unsigned long long)kv->size, VOCAB_MAX_TOKENS,
                       VOCAB_MAX_BYTES);
    v->n = (uint32_t)kv->n;
    v->text.p = malloc((size_t)kv->size + 1);
    v->text.off = calloc((size_t)v->n + 1, sizeof *v->text.off);
    if (!v->text.p || !v->text.off)
        return no_memory(l, KEY("tokens"), v->n);
    struct str s;
    uint64_t pos = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < v->n && gguf_next_str(kv, &pos, &s); i++) {
        if (s.n > VOCAB_MAX_TOKEN_BYTES)
            return fail(l, ERR_LIMIT, KEY("tokens") ": token %u has %zu bytes, at most %d "
                           "are read", i, s.n, VOCAB_MAX_TOKEN_BYTES);
        memcpy(v->text.p + at, s.p, s.n);
        at += (uint32_t)s.n;
        v->text.off[i + 1] = at;
    }
    return 0;
}

static int load_types(struct load *l)
{
    struct vocab *const v = l->v;
    const unsigned ints = 1u << GGUF_U8 | 1u << GGUF_I8 | 1u << GGUF_U16 | 1u << GGUF_I16 |
                          1u << GGUF_U32 | 1u << GGUF_I32;
    const struct gguf_kv *kv = NULL;
    v->type = malloc(v->n);
    v->eog = calloc(v->n, sizeof *v->eog);
    if (!v->type || !v->eog)
        return no_memory(l, KEY("token_type"), v->n);
    memset(v->type, TOKEN_NORMAL, v->n);
    /* Without types SPM could not tell the byte 0x41 from the text "<0x41>". */
    const int rc = v->spm ? need_array(l, KEY("token_type"), ints, v->n, &kv)
                          : get_array(l, KEY("token_type"), ints, v->n, &kv);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; kv && i < v->n; i++) {
        const double t = gguf_num_at(kv, i);
        if (!(t >= 0 && t <= TOKEN_BYTE))
            return fail(l, ERR_DATA, KEY("token_type") ": token %u has type %g; 0 to %d "
                           "exist", i, t, TOKEN_BYTE);
        const bool plain = t < TOKEN_NORMAL || (!v->spm && t >= TOKEN_BYTE);
        v->type[i] = plain ? TOKEN_NORMAL : (uint8_t)t;
    }
    return 0;
}

/* Larger scores merge first: turned over into integers that sort the other
 * way. The two zeros are one score. */
static int load_scores(struct load *l)
{
    struct vocab *const v = l->v;
    const struct gguf_kv *kv = NULL;
    const int rc = need_array(l, KEY("scores"), 1u << GGUF_F32, v->n, &kv);
    if (rc)
        return rc;
    v->order = malloc(v->n * sizeof *v->order);
    if (!v->order)
        return no_memory(l, KEY("scores"), v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        const float score = (float)gguf_num_at(kv, i);
        if (isnan(score))
            return fail(l, ERR_DATA, KEY("scores") ": the score of token %u is not a number",
                           i);
        const uint32_t bits = f32_bits(score + 0.0f);
        v->order[i] = bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
    }
    return 0;
}

static int load_table(struct load *l)
{
    struct vocab *const v = l->v;
    v->own = calloc(v->n, sizeof *v->own);
    if (!v->own || vocab_map_open(&v->by_text, &v->text, v->n))
        return no_memory(l, KEY("tokens"), v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        if (i + VOCAB_MAP_AHEAD < v->n)
            vocab_map_touch(&v->by_text, i + VOCAB_MAP_AHEAD);
        if (!vocab_map_add(&v->by_text, i))
            v->repeats++;
        const size_t n = texts_at(&v->text, i).n;
        const uint8_t t = v->type[i];
        if (n > v->longest && t != TOKEN_CONTROL && t != TOKEN_UNKNOWN && t != TOKEN_BYTE)
            v->longest = (uint32_t)n;
    }
    if (v->repeats)
        warn_add(l, "%u tokens repeat an earlier token's text and are never produced", v->repeats);
    return 0;
}

/* A token id under a key: -1 when the key is absent or holds the "none" that
 * some writers put there, all bits set. */
static int get_id(const struct load *l, const char *key, int32_t *id)
{
    double d = -1;
    *id = -1;
    const int rc = gguf_get_f64(l->g, key, &d, l->e);
    if (rc <= 0 || d == -1 || d == UINT32_MAX)
        return rc < 0 ? rc : 0;
    if (!(d >= 0 && d < l->v->n) || d != (double)(uint32_t)d)
        return fail(l, ERR_DATA, "%s: is %.15g, expected one of the %u tokens", key, d, l->v->n);
    *id = (int32_t)d;
    return 0;
}

/* SPM's ids have had the same places since its first models. BPE has no such
 * habit: the 11 that some readers assume is a comma in GPT-2's vocabulary and
 * would end every generation there, so an absent id means none. */
static int load_ids(struct load *l)
{
    struct vocab *const v = l->v;
    static const char *const key[3] = {
        KEY("bos_token_id"), KEY("eos_token_id"), KEY("unknown_token_id"),
    };
    int32_t *const id[3] = { &v->bos, &v->eos, &v->unk };
    static const int32_t spm_default[3] = { 1, 2, 0 };
    for (int i = 0; i < 3; i++) {
        const int rc = get_id(l, key[i], id[i]);
        if (rc)
            return rc;
        if (v->spm && !gguf_kv(l->g, key[i]) && (uint32_t)spm_default[i] < v->n)
            *id[i] = spm_default[i];
    }
    return 0;
}

/* What ends a generation: the ids that the file names, and the texts that
 * chat models end a turn with. The latter are control tokens whatever type
 * the file gave them: no user may write one. */
static int load_ends(struct load *l)
{
    struct vocab *const v = l->v;
    for (size_t i = 0; i < sizeof end_keys / sizeof *end_keys; i++) {
        int32_t id;
        const int rc = get_id(l, end_keys[i], &id);
        if (rc)
            return rc;
        if (id >= 0)
            v->eog[id] = true;
    }
    if (v->eos >= 0)
        v->eog[v->eos] = true;
    for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++) {
        const int32_t id = vocab_lookup(v, end_texts[i], strlen(end_texts[i]));
        if (id < 0)
            continue;
        v->eog[id] = true;
        v->type[id] = TOKEN_CONTROL;
    }
    if (v->unk >= 0 && v->type[v->unk] == TOKEN_CONTROL)
        v->unk = -1;               /* or any odd character would be a control token */
    return 0;
}

/* "<0x41>" -> 0x41, or -1. */
static int byte_of_text(struct str s)
{
    if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>')
        return -1;
    int b = 0;
    for (int i = 3; i < 5; i++) {
        const char c = s.p[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                 : -1;
        if (digit < 0)
            return -1;
        b = b * 16 + digit;
    }
    return b;
}

static int add_raw(struct load *l, struct buf *raw, uint32_t i)
{
    struct vocab *const v = l->v;
    const struct str s = texts_at(&v->text, i);
    const uint8_t t = v->type[i];
    if (t == TOKEN_BYTE) {
        const int b = byte_of_text(s);
        if (b < 0)
            return fail(l, ERR_DATA, KEY("tokens") ": token %u is of type byte, and its text "
                           "is not <0x00> to <0xFF>", i);
        if (v->byte_id[b] < 0)
            v->byte_id[b] = (int32_t)i;
        const char byte = (char)b;
        buf_add(raw, &byte, 1);
    } else if (t == TOKEN_CONTROL || t == TOKEN_UNKNOWN || (t == TOKEN_USER && !v->spm)) {
        buf_add(raw, s.p, s.n);
    } else if (v->spm) {
        spm_unspell(raw, s.p, s.n);
    } else if (!bpe_unspell(raw, s.p, s.n)) {
        buf_add(raw, s.p, s.n);
    }
    return 0;
}

static int load_raw(struct load *l)
{
    struct vocab *const v = l->v;
    struct buf raw = { 0 };
    int rc = 0;
    for (int b = 0; b < 256; b++)
        v->byte_id[b] = -1;
    v->raw.off = calloc((size_t)v->n + 1, sizeof *v->raw.off);
    if (!v->raw.off)
        return no_memory(l, KEY("tokens"), v->n);
    buf_add(&raw, "", 0);          /* a vocabulary of empty texts has a place too */
    for (uint32_t i = 0; rc == 0 && i < v->n; i++) {
        rc = add_raw(l, &raw, i);
        v->raw.off[i + 1] = (uint32_t)raw.n;   /* raw is never longer than text */
    }
    if (rc == 0 && raw.failed)
        rc = no_memory(l, KEY("tokens"), v->n);
    if (rc)
        buf_free(&raw);
    v->raw.p = raw.p;
    return rc;
}

/* The automaton over all tokens whose type is in a bit mask. */
static int open_special(struct load *l, unsigned types, struct special **out)
{
    struct vocab *const v = l->v;
    struct special_text *const list = malloc(v->n * sizeof *list);
    if (!list)
        return no_memory(l, KEY("tokens"), v->n);
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        const struct str s = texts_at(&v->text, i);
        if (s.n && types >> v->type[i] & 1)
            list[n++] = (struct special_text){ s, (int32_t)i };
    }
    const int rc = named(l, special_open(out, list, n, l->e));
    free(list);
    return rc;
}

static int load_special(struct load *l)
{
    const int rc = open_special(l, 1u << TOKEN_USER, &l->v->user);
    const unsigned all = 1u << TOKEN_USER | 1u << TOKEN_CONTROL | 1u << TOKEN_UNKNOWN;
    return rc ? rc : open_special(l, all, &l->v->special);
}

/* The pre-tokenizer: the caller's, the file's, or, where a file has none (the
 * published 2B-4T is one), what the vocabulary looks like. *open: others are
 * left to be tried when the vocabulary can be used. */
enum open_pre { PRE_SURE, PRE_TWO_READINGS, PRE_MISSING };

static int choose_pre(struct load *l, enum open_pre *open)
{
    struct vocab *const v = l->v;
    struct str name = { l->pre, l->pre ? strlen(l->pre) : 0 };
    *open = PRE_SURE;
    if (l->pre && strcmp(l->pre, "auto") != 0)
        return named(l, pretok_find(&v->pretok, name, l->e));
    int rc = gguf_get_str(l->g, KEY("pre"), &name, l->e);
    if (rc < 0)
        return rc;
    if (rc > 0) {
        rc = named(l, pretok_find(&v->pretok, name, l->e));
        /* What a directory's files say (hf_pre.c) has one reading. */
        if (rc == 0 && pretok_other(v->pretok) && gguf_version(l->g))
            *open = PRE_TWO_READINGS;
        return rc;
    }
    const bool llama3 = v->n == N_LLAMA3 || vocab_find(v, "<|begin_of_text|>") >= 0;
    if (llama3)
        warn_add(l, KEY("pre") " is missing: llama-bpe is used, as the vocabulary is Llama 3's");
    else
        *open = PRE_MISSING;
    name = llama3 ? (struct str){ "llama-bpe", 9 } : (struct str){ "default", 7 };
    return named(l, pretok_find(&v->pretok, name, l->e));
}

/* The one that gives a published fingerprint; else the one there is. */
static int decide_pre(struct load *l, enum open_pre open)
{
    struct vocab *const v = l->v;
    const struct pretok *const own = v->pretok, *const two[] = { own, pretok_other(own), NULL };
    for (unsigned i = 0;; i++) {
        v->pretok = open == PRE_MISSING ? pretok_row(i) : two[i];
        if (!v->pretok)
            break;
        const int rc = vocab_print_known(v);
        if (rc < 0)
            return fail(l, rc, KEY("pre") ": no memory to try %s", pretok_name(v->pretok));
        if (rc && open == PRE_MISSING)
            warn_add(l, KEY("pre") " is missing: %s is used, as it gives the published ids",
                     pretok_name(v->pretok));
        if (rc)
            return 0;
    }
    v->pretok = own;
    if (open == PRE_MISSING)
        warn_add(l, KEY("pre") " is missing: %s is used, results may be worse than needed",
                 pretok_name(own));
    else
        warn_add(l, KEY("pre") " has two readings and neither gives the published ids: %s is used, "
                 "model.pre = %s is the other", pretok_name(own), pretok_name(two[1]));
    return 0;
}

static void find_bytes(struct load *l)
{
    struct vocab *const v = l->v;
    struct buf text = { 0 };
    unsigned missing = 0;
    for (int b = 0; b < 256; b++) {
        const char byte = (char)b;
        buf_clear(&text);
        bpe_spell(&text, &byte, 1);
        v->byte_id[b] = text.failed ? -1 : vocab_plain(v, text.p, text.n);
        missing += v->byte_id[b] < 0;
    }
    buf_free(&text);
    if (missing)
        warn_add(l, "%u of 256 bytes have no token and are dropped from text", missing);
}

static int load_bpe(struct load *l)
{
    struct vocab *const v = l->v;
    const struct gguf_kv *merges = NULL;
    enum open_pre open;
    int rc = choose_pre(l, &open);
    if (rc == 0)
        rc = need_array(l, KEY("merges"), 1u << GGUF_STR, 0, &merges);
    if (rc == 0)
        rc = named(l, bpe_open(&v->bpe, v, merges, l->e));
    if (rc)
        return rc;
    find_bytes(l);
    if (v->bpe.skipped)
        warn_add(l, "%u merges name a missing token and are skipped", v->bpe.skipped);
    if (open != PRE_SURE)
        rc = decide_pre(l, open);
    if (rc)
        return rc;
    v->add_bos = pretok_add_bos(v->pretok);
    snprintf(v->kind, sizeof v->kind, "bpe/%s", pretok_name(v->pretok));
    return 0;
}

static int load_spm(struct load *l)
{
    struct vocab *const v = l->v;
    v->add_bos = v->add_space = true;
    snprintf(v->kind, sizeof v->kind, "spm");
    const int rc = gguf_get_bool(l->g, KEY("add_space_prefix"), &v->add_space, l->e);
    v->by_word = spm_keeps_words(v);
    return rc < 0 ? rc : load_scores(l);
}

static int load_add_bos(struct load *l)
{
    struct vocab *const v = l->v;
    const int rc = gguf_get_bool(l->g, KEY("add_bos_token"), &v->add_bos, l->e);
    if (rc < 0)
        return rc;
    if (v->add_bos && v->bos < 0) {
        v->add_bos = false;
        warn_add(l, "a BOS is wanted but " KEY("bos_token_id") " is missing: none is added");
    }
    return 0;
}

/* Nothing unless the file says so, and then for embeddings only. */
static int load_add_eos(struct load *l)
{
    struct vocab *const v = l->v;
    const int rc = gguf_get_bool(l->g, KEY("add_eos_token"), &v->add_eos, l->e);
    if (rc < 0)
        return rc;
    if (v->add_eos && v->eos < 0) {
        v->add_eos = false;
        warn_add(l, "an EOS is wanted but " KEY("eos_token_id") " is missing: none is added");
    }
    return 0;
}

static int load_model(struct load *l)
{
    struct str model;
    const int rc = gguf_get_str(l->g, KEY("model"), &model, l->e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return fail(l, ERR_DATA, KEY("model") ": is missing, so the file has no tokenizer");
    l->v->spm = str_is(model, "llama");
    if (!l->v->spm && !str_is(model, "gpt2"))
        return fail(l, ERR_UNSUPPORTED, KEY("model") ": \"%.*s\" is not known; known are "
                       "gpt2 (byte-level BPE) and llama (SPM)",
                       (int)(model.n < 64 ? model.n : 64), model.p);
    return 0;
}

int vocab_open(struct vocab **out, const struct gguf *g, const char *pre, char warn[256],
               struct err *e)
{
    static int (*const step[])(struct load *) = {
        load_model, load_texts, load_types, load_table, load_ids, load_ends, load_raw, load_special,
    };
    *out = NULL;
    if (warn)
        warn[0] = 0;
    struct vocab *const v = calloc(1, sizeof *v);
    if (!v)
        return err_set(e, ERR_NOMEM, "%s: no memory for a vocabulary", gguf_name(g));
    struct load l = { v, g, pre, warn, e };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof step / sizeof *step; i++)
        rc = step[i](&l);
    if (rc == 0)
        rc = v->spm ? load_spm(&l) : load_bpe(&l);
    if (rc == 0)
        rc = load_add_bos(&l);
    if (rc == 0)
        rc = load_add_eos(&l);
    if (rc) {
        vocab_close(v);
        return rc;
    }
    *out = v;
    return 0;
}

void vocab_close(struct vocab *v)
{
    if (!v)
        return;
    bpe_close(&v->bpe);
    special_close(v->special);
    special_close(v->user);
    free(v->text.p);
    free(v->text.off);
    free(v->raw.p);
    free(v->raw.off);
    free(v->type);
    free(v->eog);
    free(v->order);
    free(v->own);
    vocab_map_close(&v->by_text);
    free(v);
}
