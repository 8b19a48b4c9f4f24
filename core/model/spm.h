/* spm.h - SentencePiece's scored merging ("llama").
 *
 * Text becomes characters, a space being U+2581; the adjacent pair whose
 * concatenation is the token of the highest score is joined, the leftmost of
 * equals, until none is left. What is then not a token is spelled with byte
 * tokens, or is the unknown token where the vocabulary has none. */
#ifndef BITNET_MODEL_SPM_H
#define BITNET_MODEL_SPM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/buf.h"
#include "core/model/vocab_heap.h"

struct vocab;
struct sink;

#define SPM_SPACE "\xe2\x96\x81"        /* U+2581: what a space is spelled as */

/* Whether text may be merged word by word, a word being what stands before the
 * next space: no token that merging can give has a space behind anything else. */
bool spm_keeps_words(const struct vocab *);

/* Scratch of one encoding; zero-initialise to start. */
struct spm_work {
    struct heap heap;
    struct spm_symbol *symbol;
    size_t cap;
    struct buf text;
};

/* The tokens of a run of text without special tokens; lead: with a space in
 * front of it. text.n is at most VOCAB_MAX_TEXT. */
int spm_encode(const struct vocab *, struct spm_work *, struct str text, bool lead, struct sink *);
void spm_work_free(struct spm_work *);

/* Appends a token's text with U+2581 as the space that it means. */
void spm_unspell(struct buf *, const char *p, size_t n);

#endif
