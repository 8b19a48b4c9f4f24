/* cpu.c - the devices of a CPU plugin, and its workers. */
#include "plugins/kit/cpu.h"

#include <stdio.h>
#include <string.h>

static bool usable(const bnp_host *host, const struct variant *v)
{
    const char *only = host->option(host->ctx, "variant");
    return (host->topo->isa & v->isa) == v->isa && (!only || !strcmp(only, v->name));
}

/* The index-th usable variant, or NULL. */
static const struct variant *variant_at(const bnp_host *host, uint32_t index)
{
    for (unsigned i = 0; i < cpu_n_variants; i++)
        if (usable(host, &cpu_variants[i]) && !index--)
            return &cpu_variants[i];
    return NULL;
}

int cpu_device_count(const bnp_host *host, uint32_t *n)
{
    *n = 0;
    while (variant_at(host, *n))
        ++*n;
    return BNP_OK;
}

int cpu_device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    *out = NULL;
    const struct variant *v = variant_at(host, index);
    if (!v) {
        host->report(host->ctx, BNP_E_INVALID, "device index above the number of usable variants");
        return BNP_E_INVALID;
    }
    const int rc = kit_device_open(host, index, out);
    if (!rc)
        (*out)->variant = v;
    return rc;
}

int cpu_device_info(bnp_device *d, bnp_device_info *info)
{
    bnp_device_info mine = { .kind = BNP_DEV_CPU, .flags = BNP_DEV_HOST_MEM | BNP_DEV_SYNC };
    snprintf(mine.name, sizeof mine.name, "%s", d->variant->name);
    sized_fill(info, &mine, sizeof mine);
    return BNP_OK;
}

/* Parts for each worker: few enough to cost nothing, enough to end together. */
enum { DEAL = 4 };

struct part {
    cpu_part_fn *fn;
    void *arg;
    uint32_t n;
};

/* The task's number is the part's, and the worker's in cpu_run. */
static void run_part(void *p, uint32_t task, uint32_t worker)
{
    const struct part *part = p;
    (void)worker;
    part->fn(part->arg, task, part->n);
}

void cpu_run(bnp_device *d, bool all, cpu_part_fn *fn, void *arg)
{
    struct part part = { fn, arg, all ? d->host->topo->n_workers : 1 };
    if (part.n == 1)
        fn(arg, 0, 1);
    else
        d->host->parallel(d->host->ctx, part.n, BNP_PAR_STATIC, run_part, &part);
}

void cpu_deal(bnp_device *d, bool all, cpu_deal_fn *fn, void *arg)
{
    const uint32_t n = d->host->topo->n_workers;
    if (all && n > 1)
        d->host->parallel(d->host->ctx, DEAL * n, 0, run_part, &(struct part){ fn, arg, DEAL * n });
    else
        fn(arg, 0, 1);
}

struct pieces {
    uint32_t n_list;
    const uint32_t *n;
    struct cpu_cursor *cursor;
    cpu_piece_fn *fn;
    void *arg;
};

/* Hands out what is left of one worker's shares, one list behind the other. */
static void take_from(const struct pieces *p, uint32_t owner, uint32_t worker, uint32_t n_workers)
{
    uint32_t list = 0, before = 0;              /* pieces of earlier lists   */
    for (;;) {
        const uint32_t at = atomic_fetch_add_explicit(&p->cursor[owner].next, 1,
                                                      memory_order_relaxed);
        for (; list < p->n_list; list++) {
            const uint32_t first = cpu_share(p->n[list], owner, n_workers);
            const uint32_t n = cpu_share(p->n[list], owner + 1, n_workers) - first;
            if (at - before < n) {
                p->fn(p->arg, list, first + (at - before), worker);
                break;
            }
            before += n;
        }
        if (list == p->n_list)
            return;
    }
}

static void pieces_part(void *arg, uint32_t worker, uint32_t n_workers)
{
    for (uint32_t i = 0; i < n_workers; i++)
        take_from(arg, (worker + i) % n_workers, worker, n_workers);
}

void cpu_run_pieces(bnp_device *d, bool all, uint32_t n_list, const uint32_t *n,
                    struct cpu_cursor *cursor, cpu_piece_fn *fn, void *arg)
{
    for (uint32_t w = 0; w < d->host->topo->n_workers; w++)
        atomic_init(&cursor[w].next, 0);
    cpu_run(d, all, pieces_part, &(struct pieces){ n_list, n, cursor, fn, arg });
}
