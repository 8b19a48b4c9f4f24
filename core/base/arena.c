/* arena.c - bump allocation in blocks of 64 KiB; a bigger request gets a block
 * of its own size. Blocks are zeroed by calloc and never reused, so what is
 * handed out is zero. */
#include "core/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)64 << 10)
#define ALIGN _Alignof(max_align_t)

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    max_align_t data[];
};

static struct arena_block *block_new(struct arena *a, size_t bytes)
{
    size_t size = bytes > BLOCK_SIZE ? bytes : BLOCK_SIZE;
    if (size > SIZE_MAX - sizeof(struct arena_block))
        return NULL;
    struct arena_block *b = calloc(1, sizeof *b + size);
    if (!b)
        return NULL;
    b->size = size;
    /* An oversized block is full at once: keep filling the one before it. */
    if (a->head && size > BLOCK_SIZE) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    return b;
}

void *arena_alloc(struct arena *a, size_t n, size_t size)
{
    if (size && n > (SIZE_MAX - ALIGN) / size)
        return NULL;
    size_t bytes = (n * size + ALIGN - 1) / ALIGN * ALIGN;
    if (!bytes)
        bytes = ALIGN;
    if (bytes > SIZE_MAX - a->used || (a->max && a->used + bytes > a->max))
        return NULL;
    struct arena_block *b = a->head;
    if (!b || b->size - b->used < bytes)
        b = block_new(a, bytes);
    if (!b)
        return NULL;
    void *p = (char *)b->data + b->used;
    b->used += bytes;
    a->used += bytes;
    return p;
}

char *arena_strndup(struct arena *a, const char *p, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *s = arena_alloc(a, n + 1, 1);
    if (s && n)
        memcpy(s, p, n);
    return s;
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->head = NULL;
    a->used = 0;
}
