/* engine_draw.c - what the rows of a step give their sequence. Engine thread. */
#include "core/engine/engine_parts.h"

static struct sample_past past(const struct seq *s)
{
    return (struct sample_past){ s->id, s->n_id, s->n_prompt };
}

/* How many of the largest logits s's next token needs, rows that are no tokens
 * included; 0: all. */
static uint32_t needs(const struct engine *g, const struct seq *s)
{
    const uint32_t k = sample_needs(g->sampler, &s->req->sample, past(s));
    const uint32_t no_token = g->forward->model->hp.n_vocab - g->n_vocab;
    return k && k <= UINT32_MAX - no_token ? k + no_token : 0;
}

/* One more token for the client: how long it took. */
static void count_token(struct engine *g, struct seq *s)
{
    const uint64_t now = engine_now_us();
    if (s->last_us)
        hist_add(&g->hists.inter_token, now - s->last_us);
    else
        hist_add(&g->hists.first_token, now - s->submit_us);
    s->last_us = now;
    atomic_fetch_add(&g->n_new_tok, 1);
}

static bool ends(const struct engine *g, const struct request *r, int32_t id)
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

/* The token that follows, and what it means. out is of the last id. */
static void draw(struct engine *g, struct seq *s, struct forward_out out)
{
    struct request *r = s->req;
    int32_t id = out.logits ? sample_token(g->sampler, &r->sample, out.logits, past(s), s->n_id)
                            : sample_top(g->sampler, &r->sample, out.id, out.top, out.k, past(s),
                                         s->n_id);
    if (!s->first_us)
        s->first_us = engine_now_us();
    if (id < 0) {
        struct err e;
        err_set(&e, ERR_NUMERIC, "logits: at position %u one is NaN, or none is finite; expected "
                "numbers", s->n_id - 1);
        engine_fail(g, s, &e);
        return;
    }
    if (!r->ignore_eog && ends(g, r, id)) {
        engine_end(g, s, FINISH_STOP);
        return;
    }
    s->id[s->n_id++] = id;
    ring_push(&r->out, (uint32_t)id);   /* it has room: else it would be parked */
    count_token(g, s);
    if (s->n_id == s->n_max) {
        engine_end(g, s, FINISH_LENGTH);
        return;
    }
    if (!ring_space(&r->out))
        park(g, s);
    if (r->wake)
        r->wake(r->wake_ctx);
}

void engine_want(struct engine *g, const struct seq *s, uint32_t out)
{
    if (seq_draws(s))
        g->batch.out_k[out] = needs(g, s);
}

void engine_advance(struct engine *g, struct seq *s, uint32_t out)
{
    bool draws = seq_draws(s);
    uint32_t prompt = s->n_done < s->n_prompt ? s->n_prompt - s->n_done : 0;
    atomic_fetch_add(&g->n_prompt_tok, s->n_row < prompt ? s->n_row : prompt);
    sched_advance(&g->sched, s, s->n_row);
    if (draws)
        draw(g, s, forward_out(g->forward, out));
}
