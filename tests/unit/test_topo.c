/* Promises of core/plug/topo.h, cgroup.h and mem.h. */
#include <check.h>
#include <hwloc.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/plug/cgroup.h"
#include "core/plug/isa.h"
#include "core/plug/mem.h"
#include "core/plug/topo.h"

static struct topo topo;
static struct err err;

START_TEST(topo_gives_one_worker_to_each_core)
{
    ck_assert_int_eq(topo_open(&topo, 0, TOPO_BIND_YES, UINT64_MAX, &err), 0);
    ck_assert_uint_ge(topo.n_cores, 1);
    ck_assert_uint_eq(topo.abi.n_workers, topo.n_cores);
    ck_assert_uint_eq(topo.abi.struct_size, sizeof(bnp_topo));
    ck_assert_uint_ge(topo.abi.n_numa, 1);
    ck_assert_uint_ge(topo.abi.cache_line, 16);
    ck_assert_uint_eq(topo.abi.isa, isa_probe());
    ck_assert_uint_gt(strlen(topo.cpu_name), 0);
    for (uint32_t w = 0; w < topo.abi.n_workers; w++) {
        ck_assert_uint_lt(topo.abi.worker_numa[w], topo.abi.n_numa);
        for (uint32_t v = 0; v < w; v++)
            ck_assert_int_ne(topo.worker_cpu[v], topo.worker_cpu[w]);
    }
    topo_close(&topo);
}
END_TEST

START_TEST(topo_gives_as_many_workers_as_asked)
{
    ck_assert_int_eq(topo_open(&topo, 37, TOPO_BIND_YES, UINT64_MAX, &err), 0);
    ck_assert_uint_eq(topo.abi.n_workers, 37);
    topo_close(&topo);
    ck_assert_int_eq(topo_open(&topo, 3, TOPO_BIND_NO, UINT64_MAX, &err), 0);
    for (uint32_t w = 0; w < 3; w++)
        ck_assert_int_eq(topo.worker_cpu[w], -1);
    topo_close(&topo);
    ck_assert_int_eq(topo_open(&topo, TOPO_MAX_WORKERS + 1, TOPO_BIND_YES, UINT64_MAX, &err), ERR_ARG);
}
END_TEST

/* A machine described by hwloc's own words, with the cores in `slow` of the
 * slower of two kinds ("" for no kinds), as the environment would name it. */
static void pretend(const char *synthetic, const char *slow)
{
    static const char path[] = TEST_BUILD_DIR "/topo.xml";
    hwloc_topology_t hw;
    ck_assert_int_eq(hwloc_topology_init(&hw), 0);
    ck_assert_int_eq(hwloc_topology_set_synthetic(hw, synthetic), 0);
    ck_assert_int_eq(hwloc_topology_load(hw), 0);
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    hwloc_bitmap_list_sscanf(set, slow);
    if (*slow) {
        ck_assert_int_eq(hwloc_cpukinds_register(hw, set, 0, 0, NULL, 0), 0);
        hwloc_bitmap_andnot(set, hwloc_topology_get_topology_cpuset(hw), set);
        ck_assert_int_eq(hwloc_cpukinds_register(hw, set, 1, 0, NULL, 0), 0);
    }
    hwloc_bitmap_free(set);
    ck_assert_int_eq(hwloc_topology_export_xml(hw, path, 0), 0);
    hwloc_topology_destroy(hw);
    setenv("HWLOC_XMLFILE", path, 1);
}

/* n_threads workers there, bound to want[]; the host's own quota may allow
 * fewer cores than are described, and never more. */
static void places(uint32_t n_threads, uint32_t max_cores, const int *want)
{
    ck_assert_int_eq(topo_open(&topo, n_threads, TOPO_BIND_YES, UINT64_MAX, &err), 0);
    ck_assert_uint_le(topo.n_cores, max_cores);
    for (uint32_t w = 0; w < n_threads; w++)
        ck_assert_msg(topo.worker_cpu[w] == want[w], "worker %u on %d, expected %d", w,
                      topo.worker_cpu[w], want[w]);
}

START_TEST(topo_counts_the_fastest_kind_of_cores_only)
{
    /* Processors 0 to 3 are two fast cores of two threads; 4 to 7 two slow ones. */
    pretend("pack:1 core:4 pu:2", "4-7");
    places(9, 2, (const int[]){ 0, 2, 4, 6, 1, 3, 5, 7, -1 });
    topo_close(&topo);
    unsetenv("HWLOC_XMLFILE");
}
END_TEST

START_TEST(topo_takes_slow_cores_that_stand_first_last)
{
    pretend("pack:1 core:4 pu:1", "0-1");
    places(4, 2, (const int[]){ 2, 3, 0, 1 });
    topo_close(&topo);
    unsetenv("HWLOC_XMLFILE");
}
END_TEST

START_TEST(topo_fills_one_node_after_the_other)
{
    pretend("numa:2 core:2 pu:2", "");
    places(4, 4, (const int[]){ 0, 2, 4, 6 });
    ck_assert_uint_eq(topo.abi.n_numa, 2);
    for (uint32_t w = 0; w < 4; w++)
        ck_assert_uint_eq(topo.abi.worker_numa[w], w / 2);
    topo_close(&topo);
    unsetenv("HWLOC_XMLFILE");
}
END_TEST

START_TEST(topo_auto_binds_only_where_cores_or_memory_differ)
{
    static const struct { const char *machine, *slow; bool bound; } at[] = {
        { "pack:1 core:4 pu:1", "", false },
        { "pack:1 core:4 pu:1", "0-1", true },
        { "pack:1 core:4 pu:2", "", true },
        { "numa:2 core:2 pu:1", "", true },
    };
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        pretend(at[i].machine, at[i].slow);
        ck_assert_int_eq(topo_open(&topo, 2, TOPO_BIND_AUTO, UINT64_MAX, &err), 0);
        for (uint32_t w = 0; w < 2; w++)
            ck_assert_msg((topo.worker_cpu[w] >= 0) == at[i].bound, "%s: worker %u on %d",
                          at[i].machine, w, topo.worker_cpu[w]);
        topo_close(&topo);
        unsetenv("HWLOC_XMLFILE");
    }
}
END_TEST

START_TEST(topo_isa_mask_removes_bits_and_adds_none)
{
    ck_assert_int_eq(topo_open(&topo, 1, TOPO_BIND_YES, 0, &err), 0);
    ck_assert_uint_eq(topo.abi.isa, 0);
    topo_close(&topo);
    ck_assert_int_eq(topo_open(&topo, 1, TOPO_BIND_YES, ~BNP_ISA(X86_AVX2), &err), 0);
    ck_assert_uint_eq(topo.abi.isa, isa_probe() & ~BNP_ISA(X86_AVX2));
    topo_close(&topo);
}
END_TEST

START_TEST(topo_stays_within_the_affinity_of_the_process)
{
    cpu_set_t mine, one;
    unsigned cpu = 0;
    ck_assert_int_eq(sched_getaffinity(0, sizeof mine, &mine), 0);
    for (unsigned i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &mine))
            cpu = i;                                  /* the last one */
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_int_eq(topo_open(&topo, 0, TOPO_BIND_YES, UINT64_MAX, &err), 0);
    ck_assert_uint_eq(topo.n_cores, 1);
    ck_assert_uint_eq(topo.abi.n_workers, 1);
    ck_assert_int_eq(topo.worker_cpu[0], (int)cpu);
    topo_close(&topo);
}
END_TEST

/* hwloc describes an imagined machine: two nodes of four cores, two threads
 * each. Worker 8 and on get the cores' second threads, 16 and on none. */
START_TEST(topo_places_workers_on_cores_then_threads_then_nowhere)
{
    ck_assert_int_eq(setenv("HWLOC_SYNTHETIC",
                            "node:2 l3:1(size=8388608) core:4 l2:1(size=524288) pu:2", 1), 0);
    ck_assert_int_eq(topo_open(&topo, 18, TOPO_BIND_YES, UINT64_MAX, &err), 0);
    ck_assert_uint_eq(topo.abi.n_numa, 2);
    ck_assert_uint_eq(topo.abi.l3_size, 8388608);
    for (uint32_t w = 0; w < 18; w++) {
        const int cpu = w < 8 ? (int)w * 2 : w < 16 ? (int)(w - 8) * 2 + 1 : -1;
        ck_assert_int_eq(topo.worker_cpu[w], cpu);
        ck_assert_uint_eq(topo.abi.worker_numa[w], cpu >= 8 ? 1 : 0);
    }
    topo_close(&topo);
}
END_TEST

static char root[64];

static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        (void)mkdir(full, 0755);
        *p = '/';
    }
    FILE *f = fopen(full, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static uint32_t cpus(const char *self)
{
    char path[256];
    put("self", self);
    snprintf(path, sizeof path, "%s/self", root);
    return cgroup_cpus(path, root);
}

static void setup_root(void)
{
    snprintf(root, sizeof root, "/tmp/bitnet-topo-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void remove_root(void)
{
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", root);
    ck_assert_int_eq(system(cmd), 0);
}

START_TEST(cgroup_v2_quota_rounds_up_and_the_tightest_level_holds)
{
    put("a/cpu.max", "250000 100000\n");
    put("a/b/cpu.max", "max 100000\n");
    put("a/b/c/cpu.max", "800000 100000\n");
    ck_assert_uint_eq(cpus("0::/a/b/c\n"), 3);
    ck_assert_uint_eq(cpus("0::/a/b\n"), 3);
    put("a/b/cpu.max", "100000 100000\n");
    ck_assert_uint_eq(cpus("0::/a/b/c\n"), 1);
    put("a/cpu.max", "1000 100000\n");
    ck_assert_uint_eq(cpus("0::/a\n"), 1);
}
END_TEST

START_TEST(cgroup_v1_quota_is_found_beside_other_controllers)
{
    put("cpu,cpuacct/x/cpu.cfs_quota_us", "350000\n");
    put("cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
    ck_assert_uint_eq(cpus("5:memory:/x\n4:cpu,cpuacct:/x\n0::/x\n"), 4);
    ck_assert_uint_eq(cpus("4:cpuset:/x\n4:cpuacct:/x\n"), 0);
    put("cpu/cpu.cfs_quota_us", "-1\n");
    put("cpu/cpu.cfs_period_us", "100000\n");
    ck_assert_uint_eq(cpus("4:cpu:/\n"), 0);
}
END_TEST

START_TEST(cgroup_nonsense_limits_nothing)
{
    static const char *const self[] = { "", "x", "::", "0::", "0::/missing\n", ":\n:\n", "1:cpu\n",
                                        "0::/../../..\n" };
    put("cpu.max", "fast please\n");
    for (size_t i = 0; i < sizeof self / sizeof self[0]; i++)
        ck_assert_uint_eq(cpus(self[i]), 0);
    put("cpu.max", "-5 0\n");
    ck_assert_uint_eq(cpus("0::/\n"), 0);
    ck_assert_uint_eq(cgroup_cpus("/nowhere/self", root), 0);
}
END_TEST

START_TEST(mem_is_aligned_zero_and_counted)
{
    static const uint64_t size[] = { 0, 1, 63, 64, 4097, 1 << 20, (5 << 20) + 3 };
    static const uint64_t align[] = { 1, 16, 64, 4096, 2 << 20 };
    struct mem m = { 0 };
    void *p[64];
    unsigned n = 0;
    ck_assert_int_eq(topo_open(&topo, 1, TOPO_BIND_YES, UINT64_MAX, &err), 0);
    m.topo = &topo;
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++) {
        for (size_t k = 0; k < sizeof align / sizeof align[0]; k++) {
            unsigned char *q = p[n++] = mem_get(&m, size[i], align[k], k % 2 ? 0 : -1);
            ck_assert_ptr_nonnull(q);
            ck_assert_uint_eq((uintptr_t)q % (align[k] < BNP_ALIGN ? BNP_ALIGN : align[k]), 0);
            uint64_t n_zero = 0;
            while (n_zero < size[i] + BNP_SLACK && !q[n_zero])
                n_zero++;
            ck_assert_uint_eq(n_zero, size[i] + BNP_SLACK);
            memset(q, 0x5a, size[i]);
        }
    }
    ck_assert_uint_eq(atomic_load(&m.n), n);
    while (n)
        mem_put(&m, p[--n]);
    mem_put(&m, NULL);
    ck_assert_uint_eq(atomic_load(&m.n), 0);
    ck_assert_uint_eq(atomic_load(&m.size), 0);
    topo_close(&topo);
}
END_TEST

START_TEST(mem_impossible_sizes_are_refused)
{
    struct mem m = { 0 };
    ck_assert_ptr_null(mem_get(&m, UINT64_MAX, 64, -1));
    ck_assert_ptr_null(mem_get(&m, UINT64_C(1) << 62, 64, -1));
    ck_assert_ptr_null(mem_get(&m, 64, 48, -1));
    ck_assert_ptr_null(mem_get(&m, 64, UINT64_C(1) << 63, -1));
    ck_assert_uint_eq(atomic_load(&m.n), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topo");
    TCase *t = tcase_create("topo"), *g = tcase_create("cgroup"), *m = tcase_create("mem");
    tcase_add_test(t, topo_gives_one_worker_to_each_core);
    tcase_add_test(t, topo_gives_as_many_workers_as_asked);
    tcase_add_test(t, topo_counts_the_fastest_kind_of_cores_only);
    tcase_add_test(t, topo_takes_slow_cores_that_stand_first_last);
    tcase_add_test(t, topo_fills_one_node_after_the_other);
    tcase_add_test(t, topo_auto_binds_only_where_cores_or_memory_differ);
    tcase_add_test(t, topo_isa_mask_removes_bits_and_adds_none);
    tcase_add_test(t, topo_stays_within_the_affinity_of_the_process);
    tcase_add_test(t, topo_places_workers_on_cores_then_threads_then_nowhere);
    tcase_add_checked_fixture(g, setup_root, remove_root);
    tcase_add_test(g, cgroup_v2_quota_rounds_up_and_the_tightest_level_holds);
    tcase_add_test(g, cgroup_v1_quota_is_found_beside_other_controllers);
    tcase_add_test(g, cgroup_nonsense_limits_nothing);
    tcase_add_test(m, mem_is_aligned_zero_and_counted);
    tcase_add_test(m, mem_impossible_sizes_are_refused);
    tcase_set_timeout(m, 60);
    suite_add_tcase(suite, t);
    suite_add_tcase(suite, g);
    suite_add_tcase(suite, m);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
