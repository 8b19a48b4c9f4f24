/* ring.c - one writer, one reader. w and r count words for ever and wrap at
 * 2^32; their difference is the fill. Each side publishes with release what
 * the other reads with acquire. */
#include "core/base/ring.h"

#include <stdlib.h>

#include "core/base/err.h"

int ring_open(struct ring *q, uint32_t capacity)
{
    uint32_t n = 1;
    while (n < capacity && n < (uint32_t)1 << 31)
        n *= 2;
    q->slot = calloc(n, sizeof *q->slot);
    if (!q->slot)
        return ERR_NOMEM;
    q->mask = n - 1;
    atomic_init(&q->w, 0);
    atomic_init(&q->r, 0);
    return 0;
}

void ring_close(struct ring *q)
{
    free(q->slot);
    q->slot = NULL;
}

uint32_t ring_space(const struct ring *q)
{
    uint32_t w = atomic_load_explicit(&q->w, memory_order_relaxed);
    uint32_t r = atomic_load_explicit(&q->r, memory_order_acquire);
    return q->mask + 1 - (w - r);
}

bool ring_push(struct ring *q, uint32_t v)
{
    if (!ring_space(q))
        return false;
    uint32_t w = atomic_load_explicit(&q->w, memory_order_relaxed);
    q->slot[w & q->mask] = v;
    atomic_store_explicit(&q->w, w + 1, memory_order_release);
    return true;
}

bool ring_pop(struct ring *q, uint32_t *v)
{
    uint32_t r = atomic_load_explicit(&q->r, memory_order_relaxed);
    if (r == atomic_load_explicit(&q->w, memory_order_acquire))
        return false;
    *v = q->slot[r & q->mask];
    atomic_store_explicit(&q->r, r + 1, memory_order_release);
    return true;
}
