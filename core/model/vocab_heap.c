/* vocab_heap.c - sift up, sift down; the array doubles when full. */
#include "core/model/vocab_heap.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"

static int heap_grow(struct heap *h)
{
    const size_t cap = h->cap ? h->cap * 2 : 64;
    if (cap > SIZE_MAX / sizeof *h->key)
        return ERR_NOMEM;
    uint64_t *const key = realloc(h->key, cap * sizeof *key);
    if (!key)
        return ERR_NOMEM;
    h->key = key;
    h->cap = cap;
    return 0;
}

int heap_push(struct heap *h, uint64_t key)
{
    if (h->n == h->cap && heap_grow(h))
        return ERR_NOMEM;
    size_t i = h->n++;
    while (i > 0 && h->key[(i - 1) / 2] > key) {
        h->key[i] = h->key[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->key[i] = key;
    return 0;
}

uint64_t heap_pop(struct heap *h)
{
    assert(h->n > 0);
    const uint64_t top = h->key[0];
    const uint64_t last = h->key[--h->n];
    size_t i = 0;
    for (size_t c = 1; c < h->n; c = 2 * i + 1) {
        if (c + 1 < h->n && h->key[c + 1] < h->key[c])
            c++;
        if (last <= h->key[c])
            break;
        h->key[i] = h->key[c];
        i = c;
    }
    if (h->n > 0)
        h->key[i] = last;
    return top;
}

void heap_free(struct heap *h)
{
    free(h->key);
    *h = (struct heap){ 0 };
}
