/* detok.c - token ids to text, one at a time.
 *
 * Every token stands for bytes that were worked out at load; a code point may
 * be spread over several tokens, so up to three bytes of one that can still
 * become whole are held back. */
#include <assert.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/model/vocab_parts.h"

static struct str piece_of(const struct vocab *v, int32_t id, bool special)
{
    if (id < 0 || (uint32_t)id >= v->n)
        return (struct str){ 0 };
    const uint8_t t = v->type[id];
    if (!special && (t == TOKEN_CONTROL || t == TOKEN_UNKNOWN))
        return (struct str){ 0 };
    return texts_at(&v->raw, (uint32_t)id);
}

void vocab_piece(const struct vocab *v, int32_t id, bool special, struct buf *out)
{
    const struct str s = piece_of(v, id, special);
    buf_add(out, s.p, s.n);
}

struct str vocab_bytes(const struct vocab *v, int32_t id)
{
    return piece_of(v, id, false);
}

bool vocab_strips_space(const struct vocab *v)
{
    return v->spm && v->add_space;
}

/* SPM puts a space in front of a text; the first token that is text gives it
 * back. Control and unknown tokens before it do not count as text. */
static struct str without_lead(const struct vocab *v, struct detok *d, int32_t id, struct str s)
{
    if (d->started || s.n == 0 || !v->spm || !v->add_space)
        return s;
    if (v->type[id] == TOKEN_CONTROL || v->type[id] == TOKEN_UNKNOWN)
        return s;
    d->started = true;
    return s.p[0] == ' ' ? (struct str){ s.p + 1, s.n - 1 } : s;
}

void detok_feed(const struct vocab *v, struct detok *d, int32_t id, bool special, struct buf *out)
{
    const struct str s = without_lead(v, d, id, piece_of(v, id, special));
    if (s.n == 0)
        return;
    const size_t start = out->n;
    buf_add(out, d->held, d->n_held);
    buf_add(out, s.p, s.n);
    if (out->failed)
        return;
    const size_t all = out->n - start;
    const size_t whole = utf8_whole(out->p + start, all);
    assert(all - whole < 4);
    d->n_held = (uint8_t)(all - whole);
    memcpy(d->held, out->p + start + whole, d->n_held);
    out->n = start + whole;
    out->p[out->n] = 0;
}

void detok_finish(struct detok *d, struct buf *out)
{
    buf_add(out, d->held, d->n_held);
    d->n_held = 0;
}
