/* prefix.h - pages of keys and values that outlive their sequences.
 *
 * A full page of a sequence is a node of a tree: its parent is the page before
 * it, its name the token ids in it. A new sequence takes the longest path whose
 * ids are its own, compared id by id: a hash only says where to look. Keys and
 * values are functions of the tokens up to them, so what is found has the bits
 * that would have been computed.
 *
 * Who holds a node's page holds its parent's too. So a page that nobody but the
 * cache holds (idle) has no child in use, and pages leave the cache leaf first,
 * the longest unused of them first. The memory is taken at open.
 * Engine thread only. */
#ifndef BITNET_ENGINE_PREFIX_H
#define BITNET_ENGINE_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/engine/kv.h"

struct prefix_node;

struct prefix {
    struct kv *kv;
    struct prefix_node *node;     /* [kv->n_page]; NULL: the cache is off      */
    int32_t *id;                  /* [kv->n_page][kv->page_tok]                */
    int32_t *bucket;              /* [mask + 1] first node of a chain, or -1   */
    uint32_t mask;
    uint64_t seed;                /* of the hash: nobody can fill one bucket   */
    uint32_t max_idle;            /* pages that may lie idle                   */
    int32_t root;                 /* a node without parent, -1: there is none  */
    int32_t oldest, newest;       /* ends of the list of idle nodes; -1: none  */
    uint64_t n_evict;             /* pages that left                           */
};

/* Without a cache: finds and keeps nothing. */
void prefix_none(struct prefix *, struct kv *);
int prefix_open(struct prefix *, struct kv *, uint32_t max_idle, struct err *);
/* No sequence may hold a page that the cache holds. */
void prefix_close(struct prefix *);
uint64_t prefix_size(uint32_t n_page, uint32_t page_tok);   /* bytes that open takes */

/* The sequence, which holds its first ids in pages of the cache and has computed
 * no more than that, goes on with those in which its next ids stand, of n_id ids;
 * but never with the last one's, whose row has to be computed. Pages that it has
 * reserved for them it drops. Returns the tokens that it has in all. */
uint32_t prefix_take(struct prefix *, struct kv_seq *, const int32_t *id, uint32_t n_id);
/* The page whose first ids are the sequence's next ones, behind those that it
 * found, and how many are: but not the last of n_id. 0: there is none. */
uint32_t prefix_part(const struct prefix *, const struct kv_seq *, const int32_t *id,
                     uint32_t n_id, int32_t *page);
/* The cache keeps the page, whose parent the caller holds, until it is let go. */
void prefix_hold(struct prefix *, int32_t page);
void prefix_let_go(struct prefix *, int32_t page);
/* ids [0, n_tok) have their keys in the sequence's pages, for good: the full
 * ones are the cache's too. Where it holds the same already, the sequence's page
 * is replaced by the cache's; so no step may be under way. */
void prefix_add(struct prefix *, struct kv_seq *, const int32_t *id, uint32_t n_tok);
/* The sequence drops all of its pages; those of the cache that were its alone lie
 * idle from now on, as many as may. Also without a cache. */
void prefix_drop(struct prefix *, struct kv_seq *);
/* Frees one idle page; false: there is none. */
bool prefix_evict(struct prefix *);

#endif
