/* Promises of core/engine/memplan.h and rope.h, and of core/plug/cgroup.h about
 * memory: what is known before a model is loaded. The kernel's files are made up,
 * in a directory of our own. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/engine/engine.h"
#include "core/engine/forward.h"
#include "core/engine/memplan.h"
#include "core/engine/prefix.h"
#include "core/engine/rope.h"
#include "core/plug/cgroup.h"

#define MIB (UINT64_C(1) << 20)

static char root[64];

static void setup(void)
{
    strcpy(root, "/tmp/bitnet-memplan-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    ck_assert_int_eq(system(command), 0);
}

static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(full, 0700);
        *p = '/';
    }
    FILE *f = fopen(full, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert(fputs(text, f) >= 0);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(memory_without_a_group_is_what_the_kernel_calls_available)
{
    ck_assert(cgroup_memory(root) == UINT64_MAX);
    put("/proc/meminfo", "MemTotal:  8000 kB\nMemFree: 100 kB\nMemAvailable:    4096 kB\n");
    ck_assert_uint_eq(cgroup_memory(root), 4 * MIB);
}
END_TEST

START_TEST(memory_group_v2_limits_and_its_file_pages_are_free)
{
    put("/proc/meminfo", "MemAvailable: 102400 kB\n");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "10485760\n");
    put("/sys/fs/cgroup/a/memory.current", "4194304\n");
    ck_assert_uint_eq(cgroup_memory(root), 6 * MIB);
    put("/sys/fs/cgroup/a/memory.stat", "anon 1\nfile 9\ninactive_file 1048576\n");
    ck_assert_uint_eq(cgroup_memory(root), 7 * MIB);
    put("/sys/fs/cgroup/a/memory.current", "99485760\n");
    ck_assert_uint_eq(cgroup_memory(root), 0);
}
END_TEST

START_TEST(memory_group_path_that_is_not_mounted_leads_to_the_mount)
{
    put("/proc/meminfo", "MemAvailable: 102400 kB\n");
    put("/proc/self/cgroup", "0::/docker/0123\n");
    put("/sys/fs/cgroup/memory.max", "8388608\n");
    put("/sys/fs/cgroup/memory.current", "1048576\n");
    ck_assert_uint_eq(cgroup_memory(root), 7 * MIB);
}
END_TEST

START_TEST(memory_group_v1_limits)
{
    put("/proc/meminfo", "MemAvailable: 102400 kB\n");
    put("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x/y\n0::/\n");
    put("/sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/x/y/memory.usage_in_bytes", "1\n");
    put("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "3145728\n");
    put("/sys/fs/cgroup/memory/x/memory.usage_in_bytes", "1048576\n");
    ck_assert_uint_eq(cgroup_memory(root), 2 * MIB);
}
END_TEST

START_TEST(memory_plan_over_the_limit_names_need_room_and_key)
{
    struct err err = { 0 };
    struct mem_plan m = { .weights = 500 * MIB, .kv = 300 * MIB, .work = 20 * MIB, .rope = MIB,
                          .limit = 821 * MIB };
    ck_assert_int_eq(memplan_check(&m, false, &err), 0);
    ck_assert_uint_eq(m.total, 821 * MIB);
    m.limit = 700 * MIB;
    ck_assert_int_eq(memplan_check(&m, false, &err), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "821.0 MiB"));
    ck_assert_ptr_nonnull(strstr(err.text, "700.0 MiB available"));
    ck_assert_ptr_nonnull(strstr(err.text, "engine.kv_tok"));
    ck_assert_ptr_nonnull(strstr(err.text, "engine.n_ctx"));
    ck_assert_int_eq(memplan_check(&m, true, &err), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "engine.max_mem_mib"));
    m.limit = 510 * MIB;
    ck_assert_int_eq(memplan_check(&m, false, &err), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "engine.row_budget"));
    m.limit = 400 * MIB;
    ck_assert_int_eq(memplan_check(&m, false, &err), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "smaller model"));
    m.kv = UINT64_MAX - 1;
    ck_assert_int_eq(memplan_check(&m, false, &err), ERR_LIMIT);
    ck_assert(m.total == UINT64_MAX);
}
END_TEST

START_TEST(memory_plan_of_a_device_names_it_and_its_room)
{
    struct err err = { 0 };
    struct mem_place m = { .name = "org.example.gpu#1 (a card)", .weights = 500 * MIB,
                           .kv = 300 * MIB, .work = 20 * MIB, .rope = MIB, .limit = 821 * MIB };
    ck_assert_int_eq(memplan_check_place(&m, &err), 0);
    ck_assert_uint_eq(m.total, 821 * MIB);
    m.limit = 0;                                  /* the device does not say */
    ck_assert_int_eq(memplan_check_place(&m, &err), 0);
    m.limit = 820 * MIB;
    ck_assert_int_eq(memplan_check_place(&m, &err), ERR_LIMIT);
    const char *want[] = { "org.example.gpu#1 (a card)", "821.0 MiB", "820.0 MiB", "engine.kv_tok" };
    for (int i = 0; i < 4; i++)
        ck_assert_msg(strstr(err.text, want[i]) != NULL, "%s", err.text);
    m.kv = UINT64_MAX - 1;
    ck_assert_int_eq(memplan_check_place(&m, &err), ERR_LIMIT);
    ck_assert(m.total == UINT64_MAX);
}
END_TEST

/* What may be open at once, and the tables over all pages. */
START_TEST(memory_of_serving_is_planned_for_the_largest_requests)
{
    const struct bnp_limits l = { .max_seq = 8, .max_pages = 256 };
    struct forward_conf c = { .n_ctx = 4096, .kv_tok = 32768, .page_tok = 16 };
    const uint64_t none = memplan_serve(&c, &l);
    ck_assert_uint_ge(none, 2048 * 9 + 8 * 256 * 4);
    c.n_request = 1;
    const uint64_t one = memplan_serve(&c, &l) - none - ENGINE_OUTPUT_SIZE;
    ck_assert_uint_ge(one, 4096 * 2 * 4);
    ck_assert_uint_le(one, 4096 * 4 * 4);
    c.n_request = 72;
    c.other_size = 12345;
    ck_assert_uint_eq(memplan_serve(&c, &l), none + ENGINE_OUTPUT_SIZE + 12345 + 72 * one);
    c.other_size = 0;
    c.n_request = 0;
    c.prefix_cache = true;
    ck_assert_uint_eq(memplan_serve(&c, &l), none + prefix_size(2048, 16));
    ck_assert_uint_ge(prefix_size(2048, 16), 4 * 32768);
}
END_TEST

START_TEST(memory_table_has_a_line_for_each_part)
{
    const struct mem_plan m = { .weights = 5 * MIB, .kv = 4 * MIB, .work = 3 * MIB, .rope = 2 * MIB,
                                .serve = MIB, .total = 15 * MIB, .limit = 20 * MIB };
    struct buf out = { 0 };
    memplan_print(&m, &out);
    ck_assert(!out.failed);
    const char *want[] = { "weights", "KV cache", "work", "rope table", "requests", "total", "limit" };
    const char *p = out.p;
    for (int i = 0; i < 7; i++) {
        ck_assert_int_eq(strncmp(p, want[i], strlen(want[i])), 0);
        p = strchr(p, '\n') + 1;
    }
    ck_assert_int_eq(*p, 0);
    buf_free(&out);
}
END_TEST

START_TEST(memory_of_devices_has_a_line_each)
{
    struct mem_place p[2] = {
        { .name = "org.x#1 (its name)", .weights = 5 * MIB, .kv = 4 * MIB, .work = 3 * MIB,
          .rope = 2 * MIB, .total = 14 * MIB, .limit = 20 * MIB },
        { .name = "org.y#0 (silent)" }
    };
    const struct mem_plan m = { .place = p, .n_place = 2 };
    struct buf out = { 0 };
    memplan_print(&m, &out);
    ck_assert_ptr_nonnull(strstr(out.p, "limit               0.0 MiB\n"
        "memory of org.x#1 (its name): weights 5.0, KV 4.0, work 3.0, rope 2.0, total 14.0 MiB, it "
        "has 20.0 MiB\n"
        "memory of org.y#0 (silent): weights 0.0, KV 0.0, work 0.0, rope 0.0, total 0.0 MiB, it "
        "does not say how much it has\n"));
    buf_free(&out);
}
END_TEST

/* Against libm, which is good to a few ulp of double: after one rounding to
 * f32 the two may differ by one step where the value lies near a tie. */
START_TEST(rope_table_is_cosines_then_sines)
{
    enum { N_POS = 300, N_ROT = 32 };
    static float table[N_POS * N_ROT];
    struct err err;
    ck_assert_int_eq(rope_fill(table, N_POS, N_ROT, 10000, NULL, &err), 0);
    for (int pos = 0; pos < N_POS; pos++)
        for (int i = 0; i < N_ROT / 2; i++) {
            double angle = pos * pow(10000, -2.0 * i / N_ROT);
            ck_assert_double_eq_tol((double)table[pos * N_ROT + i], cos(angle), 0x1p-24);
            ck_assert_double_eq_tol((double)table[pos * N_ROT + N_ROT / 2 + i], sin(angle),
                                    0x1p-24);
        }
    ck_assert(table[0] == 1.0f && table[N_ROT / 2] == 0.0f);
}
END_TEST

START_TEST(rope_factor_slows_its_pair)
{
    float plain[8 * 4], slow[8 * 4];
    const float factor[] = { 1, 4 };
    struct err err = { 0 };
    ck_assert_int_eq(rope_fill(plain, 8, 4, 100, NULL, &err), 0);
    ck_assert_int_eq(rope_fill(slow, 8, 4, 100, factor, &err), 0);
    ck_assert_float_eq(slow[4 * 4 + 0], plain[4 * 4 + 0]);
    ck_assert_float_eq(slow[4 * 4 + 1], plain[1 * 4 + 1]);    /* 4 positions at a quarter */
    ck_assert_float_eq(slow[4 * 4 + 3], plain[1 * 4 + 3]);
    const float bad[][2] = { { 0, 1 }, { 1, -1 }, { NAN, 1 }, { INFINITY, 1 } };
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(rope_fill(slow, 8, 4, 100, bad[i], &err), ERR_DATA);
    ck_assert_int_eq(rope_fill(slow, 8, 4, 0, NULL, &err), ERR_DATA);
    ck_assert_int_eq(rope_fill(slow, 8, 4, (double)INFINITY, NULL, &err), ERR_DATA);
    const float fast[] = { 1e-30f, 1 };
    ck_assert_int_eq(rope_fill(slow, 8, 4, 100, fast, &err), ERR_DATA);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memplan");
    TCase *c = tcase_create("memplan");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, memory_without_a_group_is_what_the_kernel_calls_available);
    tcase_add_test(c, memory_group_v2_limits_and_its_file_pages_are_free);
    tcase_add_test(c, memory_group_path_that_is_not_mounted_leads_to_the_mount);
    tcase_add_test(c, memory_group_v1_limits);
    tcase_add_test(c, memory_plan_over_the_limit_names_need_room_and_key);
    tcase_add_test(c, memory_plan_of_a_device_names_it_and_its_room);
    tcase_add_test(c, memory_of_serving_is_planned_for_the_largest_requests);
    tcase_add_test(c, memory_table_has_a_line_for_each_part);
    tcase_add_test(c, memory_of_devices_has_a_line_each);
    tcase_add_test(c, rope_table_is_cosines_then_sines);
    tcase_add_test(c, rope_factor_slows_its_pair);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
