/* topo.c - from hwloc's tree to the few numbers that plugins and workers need.
 *
 * The tree is cut down to what this process may use before anything is
 * counted. Work is split evenly, so the slowest worker sets the pace: where
 * cores differ in kind, only the fastest kind counts. Workers take first the
 * first thread of every such core, in hwloc's order, which keeps NUMA nodes
 * together; then slower cores; then the cores' other threads; what is asked
 * for beyond that stays unbound. */
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

/* The processors of the fastest kind of cores; NULL: all are alike. */
static hwloc_bitmap_t fastest(struct topo *t)
{
    const int n = hwloc_cpukinds_get_nr(t->hw, 0);
    hwloc_bitmap_t set = n > 1 ? hwloc_bitmap_alloc() : NULL;
    int efficiency = -1;                      /* -1: the kinds have no order   */
    if (set && (hwloc_cpukinds_get_info(t->hw, (unsigned)n - 1, set, &efficiency, NULL, NULL, 0) ||
                efficiency < 0)) {
        hwloc_bitmap_free(set);
        set = NULL;
    }
    return set;
}

static bool is_fast(hwloc_const_bitmap_t fast, hwloc_obj_t core)
{
    return !fast || hwloc_bitmap_intersects(fast, core->cpuset);
}

/* Adds thread `nth` of every core of one speed to cpu[*at..n). */
static void place_kind(struct topo *t, hwloc_const_bitmap_t fast, bool want_fast, unsigned nth,
                       int *cpu, uint32_t *at, uint32_t n)
{
    const int n_core = hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_CORE);
    for (int i = 0; i < n_core && *at < n; i++) {
        hwloc_obj_t core = hwloc_get_obj_by_type(t->hw, HWLOC_OBJ_CORE, (unsigned)i);
        const int os = is_fast(fast, core) == want_fast ? core_thread(t, core, nth) : -1;
        if (os >= 0)
            cpu[(*at)++] = os;
    }
}

/* Fills cpu[0..n) with OS indices, -1 where there are no more. */
static void place(struct topo *t, hwloc_const_bitmap_t fast, int *cpu, uint32_t n)
{
    uint32_t at = 0, before = UINT32_MAX;
    for (unsigned nth = 0; at < n && at != before; nth++) {
        before = at;
        place_kind(t, fast, true, nth, cpu, &at, n);
        place_kind(t, fast, false, nth, cpu, &at, n);
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

static void count_cores(struct topo *t, hwloc_const_bitmap_t fast)
{
    const int all = hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_CORE);
    int n = 0;
    for (int i = 0; i < all; i++)
        n += is_fast(fast, hwloc_get_obj_by_type(t->hw, HWLOC_OBJ_CORE, (unsigned)i));
    const uint32_t quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
    t->n_cores = n > 0 ? (uint32_t)n : 1;
    if (quota && quota < t->n_cores)
        t->n_cores = quota;
    if (t->n_cores > TOPO_MAX_WORKERS)
        t->n_cores = TOPO_MAX_WORKERS;
}

/* One core is as good as another: the system may move workers as it likes. */
static bool is_uniform(struct topo *t, hwloc_const_bitmap_t fast)
{
    return !fast && hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_NUMANODE) <= 1 &&
           hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_PU) ==
           hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_CORE);
}

int topo_open(struct topo *t, uint32_t n_threads, enum topo_bind bind, uint64_t isa_mask,
              struct err *e)
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
    hwloc_bitmap_t fast = fastest(t);
    count_cores(t, fast);
    const uint32_t n = n_threads ? n_threads : t->n_cores;
    uint8_t *numa = calloc(n, sizeof *numa);
    t->abi.worker_numa = numa;
    t->worker_cpu = calloc(n, sizeof *t->worker_cpu);
    if (!numa || !t->worker_cpu) {
        hwloc_bitmap_free(fast);
        topo_close(t);
        return err_set(e, ERR_NOMEM, "hardware topology: no memory for %u workers", n);
    }
    place(t, fast, t->worker_cpu, n);
    const bool roam = bind == TOPO_BIND_NO || (bind == TOPO_BIND_AUTO && is_uniform(t, fast));
    hwloc_bitmap_free(fast);
    for (uint32_t w = 0; w < n; w++) {
        numa[w] = node_of(t, t->worker_cpu[w]);
        if (roam)
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
