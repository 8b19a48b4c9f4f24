/* gguf_bad.h - model files that must be refused, and what must be said.
 *
 * Each is the tiny model of gguf_make.h with one thing wrong. tests/golden/
 * refused holds the same files for tests that run whole programs. */
#ifndef TESTS_UNIT_GGUF_BAD_H
#define TESTS_UNIT_GGUF_BAD_H

#include "gguf_make.h"

struct gguf_bad {
    const char *name;
    const char *says;                   /* part of the message                */
    void (*edit)(struct gguf_make *);   /* before the bytes are made, or NULL */
    void (*spoil)(struct buf *);        /* the bytes, or NULL                 */
    struct tiny base;
};

extern const struct gguf_bad gguf_bad[];
extern const size_t n_gguf_bad;

/* The file's bytes; free with buf_free. */
void gguf_bad_make(const struct gguf_bad *, struct buf *out);

#endif
