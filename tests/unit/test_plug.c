/* Promises of core/plug/plug.h: what comes in, what stays out, and why. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/plug/device.h"
#include "core/plug/hostsvc.h"
#include "plug_dir.h"

static struct err err;

/* Opens the directory with scalar-ref and one more file, which must be
 * rejected with `text` in its reason, and scalar-ref must not mind. */
static void expect_rejected(const char *from, const char *text)
{
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(from, "bad.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    const struct plug_entry *p = plug_dir_entry(plug, "bad.so");
    ck_assert_int_eq(p->state, PLUG_REJECTED);
    ck_assert_msg(strstr(p->reason, text) != NULL, "'%s' lacks '%s'", p->reason, text);
    ck_assert_uint_eq(plug->n_dev, 1);
    ck_assert_ptr_nonnull(plug->ref);
    plug_close(plug);
}

static const struct {
    const char *from, *text;
} bad[] = {
    { PLUG_DIR_TEST("wrong-abi"), "plugin wants ABI 2.4, this bitnetd speaks 1.4" },
    { PLUG_DIR_TEST("no-note"), "no bitnet note" },
    { PLUG_DIR_TEST("note-differs"), "its note and its table differ in id" },
    { PLUG_DIR_TEST("no-symbol"), "exports no symbol bnp_plugin_v1" },
    { PLUG_DIR_TEST("needs-isa"), "needs bit 63, this CPU has" },
    { PLUG_DIR_TEST("missing-family-fn"), "linear.mul is missing" },
    { PLUG_DIR_TEST("crash-on-load"), "plugin wants ABI 2.4" },
    { TEST_BUILD_DIR "/CMakeCache.txt", "not an ELF file" },
    { "/proc/self/exe", "no bitnet note" },
};
#define N_BAD (sizeof bad / sizeof bad[0])

START_TEST(plug_a_bad_file_is_an_entry_with_a_reason)
{
    expect_rejected(bad[_i].from, bad[_i].text);
}
END_TEST

START_TEST(plug_code_of_a_refused_file_never_runs)
{
    char marker[128];
    struct stat st;
    snprintf(marker, sizeof marker, "%s/marker", plug_dir);
    ck_assert_int_eq(setenv("BITNET_TEST_MARKER", marker, 1), 0);
    expect_rejected(PLUG_DIR_TEST("crash-on-load"), "ABI");
    ck_assert_int_eq(stat(marker, &st), -1);
}
END_TEST

START_TEST(plug_scalar_ref_passes_and_comes_last)
{
    plug_dir_add(PLUG_DIR_REF, "a.so");
    plug_dir_add(PLUG_DIR_TEST("faulty"), "z.so");
    struct plug_opts o = plug_dir_opts();
    o.need_ref = true;
    struct plug *plug = plug_dir_open(&o);
    ck_assert_uint_eq(plug->n_entry, 2);
    ck_assert_str_eq(plug->entry[0]->file, "a.so");
    ck_assert_uint_eq(plug->n_dev, 2);
    ck_assert_ptr_eq(plug->dev[1], plug->ref);
    ck_assert_str_eq(plug->ref->plugin->note.raw.id, PLUG_REF_ID);
    ck_assert_str_eq(plug->dev[0]->info.name, "faulty on command");
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(plug->entry[i]->state, PLUG_AVAILABLE);
        ck_assert_str_eq(plug->entry[i]->reason, "");
        for (unsigned f = 0; f < 3; f++)
            ck_assert_uint_eq(plug->entry[i]->det[f], BNP_DET_EXACT);
    }
    plug_close(plug);
}
END_TEST

/* A fault, and what the known-answer test says of it. */
static const struct {
    const char *fault, *op, *place;
} faults[] = {
    { "ternary-bit", "linear 64x256 t2/tensor, 1 rows, fill random: mul: row 0, column 63",
      "expected" },
    { "dense-bit", "linear 100x160 f16/none", "mul: row 2, column 99" },
    { "topk-id", "topk id: row 0, column 0", "expected" },
    { "attend-bit", "attention 4 heads on 2 of 32", "attend: row 4, column 127" },
    { "norm-bit", "pointwise 256 wide", "rmsnorm: row 2, column 255" },
    { "nan", "mul: row 0, column 0", "got nan" },
    { "open-fails", "device_open", "no device today" },
    { "device-lost-at-step-3", "step_begin", "the device is gone" },
};
#define N_FAULT (sizeof faults / sizeof faults[0])

START_TEST(plug_a_wrong_answer_is_caught_before_first_use)
{
    plug_dir_fault = faults[_i].fault;
    expect_rejected(PLUG_DIR_TEST("faulty"), faults[_i].op);
    plug_dir_teardown();
    plug_dir_setup();
    plug_dir_fault = faults[_i].fault;
    expect_rejected(PLUG_DIR_TEST("faulty"), faults[_i].place);
}
END_TEST

START_TEST(plug_older_and_smaller_tables_are_good)
{
    static const char *const name[] = { PLUG_DIR_TEST("old-tables"), PLUG_DIR_TEST("no-topk"),
                                        PLUG_DIR_TEST("slow-open") };
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(name[_i], "good.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    const struct plug_entry *p = plug_dir_entry(plug, "good.so");
    ck_assert_msg(p->state == PLUG_AVAILABLE, "%s", p->reason);
    ck_assert_uint_eq(p->n_dev, 1);
    if (_i < 2)
        ck_assert(p->linear.topk == NULL);
    if (_i == 0) {
        ck_assert(p->attn.copy_page == NULL);
        ck_assert(p->api.extension == NULL);
    }
    plug_close(plug);
}
END_TEST

START_TEST(plug_without_devices_is_available_and_says_so)
{
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(TEST_PLUGIN_DIR "/skeleton.so", "skeleton.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    const struct plug_entry *p = plug_dir_entry(plug, "skeleton.so");
    ck_assert_int_eq(p->state, PLUG_AVAILABLE);
    ck_assert_uint_eq(p->n_dev, 0);
    ck_assert_str_eq(p->reason, "no device found on this machine");
    plug_close(plug);
}
END_TEST

START_TEST(plug_a_taken_id_is_refused_by_the_name_of_the_first)
{
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(PLUG_DIR_TEST("no-topk"), "one.so");
    plug_dir_add(PLUG_DIR_TEST("no-topk"), "two.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    ck_assert_int_eq(plug_dir_entry(plug, "one.so")->state, PLUG_AVAILABLE);
    ck_assert_int_eq(plug_dir_entry(plug, "two.so")->state, PLUG_REJECTED);
    ck_assert_str_eq(plug_dir_entry(plug, "two.so")->reason,
                     "its id org.bitnetd.test.no-topk is already taken by one.so");
    plug_close(plug);
}
END_TEST

START_TEST(plug_only_one_id_and_scalar_ref_when_asked)
{
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(PLUG_DIR_TEST("no-topk"), "one.so");
    plug_dir_add(PLUG_DIR_TEST("faulty"), "two.so");
    struct plug_opts o = plug_dir_opts();
    o.only = "org.bitnetd.test.faulty";
    struct plug *plug = plug_dir_open(&o);
    ck_assert_ptr_nonnull(plug->ref);
    ck_assert_uint_eq(plug->n_dev, 2);
    ck_assert_ptr_nonnull(strstr(plug_dir_entry(plug, "one.so")->reason, "not loaded: only "));
    ck_assert_int_eq(plug_dir_entry(plug, "two.so")->state, PLUG_AVAILABLE);
    plug_close(plug);
}
END_TEST

START_TEST(plug_the_test_can_be_skipped)
{
    plug_dir_fault = "ternary-bit";
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(PLUG_DIR_TEST("faulty"), "two.so");
    struct plug_opts o = plug_dir_opts();
    o.no_test = true;
    struct plug *plug = plug_dir_open(&o);
    ck_assert_int_eq(plug_dir_entry(plug, "two.so")->state, PLUG_AVAILABLE);
    plug_close(plug);
}
END_TEST

/* Which file is where, and what others may do to it. */
START_TEST(plug_files_that_others_can_write_are_refused)
{
    char path[128], link[128];
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(PLUG_DIR_TEST("no-topk"), "group.so");
    plug_dir_add(PLUG_DIR_TEST("faulty"), "world.so");
    plug_dir_add(PLUG_DIR_TEST("slow-open"), "notes.txt");
    plug_dir_add(PLUG_DIR_TEST("slow-open"), ".hidden.so");
    snprintf(path, sizeof path, "%s/group.so", plug_dir);
    ck_assert_int_eq(chmod(path, 0775), 0);
    snprintf(path, sizeof path, "%s/world.so", plug_dir);
    ck_assert_int_eq(chmod(path, 0757), 0);
    snprintf(link, sizeof link, "%s/link.so", plug_dir);
    ck_assert_int_eq(symlink("scalar-ref.so", link), 0);
    snprintf(path, sizeof path, "%s/dir.so", plug_dir);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/fifo.so", plug_dir);
    ck_assert_int_eq(mkfifo(path, 0755), 0);
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    ck_assert_uint_eq(plug->n_entry, 6);
    ck_assert_ptr_nonnull(strstr(plug_dir_entry(plug, "group.so")->reason, "(mode 0775)"));
    ck_assert_ptr_nonnull(strstr(plug_dir_entry(plug, "world.so")->reason, "(mode 0757)"));
    ck_assert_ptr_nonnull(strstr(plug_dir_entry(plug, "link.so")->reason, "symbolic link"));
    ck_assert_ptr_nonnull(strstr(plug_dir_entry(plug, "dir.so")->reason, "not a regular file"));
    ck_assert_ptr_nonnull(strstr(plug_dir_entry(plug, "fifo.so")->reason, "not a regular file"));
    ck_assert_ptr_nonnull(plug->ref);
    plug_close(plug);
}
END_TEST

START_TEST(plug_files_of_other_users_are_refused)
{
    char path[128];
    if (geteuid() != 0)
        return;                       /* nobody but root can give a file away */
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    snprintf(path, sizeof path, "%s/scalar-ref.so", plug_dir);
    ck_assert_int_eq(chown(path, 12345, 0), 0);
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    ck_assert_ptr_nonnull(strstr(plug->entry[0]->reason, "belongs to user 12345"));
    ck_assert_ptr_null(plug->ref);
    plug_close(plug);
}
END_TEST

static void expect_no_open(const struct plug_opts *o, int code, const char *text)
{
    struct plug *plug = (void *)&err;
    ck_assert_int_eq(plug_open(&plug, o, &err), code);
    ck_assert_ptr_null(plug);
    ck_assert_msg(strstr(err.text, text) != NULL, "'%s' lacks '%s'", err.text, text);
    ck_assert_ptr_null(strchr(err.text, '\n'));
}

START_TEST(plug_directories_that_others_can_write_are_refused)
{
    struct plug_opts o = plug_dir_opts();
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    ck_assert_int_eq(chmod(plug_dir, 0777), 0);
    expect_no_open(&o, ERR_ARG, "others may write this plugin directory (mode 0777)");
    ck_assert_int_eq(chmod(plug_dir, 0755), 0);
    o.dir = "/nowhere/at/all";
    expect_no_open(&o, ERR_IO, "/nowhere/at/all: cannot open the plugin directory");
    o.dir = "/proc/self/status";
    expect_no_open(&o, ERR_IO, "cannot open the plugin directory");
}
END_TEST

START_TEST(plug_without_scalar_ref_there_is_no_start)
{
    struct plug_opts o = plug_dir_opts();
    o.need_ref = true;
    expect_no_open(&o, ERR_PLUGIN, PLUG_REF_ID);
    plug_dir_add(PLUG_DIR_TEST("no-topk"), "one.so");
    expect_no_open(&o, ERR_PLUGIN, "install scalar-ref.so");
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    char path[128];
    snprintf(path, sizeof path, "%s/scalar-ref.so", plug_dir);
    ck_assert_int_eq(chmod(path, 0777), 0);
    /* Its note was not even read, so it is no more than a file. */
    expect_no_open(&o, ERR_PLUGIN, "no usable plugin");
    o.need_ref = false;
    struct plug *plug = plug_dir_open(&o);
    ck_assert_ptr_null(plug->ref);
    ck_assert_ptr_nonnull(strstr(plug_dir_entry(plug, "one.so")->reason, "cannot be tested"));
    plug_close(plug);
}
END_TEST

START_TEST(plug_the_current_directory_is_never_searched)
{
    char empty[128];
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    snprintf(empty, sizeof empty, "%s/empty", plug_dir);
    ck_assert_int_eq(mkdir(empty, 0755), 0);
    ck_assert_int_eq(chdir(plug_dir), 0);
    struct plug_opts o = plug_dir_opts();
    o.dir = empty;
    struct plug *plug = plug_dir_open(&o);
    ck_assert_uint_eq(plug->n_entry, 0);
    plug_close(plug);
}
END_TEST

START_TEST(plug_the_isa_mask_reaches_plugins_and_refuses_them)
{
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add(PLUG_DIR_TEST("needs-isa"), "needs.so");
    struct plug_opts o = plug_dir_opts();
    o.isa_mask = 0;
    struct plug *plug = plug_dir_open(&o);
    ck_assert_uint_eq(plug->topo.abi.isa, 0);
    ck_assert_ptr_nonnull(plug->ref);
    ck_assert_str_eq(plug_dir_entry(plug, "needs.so")->reason,
                     "needs bit 63, this CPU has baseline");
    plug_close(plug);
}
END_TEST

START_TEST(plug_a_report_is_quoted_once)
{
    char said[256];
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    struct plug_entry *p = plug->entry[0];
    bnp_device *none;
    ck_assert_int_eq(p->api.device_open(&plug->ref->plugin->host->abi, 1, &none), BNP_E_INVALID);
    ck_assert_int_eq(plug_fail(p, BNP_E_INVALID, "device_open", &err), ERR_INTERNAL);
    ck_assert_str_eq(err.text, PLUG_REF_ID ": device_open: device index above 0, this plugin has "
                     "one device");
    ck_assert_str_eq(plug_reported(p, BNP_E_NOMEM, said), "out of memory (-3)");
    ck_assert_str_eq(plug_reported(p, -77, said), "an unknown status (-77)");
    p->host->abi.report(p->host->abi.ctx, -1, "two\nlines \xff");
    ck_assert_str_eq(plug_reported(p, -1, said), "two?lines ?");
    plug_close(plug);
}
END_TEST

START_TEST(plug_memory_is_counted)
{
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    void *p = plug_mem_alloc(plug, 1000, 64);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(atomic_load(&plug->mem.size), 1000);
    plug_mem_free(plug, p);
    ck_assert_uint_eq(atomic_load(&plug->mem.size), 0);
    plug_close(plug);
}
END_TEST

static int no_query(bnp_device *d, const bnp_weight_desc *w, bnp_offer *o)
{
    (void)d;
    (void)w;
    (void)o;
    return BNP_E_UNSUPPORTED;
}

START_TEST(plug_a_family_without_known_answers_is_not_used)
{
    static struct plug_entry partial;
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    partial = *plug->ref->plugin;
    snprintf(partial.note.raw.id, sizeof partial.note.raw.id, "org.test.partial");
    partial.n_dev = 0;
    partial.linear.query = no_query;
    ck_assert_int_eq(device_open_all(plug, &partial, true, &err), 0);
    ck_assert_str_eq(partial.reason, "its linear family is not used: it answers none of the known "
                     "questions");
    ck_assert_uint_eq(partial.det[0], 0);
    ck_assert_uint_eq(partial.det[1], BNP_DET_EXACT);
    const struct dev *d = plug_dir_dev(plug, "org.test.partial");
    ck_assert(d->linear == NULL && d->attn != NULL && d->point != NULL);
    plug_close(plug);
}
END_TEST

static uint32_t n_claimed;
static int claim(const bnp_host *host, uint32_t *n)
{
    (void)host;
    *n = n_claimed;
    return BNP_OK;
}

START_TEST(plug_device_counts_are_bounded)
{
    static struct plug_entry many;
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    many = *plug->ref->plugin;
    snprintf(many.note.raw.id, sizeof many.note.raw.id, "org.test.many");
    many.n_dev = 0;
    many.api.device_count = claim;
    n_claimed = DEVICE_MAX + 1;
    ck_assert_int_eq(device_open_all(plug, &many, true, &err), ERR_PLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "device_count says 65"));
    n_claimed = 3;                      /* scalar-ref has one: the others fail */
    ck_assert_int_eq(device_open_all(plug, &many, true, &err), 0);
    ck_assert_uint_eq(many.n_dev, 1);
    ck_assert_ptr_nonnull(strstr(many.reason, "device 1: org.test.many: device_open: "));
    many.note.raw.device_kind = BNP_DEV_GPU;
    many.n_dev = 0;
    n_claimed = 1;
    ck_assert_int_eq(device_open_all(plug, &many, true, &err), ERR_PLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "device kind 1, its note says 2"));
    plug_close(plug);
}
END_TEST

/* Built with the first release of the header; its source is long gone. */
START_TEST(plug_an_old_binary_still_loads)
{
#if defined(__x86_64__)
    plug_dir_add(PLUG_DIR_REF, "scalar-ref.so");
    plug_dir_add("tests/abi/plugin-1.0-x86-64.so", "old.so");
    const struct plug_opts o = plug_dir_opts();
    struct plug *plug = plug_dir_open(&o);
    const struct plug_entry *p = plug_dir_entry(plug, "old.so");
    ck_assert_msg(p->state == PLUG_AVAILABLE && !p->reason[0], "%s", p->reason);
    ck_assert_uint_eq(p->det[2], BNP_DET_EXACT);
    ck_assert_ptr_nonnull(plug_dir_dev(plug, p->note.raw.id)->point);
    plug_close(plug);
#endif
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plug");
    TCase *c = tcase_create("plug");
    tcase_add_checked_fixture(c, plug_dir_setup, plug_dir_teardown);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, plug_a_bad_file_is_an_entry_with_a_reason, 0, (int)N_BAD);
    tcase_add_test(c, plug_code_of_a_refused_file_never_runs);
    tcase_add_test(c, plug_scalar_ref_passes_and_comes_last);
    tcase_add_loop_test(c, plug_a_wrong_answer_is_caught_before_first_use, 0, (int)N_FAULT);
    tcase_add_loop_test(c, plug_older_and_smaller_tables_are_good, 0, 3);
    tcase_add_test(c, plug_without_devices_is_available_and_says_so);
    tcase_add_test(c, plug_a_taken_id_is_refused_by_the_name_of_the_first);
    tcase_add_test(c, plug_only_one_id_and_scalar_ref_when_asked);
    tcase_add_test(c, plug_the_test_can_be_skipped);
    tcase_add_test(c, plug_files_that_others_can_write_are_refused);
    tcase_add_test(c, plug_files_of_other_users_are_refused);
    tcase_add_test(c, plug_directories_that_others_can_write_are_refused);
    tcase_add_test(c, plug_without_scalar_ref_there_is_no_start);
    tcase_add_test(c, plug_the_current_directory_is_never_searched);
    tcase_add_test(c, plug_the_isa_mask_reaches_plugins_and_refuses_them);
    tcase_add_test(c, plug_a_report_is_quoted_once);
    tcase_add_test(c, plug_memory_is_counted);
    tcase_add_test(c, plug_a_family_without_known_answers_is_not_used);
    tcase_add_test(c, plug_device_counts_are_bounded);
    tcase_add_test(c, plug_an_old_binary_still_loads);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
