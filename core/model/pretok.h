/* pretok.h - cuts text into the pieces that byte-level BPE merges within.
 *
 * A pre-tokenizer is a short list of stages, published as regular expressions.
 * The first splits the text into matches and the gaps between them; each next
 * one splits every piece so far, seeing nothing outside it. All bytes come
 * out, in order.
 *
 * A struct pretok is a constant: any number of runs may use it at once, each
 * run by one thread. */
#ifndef BITNET_MODEL_PRETOK_H
#define BITNET_MODEL_PRETOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum { PRETOK_MAX_STAGES = 4 };

/* The expressions of tokenizer.json that llama-bpe, digits "\\p{N}{1,3}", qwen2,
 * digits "\\p{N}", and gpt-2 stand for. */
#define PRETOK_LLAMA3(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define PRETOK_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"

struct pretok;

/* name as in tokenizer.ggml.pre: llama-bpe (llama3, llama-v3), falcon3
 * (falcon_e, falcon-e: the model makers' own expressions), qwen2 (qwen3),
 * gpt-2, default. ERR_UNSUPPORTED lists them. */
int pretok_find(const struct pretok **out, struct str name, struct err *);

const char *pretok_name(const struct pretok *);          /* the rules' own name */
bool pretok_ignore_merges(const struct pretok *);        /* a piece that is a token stays whole */
bool pretok_add_bos(const struct pretok *);              /* unless the file says otherwise */

const struct pretok *pretok_row(unsigned i);             /* all rules; NULL after the last */

/* Where the name in a file stands for one of two rules, the other; else NULL.
 * falcon3 is the only one: its makers wrote their own expressions into one
 * reader and llama-bpe into another. A fingerprint tells (vocab_print.h). */
const struct pretok *pretok_other(const struct pretok *);

/* A run over one text, which the caller keeps. It owns nothing. */
struct pretok_run {
    const struct pretok *pretok;
    struct pretok_stage {
        const uint8_t *at, *end;  /* what is left of the piece being split */
    } stage[PRETOK_MAX_STAGES];
};

void pretok_start(struct pretok_run *, const struct pretok *, const char *text, size_t n);
bool pretok_next(struct pretok_run *, struct str *piece);   /* never empty; false at the end */

#endif
