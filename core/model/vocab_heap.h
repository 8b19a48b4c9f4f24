/* vocab_heap.h - a binary heap of 64-bit keys, smallest first.
 *
 * Both mergers and the special-token cutter put what is decided first (a
 * rank, a score turned over) in the high half of the key and a place in the
 * text in the low half: equal ranks then come out from left to right. */
#ifndef BITNET_MODEL_VOCAB_HEAP_H
#define BITNET_MODEL_VOCAB_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap {             /* zero-initialise to start */
    uint64_t *key;
    size_t n, cap;
};

int heap_push(struct heap *, uint64_t key);  /* 0 or ERR_NOMEM */
uint64_t heap_pop(struct heap *);            /* n > 0 */
void heap_free(struct heap *);

static inline uint64_t heap_key(uint32_t rank, uint32_t place)
{
    return (uint64_t)rank << 32 | place;
}

#endif
