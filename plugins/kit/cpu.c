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

struct part {
    cpu_part_fn *fn;
    void *arg;
    uint32_t n;
};

/* One task for each worker; the task's number is the worker's, whoever runs it. */
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
