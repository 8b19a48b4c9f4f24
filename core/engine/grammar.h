/* grammar.h - texts that a grammar allows, token by token.
 *
 * A grammar is GBNF text (docs/grammar.md), compiled for one vocabulary. A
 * state is one sequence's place in it: it says which tokens may follow, and
 * moves on by one token. What it lets through is always the beginning of a
 * text of the grammar, and the end is offered only where the text is whole.
 *
 *     grammar_vocab_open   once per vocabulary
 *     grammar_compile      once per grammar; keep it, a second use is cheaper
 *     grammar_state_open   per sequence
 *     loop: grammar_allows(likeliest) or grammar_mask, then grammar_accept
 *
 * Answers depend on the grammar, the vocabulary and the tokens accepted so
 * far, and on nothing else: not on who else uses the grammar. */
#ifndef BITNET_ENGINE_GRAMMAR_H
#define BITNET_ENGINE_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/model/vocab.h"

enum {
    GRAMMAR_MAX_MEMORY = 24 << 20,  /* bytes of a compiled one, with what it keeps */
    GRAMMAR_MAX_TEXT = 256 << 10,   /* bytes of a grammar                        */
    GRAMMAR_MAX_RULE = 8192,
    GRAMMAR_MAX_NEST = 64,          /* parentheses in parentheses                */
    GRAMMAR_MAX_REPEAT = 65536,     /* m and n of {m,n}                          */
    GRAMMAR_MAX_OP = 1 << 18,       /* size once compiled, repetitions written out */
    GRAMMAR_MAX_DEPTH = 512         /* rules open at once; what would open more
                                       is not allowed                            */
};

/* The tokens of a vocabulary, sorted by their bytes. Reference counted: every
 * grammar holds one. */
struct grammar_vocab;

/* The vocabulary must stay open as long as anything made here. end[0..n_end):
 * ids that end a text besides those of vocab_is_eog, as a chat template's; may
 * be NULL. Takes some 20 ms and 6 MB for 128 thousand tokens. [any thread] */
int grammar_vocab_open(struct grammar_vocab **out, const struct vocab *, const int32_t *end,
                       uint32_t n_end, struct err *);
struct grammar_vocab *grammar_vocab_ref(struct grammar_vocab *);
void grammar_vocab_unref(struct grammar_vocab *);

/* Immutable to its users, shared between threads, reference counted. What was
 * worked out for one state is kept for all (16 MiB of address space, used as
 * needed, never more), behind a lock. */
struct grammar;

/* ERR_ARG with line and column when the text is wrong, ERR_LIMIT when it is
 * over a limit, ERR_NOMEM. [any thread] */
int grammar_compile(struct grammar **out, struct grammar_vocab *, const char *gbnf, size_t n,
                    struct err *);
struct grammar *grammar_ref(struct grammar *);      /* [any thread] */
void grammar_unref(struct grammar *);               /* [any thread]; NULL is fine */
bool grammar_is_single(const struct grammar *);     /* one reference is left */
/* Something odd about it that is no error (a rule that nothing uses), or "". */
const char *grammar_note(const struct grammar *);

/* One sequence's place. Belongs to one thread at a time; all its memory is
 * taken at open. Holds a reference to the grammar. */
struct grammar_state;

int grammar_state_open(struct grammar_state **out, struct grammar *, struct err *);
void grammar_state_close(struct grammar_state *);
/* Back to the start. first: no text stands before the reply (detok starts with
 * `started` unset, the prompt was control tokens only), so that SPM's first
 * space is not shown and does not count; a fresh state expects that some does. */
void grammar_state_reset(struct grammar_state *, bool first);

/* Bits of the tokens that may follow, [(vocab_n + 31) / 32], bit id % 32 of
 * word id / 32; end-of-generation ids are set when the text may end here.
 * Valid until the next call with this state. NULL: no token may follow, and
 * grammar_trouble says why; the sequence cannot go on. */
const uint32_t *grammar_mask(struct grammar_state *);
const char *grammar_trouble(const struct grammar_state *);

/* One token's bit: microseconds. */
bool grammar_allows(struct grammar_state *, int32_t id);

/* Moves on by one token; ERR_ARG when it is not allowed (the state is
 * unchanged). After an end-of-generation id only those are allowed. */
int grammar_accept(struct grammar_state *, int32_t id, struct err *);

/* The text is whole and nothing may follow but the end. */
bool grammar_is_done(const struct grammar_state *);

#endif
