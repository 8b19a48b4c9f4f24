/* engine_choose.c - one id from one output: all logits or the largest of them,
 * free text or a grammar's.
 *
 * Under a grammar a draw is what it would be in a vocabulary of the allowed
 * tokens alone. Of the largest logits, those that are allowed are the largest
 * allowed ones: enough of them decide as all logits would, and fewer often do,
 * since no other is larger than the least. When that is not sure the row is
 * computed once more with all its logits. Which way was taken never shows in the
 * text. Engine thread. */
#include "core/engine/engine_parts.h"
#include "core/engine/grammar.h"
#include "core/engine/work.h"

/* Few tokens are this part of the vocabulary: chance alone has one of the 64
 * largest in more. */
enum { FEW = 16 };

/* What an id at position n is drawn with; what is guessed counts as drawn. */
static struct sample_past past(const struct seq *s, uint32_t n)
{
    return (struct sample_past){ s->id, n, s->n_prompt, NULL };
}

static uint32_t n_no_token(const struct engine *g)
{
    return g->forward->model->hp.n_vocab - g->n_vocab;
}

static uint32_t count_allowed(const struct engine *g, const uint32_t *mask)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < (g->n_vocab + 31) / 32; i++)
        n += (uint32_t)__builtin_popcount(mask[i]);
    return n;
}

/* A model that would rather say something else has none of the few tokens that
 * a grammar allows among its largest, and a second look costs a step. Where that
 * was seen to happen, all logits are asked for at once. A single token needs
 * none. */
static bool foreseen(const struct engine *g, struct seq *s, uint32_t n)
{
    if (!s->n_more || n != s->n_id)
        return false;
    const uint32_t *mask = grammar_mask(s->grammar);
    const uint32_t allowed = mask ? count_allowed(g, mask) : 0;
    return allowed > 1 && allowed <= g->n_vocab / FEW;
}

/* All logits were asked for beforehand: were the largest not enough? */
static void learn(const struct engine *g, struct seq *s, const float *logits, int32_t id)
{
    uint32_t larger = 0;
    for (uint32_t i = 0; i < g->n_vocab; i++)
        larger += logits[i] > logits[id];
    if (larger < WORK_TOP)
        s->n_more--;
}

uint32_t engine_needs(struct engine *g, struct seq *s, uint32_t n)
{
    if (s->req->want_logprob)
        return 0;
    const uint32_t k = sample_needs(g->sampler, &s->req->sample, past(s, n));
    if (k && s->grammar)          /* how many of them are allowed shows later */
        return s->all_logits || n_no_token(g) >= WORK_TOP || foreseen(g, s, n) ? 0 : WORK_TOP;
    return k && k <= UINT32_MAX - n_no_token(g) ? k + n_no_token(g) : 0;
}

/* The first allowed one; there is one. */
static int32_t first_allowed(const uint32_t *mask)
{
    uint32_t i = 0;
    while (!mask[i])
        i++;
    return (int32_t)(32 * i + (uint32_t)__builtin_ctz(mask[i]));
}

static int32_t from_all(struct engine *g, struct seq *s, const float *logits)
{
    struct sample_past p = past(s, s->n_id);
    p.allow = grammar_mask(s->grammar);
    const int32_t id = p.allow ? sample_token(g->sampler, &s->req->sample, logits, p, s->n_id)
                               : CHOOSE_STUCK;
    if (id >= 0 && s->n_more && !s->all_logits)
        learn(g, s, logits, id);
    return id;
}

static int32_t from_top(struct engine *g, struct seq *s, struct forward_out out)
{
    const struct sample_past p = past(s, s->n_id);
    const uint32_t need = sample_needs(g->sampler, &s->req->sample, p);
    int32_t id[WORK_TOP];
    float logit[WORK_TOP];
    uint32_t n = 0;
    for (uint32_t i = 0; i < out.k && i < WORK_TOP && n < need; i++) {
        if (out.id[i] < 0 || (uint32_t)out.id[i] >= g->n_vocab ||
            !grammar_allows(s->grammar, out.id[i]))
            continue;
        id[n] = out.id[i];
        logit[n++] = out.top[i];
    }
    const struct sample_params *q = &s->req->sample;
    if (n == need || !out.k)
        return sample_top(g->sampler, q, id, logit, n, p, s->n_id);
    const int32_t sure = sample_some(g->sampler, q, id, logit, n, g->n_vocab, out.top[out.k - 1],
                                     p, s->n_id);
    if (sure != SAMPLE_UNSURE)
        return sure;
    const uint32_t *mask = grammar_mask(s->grammar);
    if (!mask)
        return CHOOSE_STUCK;
    const uint32_t allowed = count_allowed(g, mask);
    if (allowed == 1)
        return first_allowed(mask);
    return n == allowed ? sample_top(g->sampler, q, id, logit, n, p, s->n_id) : CHOOSE_MORE;
}

int32_t engine_choose(struct engine *g, struct seq *s, struct forward_out out)
{
    const struct sample_params *p = &s->req->sample;
    const struct sample_past all = past(s, s->n_id);
    if (s->grammar)
        return out.logits ? from_all(g, s, out.logits) : from_top(g, s, out);
    return out.logits ? sample_token(g->sampler, p, out.logits, all, s->n_id)
                      : sample_top(g->sampler, p, out.id, out.top, out.k, all, s->n_id);
}
