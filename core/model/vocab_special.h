/* vocab_special.h - finds the tokens that are cut out of text before anything
 * else looks at it.
 *
 * The rule: longest token first, equal lengths by id, each from left to
 * right, wherever its bytes are not yet taken. One pass over the text and a
 * heap of what was found, not one pass per token. Immutable after open. */
#ifndef BITNET_MODEL_VOCAB_SPECIAL_H
#define BITNET_MODEL_VOCAB_SPECIAL_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct special;

struct special_text {
    struct str text;          /* not empty */
    int32_t id;
};

/* Sorts list in place and borrows nothing from it. ERR_LIMIT when the texts
 * together exceed 4 MiB. */
int special_open(struct special **out, struct special_text *list, uint32_t n, struct err *);
void special_close(struct special *);

struct cut {                  /* bytes at .. at + n of the text are token id */
    uint32_t at, n;
    int32_t id;
};

/* The cuts of a text in order of place; *out is NULL when there is none, else
 * the caller frees it. text is shorter than 4 GiB. 0 or ERR_NOMEM. */
int special_cut(const struct special *, const char *text, size_t n, struct cut **out,
                size_t *n_out);

#endif
