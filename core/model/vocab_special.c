/* vocab_special.c - an Aho-Corasick automaton over the special tokens' texts.
 *
 * Each node is a prefix of some token. `fail` is the longest proper suffix of
 * it that is a prefix too; `dict` the longest proper suffix that is a whole
 * token. A scan therefore sees, at each end, the longest token that ends
 * there, and its dict chain holds the shorter ones, needed only when the
 * longest is blocked by a token that was cut before. */
#include "core/model/vocab_special.h"

#include <stdlib.h>
#include <string.h>

#include "core/model/vocab_heap.h"

enum { SPECIAL_MAX_BYTES = 4 << 20 };

struct node {
    uint32_t child, sibling;       /* 0: none; the root is nobody's child */
    uint32_t fail, dict;           /* dict 0: none */
    int32_t rank;                  /* into entry, -1: not the end of a token */
    uint8_t byte;
};

struct entry {
    int32_t id;
    uint32_t n, node;
};

struct special {
    struct node *node;
    struct entry *entry;           /* longest first, equal lengths by id */
    uint32_t n_node, n_entry;
    uint32_t root[256];            /* children of the root, 0: none */
};

static int by_length_then_id(const void *a, const void *b)
{
    const struct special_text *const x = a, *const y = b;
    if (x->text.n != y->text.n)
        return x->text.n > y->text.n ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static uint32_t child_of(const struct special *s, uint32_t at, uint8_t byte)
{
    if (at == 0)
        return s->root[byte];
    uint32_t c = s->node[at].child;
    while (c && s->node[c].byte != byte)
        c = s->node[c].sibling;
    return c;
}

static uint32_t add_child(struct special *s, uint32_t at, uint8_t byte)
{
    const uint32_t c = s->n_node++;
    s->node[c] = (struct node){ .sibling = s->node[at].child, .rank = -1, .byte = byte };
    s->node[at].child = c;
    if (at == 0)
        s->root[byte] = c;
    return c;
}

static void add_text(struct special *s, const struct special_text *t)
{
    uint32_t at = 0;
    for (size_t i = 0; i < t->text.n; i++) {
        const uint8_t byte = (uint8_t)t->text.p[i];
        const uint32_t c = child_of(s, at, byte);
        at = c ? c : add_child(s, at, byte);
    }
    if (s->node[at].rank >= 0)
        return;                    /* the same text twice: the lower id stays */
    s->node[at].rank = (int32_t)s->n_entry;
    s->entry[s->n_entry++] = (struct entry){ t->id, (uint32_t)t->text.n, at };
}

static uint32_t step(const struct special *s, uint32_t at, uint8_t byte)
{
    for (;;) {
        const uint32_t c = child_of(s, at, byte);
        if (c || at == 0)
            return c;
        at = s->node[at].fail;
    }
}

/* Breadth first: a node's fail is nearer to the root, hence already known. */
static int link_suffixes(struct special *s)
{
    uint32_t *const queue = malloc(s->n_node * sizeof *queue);
    if (!queue)
        return ERR_NOMEM;
    size_t head = 0, tail = 0;
    queue[tail++] = 0;
    while (head < tail) {
        const uint32_t at = queue[head++];
        for (uint32_t c = s->node[at].child; c; c = s->node[c].sibling) {
            const uint32_t f = at ? step(s, s->node[at].fail, s->node[c].byte) : 0;
            s->node[c].fail = f;
            s->node[c].dict = s->node[f].rank >= 0 ? f : s->node[f].dict;
            queue[tail++] = c;
        }
    }
    free(queue);
    return 0;
}

int special_open(struct special **out, struct special_text *list, uint32_t n, struct err *e)
{
    *out = NULL;
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        bytes += list[i].text.n;
        if (bytes > SPECIAL_MAX_BYTES)
            return err_set(e, ERR_LIMIT, "special tokens: their texts exceed %d bytes together, "
                           "more than any known vocabulary has", SPECIAL_MAX_BYTES);
    }
    struct special *const s = calloc(1, sizeof *s);
    if (!s)
        goto fail;
    s->node = calloc(bytes + 1, sizeof *s->node);
    s->entry = calloc((size_t)n + 1, sizeof *s->entry);
    if (!s->node || !s->entry)
        goto fail;
    s->node[0].rank = -1;
    s->n_node = 1;
    if (n > 1)
        qsort(list, n, sizeof *list, by_length_then_id);
    for (uint32_t i = 0; i < n; i++)
        add_text(s, &list[i]);
    if (link_suffixes(s))
        goto fail;
    *out = s;
    return 0;
fail:
    special_close(s);
    return err_set(e, ERR_NOMEM, "special tokens: no memory for %zu bytes of text", bytes);
}

void special_close(struct special *s)
{
    if (!s)
        return;
    free(s->node);
    free(s->entry);
    free(s);
}

/* The longest token ending at each place, as rank and start. */
static int scan(const struct special *s, const char *text, size_t n, struct heap *found)
{
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (at == 0) {             /* most of a text is nobody's first byte */
            while (i < n && !s->root[(uint8_t)text[i]])
                i++;
            if (i == n)
                break;
        }
        at = step(s, at, (uint8_t)text[i]);
        const uint32_t hit = s->node[at].rank >= 0 ? at : s->node[at].dict;
        if (!hit)
            continue;
        const uint32_t rank = (uint32_t)s->node[hit].rank;
        if (heap_push(found, heap_key(rank, (uint32_t)(i + 1) - s->entry[rank].n)))
            return ERR_NOMEM;
    }
    return 0;
}

/* A cut that is in the way is at least as long as the candidate, so it covers
 * the candidate's first or last byte: two looks suffice. A candidate that is
 * blocked on the left only gives way to the next shorter token with the same
 * end, whose rank is higher: the order of the heap holds. */
static int settle(const struct special *s, struct heap *found, uint8_t *taken, struct heap *placed)
{
    while (found->n) {
        const uint64_t key = heap_pop(found);
        uint32_t rank = (uint32_t)(key >> 32);
        uint32_t start = (uint32_t)key;
        const uint32_t end = start + s->entry[rank].n;
        if (taken[end - 1])
            continue;
        if (!taken[start]) {
            memset(taken + start, 1, end - start);
            if (heap_push(placed, heap_key(start, rank)))
                return ERR_NOMEM;
            continue;
        }
        uint32_t shorter = s->node[s->entry[rank].node].dict;
        while (shorter) {
            rank = (uint32_t)s->node[shorter].rank;
            start = end - s->entry[rank].n;
            if (!taken[start])
                break;
            shorter = s->node[shorter].dict;
        }
        if (shorter && heap_push(found, heap_key(rank, start)))
            return ERR_NOMEM;
    }
    return 0;
}

int special_cut(const struct special *s, const char *text, size_t n, struct cut **out,
                size_t *n_out)
{
    *out = NULL;
    *n_out = 0;
    struct heap found = { 0 }, placed = { 0 };
    uint8_t *taken = NULL;
    int rc = scan(s, text, n, &found);
    if (rc || found.n == 0)
        goto done;
    rc = ERR_NOMEM;
    taken = calloc(n, 1);
    if (!taken || settle(s, &found, taken, &placed))
        goto done;
    *out = malloc(placed.n * sizeof **out);
    if (!*out)
        goto done;
    while (placed.n) {
        const uint64_t key = heap_pop(&placed);
        const struct entry *const t = &s->entry[(uint32_t)key];
        (*out)[(*n_out)++] = (struct cut){ (uint32_t)(key >> 32), t->n, t->id };
    }
    rc = 0;
done:
    heap_free(&found);
    heap_free(&placed);
    free(taken);
    return rc;
}
