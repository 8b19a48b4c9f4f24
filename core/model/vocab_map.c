/* vocab_map.c - linear probing at half load or less. */
#include "core/model/vocab_map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/base/err.h"

int vocab_map_open(struct vocab_map *m, const struct texts *texts, uint32_t n)
{
    uint32_t slots = 64;
    while (slots / 2 < n)
        slots *= 2;
    *m = (struct vocab_map){ texts, calloc(slots, sizeof *m->slot), slots - 1 };
    return m->slot ? 0 : ERR_NOMEM;
}

void vocab_map_close(struct vocab_map *m)
{
    free(m->slot);
    *m = (struct vocab_map){ 0 };
}

/* Place of a text: of its slot, or of the empty one where it belongs. */
static uint32_t find(const struct vocab_map *m, uint64_t hash, const char *p, size_t n)
{
    uint32_t i = (uint32_t)hash & m->mask;
    for (; m->slot[i]; i = (i + 1) & m->mask) {
        if (m->slot[i] >> 32 != hash >> 32)
            continue;
        const struct str s = texts_at(m->texts, (uint32_t)m->slot[i] - 1);
        if (s.n == n && memcmp(s.p, p, n) == 0)
            break;
    }
    return i;
}

bool vocab_map_add(struct vocab_map *m, uint32_t id)
{
    const struct str s = texts_at(m->texts, id);
    const uint64_t hash = XXH3_64bits(s.p, s.n);
    uint64_t *const slot = &m->slot[find(m, hash, s.p, s.n)];
    if (*slot)
        return false;
    *slot = hash >> 32 << 32 | (id + 1);
    return true;
}

int32_t vocab_map_find(const struct vocab_map *m, const char *p, size_t n)
{
    const uint64_t slot = m->slot[find(m, XXH3_64bits(p, n), p, n)];
    return (int32_t)(uint32_t)slot - 1;
}

void vocab_map_touch(const struct vocab_map *m, uint32_t id)
{
    const struct str s = texts_at(m->texts, id);
    __builtin_prefetch(&m->slot[XXH3_64bits(s.p, s.n) & m->mask], 1);
}

/* The token in the first slot that a hash leads to, if it may be the one. */
static const uint32_t *first_off(const struct vocab_map *m, uint64_t hash)
{
    const uint64_t slot = m->slot[hash & m->mask];
    return slot && slot >> 32 == hash >> 32 ? &m->texts->off[(uint32_t)slot - 1] : NULL;
}

void vocab_map_find_many(const struct vocab_map *m, const struct str *text, size_t n, int32_t *id)
{
    uint64_t hash[VOCAB_MAP_MANY];
    const uint32_t *off[VOCAB_MAP_MANY];
    assert(n <= VOCAB_MAP_MANY);
    for (size_t i = 0; i < n; i++) {
        hash[i] = XXH3_64bits(text[i].p, text[i].n);
        __builtin_prefetch(&m->slot[hash[i] & m->mask]);
    }
    for (size_t i = 0; i < n; i++) {
        off[i] = first_off(m, hash[i]);
        if (off[i])
            __builtin_prefetch(off[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (off[i])
            __builtin_prefetch(m->texts->p + *off[i]);
    for (size_t i = 0; i < n; i++)
        id[i] = (int32_t)(uint32_t)m->slot[find(m, hash[i], text[i].p, text[i].n)] - 1;
}
