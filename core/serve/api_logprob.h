/* api_logprob.h - log probabilities in the two shapes that OpenAI has.
 *
 * Numbers are the engine's: what the model says of a token before bias,
 * penalties and temperature. Nine digits give every one back. [any thread] */
#ifndef BITNET_SERVE_API_LOGPROB_H
#define BITNET_SERVE_API_LOGPROB_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/engine/engine.h"
#include "core/model/vocab.h"

/* Completions: four lists, an element per token, as text. Zero at first. */
struct logprob_list {
    struct buf tokens, logprobs, top, offsets;
};

/* p NULL: nothing foretells the token, null stands there. offset: in the text,
 * in characters. */
void logprob_list_add(struct logprob_list *, const struct vocab *, int32_t id,
                      const struct token_logprob *p, size_t offset);
/* Appends the object, and closes the list. */
void logprob_list_put(struct logprob_list *, struct buf *out);

/* Chat: {"content": [...], "refusal": null} of tokens [n]. */
void logprob_put_content(struct buf *out, const struct vocab *, const struct token_logprob *,
                         uint32_t n);

/* Moves *at over the characters of p[0..n) that end at or before byte to, and
 * says how many. A byte that is in no code point is one. */
size_t logprob_skip_char(const char *p, size_t n, size_t to, size_t *at);

#endif
