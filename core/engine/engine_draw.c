/* engine_draw.c - what the rows of a step give their sequence: tokens.
 *
 * A sequence that guessed has a row for its last token and one for each guess.
 * Tokens are drawn row after row, by the same sampler, from the same logits and
 * with the same past as if each had had a step of its own, as long as what is
 * drawn is what was guessed: the next row is of that token. So the text does
 * not depend on the guesses. Engine thread. */
#include "core/base/clock.h"
#include "core/engine/engine_parts.h"
#include "core/engine/grammar.h"
#include "core/engine/lookup.h"

void engine_want(struct engine *g, struct seq *s)
{
    const uint32_t n_out = seq_n_out(s), first = s->n_done + s->n_row - n_out + 1;
    for (uint32_t i = 0; i < n_out; i++) {
        const bool drawn = first + i >= s->n_id;
        g->batch.out_k[s->out + i] = drawn ? engine_needs(g, s, first + i) : 0;
    }
}

void engine_guess(struct engine *g)
{
    for (struct seq *s = g->sched.running.head; s; s = s->next) {
        const uint32_t room = s->n_max - s->n_id - 1, space = ring_space(&s->req->out);
        uint32_t n = s->max_draft < room ? s->max_draft : room;
        n = space <= n ? (space ? space - 1 : 0) : n;
        s->n_guess = 0;
        if (n && !s->all_logits && seq_pending(s) == 1 && (n = lookup_bet(&s->lookup, n)))
            s->n_guess = lookup_guess(s->id, s->n_id, n, s->id + s->n_id);
    }
}

/* ----------------------------------------------------------------- tokens */

/* One more token for the client: how long it took. */
static void count_token(struct engine *g, struct seq *s)
{
    const uint64_t now = clock_us();
    if (s->last_us)
        hist_add(&g->hists.inter_token, now - s->last_us);
    else
        hist_add(&g->hists.first_token, now - s->submit_us);
    s->last_us = now;
    atomic_fetch_add(&g->n_new_tok, 1);
}

static bool is_end(const struct engine *g, const struct request *r, int32_t id)
{
    bool end = vocab_is_eog(g->forward->model->vocab, id);
    for (uint32_t i = 0; i < r->n_end; i++)
        end = end || r->end_id[i] == id;
    return end;
}

/* Stands still until its reader has taken some tokens. A reader asks for the
 * flag after it took, and the ring is looked at after the flag was set: one of
 * the two sees the other. */
static void park(struct engine *g, struct seq *s)
{
    sched_park(&g->sched, s);
    atomic_exchange(&s->req->parked, 1);
}

static void not_numbers(struct engine *g, struct seq *s)
{
    struct err e;
    err_set(&e, ERR_NUMERIC, "logits: at position %u one is NaN, or none is finite; expected "
            "numbers", s->n_id - 1);
    engine_fail(g, s, &e);
}

static void stuck(struct engine *g, struct seq *s)
{
    struct err e;
    err_set(&e, ERR_LIMIT, "%s", grammar_trouble(s->grammar));
    engine_fail(g, s, &e);
}

static void count_draft(struct engine *g, struct request *r, uint32_t n, uint32_t n_ok)
{
    r->n_draft_all += n;
    r->n_draft_ok += n_ok;
    atomic_fetch_add(&g->n_draft_all, n);
    atomic_fetch_add(&g->n_draft_ok, n_ok);
}

enum next {
    NEXT_GO,                      /* a token was drawn                         */
    NEXT_AGAIN,                   /* its row has to be computed once more      */
    NEXT_GONE                     /* the request has ended                     */
};

/* The id is drawn: it ends the text, or goes to the reader. */
static enum next take(struct engine *g, struct seq *s, int32_t id)
{
    struct request *r = s->req;
    struct err e;
    if (s->grammar && grammar_accept(s->grammar, id, &e)) {
        engine_fail(g, s, &e);
        return NEXT_GONE;
    }
    if ((s->grammar || !r->ignore_eog) && is_end(g, r, id)) {
        engine_end(g, s, FINISH_STOP);
        return NEXT_GONE;
    }
    s->id[s->n_id++] = id;
    ring_push(&r->out, (uint32_t)id);   /* it has room: else it would be parked */
    count_token(g, s);
    const bool whole = s->grammar && grammar_is_done(s->grammar);
    if (!whole && s->n_id < s->n_max)
        return NEXT_GO;
    engine_end(g, s, whole ? FINISH_STOP : FINISH_LENGTH);
    return NEXT_GONE;
}

/* Draws what follows the last id, from its logits. guess: what it was thought
 * to be, or -1. */
static enum next draw(struct engine *g, struct seq *s, struct forward_out out, int32_t guess)
{
    struct request *r = s->req;
    const int32_t id = engine_choose(g, s, out);
    s->all_logits = id == CHOOSE_MORE;
    s->n_more += s->all_logits;
    if (id == CHOOSE_MORE)
        return NEXT_AGAIN;
    sched_advance(&g->sched, s, 1);
    if (!s->first_us)
        s->first_us = clock_us();
    if (id < 0) {
        (id == CHOOSE_STUCK ? stuck : not_numbers)(g, s);
        return NEXT_GONE;
    }
    count_draft(g, r, 0, id == guess);
    if (r->logprob)
        logprob_of(out.logits, g->n_vocab, id, r->n_top_logprob,
                   &r->logprob[s->n_id - s->n_prompt]);
    return take(g, s, id);
}

/* Draws from the row of the last id, whose output is `first`, and from those of
 * guesses as long as they are right. */
static void draw_all(struct engine *g, struct seq *s, uint32_t first)
{
    struct request *r = s->req;
    const uint32_t n = s->n_draft;
    uint32_t i;
    count_draft(g, r, n, 0);
    for (i = 0; i <= n; i++) {
        const int32_t guess = i < n ? s->id[s->n_id] : -1;
        const enum next next = draw(g, s, forward_out(g->forward, first + i), guess);
        if (next == NEXT_GONE)
            return;
        if (next == NEXT_AGAIN || s->id[s->n_id - 1] != guess)
            break;
    }
    if (n)
        lookup_learn(&s->lookup, n, i < n ? i : n);
    kv_trim(g->sched.kv, &s->kv, s->n_id);   /* pages of wrong guesses */
    if (!ring_space(&r->out))
        park(g, s);
    if (r->wake)
        r->wake(r->wake_ctx);
}

void engine_advance(struct engine *g, struct seq *s)
{
    struct err e = { 0 };
    const bool draws = seq_draws(s), ends = seq_ends(s);
    const uint32_t drawn = s->out + seq_n_out(s) - 1 - s->n_draft;
    const uint32_t prompt = s->n_done < s->n_prompt ? s->n_prompt - s->n_done : 0;
    atomic_fetch_add(&g->n_prompt_tok, s->n_row < prompt ? s->n_row : prompt);
    if (engine_take_rows(g, s, &e)) {
        engine_fail(g, s, &e);
        return;
    }
    sched_advance(&g->sched, s, draws ? s->n_row - 1 - s->n_draft : s->n_row);
    if (draws)
        draw_all(g, s, drawn);
    else if (ends)
        engine_end(g, s, FINISH_STOP);
}
