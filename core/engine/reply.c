/* reply.c - the text of a request, cut exactly.
 *
 * `held` starts where nothing emitted so far can belong to a stop string any
 * more. Its first position that could still grow into one bounds what may go
 * out. A complete stop string ends the text only when no earlier position can
 * grow into another: the cut is before the earliest in the whole text, however
 * the text came in pieces. */
#include "core/engine/reply.h"

#include <string.h>

#include "core/base/utf8.h"

static int check_stop(const struct str *s, unsigned i, struct err *e)
{
    if (!s->n || s->n > REPLY_MAX_STOP_SIZE)
        return err_set(e, ERR_ARG, "stop[%u]: %zu bytes, expected 1 to %d", i, s->n,
                       REPLY_MAX_STOP_SIZE);
    for (size_t at = 0, k; at < s->n; at += k) {
        uint32_t cp;
        k = utf8_decode(s->p + at, s->n - at, &cp);
        if (!k)
            return err_set(e, ERR_ARG, "stop[%u]: byte %zu is not valid UTF-8", i, at);
    }
    return 0;
}

bool reply_follows_text(const struct request *r, const struct vocab *v)
{
    for (uint32_t i = 0; i < r->n_prompt; i++)
        if (!vocab_is_control(v, r->prompt[i]))
            return true;
    return false;
}

int reply_open(struct reply *y, struct engine *g, struct request *r, const struct vocab *v,
               const struct str *stop, unsigned n_stop, struct err *e)
{
    *y = (struct reply){ .engine = g, .req = r, .vocab = v, .n_stop = n_stop };
    if (n_stop > REPLY_MAX_STOP)
        return err_set(e, ERR_ARG, "stop: %u strings, expected at most %d", n_stop,
                       REPLY_MAX_STOP);
    for (unsigned i = 0; i < n_stop; i++) {
        int rc = check_stop(&stop[i], i, e);
        if (rc)
            return rc;
        y->stop[i] = stop[i];
    }
    y->detok.started = reply_follows_text(r, v);
    return 0;
}

void reply_close(struct reply *y)
{
    buf_free(&y->tok);
    buf_free(&y->held);
}

enum match { MATCH_NONE, MATCH_PART, MATCH_WHOLE };

/* What stands at `at`: a stop string, the beginning of one at the end of the
 * held text, or neither. */
static enum match match_at(const struct reply *y, size_t at, unsigned *stop)
{
    enum match best = MATCH_NONE;
    const char *p = y->held.p + at;
    size_t left = y->held.n - at;
    for (unsigned i = 0; i < y->n_stop; i++) {
        const struct str *s = &y->stop[i];
        if (memcmp(p, s->p, s->n < left ? s->n : left))
            continue;
        *stop = i;
        if (s->n <= left)
            return MATCH_WHOLE;
        best = MATCH_PART;
    }
    return best;
}

/* How much of held may go out. Notes the first stop string that is complete,
 * and stops there when nothing before it can become one (at the end of the
 * text, nothing can). */
static size_t scan(struct reply *y, bool end)
{
    size_t hold = y->held.n;
    for (size_t at = 0; at < y->held.n; at++) {
        unsigned stop = 0;
        enum match m = match_at(y, at, &stop);
        if (m == MATCH_PART && !end && at < hold)
            hold = at;
        if (m != MATCH_WHOLE)
            continue;
        if (!y->found || at < y->found_at) {
            y->found = true;
            y->found_at = at;
            y->found_tok = y->n_tok;
            y->found_stop = stop;
        }
        if (hold > at) {
            y->stopped = true;
            y->n_tok = y->found_tok;
            return at;
        }
        break;
    }
    return hold;
}

static void emit(struct reply *y, bool end, struct buf *out)
{
    size_t n = scan(y, end);
    if (y->held.failed)
        out->failed = true;
    if (!n)
        return;
    buf_add(out, y->held.p, n);
    y->n_out += n;
    memmove(y->held.p, y->held.p + n, y->held.n - n);
    y->held.n -= n;
    if (y->found)
        y->found_at -= n;         /* it never lies before what goes out */
}

static void note_tok(struct reply *y, int32_t id)
{
    const struct reply_tok t = { id, y->n_out + y->held.n + y->detok.n_held };
    if (y->keep_tok)
        buf_add(&y->tok, &t, sizeof t);
}

enum reply_state reply_next(struct reply *y, struct buf *out)
{
    size_t before = out->n;
    /* Read before the ring: once done, no token follows those that are there. */
    bool done = atomic_load_explicit(&y->req->done, memory_order_acquire) != FINISH_NONE;
    bool taken = false;
    for (uint32_t id; ring_pop(&y->req->out, &id);) {
        taken = true;
        if (y->stopped || y->ended)
            continue;             /* drawn before the cancellation took effect */
        y->n_tok++;
        note_tok(y, (int32_t)id);
        detok_feed(y->vocab, &y->detok, (int32_t)id, false, &y->held);
        emit(y, false, out);
        out->failed = out->failed || y->tok.failed;
        if (y->stopped || out->failed)
            engine_cancel(y->engine, y->req);
    }
    if (taken && !done)
        engine_taken(y->engine, y->req);
    if (done && !y->stopped && !y->ended) {
        detok_finish(&y->detok, &y->held);
        emit(y, true, out);
    }
    if (done)
        y->ended = true;
    if (out->n > before)
        return REPLY_TEXT;
    return y->ended ? REPLY_END : REPLY_WAIT;
}

enum finish reply_finish(const struct reply *y)
{
    return y->stopped ? FINISH_STOP : (enum finish)atomic_load(&y->req->done);
}

const struct str *reply_stop(const struct reply *y)
{
    return y->stopped ? &y->stop[y->found_stop] : NULL;
}

const struct reply_tok *reply_tok(const struct reply *y)
{
    return (const struct reply_tok *)(const void *)y->tok.p;
}

uint32_t reply_n_shown(const struct reply *y, uint32_t from)
{
    const struct reply_tok *t = reply_tok(y);
    const uint32_t n = (uint32_t)(y->tok.n / sizeof *t);
    uint32_t shown = from;
    if (y->ended && !y->stopped)
        return n;
    for (uint32_t i = from; i < n && t[i].at <= y->n_out; i++)
        if (t[i].at < y->n_out)
            shown = i + 1;
    return shown;
}
