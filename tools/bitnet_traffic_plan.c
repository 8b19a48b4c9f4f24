/* bitnet_traffic_plan.c - random requests, the same for the same seed.
 *
 * Prompts are token ids, so that their length is what was asked for whatever
 * the vocabulary. */
#include <inttypes.h>
#include <stdlib.h>

#include "tools/bitnet_traffic.h"

/* SplitMix64, as Steele, Lea and Flood give it (2014). */
uint64_t traffic_draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double traffic_unit(uint64_t *state)
{
    return (double)(traffic_draw(state) >> 11) * 0x1p-53;
}

uint32_t traffic_range(uint64_t *state, struct range r)
{
    return r.lo + (uint32_t)(traffic_draw(state) % ((uint64_t)r.hi - r.lo + 1));
}

static void put_ids(struct buf *b, uint64_t *state, uint32_t n, uint32_t n_vocab)
{
    for (uint32_t i = 0; i < n; i++)
        buf_addf(b, "%" PRIu32 ",", traffic_range(state, (struct range){ 0, n_vocab - 1 }));
}

static void make_plan(struct traffic *t, struct plan *p, uint32_t i)
{
    const struct traffic_ask *a = t->ask;
    uint64_t state = a->seed * 0x100000001b3u + i + 1, common = a->seed;
    p->n_prompt = traffic_range(&state, a->prompt_tok);
    p->n_new = traffic_range(&state, a->new_tok);
    uint32_t shared = traffic_unit(&state) < (double)a->share ? a->share_tok : 0;
    if (shared > p->n_prompt)
        shared = p->n_prompt;
    buf_addf(&p->body, "{\"prompt\":[");
    put_ids(&p->body, &common, shared, t->n_vocab);
    put_ids(&p->body, &state, p->n_prompt - shared, t->n_vocab);
    p->body.n--;                  /* the last comma */
    buf_addf(&p->body, "],\"max_tokens\":%" PRIu32 ",\"temperature\":%g,\"seed\":%" PRIu32
             ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", p->n_new,
             (double)a->temperature, i);
}

int traffic_plan(struct traffic *t, struct err *e)
{
    const struct traffic_ask *a = t->ask;
    if ((uint64_t)a->prompt_tok.hi + a->new_tok.hi > t->n_ctx)
        return err_set(e, ERR_ARG, "load: %u tokens of prompt and %u of answer, but %s serves %u "
                       "together; ask for fewer with --prompt and --new", a->prompt_tok.hi,
                       a->new_tok.hi, t->model, t->n_ctx);
    t->plan = calloc(a->n_plan, sizeof *t->plan);
    bool ok = t->plan;
    for (uint32_t i = 0; ok && i < a->n_plan; i++) {
        make_plan(t, &t->plan[i], i);
        ok = !t->plan[i].body.failed;
    }
    return ok ? 0 : err_set(e, ERR_NOMEM, "load: no memory for %u requests", a->n_plan);
}
