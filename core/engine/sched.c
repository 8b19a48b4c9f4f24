/* sched.c - three lists and a pool of pages; which rows: sched_fill.c. */
#include "core/engine/sched.h"

#include <assert.h>

#include "core/engine/sched_parts.h"

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

static void list_put(struct seq_list *l, struct seq **at, struct seq *s)
{
    s->next = *at;
    *at = s;
    if (!s->next)
        l->tail = &s->next;
    l->n++;
}

static int level(const struct seq *s)
{
    const uint32_t up = s->n_passed / SCHED_PASS, most = (uint32_t)(SCHED_TOP - s->priority);
    return s->priority + (int)(up < most ? up : most);
}

static bool before(const struct seq *a, const struct seq *b)
{
    return level(a) != level(b) ? level(a) > level(b) : a->order < b->order;
}

/* Behind all that came before it. */
static void put_by_order(struct seq_list *l, struct seq *s)
{
    struct seq **at = &l->head;
    while (*at && (*at)->order < s->order)
        at = &(*at)->next;
    list_put(l, at, s);
}

static void put_by_rank(struct seq_list *l, struct seq *s)
{
    struct seq **at = &l->head;
    while (*at && before(*at, s))
        at = &(*at)->next;
    list_put(l, at, s);
}

void sched_open(struct sched *c, struct kv *kv, struct prefix *prefix, uint32_t max_seq,
                uint32_t row_budget, uint32_t prefill_chunk)
{
    assert(max_seq > 0 && row_budget >= max_seq && prefill_chunk > 0);
    *c = (struct sched){ .kv = kv, .prefix = prefix, .max_seq = max_seq,
                         .row_budget = row_budget, .prefill_chunk = prefill_chunk };
    c->waiting.tail = &c->waiting.head;
    c->running.tail = &c->running.head;
    c->parked.tail = &c->parked.head;
}

void sched_add(struct sched *c, struct seq *s)
{
    s->order = c->n_order++;
    list_put(&c->waiting, c->waiting.tail, s);
}

void sched_remove(struct sched *c, struct seq *s)
{
    bool found = list_take(&c->running, s) || list_take(&c->waiting, s) ||
                 list_take(&c->parked, s);
    assert(found);
    (void)found;
    sched_let_part_go(c, s);
    prefix_drop(c->prefix, &s->kv);
}

void sched_park(struct sched *c, struct seq *s)
{
    bool found = list_take(&c->running, s);
    assert(found);
    (void)found;
    s->n_row = 0;
    put_by_order(&c->parked, s);
}

void sched_unpark(struct sched *c, struct seq *s)
{
    bool found = list_take(&c->parked, s);
    assert(found);
    (void)found;
    put_by_order(&c->waiting, s);
}

/* ------------------------------------------------------------------ pages */

void sched_let_part_go(struct sched *c, struct seq *s)
{
    if (s->n_part)
        prefix_let_go(c->prefix, s->part);
    s->n_part = 0;
}

static void drop_pages(struct sched *c, struct seq *s)
{
    sched_let_part_go(c, s);
    prefix_drop(c->prefix, &s->kv);
    s->n_done = s->n_row = 0;
}

static void preempt(struct sched *c, struct seq *s)
{
    drop_pages(c, s);
    c->n_preempt++;
    if (list_take(&c->running, s))
        put_by_order(&c->waiting, s);
}

/* The last rank of a list that holds pages; NULL: none does. */
static struct seq *last_holder(const struct seq_list *l)
{
    struct seq *last = NULL;
    for (struct seq *s = l->head; s; s = s->next)
        if (s->kv.n_page && (!last || before(last, s)))
            last = s;
    return last;
}

/* Takes the pages of somebody else who stands still; false: there is nobody. */
static bool rob_resting(struct sched *c, const struct seq *s)
{
    struct seq *v = last_holder(&c->parked);
    if (!v)
        v = last_holder(&c->waiting);
    if (!v || v == s)
        return false;
    preempt(c, v);
    return true;
}

static bool rob_running(struct sched *c, const struct seq *s)
{
    struct seq *v = last_holder(&c->running);
    if (!v || v == s || !before(s, v))
        return false;
    preempt(c, v);
    return true;
}

/* Reserves with what is free or idle. */
static bool reserve(struct sched *c, struct seq *s, uint32_t n_tok)
{
    while (!kv_reserve(c->kv, &s->kv, n_tok))
        if (!prefix_evict(c->prefix))
            return false;
    return true;
}

bool sched_grow(struct sched *c, struct seq *s, uint32_t n_tok)
{
    while (!reserve(c, s, n_tok))
        if (!rob_resting(c, s) && !rob_running(c, s))
            return false;
    return true;
}

/* -------------------------------------------------------------- admission */

uint32_t sched_take_cached(struct sched *c, struct seq *s)
{
    const uint32_t page_tok = c->kv->page_tok;
    if (s->no_cache || s->n_done != s->kv.n_cached * page_tok)
        return 0;
    const uint32_t had = s->n_done;
    s->n_done = prefix_take(c->prefix, &s->kv, s->id, s->n_id);
    return s->n_done - had;
}

void sched_count_cached(struct sched *c, struct seq *s)
{
    if (s->n_done > s->n_seen) {
        c->n_hit += s->n_done - s->n_seen;
        s->n_cached += s->n_done - s->n_seen;
        s->n_seen = s->n_done;
    }
}

/* Pages that others who stand still could give, at most: shared ones count
 * more than once. */
static uint64_t resting_pages(const struct sched *c, const struct seq *s)
{
    uint64_t n = 0;
    for (const struct seq *p = c->parked.head; p; p = p->next)
        n += p->kv.n_page;
    for (const struct seq *w = c->waiting.head; w; w = w->next)
        n += w == s ? 0 : w->kv.n_page;
    return n;
}

/* Pages for all of its ids, and some left for those who run. */
static bool find_room(struct sched *c, struct seq *s)
{
    const uint32_t all = kv_pages_for(c->kv, s->n_id);
    const uint64_t want = (uint64_t)all - s->kv.n_page + c->running.n;
    if (c->kv->n_free + c->kv->n_idle + resting_pages(c, s) < want)
        return false;
    while (c->kv->n_free + c->kv->n_idle < want)
        if (!rob_resting(c, s))
            return false;
    return reserve(c, s, s->n_id);
}

static void count_passed(struct sched *c, const struct seq *s)
{
    for (struct seq *w = c->waiting.head; w && w->order < s->order; w = w->next)
        w->n_passed++;
}

struct seq *sched_admit(struct sched *c)
{
    struct seq *s = c->waiting.head;
    if (!s || c->running.n == c->max_seq)
        return NULL;
    for (struct seq *w = s->next; w; w = w->next)
        if (before(w, s))
            s = w;
    const uint32_t taken = sched_take_cached(c, s);
    if (!find_room(c, s)) {
        if (taken && taken == s->n_done)
            drop_pages(c, s);       /* back to the cache: it had none before */
        return NULL;
    }
    if (!s->n_seen && !s->no_cache)
        c->n_query += s->n_id;
    sched_count_cached(c, s);
    list_take(&c->waiting, s);
    count_passed(c, s);
    put_by_rank(&c->running, s);
    return s;
}

void sched_lose_kv(struct sched *c)
{
    for (struct seq *s = c->parked.head; s; s = s->next)
        drop_pages(c, s);
    for (struct seq *s = c->waiting.head; s; s = s->next)
        drop_pages(c, s);
    for (struct seq *s; (s = c->running.head);) {
        drop_pages(c, s);
        list_take(&c->running, s);
        put_by_order(&c->waiting, s);
    }
    while (prefix_evict(c->prefix))
        ;
    assert(c->kv->n_free == c->kv->n_page);
}
