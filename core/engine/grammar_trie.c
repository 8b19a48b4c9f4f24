/* grammar_trie.c - builds the tree of tokens.
 *
 * Sorted by their bytes, tokens meet the nodes of the tree in preorder: what a
 * token shares with the one before it are nodes that exist, the rest are new. */
#include "core/engine/grammar_trie.h"

#include <stdlib.h>
#include <string.h>

struct str trie_bytes(const struct grammar_vocab *v, int32_t id)
{
    if (trie_is_end(v, id))
        return (struct str){ 0 };
    const struct str s = vocab_bytes(v->vocab, id);
    return s.n <= TRIE_MAX_DEPTH ? s : (struct str){ 0 };
}

struct key {
    struct str text;
    int32_t id;
};

static int by_text(const void *a, const void *b)
{
    const struct key *const x = a, *const y = b;
    const size_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    const int c = memcmp(x->text.p, y->text.p, n);
    if (c)
        return c;
    if (x->text.n != y->text.n)
        return x->text.n < y->text.n ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static size_t common(struct str a, struct str b)
{
    size_t i = 0;
    while (i < a.n && i < b.n && a.p[i] == b.p[i])
        i++;
    return i;
}

/* Nodes for n sorted keys; with node NULL it only counts. open[d] is the node
 * at depth d on the way to the last key. */
static uint32_t lay(struct grammar_vocab *v, const struct key *key, uint32_t n, uint32_t *open)
{
    uint32_t n_node = 0;
    struct str before = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        const struct str s = key[i].text;
        const size_t shared = common(before, s);
        for (size_t d = shared; v->node && d < before.n; d++)
            v->node[open[d]].skip = n_node;
        for (size_t d = shared; d < s.n; d++) {
            open[d] = n_node;
            if (v->node)
                v->node[n_node] = (struct trie_node){ .tok = i, .depth = (uint16_t)(d + 1),
                                                      .byte = (uint8_t)s.p[d] };
            n_node++;
        }
        before = s;
    }
    for (size_t d = 0; v->node && d < before.n; d++)
        v->node[open[d]].skip = n_node;
    return n_node;
}

static int build(struct grammar_vocab *v, struct key *key, uint32_t n)
{
    uint32_t *const open = calloc(TRIE_MAX_DEPTH, sizeof *open);
    v->tok = calloc((size_t)n + 1, sizeof *v->tok);
    if (!open || !v->tok) {
        free(open);
        return ERR_NOMEM;
    }
    qsort(key, n, sizeof *key, by_text);
    v->n_tok = n;
    for (uint32_t i = 0; i < n; i++) {
        v->tok[i] = key[i].id;
        if (key[i].text.n > v->max_depth)
            v->max_depth = (uint16_t)key[i].text.n;
    }
    v->n_node = lay(v, key, n, open);
    v->node = calloc((size_t)v->n_node + 1, sizeof *v->node);
    if (v->node) {
        lay(v, key, n, open);
        v->node[v->n_node].tok = n;
    }
    free(open);
    return v->node ? 0 : ERR_NOMEM;
}

static int fill(struct grammar_vocab *v, const int32_t *end, uint32_t n_end)
{
    const uint32_t n = vocab_n(v->vocab);
    v->n_word = (n + 31) / 32;
    v->end = calloc((size_t)v->n_word + 1, sizeof *v->end);
    struct key *const key = calloc((size_t)n + 1, sizeof *key);
    if (!v->end || !key) {
        free(key);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < n; i++)
        if (vocab_is_eog(v->vocab, (int32_t)i))
            v->end[i / 32] |= (uint32_t)1 << (i % 32);
    for (uint32_t i = 0; i < n_end; i++)
        if (end[i] >= 0 && (uint32_t)end[i] < n)
            v->end[end[i] / 32] |= (uint32_t)1 << (end[i] % 32);
    uint32_t n_key = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct str s = trie_bytes(v, (int32_t)i);
        if (s.n)
            key[n_key++] = (struct key){ s, (int32_t)i };
    }
    const int rc = build(v, key, n_key);
    free(key);
    return rc;
}

int grammar_vocab_open(struct grammar_vocab **out, const struct vocab *vocab, const int32_t *end,
                       uint32_t n_end, struct err *e)
{
    *out = NULL;
    struct grammar_vocab *const v = calloc(1, sizeof *v);
    if (v) {
        atomic_init(&v->n_ref, 1);
        v->vocab = vocab;
        if (fill(v, end, n_end) == 0) {
            *out = v;
            return 0;
        }
    }
    grammar_vocab_unref(v);
    return err_set(e, ERR_NOMEM, "grammar: no memory to sort the %u tokens of the vocabulary",
                   vocab_n(vocab));
}

struct grammar_vocab *grammar_vocab_ref(struct grammar_vocab *v)
{
    atomic_fetch_add_explicit(&v->n_ref, 1, memory_order_relaxed);
    return v;
}

void grammar_vocab_unref(struct grammar_vocab *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->n_ref, 1, memory_order_acq_rel) != 1)
        return;
    free(v->node);
    free(v->tok);
    free(v->end);
    free(v);
}
