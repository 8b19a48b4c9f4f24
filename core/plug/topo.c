/* topo.c - from hwloc's tree to the few numbers that plugins and workers need.
 *
 * The tree is cut down to what this process may use before anything is
 * counted. Workers take first the first thread of every core, in hwloc's
 * order, which keeps NUMA nodes together; then the cores' other threads; what
 * is asked for beyond that stays unbound. */
#include "core/plug/topo.h"

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/cgroup.h"
#include "core/plug/isa.h"

static int load(struct topo *t, struct err *e)
{
    if (hwloc_topology_init(&t->hw)) {
        t->hw = NULL;
        return err_set(e, ERR_NOMEM, "hardware topology: no memory for it");
    }
    hwloc_topology_set_io_types_filter(t->hw, HWLOC_TYPE_FILTER_KEEP_NONE);
    if (hwloc_topology_load(t->hw))
        return err_set(e, ERR_IO, "hardware topology: hwloc cannot read it from this system");
    hwloc_bitmap_t mine = hwloc_bitmap_alloc();
    if (!mine)
        return err_set(e, ERR_NOMEM, "hardware topology: no memory for it");
    /* A set that hwloc cannot restrict to leaves the tree whole: then we bind
     * to processors that may be refused, and stay unbound there. */
    if (!hwloc_get_cpubind(t->hw, mine, HWLOC_CPUBIND_THREAD))
        (void)hwloc_topology_restrict(t->hw, mine, HWLOC_RESTRICT_FLAG_REMOVE_CPULESS);
    hwloc_bitmap_free(mine);
    return 0;
}

/* The OS index of thread number `nth` of a core, or -1. */
static int core_thread(struct topo *t, hwloc_obj_t core, unsigned nth)
{
    hwloc_obj_t pu = hwloc_get_obj_inside_cpuset_by_type(t->hw, core->cpuset, HWLOC_OBJ_PU, nth);
    return pu ? (int)pu->os_index : -1;
}

/* Fills cpu[0..n) with OS indices, -1 where there are no more. */
static void place(struct topo *t, int *cpu, uint32_t n)
{
    const int n_core = hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_CORE);
    uint32_t at = 0;
    for (unsigned nth = 0; at < n; nth++) {
        const uint32_t before = at;
        for (int i = 0; i < n_core && at < n; i++) {
            const int os = core_thread(t, hwloc_get_obj_by_type(t->hw, HWLOC_OBJ_CORE, (unsigned)i),
                                       nth);
            if (os >= 0)
                cpu[at++] = os;
        }
        if (at == before)
            break;
    }
    while (at < n)
        cpu[at++] = -1;
}

static uint8_t node_of(struct topo *t, int cpu)
{
    hwloc_obj_t node = NULL;
    while (cpu >= 0 && (node = hwloc_get_next_obj_by_type(t->hw, HWLOC_OBJ_NUMANODE, node)))
        if (hwloc_bitmap_isset(node->cpuset, (unsigned)cpu))
            return node->logical_index > UINT8_MAX ? 0 : (uint8_t)node->logical_index;
    return 0;
}

static uint64_t cache_size(struct topo *t, hwloc_obj_type_t type, uint32_t *line)
{
    hwloc_obj_t o = hwloc_get_obj_by_type(t->hw, type, 0);
    if (!o)
        return 0;
    if (line && o->attr->cache.linesize)
        *line = o->attr->cache.linesize;
    return o->attr->cache.size;
}

/* All L3 caches that the first node's processors have. */
static uint64_t node_l3(struct topo *t)
{
    hwloc_obj_t node = hwloc_get_obj_by_type(t->hw, HWLOC_OBJ_NUMANODE, 0), l3 = NULL;
    uint64_t size = 0;
    while (node && (l3 = hwloc_get_next_obj_by_type(t->hw, HWLOC_OBJ_L3CACHE, l3)))
        if (hwloc_bitmap_intersects(l3->cpuset, node->cpuset))
            size += l3->attr->cache.size;
    return size;
}

static uint32_t clamp32(uint64_t v)
{
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static void describe(struct topo *t)
{
    uint32_t line = 64;
    t->abi.l1d_size = clamp32(cache_size(t, HWLOC_OBJ_L1CACHE, &line));
    t->abi.l2_size = clamp32(cache_size(t, HWLOC_OBJ_L2CACHE, NULL));
    t->abi.l3_size = node_l3(t);
    t->abi.cache_line = line;
    const int n_numa = hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_NUMANODE);
    t->abi.n_numa = n_numa > 0 ? (uint32_t)n_numa : 1;
    hwloc_obj_t pack = hwloc_get_obj_by_type(t->hw, HWLOC_OBJ_PACKAGE, 0);
    const char *name = pack ? hwloc_obj_get_info_by_name(pack, "CPUModel") : NULL;
    snprintf(t->cpu_name, sizeof t->cpu_name, "%s", name ? name : "unknown processor");
    for (size_t n = strlen(t->cpu_name); n && t->cpu_name[n - 1] == ' '; n--)
        t->cpu_name[n - 1] = 0;
}

static void count_cores(struct topo *t)
{
    const int n = hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_CORE);
    const uint32_t quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    t->n_cores = n > 0 ? (uint32_t)n : 1;
    if (quota && quota < t->n_cores)
        t->n_cores = quota;
    if (t->n_cores > TOPO_MAX_WORKERS)
        t->n_cores = TOPO_MAX_WORKERS;
}

int topo_open(struct topo *t, uint32_t n_threads, bool bind, uint64_t isa_mask, struct err *e)
{
    *t = (struct topo){ .abi.struct_size = sizeof(bnp_topo) };
    if (n_threads > TOPO_MAX_WORKERS)
        return err_set(e, ERR_ARG, "%u threads asked for: at most %d are possible", n_threads,
                       TOPO_MAX_WORKERS);
    int rc = load(t, e);
    if (rc) {
        topo_close(t);
        return rc;
    }
    count_cores(t);
    const uint32_t n = n_threads ? n_threads : t->n_cores;
    uint8_t *numa = calloc(n, sizeof *numa);
    t->abi.worker_numa = numa;
    t->worker_cpu = calloc(n, sizeof *t->worker_cpu);
    if (!numa || !t->worker_cpu) {
        topo_close(t);
        return err_set(e, ERR_NOMEM, "hardware topology: no memory for %u workers", n);
    }
    place(t, t->worker_cpu, n);
    for (uint32_t w = 0; w < n; w++) {
        numa[w] = node_of(t, t->worker_cpu[w]);
        if (!bind)
            t->worker_cpu[w] = -1;
    }
    describe(t);
    t->abi.n_workers = n;
    t->abi.isa = isa_probe() & isa_mask;
    return 0;
}

void topo_close(struct topo *t)
{
    if (t->hw)
        hwloc_topology_destroy(t->hw);
    free((void *)(uintptr_t)t->abi.worker_numa);
    free(t->worker_cpu);
    *t = (struct topo){ 0 };
}
