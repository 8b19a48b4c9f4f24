/* vocab_map.h - the texts of tokens, and from a text to its token.
 *
 * A slot holds 32 bits of the text's hash beside the id, so a text is compared
 * only where it is all but certain to be equal. Immutable once filled. */
#ifndef BITNET_MODEL_VOCAB_MAP_H
#define BITNET_MODEL_VOCAB_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"

struct texts {                      /* text i is p[off[i]] .. p[off[i + 1]] */
    char *p;
    uint32_t *off;
};

static inline struct str texts_at(const struct texts *t, uint32_t i)
{
    return (struct str){ t->p + t->off[i], t->off[i + 1] - t->off[i] };
}

struct vocab_map {
    const struct texts *texts;      /* borrowed */
    uint64_t *slot;                 /* hash << 32 | id + 1, open addressing; 0: empty */
    uint32_t mask;
};

int vocab_map_open(struct vocab_map *, const struct texts *, uint32_t n);   /* 0 or ERR_NOMEM */
void vocab_map_close(struct vocab_map *);

/* Puts id, one of at most n, under its text; false when the text has one. */
bool vocab_map_add(struct vocab_map *, uint32_t id);
int32_t vocab_map_find(const struct vocab_map *, const char *p, size_t n);  /* or -1 */

/* A table of many tokens lies in memory rather than in a cache, and a lookup
 * alone is three waits for it. Of many lookups the waits go on at once: touch
 * a token some 16 before it is added, and find many texts together. */
enum { VOCAB_MAP_MANY = 96, VOCAB_MAP_AHEAD = 16 };
void vocab_map_touch(const struct vocab_map *, uint32_t id);
void vocab_map_find_many(const struct vocab_map *, const struct str *text, size_t n, int32_t *id);

#endif
