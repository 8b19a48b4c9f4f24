/* spm.c - merging, word by word where no token crosses: by looking for the
 * lowest order in a short word, with a heap over a linked list of symbols,
 * O(n log n), in a long one or in a text that cannot be taken apart.
 *
 * A heap entry is (order of the token, place of the left symbol). It counts
 * only if the pair now standing at its place makes a token of that order.
 *
 * U+2581 in the text itself is set aside as its three byte tokens: taken for
 * a space, as SentencePiece does, it would not come out as it went in. */
#include "core/model/spm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/utf8.h"
#include "core/model/vocab_parts.h"

enum {
    NOWHERE = -1,
    SHORT = 32                     /* characters of a word that looking for the lowest suits */
};

static const char space_mark[3] = SPM_SPACE;

struct spm_symbol {
    uint32_t at, n;                /* bytes in the scratch text */
    int32_t prev, next;
};

static bool is_space_mark(const char *p, size_t n)
{
    return n >= sizeof space_mark && memcmp(p, space_mark, sizeof space_mark) == 0;
}

void spm_unspell(struct buf *out, const char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        const bool mark = is_space_mark(p + i, n - i);
        buf_add(out, mark ? " " : p + i, 1);
        i += mark ? sizeof space_mark : 1;
    }
}

static int spell(struct spm_work *w, struct str text, bool lead)
{
    buf_clear(&w->text);
    if (lead)
        buf_add(&w->text, space_mark, sizeof space_mark);
    for (size_t i = 0; i < text.n;) {
        const char *const space = memchr(text.p + i, ' ', text.n - i);
        const size_t end = space ? (size_t)(space - text.p) : text.n;
        buf_add(&w->text, text.p + i, end - i);
        if (space)
            buf_add(&w->text, space_mark, sizeof space_mark);
        i = end + (space ? 1 : 0);
    }
    return w->text.failed ? ERR_NOMEM : 0;
}

bool spm_keeps_words(const struct vocab *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        const struct str s = texts_at(&v->text, i);
        const char *p = s.p, *const end = s.p + s.n;
        while (is_space_mark(p, (size_t)(end - p)))
            p += sizeof space_mark;
        if (memmem(p, (size_t)(end - p), space_mark, sizeof space_mark) && vocab_is_plain(v, i))
            return false;
    }
    return true;
}

/* Where the word that starts at p ends: before the first space that follows
 * something else. */
static const char *word_end(const char *p, const char *end)
{
    while (is_space_mark(p, (size_t)(end - p)))
        p += sizeof space_mark;
    for (; p < end; p++) {
        p = memchr(p, space_mark[0], (size_t)(end - p));
        if (!p)
            return end;
        if (is_space_mark(p, (size_t)(end - p)))
            return p;
    }
    return end;
}

static size_t character(const char *p, size_t n)
{
    uint32_t cp;
    const size_t len = utf8_decode(p, n, &cp);
    return len ? len : 1;          /* a byte that is not UTF-8 is a symbol too */
}

/* One symbol per character. */
static int32_t split(struct spm_work *w, const char *p, const char *end)
{
    int32_t count = 0;
    for (size_t len; p < end; p += len) {
        len = character(p, (size_t)(end - p));
        w->symbol[count] = (struct spm_symbol){ (uint32_t)(p - w->text.p), (uint32_t)len,
                                                count - 1, count + 1 };
        count++;
    }
    if (count)
        w->symbol[count - 1].next = NOWHERE;
    return count;
}

static int work_reserve(struct spm_work *w, size_t n)
{
    if (n <= w->cap)
        return 0;
    free(w->symbol);
    w->cap = 0;
    w->symbol = n <= SIZE_MAX / sizeof *w->symbol ? malloc(n * sizeof *w->symbol) : NULL;
    if (!w->symbol)
        return ERR_NOMEM;
    w->cap = n;
    return 0;
}

void spm_work_free(struct spm_work *w)
{
    heap_free(&w->heap);
    free(w->symbol);
    buf_free(&w->text);
    *w = (struct spm_work){ 0 };
}

/* The token that a symbol and its right neighbour make, or -1. */
static int32_t joined(const struct vocab *v, const struct spm_work *w, int32_t at)
{
    const struct spm_symbol *const s = &w->symbol[at];
    if (s->n == 0 || s->next == NOWHERE)
        return -1;
    return vocab_plain(v, w->text.p + s->at, (size_t)s->n + w->symbol[s->next].n);
}

static int note_pair(const struct vocab *v, struct spm_work *w, int32_t at)
{
    const int32_t id = at == NOWHERE ? -1 : joined(v, w, at);
    return id >= 0 ? heap_push(&w->heap, heap_key(v->order[id], (uint32_t)at)) : 0;
}

static int merge_all(const struct vocab *v, struct spm_work *w)
{
    struct spm_symbol *const sym = w->symbol;
    while (w->heap.n) {
        const uint64_t key = heap_pop(&w->heap);
        const int32_t at = (int32_t)(uint32_t)key;
        const int32_t id = joined(v, w, at);
        if (id < 0 || v->order[id] != (uint32_t)(key >> 32))
            continue;
        const int32_t right = sym[at].next;
        sym[at].n += sym[right].n;
        sym[at].next = sym[right].next;
        sym[right].n = 0;          /* swallowed: no entry that starts here counts */
        if (sym[at].next != NOWHERE)
            sym[sym[at].next].prev = at;
        if (note_pair(v, w, sym[at].prev) || note_pair(v, w, at))
            return ERR_NOMEM;
    }
    return 0;
}

/* A symbol that is no token. A space without a token of its own is the byte
 * 0x20, not the three bytes of its mark. */
static int put_bytes(const struct vocab *v, const char *p, size_t n, struct sink *out)
{
    if (is_space_mark(p, n)) {
        p = " ";
        n = 1;
    }
    for (size_t i = 0; i < n; i++)
        if (v->byte_id[(uint8_t)p[i]] < 0)
            return v->unk >= 0 ? sink_put(out, v->unk) : 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = sink_put(out, v->byte_id[(uint8_t)p[i]]);
    return rc;
}

static int put_text(const struct vocab *v, const char *p, size_t n, struct sink *out)
{
    const int32_t id = vocab_plain(v, p, n);
    return id >= 0 ? sink_put(out, id) : put_bytes(v, p, n, out);
}

static int encode_long(const struct vocab *v, struct spm_work *w, const char *p, const char *end,
                       struct sink *out)
{
    if (work_reserve(w, (size_t)(end - p)))
        return ERR_NOMEM;
    const int32_t count = split(w, p, end);
    w->heap.n = 0;
    for (int32_t i = 0; i + 1 < count; i++)
        if (note_pair(v, w, i))
            return ERR_NOMEM;
    int rc = merge_all(v, w);
    for (int32_t i = count ? 0 : NOWHERE; rc == 0 && i != NOWHERE; i = w->symbol[i].next)
        rc = put_text(v, w->text.p + w->symbol[i].at, w->symbol[i].n, out);
    return rc;
}

/* A short word: symbol i is at[i] .. at[i + 1], and order[i] is that of the
 * token it makes with the next, UINT32_MAX if there is none. */
struct word {
    const char *at[SHORT + 1];
    uint32_t order[SHORT];
    uint32_t n;
};

/* False when it has more characters than fit. */
static bool word_split(struct word *w, const char *p, const char *end)
{
    w->n = 0;
    for (; p < end && w->n < SHORT; p += character(p, (size_t)(end - p)))
        w->at[w->n++] = p;
    w->at[w->n] = end;
    return p == end;
}

static uint32_t word_order(const struct vocab *v, const struct word *w, uint32_t i)
{
    const int32_t id = vocab_plain(v, w->at[i], (size_t)(w->at[i + 2] - w->at[i]));
    return id >= 0 ? v->order[id] : UINT32_MAX;
}

static void word_merge(const struct vocab *v, struct word *w)
{
    for (uint32_t i = 0; i + 1 < w->n; i++)
        w->order[i] = word_order(v, w, i);
    while (w->n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < w->n; i++)
            if (w->order[i] < w->order[best])
                best = i;
        if (w->order[best] == UINT32_MAX)
            return;
        w->n--;
        for (uint32_t i = best + 1; i <= w->n; i++) {
            w->at[i] = w->at[i + 1];
            w->order[i - 1] = w->order[i];
        }
        if (best > 0)
            w->order[best - 1] = word_order(v, w, best - 1);
        if (best + 1 < w->n)
            w->order[best] = word_order(v, w, best);
    }
}

static int encode_word(const struct vocab *v, struct spm_work *work, const char *p,
                       const char *end, struct sink *out)
{
    struct word w;
    const int32_t whole = vocab_plain(v, p, (size_t)(end - p));
    if (whole >= 0 && vocab_is_own(v, whole))
        return sink_put(out, whole);
    if (!word_split(&w, p, end))
        return encode_long(v, work, p, end, out);
    word_merge(v, &w);
    if (whole >= 0)
        vocab_note_own(v, whole, w.n == 1);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < w.n; i++)
        rc = put_text(v, w.at[i], (size_t)(w.at[i + 1] - w.at[i]), out);
    return rc;
}

static int encode_run(const struct vocab *v, struct spm_work *w, struct str text, bool lead,
                      struct sink *out)
{
    if (spell(w, text, lead))
        return ERR_NOMEM;
    const char *const end = w->text.p + w->text.n;
    if (!v->by_word)
        return encode_long(v, w, w->text.p, end, out);
    int rc = 0;
    for (const char *p = w->text.p, *next; rc == 0 && p < end; p = next) {
        next = word_end(p, end);
        rc = encode_word(v, w, p, next, out);
    }
    return rc;
}

static bool can_spell_mark(const struct vocab *v)
{
    for (size_t i = 0; i < sizeof space_mark; i++)
        if (v->byte_id[(uint8_t)space_mark[i]] < 0)
            return false;
    return true;
}

int spm_encode(const struct vocab *v, struct spm_work *w, struct str text, bool lead,
               struct sink *out)
{
    assert(text.n <= VOCAB_MAX_TEXT);
    const bool aside = can_spell_mark(v);
    const char *const end = text.p + text.n;
    for (const char *p = text.p;; lead = false) {
        const char *const mark = aside ? memmem(p, (size_t)(end - p), space_mark, 3) : NULL;
        const struct str run = { p, (size_t)((mark ? mark : end) - p) };
        int rc = encode_run(v, w, run, lead, out);
        if (rc || !mark)
            return rc;
        for (size_t i = 0; rc == 0 && i < sizeof space_mark; i++)
            rc = sink_put(out, v->byte_id[(uint8_t)space_mark[i]]);
        if (rc)
            return rc;
        p = mark + sizeof space_mark;
    }
}
