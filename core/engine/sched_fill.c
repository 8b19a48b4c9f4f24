/* sched_fill.c - the rows of a step, rank by rank.
 *
 * First a look into the prefix cache. Then those who decode, and pages for them:
 * a page may cost somebody behind them his, and his place; then their guesses.
 * Then the prompts, whose pages were reserved when they were admitted. What they
 * got goes into the batch. */
#include <assert.h>
#include <string.h>

#include "core/engine/sched.h"
#include "core/engine/sched_parts.h"

void sched_fill_one(struct seq *s, struct batch *b)
{
    const uint32_t n_out = seq_n_out(s);
    s->row = b->step.n_tok;
    s->out = b->step.n_out;
    b->hidden |= s->embed && (s->sum || seq_ends(s));
    bool fits = batch_add(b, s->id + s->n_done, s->n_row, s->n_done, s->kv.page, s->kv.n_page,
                          n_out == s->n_row ? 2 : n_out ? 1 : 0);
    assert(fits);
    (void)fits;
    if (s->n_part)
        b->copy[b->n_copy++] = (struct batch_copy){
            (uint32_t)s->kv.page[s->kv.n_cached], (uint32_t)s->part, s->n_part };
}

/* The number of the page before its next one, if it stands there or in it. */
static bool next_page(const struct sched *c, const struct seq *s, int32_t *parent)
{
    const uint32_t k = s->kv.n_cached;
    *parent = k ? s->kv.page[k - 1] : -1;
    return !s->no_cache && k < (s->n_id - 1) / c->kv->page_tok;
}

/* Somebody before s, in this step, computes the page that comes next for both,
 * and s can have it then. */
static bool can_follow(const struct sched *c, const struct seq *s)
{
    const uint32_t page_tok = c->kv->page_tok, at = s->kv.n_cached * page_tok;
    int32_t mine, its;
    if (!c->prefix->node || s->n_done != at || !next_page(c, s, &mine))
        return false;
    for (const struct seq *l = c->running.head; l != s; l = l->next)
        if (seq_pending(l) > 1 && next_page(c, l, &its) && its == mine &&
            l->kv.n_cached == s->kv.n_cached &&
            !memcmp(l->id + at, s->id + at, page_tok * sizeof *s->id))
            return true;
    return false;
}

/* The beginning of its next page stands in another one: the step copies it, which
 * is held until then, and it goes on behind. */
static void take_part(struct sched *c, struct seq *s)
{
    const uint32_t at = s->kv.n_cached * c->kv->page_tok;
    if (!c->can_copy || s->no_cache || s->n_part || s->n_done != at || can_follow(c, s))
        return;
    const uint32_t n = prefix_part(c->prefix, &s->kv, s->id, s->n_id, &s->part);
    if (n < SCHED_PART)
        return;
    prefix_hold(c->prefix, s->part);
    s->n_part = n;
    s->n_done += n;
}

/* Prompts go on with what the prefix cache has by now. */
static void look_up(struct sched *c)
{
    for (struct seq *s = c->running.head; s; s = s->next) {
        if (seq_pending(s) == 1)
            continue;
        sched_take_cached(c, s);
        take_part(c, s);
        sched_count_cached(c, s);
    }
}

/* A row each, when there is a page for it. Returns the rows. */
static uint32_t fill_decoding(struct sched *c)
{
    uint32_t n = 0;
    for (struct seq *s = c->running.head; s; s = s->next) {
        s->n_row = seq_pending(s) == 1 && sched_grow(c, s, s->n_done + 1);
        n += s->n_row;
    }
    return n;
}

/* Guesses of those who decode, in free pages: nobody loses his for a guess. Of
 * the rows that are left prompts keep one each, and half of the others. */
static uint32_t fill_guesses(struct sched *c, uint32_t left, uint32_t *spare)
{
    uint32_t all = 0, n_prompt = 0;
    for (struct seq *s = c->running.head; s; s = s->next)
        n_prompt += seq_pending(s) > 1;
    if (n_prompt)
        left = (left - n_prompt) / 2;
    for (struct seq *s = c->running.head; s; s = s->next) {
        uint32_t n = s->n_guess < left - all ? s->n_guess : left - all;
        n = n < *spare ? n : *spare;
        s->n_draft = s->n_row && n && kv_reserve(c->kv, &s->kv, s->n_id + n) ? n : 0;
        s->n_row += s->n_draft;
        *spare -= s->n_draft;
        all += s->n_draft;
    }
    return all;
}

/* Shares out the outputs that are left to prompts whose rows all want one. */
static void share_outputs(struct sched *c, uint32_t spare)
{
    for (struct seq *s = c->running.head; s; s = s->next) {
        if (!s->want_prompt || seq_pending(s) == 1)
            continue;
        const uint32_t n = seq_pending(s) - 1;
        s->max_row = 1 + (n < spare ? n : spare);
        spare -= s->max_row - 1;
    }
}

/* The rows that a prompt can use. */
static uint32_t wanted(const struct sched *c, const struct seq *s)
{
    uint32_t n = seq_pending(s);
    n = n < c->prefill_chunk ? n : c->prefill_chunk;
    return seq_tells(s, n) && n > s->max_row ? s->max_row : n;
}

/* Rounds of equal shares of `left` rows. Each round ends with no row left, or
 * with one prompt less that wants some. Returns what is left. */
static uint32_t fill_prompts(struct sched *c, uint32_t left)
{
    uint32_t n = 0;
    for (struct seq *s = c->running.head; s; s = s->next) {
        if (seq_pending(s) == 1)
            continue;
        s->follows = can_follow(c, s);
        n += !s->follows;
    }
    while (n && left) {
        const uint32_t share = left / n ? left / n : 1;
        n = 0;
        for (struct seq *s = c->running.head; s && left; s = s->next) {
            if (s->follows || seq_pending(s) == 1)
                continue;
            uint32_t more = wanted(c, s) - s->n_row;
            more = more < share ? more : share;
            more = more < left ? more : left;
            s->n_row += more;
            left -= more;
            n += s->n_row < wanted(c, s);
        }
    }
    return left;
}

uint32_t sched_fill(struct sched *c, struct batch *b)
{
    look_up(c);
    uint32_t left = c->row_budget - fill_decoding(c);
    uint32_t spare = b->limits.max_out - c->running.n;   /* outputs beyond one for each */
    left -= fill_guesses(c, left, &spare);
    share_outputs(c, spare);
    left = fill_prompts(c, left);
    for (struct seq *s = c->running.head; s; s = s->next) {
        if (s->n_row)
            sched_fill_one(s, b);
    }
    return c->row_budget - left;
}

void sched_advance(struct sched *c, struct seq *s, uint32_t n)
{
    sched_let_part_go(c, s);
    s->n_done += n;
    s->n_seen = s->n_done > s->n_seen ? s->n_done : s->n_seen;
    if (!s->no_cache)
        prefix_add(c->prefix, &s->kv, s->id, s->n_done);
}
