/* hist.c - the bounds, and counting between them. */
#include "core/base/hist.h"

#include <stdbool.h>

/* One, two and a half, five per decade: finer than what a person acts on. */
static const uint64_t time_bound[] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
    1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 120000000, 300000000, 600000000
};
static const uint64_t count_bound[] = {
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536
};

_Static_assert(sizeof time_bound / sizeof *time_bound <= HIST_MAX_BOUND, "they fit");
_Static_assert(sizeof count_bound / sizeof *count_bound <= HIST_MAX_BOUND, "they fit");

static const uint64_t *bounds(const struct hist *h, unsigned *n)
{
    const bool time = h->kind == HIST_TIME;
    *n = (unsigned)(time ? sizeof time_bound / sizeof *time_bound
                         : sizeof count_bound / sizeof *count_bound);
    return time ? time_bound : count_bound;
}

void hist_add(struct hist *h, uint64_t v)
{
    unsigned n, i = 0;
    const uint64_t *bound = bounds(h, &n);
    while (i < n && v > bound[i])
        i++;
    atomic_fetch_add_explicit(&h->n[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, v, memory_order_relaxed);
}

void hist_look(const struct hist *h, struct hist_view *v)
{
    uint64_t all = 0;
    v->bound = bounds(h, &v->n_bound);
    v->sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    for (unsigned i = 0; i <= v->n_bound; i++)
        v->below[i] = all += atomic_load_explicit(&h->n[i], memory_order_relaxed);
}
