/* grammar_rig.h - a small vocabulary, and texts through grammars, for tests.
 *
 * Tokens 0 to 255 are the bytes, then come runs of bytes that cross the
 * borders a grammar cares about (quotes, braces, halves of code points), then a
 * control token and the end. Everything aborts when memory runs out. */
#ifndef TESTS_UNIT_GRAMMAR_RIG_H
#define TESTS_UNIT_GRAMMAR_RIG_H

#include "core/engine/grammar.h"
#include "noise.h"

struct rig {
    struct vocab *vocab;
    struct grammar_vocab *tokens;
    int32_t control, end;
};

void rig_open(struct rig *, bool spm);
void rig_close(struct rig *);

/* NULL, with e filled, when it is refused. */
struct grammar *rig_compile(const struct rig *, const char *gbnf, struct err *e);
/* Byte by byte. -1: not a beginning of a text of the grammar; 0: one, and no
 * text yet; 1: a text. */
int rig_read(const struct rig *, struct grammar *, const char *text, size_t n);

bool rig_has(const uint32_t *mask, int32_t id);
/* A token of the mask that is not the end; one that closes something when
 * `close` and there is one; -1: none. */
int32_t rig_draw(const struct rig *, const uint32_t *mask, uint64_t *seed, bool close);

/* Draws tokens until the text ends (which is sought after n of them), and
 * appends their bytes. false: it did not come to an end. */
bool rig_walk(const struct rig *, struct grammar_state *, unsigned n, uint64_t *seed,
              struct buf *out);

#endif
