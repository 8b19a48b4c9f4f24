/* arena.h - memory that is freed at once.
 *
 * A request's memory is its arena. Blocks come from malloc; nothing is freed
 * singly. Zero-initialise to start. One thread at a time. */
#ifndef BITNET_BASE_ARENA_H
#define BITNET_BASE_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_block *head;
    size_t used;          /* bytes handed out */
    size_t max;           /* bytes it may hand out; 0: no limit */
};

/* Zero-filled, aligned for any type; NULL when there is no memory or max
 * would be exceeded. n * size is checked for overflow. */
void *arena_alloc(struct arena *, size_t n, size_t size);
char *arena_strndup(struct arena *, const char *p, size_t n);  /* NUL-terminated */
void arena_free(struct arena *);

#endif
