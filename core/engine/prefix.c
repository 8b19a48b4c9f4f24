/* prefix.c - a tree in arrays, a hash table over it, and a list of the idle.
 *
 * A node has the number of its page. Its parent's number is part of its name,
 * and stays right because a parent never leaves before its children.
 *
 * The list of idle nodes begins with the next to leave. A sequence gives its
 * nodes back from the deepest up, and a child is never given back after its
 * parent; so children stand before their parents, and the first has none. */
#include "core/engine/prefix.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <xxhash.h>

enum { NONE = -1, MAX_LOOK = 256 };      /* children that prefix_part looks at */

struct prefix_node {
    int32_t parent;               /* NONE: the first page of a text            */
    int32_t next;                 /* in its bucket                             */
    int32_t older, newer;         /* in the list of idle nodes                 */
    int32_t child;                /* its youngest, NONE: a leaf                */
    int32_t prev, after;          /* its parent's other children               */
};

static uint32_t n_bucket(uint32_t n_page)
{
    uint32_t n = 1;
    while (n < n_page && n < (uint32_t)1 << 31)
        n *= 2;
    return n;
}

uint64_t prefix_size(uint32_t n_page, uint32_t page_tok)
{
    return n_page * (sizeof(struct prefix_node) + (uint64_t)page_tok * sizeof(int32_t)) +
           n_bucket(n_page) * (uint64_t)sizeof(int32_t);
}

void prefix_none(struct prefix *p, struct kv *kv)
{
    *p = (struct prefix){ .kv = kv, .root = NONE, .oldest = NONE, .newest = NONE };
}

int prefix_open(struct prefix *p, struct kv *kv, uint32_t max_idle, struct err *e)
{
    const uint32_t n = n_bucket(kv->n_page);
    prefix_none(p, kv);
    p->mask = n - 1;
    p->max_idle = max_idle;
    p->node = calloc(kv->n_page, sizeof *p->node);
    p->id = calloc((size_t)kv->n_page * kv->page_tok, sizeof *p->id);
    p->bucket = calloc(n, sizeof *p->bucket);
    if (!p->node || !p->id || !p->bucket) {
        prefix_close(p);
        return err_set(e, ERR_NOMEM, "prefix cache: no memory for %u pages: set "
                       "engine.prefix_cache = no", kv->n_page);
    }
    memset(p->bucket, 0xff, n * sizeof *p->bucket);     /* NONE */
    if (getrandom(&p->seed, sizeof p->seed, GRND_NONBLOCK) != (ssize_t)sizeof p->seed)
        p->seed = 0;
    return 0;
}

void prefix_close(struct prefix *p)
{
    while (prefix_evict(p))
        ;
    free(p->node);
    free(p->id);
    free(p->bucket);
    *p = (struct prefix){ 0 };
}

/* ------------------------------------------------------------------- idle */

static void idle_add(struct prefix *p, int32_t at)
{
    struct prefix_node *n = &p->node[at];
    n->older = p->newest;
    n->newer = NONE;
    *(p->newest == NONE ? &p->oldest : &p->node[p->newest].newer) = at;
    p->newest = at;
}

static void idle_take(struct prefix *p, int32_t at)
{
    const struct prefix_node *n = &p->node[at];
    *(n->older == NONE ? &p->oldest : &p->node[n->older].newer) = n->newer;
    *(n->newer == NONE ? &p->newest : &p->node[n->newer].older) = n->older;
}

/* ------------------------------------------------------------------- find */

static int32_t *ids_of(const struct prefix *p, int32_t at)
{
    return p->id + (size_t)at * p->kv->page_tok;
}

static int32_t *bucket_of(const struct prefix *p, int32_t parent, const int32_t *id)
{
    const uint64_t seed = p->seed ^ ((uint64_t)(uint32_t)parent * UINT64_C(0x9e3779b97f4a7c15));
    return &p->bucket[XXH3_64bits_withSeed(id, p->kv->page_tok * sizeof *id, seed) & p->mask];
}

static int32_t find(const struct prefix *p, int32_t parent, const int32_t *id)
{
    const size_t size = p->kv->page_tok * sizeof *id;
    int32_t at = *bucket_of(p, parent, id);
    while (at != NONE && (p->node[at].parent != parent || memcmp(ids_of(p, at), id, size)))
        at = p->node[at].next;
    return at;
}

static int32_t last_node(const struct kv_seq *s)
{
    return s->n_cached ? s->page[s->n_cached - 1] : NONE;
}

uint32_t prefix_take(struct prefix *p, struct kv_seq *s, const int32_t *id, uint32_t n_id)
{
    const uint32_t page_tok = p->kv->page_tok, most = (n_id - 1) / page_tok;
    assert(n_id > 0);
    while (p->node && s->n_cached < most) {
        const int32_t at = find(p, last_node(s), id + (size_t)s->n_cached * page_tok);
        if (at == NONE)
            break;
        if (kv_is_idle(p->kv, at))
            idle_take(p, at);
        if (s->n_cached < s->n_page)
            kv_replace(p->kv, s, s->n_cached, at);
        else
            kv_append(p->kv, s, at);
        s->n_cached++;
    }
    return s->n_cached * page_tok;
}

uint32_t prefix_part(const struct prefix *p, const struct kv_seq *s, const int32_t *id,
                     uint32_t n_id, int32_t *page)
{
    const uint32_t page_tok = p->kv->page_tok, from = s->n_cached * page_tok;
    const uint32_t left = n_id - 1 - from, most = left < page_tok ? left : page_tok;
    int32_t at = !p->node ? NONE : s->n_cached ? p->node[last_node(s)].child : p->root;
    uint32_t best = 0;
    for (int i = 0; at != NONE && i < MAX_LOOK; at = p->node[at].after, i++) {
        const int32_t *its = ids_of(p, at);
        uint32_t n = 0;
        while (n < most && its[n] == id[from + n])
            n++;
        if (n > best) {
            best = n;
            *page = at;
        }
    }
    return best;
}

/* -------------------------------------------------------- come, stay and go */

static int32_t *first_child(struct prefix *p, int32_t parent)
{
    return parent == NONE ? &p->root : &p->node[parent].child;
}

static void child_add(struct prefix *p, int32_t at)
{
    struct prefix_node *n = &p->node[at];
    int32_t *first = first_child(p, n->parent);
    n->after = *first;
    if (*first != NONE)
        p->node[*first].prev = at;
    *first = at;
}

static void child_take(struct prefix *p, int32_t at)
{
    const struct prefix_node *n = &p->node[at];
    *(n->prev == NONE ? first_child(p, n->parent) : &p->node[n->prev].after) = n->after;
    if (n->after != NONE)
        p->node[n->after].prev = n->prev;
}

static void insert(struct prefix *p, int32_t at, int32_t parent, const int32_t *id)
{
    int32_t *b = bucket_of(p, parent, id);
    p->node[at] = (struct prefix_node){ parent, *b, NONE, NONE, NONE, NONE, NONE };
    *b = at;
    memcpy(ids_of(p, at), id, p->kv->page_tok * sizeof *id);
    child_add(p, at);
    kv_cache_hold(p->kv, at);
}

void prefix_add(struct prefix *p, struct kv_seq *s, const int32_t *id, uint32_t n_tok)
{
    const uint32_t page_tok = p->kv->page_tok;
    for (; p->node && s->n_cached < n_tok / page_tok; s->n_cached++) {
        const int32_t *ids = id + (size_t)s->n_cached * page_tok, parent = last_node(s);
        const int32_t at = find(p, parent, ids);
        if (at == NONE) {
            insert(p, s->page[s->n_cached], parent, ids);
            continue;
        }
        if (kv_is_idle(p->kv, at))
            idle_take(p, at);
        kv_replace(p->kv, s, s->n_cached, at);
    }
}

static void bound(struct prefix *p)
{
    while (p->kv->n_idle > p->max_idle && prefix_evict(p))
        ;
}

void prefix_hold(struct prefix *p, int32_t page)
{
    if (kv_is_idle(p->kv, page))
        idle_take(p, page);
    kv_hold(p->kv, page);
}

void prefix_let_go(struct prefix *p, int32_t page)
{
    kv_drop(p->kv, page);
    if (kv_is_idle(p->kv, page))
        idle_add(p, page);
    bound(p);
}

void prefix_drop(struct prefix *p, struct kv_seq *s)
{
    for (; s->n_cached; s->n_cached--) {
        const int32_t at = s->page[s->n_cached - 1];
        if (p->kv->count[at] == 2)        /* the cache's, and this sequence's */
            idle_add(p, at);
    }
    kv_trim(p->kv, s, 0);
    bound(p);
}

bool prefix_evict(struct prefix *p)
{
    const int32_t at = p->node ? p->oldest : NONE;
    if (at == NONE)
        return false;
    struct prefix_node *n = &p->node[at];
    assert(n->child == NONE && kv_is_idle(p->kv, at));
    int32_t *link = bucket_of(p, n->parent, ids_of(p, at));
    while (*link != at)
        link = &p->node[*link].next;
    *link = n->next;
    child_take(p, at);
    idle_take(p, at);
    kv_cache_drop(p->kv, at);
    p->n_evict++;
    return true;
}
