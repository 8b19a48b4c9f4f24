/* bpe.c - merging with a heap over a linked list of symbols, O(n log n).
 *
 * Heap entries are (rank, place of the left symbol) and are never removed
 * when a neighbour changes: an entry counts only if the pair now standing at
 * its place is the pair that its rank merges. */
#include "core/model/bpe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/model/vocab_parts.h"

enum { BPE_MAX_MERGES = 1 << 23, NOWHERE = -1 };

struct bpe_symbol {
    int32_t id;                    /* -1: a byte without a token */
    int32_t prev, next;            /* NOWHERE at the ends; prev of a swallowed symbol is unused */
};

static bool is_printable(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

/* The 68 bytes that are not printable are, in order, U+0100 and up. */
static uint32_t char_of_byte(uint32_t b)
{
    if (is_printable(b))
        return b;
    if (b <= 0x20)
        return 0x100 + b;
    return b == 0xad ? 0x143 : 0x121 + (b - 0x7f);
}

static int byte_of_char(uint32_t c)
{
    if (is_printable(c))
        return (int)c;
    if (c >= 0x100 && c <= 0x120)
        return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

void bpe_spell(struct buf *out, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c[4];
        buf_add(out, c, utf8_encode(char_of_byte((uint8_t)p[i]), c));
    }
}

bool bpe_unspell(struct buf *out, const char *p, size_t n)
{
    const size_t before = out->n;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        const size_t len = utf8_decode(p + i, n - i, &c);
        const int b = len ? byte_of_char(c) : -1;
        if (b < 0) {
            if (out->p && out->n > before) {
                out->n = before;
                out->p[before] = 0;
            }
            return false;
        }
        const char byte = (char)b;
        buf_add(out, &byte, 1);
        i += len;
    }
    return true;
}

static uint32_t pair_slot(const struct bpe *b, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)(pair * 0x9e3779b97f4a7c15u >> 32) & b->slot_mask;
}

/* Slot of a pair: holding its rank + 1, or empty. */
static uint32_t *find_pair(const struct bpe *b, int32_t left, int32_t right)
{
    uint32_t i = pair_slot(b, left, right);
    while (b->slot[i]) {
        const struct merge *const m = &b->merge[b->slot[i] - 1];
        if (m->left == left && m->right == right)
            break;
        i = (i + 1) & b->slot_mask;
    }
    return &b->slot[i];
}

/* One "left right" line. The space that divides is the first after place 0. */
static int add_merge(struct bpe *b, const struct vocab *v, struct str s, struct buf *joined)
{
    const char *const space = s.n > 1 ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
    if (!space)
        return ERR_DATA;
    const size_t left_n = (size_t)(space - s.p);
    buf_clear(joined);
    buf_add(joined, s.p, left_n);
    buf_add(joined, space + 1, s.n - left_n - 1);
    if (joined->failed)
        return ERR_NOMEM;
    const struct merge m = {
        vocab_plain(v, s.p, left_n),
        vocab_plain(v, space + 1, s.n - left_n - 1),
        vocab_plain(v, joined->p, joined->n),
    };
    if (m.left < 0 || m.right < 0 || m.id < 0) {
        b->skipped++;
        return 0;
    }
    uint32_t *const slot = find_pair(b, m.left, m.right);
    if (*slot)
        return 0;                  /* named twice: the first rank holds */
    b->merge[b->n++] = m;
    *slot = b->n;
    return 0;
}

int bpe_open(struct bpe *b, const struct vocab *v, const struct gguf_kv *merges, struct err *e)
{
    *b = (struct bpe){ 0 };
    if (merges->n > BPE_MAX_MERGES || merges->size > VOCAB_MAX_BYTES)
        return err_set(e, ERR_LIMIT, "tokenizer.ggml.merges: %llu entries of %llu bytes; at most "
                       "%d of %d are read", (unsigned long long)merges->n,
                       (unsigned long long)merges->size, BPE_MAX_MERGES, VOCAB_MAX_BYTES);
    uint32_t slots = 64;
    while (slots < 2 * merges->n)
        slots *= 2;
    b->slot_mask = slots - 1;
    b->slot = calloc(slots, sizeof *b->slot);
    b->merge = calloc((size_t)merges->n + 1, sizeof *b->merge);
    struct buf joined = { 0 };
    int rc = b->slot && b->merge ? 0 : ERR_NOMEM;
    struct str s;
    uint64_t pos = 0;
    for (uint64_t i = 0; rc == 0 && gguf_next_str(merges, &pos, &s); i++) {
        rc = add_merge(b, v, s, &joined);
        if (rc == ERR_DATA)
            err_set(e, rc, "tokenizer.ggml.merges: entry %llu is not two tokens with a space "
                    "between them", (unsigned long long)i);
    }
    buf_free(&joined);
    if (rc == ERR_NOMEM)
        err_set(e, rc, "tokenizer.ggml.merges: no memory for %llu entries",
                (unsigned long long)merges->n);
    if (rc)
        bpe_close(b);
    return rc;
}

void bpe_close(struct bpe *b)
{
    free(b->merge);
    free(b->slot);
    *b = (struct bpe){ 0 };
}

static int work_reserve(struct bpe_work *w, size_t n)
{
    if (n <= w->cap)
        return 0;
    free(w->symbol);
    w->symbol = NULL;
    w->cap = 0;
    if (n > SIZE_MAX / sizeof *w->symbol)
        return ERR_NOMEM;
    w->symbol = malloc(n * sizeof *w->symbol);
    if (!w->symbol)
        return ERR_NOMEM;
    w->cap = n;
    return 0;
}

void bpe_work_free(struct bpe_work *w)
{
    heap_free(&w->heap);
    free(w->symbol);
    buf_free(&w->spelled);
    *w = (struct bpe_work){ 0 };
}

/* Notes the pair that starts at a symbol, if some merge joins it. */
static int note_pair(const struct bpe *b, struct bpe_work *w, int32_t left)
{
    if (left == NOWHERE || w->symbol[left].next == NOWHERE)
        return 0;
    const uint32_t rank1 = *find_pair(b, w->symbol[left].id, w->symbol[w->symbol[left].next].id);
    return rank1 ? heap_push(&w->heap, heap_key(rank1 - 1, (uint32_t)left)) : 0;
}

static int merge_all(const struct bpe *b, struct bpe_work *w)
{
    struct bpe_symbol *const sym = w->symbol;
    while (w->heap.n) {
        const uint64_t key = heap_pop(&w->heap);
        const struct merge *const m = &b->merge[key >> 32];
        const int32_t at = (int32_t)(uint32_t)key;
        const int32_t right = sym[at].next;
        if (sym[at].id != m->left || right == NOWHERE || sym[right].id != m->right)
            continue;
        sym[at].id = m->id;
        sym[at].next = sym[right].next;
        sym[right].id = -1;        /* no entry that starts here counts any more */
        if (sym[at].next != NOWHERE)
            sym[sym[at].next].prev = at;
        if (note_pair(b, w, sym[at].prev) || note_pair(b, w, at))
            return ERR_NOMEM;
    }
    return 0;
}

/* The token that the whole piece is, or -1. */
static int32_t whole_token(const struct vocab *v, struct bpe_work *w, struct str piece)
{
    if (piece.n > v->longest)
        return -1;
    buf_clear(&w->spelled);
    bpe_spell(&w->spelled, piece.p, piece.n);
    return w->spelled.failed ? -1 : vocab_plain(v, w->spelled.p, w->spelled.n);
}

int bpe_encode(const struct vocab *v, struct bpe_work *w, struct str piece, bool whole,
               struct sink *out)
{
    assert(piece.n > 0 && piece.n <= INT32_MAX);
    const int32_t id = whole ? whole_token(v, w, piece) : -1;
    if (w->spelled.failed)
        return ERR_NOMEM;
    if (id >= 0)
        return sink_put(out, id);
    if (work_reserve(w, piece.n))
        return ERR_NOMEM;
    const int32_t n = (int32_t)piece.n;
    for (int32_t i = 0; i < n; i++)
        w->symbol[i] = (struct bpe_symbol){ v->byte_id[(uint8_t)piece.p[i]], i - 1,
                                            i + 1 < n ? i + 1 : NOWHERE };
    w->heap.n = 0;
    for (int32_t i = 0; i + 1 < n; i++)
        if (note_pair(&v->bpe, w, i))
            return ERR_NOMEM;
    int rc = merge_all(&v->bpe, w);
    for (int32_t i = 0; rc == 0 && i != NOWHERE; i = w->symbol[i].next)
        if (w->symbol[i].id >= 0)
            rc = sink_put(out, w->symbol[i].id);
    return rc;
}
