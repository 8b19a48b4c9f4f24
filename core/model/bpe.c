/* bpe.c - merging: by looking for the lowest rank in a short piece, with a heap
 * over a linked list of symbols, O(n log n), in a long one.
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

enum {
    BPE_MAX_MERGES = 1 << 23,
    NOWHERE = -1,
    SHORT = 32                     /* bytes of a piece that looking for the lowest suits */
};

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

static uint64_t pair_hash(int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    const uint64_t h = pair * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* Place of a pair: of its slot, or of the empty one where it belongs. */
static uint32_t find_pair(const struct bpe *b, uint64_t hash, int32_t left, int32_t right)
{
    uint32_t i = (uint32_t)hash & b->slot_mask;
    for (; b->slot[i]; i = (i + 1) & b->slot_mask) {
        if (b->slot[i] >> 32 != hash >> 32)
            continue;
        const struct merge *const m = &b->merge[(uint32_t)b->slot[i] - 1];
        if (m->left == left && m->right == right)
            break;
    }
    return i;
}

/* The rank of a pair; UINT32_MAX: nothing joins it. */
static uint32_t pair_rank(const struct bpe *b, int32_t left, int32_t right)
{
    return (uint32_t)b->slot[find_pair(b, pair_hash(left, right), left, right)] - 1;
}

/* Merges on their way in, several at a time: left, right and both joined. */
enum { BATCH = VOCAB_MAP_MANY / 3 };

struct batch {
    struct str text[3 * BATCH];
    uint32_t n;                    /* merges */
    struct buf joined;
};

/* One "left right" line. The space that divides is the first after place 0. */
static int batch_add(struct batch *m, struct str s)
{
    const char *const space = s.n > 1 ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
    if (!space)
        return ERR_DATA;
    struct str *const t = &m->text[3 * m->n++];
    t[0] = (struct str){ s.p, (size_t)(space - s.p) };
    t[1] = (struct str){ space + 1, s.n - t[0].n - 1 };
    buf_add(&m->joined, t[0].p, t[0].n);
    buf_add(&m->joined, t[1].p, t[1].n);
    return 0;
}

static void add_merge(struct bpe *b, const struct merge *m)
{
    const uint64_t hash = pair_hash(m->left, m->right);
    uint64_t *const slot = &b->slot[find_pair(b, hash, m->left, m->right)];
    if (*slot)
        return;                    /* named twice: the first rank holds */
    b->merge[b->n++] = *m;
    *slot = hash >> 32 << 32 | b->n;
}

static int batch_enter(struct bpe *b, const struct vocab *v, struct batch *m)
{
    int32_t id[3 * BATCH];
    size_t at = 0;
    if (m->joined.failed)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < m->n; i++) {
        struct str *const t = &m->text[3 * i];
        t[2] = (struct str){ m->joined.p + at, t[0].n + t[1].n };
        at += t[2].n;
    }
    vocab_map_find_many(&v->by_text, m->text, 3 * m->n, id);
    for (uint32_t i = 0; i < 3 * m->n; i += 3)
        __builtin_prefetch(&b->slot[pair_hash(id[i], id[i + 1]) & b->slot_mask], 1);
    for (uint32_t i = 0; i < 3 * m->n; i += 3) {
        bool plain = true;
        for (uint32_t k = i; k < i + 3; k++)
            plain = plain && id[k] >= 0 && vocab_is_plain(v, (uint32_t)id[k]);
        if (plain)
            add_merge(b, &(struct merge){ id[i], id[i + 1], id[i + 2] });
        else
            b->skipped++;
    }
    m->n = 0;
    buf_clear(&m->joined);
    return 0;
}

static int add_merges(struct bpe *b, const struct vocab *v, const struct gguf_kv *merges,
                      struct err *e)
{
    struct batch batch = { .n = 0 };
    struct str s;
    uint64_t pos = 0;
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && gguf_next_str(merges, &pos, &s); i++) {
        rc = batch_add(&batch, s);
        if (rc == ERR_DATA)
            err_set(e, rc, "tokenizer.ggml.merges: entry %llu is not two tokens with a space "
                    "between them", (unsigned long long)i);
        if (rc == 0 && batch.n == BATCH)
            rc = batch_enter(b, v, &batch);
    }
    if (rc == 0)
        rc = batch_enter(b, v, &batch);
    buf_free(&batch.joined);
    return rc;
}

/* Whether a text spells these bytes. */
static bool is_spelling(struct str text, struct str raw)
{
    size_t at = 0;
    for (size_t i = 0; i < raw.n; i++) {
        char c[4];
        const size_t n = utf8_encode(char_of_byte((uint8_t)raw.p[i]), c);
        if (n > text.n - at || memcmp(text.p + at, c, n) != 0)
            return false;
        at += n;
    }
    return at == text.n;
}

/* The tokens that a piece of text may be: those that vocab_plain finds under
 * the piece's spelling. */
static void add_whole(struct bpe *b, const struct vocab *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        const struct str text = texts_at(&v->text, i);
        if (i + VOCAB_MAP_AHEAD < v->n)
            vocab_map_touch(&b->whole, i + VOCAB_MAP_AHEAD);
        if (vocab_is_plain(v, i) && is_spelling(text, texts_at(&v->raw, i)) &&
            (!v->repeats || vocab_lookup(v, text.p, text.n) == (int32_t)i))
            vocab_map_add(&b->whole, i);
    }
}

int bpe_open(struct bpe *b, const struct vocab *v, const struct gguf_kv *merges, struct err *e)
{
    *b = (struct bpe){ 0 };
    if (merges->n > BPE_MAX_MERGES || merges->size > VOCAB_MAX_BYTES)
        return err_set(e, ERR_LIMIT, "tokenizer.ggml.merges: %llu entries of %llu bytes; at most "
                       "%d of %d are read", (unsigned long long)merges->n,
                       (unsigned long long)merges->size, BPE_MAX_MERGES, VOCAB_MAX_BYTES);
    uint32_t slots = 64;
    while (slots < merges->n + merges->n / 2)
        slots *= 2;
    b->slot_mask = slots - 1;
    b->slot = calloc(slots, sizeof *b->slot);
    b->merge = calloc((size_t)merges->n + 1, sizeof *b->merge);
    int rc = vocab_map_open(&b->whole, &v->raw, v->n);
    if (!b->slot || !b->merge)
        rc = ERR_NOMEM;
    if (rc == 0)
        rc = add_merges(b, v, merges, e);
    if (rc == ERR_NOMEM)
        err_set(e, rc, "tokenizer.ggml.merges: no memory for %llu entries",
                (unsigned long long)merges->n);
    if (rc)
        bpe_close(b);
    else
        add_whole(b, v);
    return rc;
}

void bpe_close(struct bpe *b)
{
    vocab_map_close(&b->whole);
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
    *w = (struct bpe_work){ 0 };
}

/* Notes the pair that starts at a symbol, if some merge joins it. */
static int note_pair(const struct bpe *b, struct bpe_work *w, int32_t left)
{
    if (left == NOWHERE || w->symbol[left].next == NOWHERE)
        return 0;
    const uint32_t rank = pair_rank(b, w->symbol[left].id, w->symbol[w->symbol[left].next].id);
    return rank != UINT32_MAX ? heap_push(&w->heap, heap_key(rank, (uint32_t)left)) : 0;
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

static int encode_long(const struct vocab *v, struct bpe_work *w, struct str piece,
                       struct sink *out)
{
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

/* Merges id[0..n) in place; the number of tokens left. rank[i] is that of the
 * pair at i and i + 1. */
static uint32_t merge_short(const struct bpe *b, int32_t *id, uint32_t n)
{
    uint32_t rank[SHORT];
    for (uint32_t i = 0; i + 1 < n; i++)
        rank[i] = pair_rank(b, id[i], id[i + 1]);
    while (n > 1) {
        uint32_t at = 0;
        for (uint32_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[at])
                at = i;
        if (rank[at] == UINT32_MAX)
            break;
        id[at] = b->merge[rank[at]].id;
        n--;
        for (uint32_t i = at + 1; i < n; i++) {
            id[i] = id[i + 1];
            rank[i - 1] = rank[i];
        }
        if (at > 0)
            rank[at - 1] = pair_rank(b, id[at - 1], id[at]);
        if (at + 1 < n)
            rank[at] = pair_rank(b, id[at], id[at + 1]);
    }
    return n;
}

/* whole: the token with the piece's bytes, or -1. */
static int encode_short(const struct vocab *v, struct str piece, int32_t whole, struct sink *out)
{
    int32_t id[SHORT];
    for (size_t i = 0; i < piece.n; i++)
        id[i] = v->byte_id[(uint8_t)piece.p[i]];
    const uint32_t n = merge_short(&v->bpe, id, (uint32_t)piece.n);
    if (whole >= 0)
        vocab_note_own(v, whole, n == 1 && id[0] == whole);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        if (id[i] >= 0)
            rc = sink_put(out, id[i]);
    return rc;
}

int bpe_encode(const struct vocab *v, struct bpe_work *w, struct str piece, bool whole,
               struct sink *out)
{
    assert(piece.n > 0 && piece.n <= INT32_MAX);
    const struct bpe *const b = &v->bpe;
    const int32_t id = piece.n <= v->longest ? vocab_map_find(&b->whole, piece.p, piece.n) : -1;
    if (id >= 0 && (whole || vocab_is_own(v, id)))
        return sink_put(out, id);
    return piece.n <= SHORT ? encode_short(v, piece, id, out) : encode_long(v, w, piece, out);
}
