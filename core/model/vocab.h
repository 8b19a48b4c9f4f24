/* vocab.h - text to token ids and back.
 *
 * Byte-level BPE and SentencePiece (SPM), built from a GGUF's tokenizer keys.
 * Immutable after vocab_open; every function but open and close is [any
 * thread]. Text is bytes: whatever goes in comes out again. */
#ifndef BITNET_MODEL_VOCAB_H
#define BITNET_MODEL_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/model/gguf.h"

struct vocab;

enum token_type {        /* as in tokenizer.ggml.token_type */
    TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE
};

/* pre: pre-tokenizer name that overrides tokenizer.ggml.pre; NULL or "auto":
 * the file's. warn (may be NULL) receives at most one line, empty when there
 * is none. The file may be closed afterwards. */
int vocab_open(struct vocab **out, const struct gguf *, const char *pre, char warn[256],
               struct err *);
void vocab_close(struct vocab *);

uint32_t vocab_n(const struct vocab *);
const char *vocab_kind(const struct vocab *);          /* "bpe/llama-bpe", "spm" */
int32_t vocab_bos(const struct vocab *);               /* -1: none */
int32_t vocab_eos(const struct vocab *);
bool vocab_add_bos(const struct vocab *);
bool vocab_is_eog(const struct vocab *, int32_t id);   /* ends a generation */
bool vocab_is_control(const struct vocab *, int32_t id);
int32_t vocab_find(const struct vocab *, const char *text);  /* exact token text; -1: none */

/* Token ids in a growing array; free ids with free(). */
struct tokens {
    int32_t *id;
    size_t n, cap;
};

enum {
    VOCAB_BOS = 1,       /* put BOS first if the model wants one: never twice,
                            and only while out is empty                        */
    VOCAB_EOS = 4,       /* put EOS last if the model wants one: never twice   */
    VOCAB_SPECIAL = 2    /* control tokens written in the text are recognised;
                            without it only user-defined ones are             */
};

/* Appends to out. ERR_LIMIT when more than max tokens would result (0: no
 * limit); time is O(n log n) in the text, never quadratic. */
int vocab_encode(const struct vocab *, const char *text, size_t n, unsigned flags,
                 size_t max, struct tokens *out, struct err *);

/* Streaming decode. feed appends the bytes that are final now: never half a
 * code point, unless it can never become whole (then U+FFFD is not invented:
 * the raw bytes are given). finish appends what was held back. special:
 * whether control tokens show as their text (else as nothing). Start from a
 * zeroed struct. */
struct detok {
    char held[8];
    uint8_t n_held;
    bool started;        /* SPM: the first space has been dealt with; set it
                            when the tokens continue a text              */
};
void detok_feed(const struct vocab *, struct detok *, int32_t id, bool special, struct buf *out);
void detok_finish(struct detok *, struct buf *out);

/* The raw bytes of one token (no state, no leading-space rule). */
void vocab_piece(const struct vocab *, int32_t id, bool special, struct buf *out);
/* The same without control tokens, borrowed from the vocabulary. */
struct str vocab_bytes(const struct vocab *, int32_t id);
bool vocab_strips_space(const struct vocab *);   /* whether detok ever drops a first space */

#endif
