/* bpe.h - byte-level byte pair encoding.
 *
 * A token's text spells each byte as one printable character (the GPT-2
 * table), so every token and every merge is a pair of ids away from bytes.
 * Merging starts from single bytes and always joins the adjacent pair of the
 * lowest rank, the leftmost of equals, until no pair has a merge.
 *
 * Most pieces of ordinary text are tokens: those are found by their bytes, and
 * merging is for the rest. */
#ifndef BITNET_MODEL_BPE_H
#define BITNET_MODEL_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/model/gguf.h"
#include "core/model/vocab_heap.h"
#include "core/model/vocab_map.h"

struct vocab;
struct sink;

struct bpe {
    struct merge {
        int32_t left, right, id;   /* left then right becomes id       */
    } *merge;                      /* by rank                          */
    uint32_t n;
    uint32_t skipped;              /* merges that name a missing token */
    uint64_t *slot;                /* hash of (left, right) << 32 | rank + 1; 0: empty */
    uint32_t slot_mask;
    struct vocab_map whole;        /* a token's bytes -> id                            */
};

/* Scratch of one encoding; zero-initialise to start. */
struct bpe_work {
    struct heap heap;
    struct bpe_symbol *symbol;
    size_t cap;
};

/* merges: the array of "left right" strings. The vocabulary's texts, types and
 * bytes must be in place. */
int bpe_open(struct bpe *, const struct vocab *, const struct gguf_kv *merges, struct err *);
void bpe_close(struct bpe *);

/* The tokens of one piece. whole: a piece that is a token needs no merging.
 * A byte without a token is dropped. */
int bpe_encode(const struct vocab *, struct bpe_work *, struct str piece, bool whole,
               struct sink *);
void bpe_work_free(struct bpe_work *);

/* Appends a token's text for some bytes, and back; unspell returns false,
 * having added nothing, when a character stands for no byte. */
void bpe_spell(struct buf *, const char *p, size_t n);
bool bpe_unspell(struct buf *, const char *p, size_t n);

#endif
