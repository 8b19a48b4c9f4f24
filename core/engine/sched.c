/* sched.c - two lists and a budget. */
#include "core/engine/sched.h"

#include <assert.h>

static void list_add(struct seq_list *l, struct seq *s)
{
    s->next = NULL;
    *l->tail = s;
    l->tail = &s->next;
    l->n++;
}

static bool list_take(struct seq_list *l, struct seq *s)
{
    struct seq **at = &l->head;
    while (*at && *at != s)
        at = &(*at)->next;
    if (!*at)
        return false;
    *at = s->next;
    if (l->tail == &s->next)
        l->tail = at;
    l->n--;
    return true;
}

void sched_open(struct sched *c, struct kv *kv, uint32_t max_seq, uint32_t row_budget,
                uint32_t prefill_chunk)
{
    assert(max_seq > 0 && row_budget >= max_seq && prefill_chunk > 0);
    *c = (struct sched){ .kv = kv, .max_seq = max_seq, .row_budget = row_budget,
                         .prefill_chunk = prefill_chunk };
    c->waiting.tail = &c->waiting.head;
    c->running.tail = &c->running.head;
}

/* Behind all of its priority. */
void sched_add(struct sched *c, struct seq *s)
{
    struct seq **at = &c->waiting.head;
    while (*at && (*at)->priority >= s->priority)
        at = &(*at)->next;
    s->next = *at;
    *at = s;
    if (!s->next)
        c->waiting.tail = &s->next;
    c->waiting.n++;
}

struct seq *sched_admit(struct sched *c)
{
    struct seq *s = c->waiting.head;
    if (!s || c->running.n == c->max_seq || !kv_reserve(c->kv, &s->kv, seq_kv_tok(s)))
        return NULL;
    list_take(&c->waiting, s);
    list_add(&c->running, s);
    return s;
}

void sched_remove(struct sched *c, struct seq *s)
{
    bool found = list_take(&c->running, s) || list_take(&c->waiting, s);
    assert(found);
    (void)found;
    kv_trim(c->kv, &s->kv, 0);
}

void sched_fill_one(const struct seq *s, struct batch *b)
{
    bool fits = batch_add(b, s->id + s->n_done, s->n_row, s->n_done, s->kv.page, s->kv.n_page,
                          seq_draws(s));
    assert(fits);
    (void)fits;
}

/* Prefill rows for s when left rows remain: a chunk, or the rest of the prompt. */
static uint32_t chunk(const struct sched *c, const struct seq *s, uint32_t left)
{
    uint32_t n = seq_pending(s);
    n = n < c->prefill_chunk ? n : c->prefill_chunk;
    return n < left ? n : left;
}

uint32_t sched_fill(struct sched *c, struct batch *b)
{
    uint32_t left = c->row_budget, n_out = 0;
    for (struct seq *s = c->running.head; s; s = s->next) {
        s->n_row = seq_pending(s) == 1;
        left -= s->n_row;
    }
    for (struct seq *s = c->running.head; s; s = s->next) {
        if (!s->n_row) {
            s->n_row = chunk(c, s, left);
            left -= s->n_row;
        }
        if (seq_draws(s))
            s->out = n_out++;
        if (s->n_row)
            sched_fill_one(s, b);
    }
    return c->row_budget - left;
}
