/* grammar_trie.h - the tokens of a vocabulary as a tree of bytes.
 *
 * Nodes stand in preorder: what hangs under node i is i + 1 .. skip - 1, so a
 * walk reads memory forwards, and leaves a branch by one jump. The tokens that
 * end at node i are tok[node[i].tok .. node[i + 1].tok). */
#ifndef BITNET_ENGINE_GRAMMAR_TRIE_H
#define BITNET_ENGINE_GRAMMAR_TRIE_H

#include <stdatomic.h>

#include "core/engine/grammar.h"

enum { TRIE_MAX_DEPTH = 1024 };  /* bytes; longer tokens are never allowed */

struct trie_node {
    uint32_t skip;
    uint32_t tok;
    uint16_t depth;              /* 1: a first byte */
    uint8_t byte;
};

struct grammar_vocab {
    atomic_uint n_ref;
    const struct vocab *vocab;
    uint32_t n_word;             /* of a mask */
    struct trie_node *node;      /* [n_node + 1], the last one closes tok */
    uint32_t n_node;
    uint16_t max_depth;
    int32_t *tok;                /* [n_tok] ids by their bytes */
    uint32_t n_tok;
    uint32_t *end;               /* [n_word] bits of ids that end a text */
};

static inline bool trie_is_end(const struct grammar_vocab *v, int32_t id)
{
    return id >= 0 && (uint32_t)id < vocab_n(v->vocab) && v->end[id / 32] >> (id % 32) & 1;
}

/* The bytes that accepting id adds; none for what is never allowed. */
struct str trie_bytes(const struct grammar_vocab *, int32_t id);

#endif
