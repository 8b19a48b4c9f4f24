/* vocab_make.h - small vocabularies made in memory, for tests and fuzzing.
 *
 * Collect tokens and merges in a struct make, have make_file write them as a
 * GGUF with whatever other keys the test wants, open that. Everything aborts
 * when memory runs out: these are tests. */
#ifndef TESTS_UNIT_VOCAB_MAKE_H
#define TESTS_UNIT_VOCAB_MAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/model/gguf.h"
#include "core/model/vocab.h"

enum { MAKE_MAX = 1024 };

struct make {                      /* from calloc */
    struct arena arena;
    struct buf kv;                 /* keys written so far */
    uint32_t n_kv;
    uint32_t n_token, n_merge;
    struct str text[MAKE_MAX], merge[MAKE_MAX];
    int32_t type[MAKE_MAX];
    float score[MAKE_MAX];
};

/* Types as in tokenizer.ggml.token_type. Returns the id. */
int32_t make_token(struct make *, const char *text, int32_t type, float score);
/* A BPE merge; its result becomes a token if it is none yet. */
void make_merge(struct make *, const char *left, const char *right);
void make_bpe_bytes(struct make *);     /* 256 tokens, id = byte                     */
void make_spm_base(struct make *);      /* <unk> <s> </s>, then <0x00> to <0xFF>     */

void make_str(struct make *, const char *key, const char *value);
void make_u32(struct make *, const char *key, uint32_t value);
void make_bool(struct make *, const char *key, bool value);
void make_strs(struct make *, const char *key, const struct str *value, uint64_t n);
void make_i32s(struct make *, const char *key, const int32_t *value, uint64_t n);
void make_f32s(struct make *, const char *key, const float *value, uint64_t n);

/* The keys that hold the collected tokens: model, tokens, token_type, and
 * merges (BPE) or scores (SPM). */
void make_bpe(struct make *);
void make_spm(struct make *);

/* Opens what was made; warn and e may be NULL. The file may go at once. */
int make_open(const struct make *, struct vocab **, const char *pre, char *warn, struct err *e);
void make_free(struct make *);

#endif
