/* test_check.c - each row of bitnetd --check says warn or fail when it should.
 *
 * What the kernel shows is a folder of the test's own in front of /proc and /sys. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/daemon/check.h"

static char root[64];
static struct bitnetd d;
static struct plug plug;
static struct check c;

static void setup(void)
{
    struct err e = { 0 };
    snprintf(root, sizeof root, "/tmp/bitnet-check-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    d = (struct bitnetd){ 0 };
    plug = (struct plug){ .topo = { .n_cores = 4, .abi = { .n_workers = 4 } } };
    c = (struct check){ .d = &d, .root = root };
    ck_assert_msg(!conf_load(&d.conf, NULL, NULL, NULL, 0, &e), "%s", e.text);
}

static void teardown(void)
{
    char command[96];
    check_free(&c);
    conf_free(&d.conf);
    snprintf(command, sizeof command, "rm -rf %s", root);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_root(const char *path)
{
    static char full[256];
    snprintf(full, sizeof full, "%s%s", root, path);
    return full;
}

static void put(const char *path, const char *text)
{
    char command[320];
    snprintf(command, sizeof command, "mkdir -p \"$(dirname %s%s)\"", root, path);
    ck_assert_int_eq(system(command), 0);
    FILE *f = fopen(in_root(path), "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void set(const char *key, const char *value)
{
    char arg[320];
    struct err e = { 0 };
    const char *const list[] = { arg };
    snprintf(arg, sizeof arg, "%s=%s", key, value);
    conf_free(&d.conf);
    ck_assert_msg(!conf_load(&d.conf, NULL, NULL, list, 1, &e), "%s", e.text);
}

/* The row's only finding. */
static const struct check_finding *row(const char *what)
{
    check_free(&c);
    check_row(&c, what);
    ck_assert_uint_eq(c.n, 1);
    ck_assert_str_eq(c.finding[0].what, what);
    return &c.finding[0];
}

static void expect(const char *what, enum check_level level, const char *part)
{
    const struct check_finding *f = row(what);
    ck_assert_msg(f->level == level && strstr(f->text, part), "%s: %d %s", what, f->level, f->text);
    ck_assert_int_eq(*f->fix != 0, level != CHECK_OK);
}

START_TEST(check_reads_what_the_kernel_shows)
{
    expect("governor", CHECK_OK, "does not govern");
    put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    expect("governor", CHECK_OK, "performance");
    put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    expect("governor", CHECK_WARN, "powersave");
    put("/proc/sys/vm/overcommit_memory", "0\n");
    expect("overcommit", CHECK_OK, "= 0");
    put("/proc/sys/vm/overcommit_memory", "2\n");
    expect("overcommit", CHECK_WARN, "never overcommits");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    expect("huge pages", CHECK_OK, "madvise");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    expect("huge pages", CHECK_WARN, "off");
    put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    expect("clock", CHECK_WARN, "hpet");
}
END_TEST

START_TEST(check_holds_memory_against_the_configuration)
{
    expect("memory", CHECK_WARN, "cannot be read");
    put("/proc/meminfo", "MemTotal: 900000 kB\nMemAvailable: 102400 kB\n");
    expect("memory", CHECK_OK, "100 MiB");
    set("engine.max_mem_mib", "101");
    expect("memory", CHECK_WARN, "engine.max_mem_mib is 101, and 100 MiB");
}
END_TEST

START_TEST(check_holds_threads_against_cores_and_quota)
{
    check_row(&c, "cpu");
    ck_assert_uint_eq(c.n, 0);            /* no plugins: nobody knows the threads */
    d.plug = &plug;
    expect("cpu", CHECK_OK, "4 threads on 4 cores");
    plug.topo.n_cores = 2;
    expect("cpu", CHECK_WARN, "4 compute threads on 2 cores");
    expect("quota", CHECK_OK, "no limit");
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    expect("quota", CHECK_WARN, "may use 2 processors, and there are 4");
    plug.topo.abi.n_workers = 2;
    expect("quota", CHECK_OK, "2 processors");
}
END_TEST

START_TEST(check_counts_descriptors)
{
    expect("file descriptors", CHECK_OK, "384 are needed");
    const struct rlimit few = { 300, 300 };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    expect("file descriptors", CHECK_WARN, "300 files may be open, server.max_connections = 256 "
           "needs 384");
}
END_TEST

START_TEST(check_tries_the_address)
{
    struct { struct serve *s; struct err e; } t = { 0 };
    const struct serve_conf s = { .host = "127.0.0.1", .n_threads = 1, .max_connections = 1,
                                  .max_body_size = 1, .timeout_s = 1 };
    char port[16];
    ck_assert_msg(!serve_bind(&t.s, &s, &t.e), "%s", t.e.text);
    ck_assert_msg(!serve_listen(t.s, &t.e), "%s", t.e.text);
    snprintf(port, sizeof port, "%s", strrchr(serve_url(t.s), ':') + 1);
    set("server.port", port);
    expect("address", CHECK_FAIL, "Address already in use");
    serve_close(t.s);
    expect("address", CHECK_OK, "is free");
    set("server.host", "no.such.host.invalid");
    expect("address", CHECK_FAIL, "server.host");
    const char *const open[] = { "server.host=0.0.0.0", "server.port=0", "strict.enabled=yes" };
    for (unsigned n = 2; n <= 3; n++) {
        struct err e = { 0 };
        conf_free(&d.conf);
        ck_assert_int_eq(conf_load(&d.conf, NULL, NULL, open, n, &e), 0);
        expect("address", n == 3 ? CHECK_FAIL : CHECK_WARN, n == 3 ? "strict mode" : "everybody");
    }
}
END_TEST

START_TEST(check_reads_the_files_that_are_named)
{
    expect("keys", CHECK_OK, "none");
    set("server.keys", in_root("/keys"));
    expect("keys", CHECK_FAIL, "No such file");
    put("/keys", "one read sha256:"
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
    chmod(in_root("/keys"), 0600);
    expect("keys", CHECK_OK, "has 1");
    chmod(in_root("/keys"), 0644);
    expect("keys", CHECK_FAIL, "/keys");
    expect("tls", CHECK_OK, "off");
    set("server.tls_cert", in_root("/cert"));
    expect("tls", CHECK_FAIL, "server.tls_key");
    set("server.cors_origin", "not an origin");
    expect("cors", CHECK_FAIL, "origin");
    set("server.cors_origin", "*");
    expect("cors", CHECK_WARN, "every web page");
    expect("access log", CHECK_OK, "off");
    set("log.access", in_root("/no/folder/log"));
    expect("access log", CHECK_FAIL, "log.access");
    set("log.access", in_root("/log"));
    expect("access log", CHECK_OK, "/log");
    ck_assert_int_ne(access(in_root("/log"), F_OK), 0);   /* looked at, not made */
    set("trace.otlp_url", "collector");
    expect("trace", CHECK_FAIL, "trace.otlp_url");
    set("trace.otlp_url", "http://127.0.0.1:4318/v1/traces");
    expect("trace", CHECK_OK, "4318");
    set("plugins.weight_cache", in_root("/keys/folder"));
    expect("weight cache", CHECK_WARN, "cannot be written");
    set("plugins.weight_cache", root);
    expect("weight cache", CHECK_OK, root);
}
END_TEST

START_TEST(check_looks_at_the_model_file)
{
    set("model.path", in_root("/none.gguf"));
    expect("model file", CHECK_FAIL, "No such file");
    put("/some.gguf", "GGUF");
    set("model.path", in_root("/some.gguf"));
    chmod(in_root("/some.gguf"), 0644);
    expect("model file", CHECK_OK, "some.gguf");
    chmod(in_root("/some.gguf"), 0666);
    expect("model file", CHECK_WARN, "everybody may write");
    d.plug = &plug;
    expect("model", CHECK_FAIL, "some.gguf");
    set("model.path", in_root("/none.gguf"));
    row("model file");
    check_free(&c);
    check_row(&c, "model");
    ck_assert_uint_eq(c.n, 0);            /* said once */
}
END_TEST

START_TEST(check_writes_lines_and_json)
{
    struct buf text = { 0 }, json = { 0 };
    c.what = "first";
    check_ok(&c, "all \"well\"");
    c.what = "second";
    check_warn(&c, "mend it", "not %s", "so well");
    ck_assert_int_eq(check_worst(&c), CHECK_WARN);
    check_put_text(&c, &text);
    ck_assert_str_eq(text.p, "ok first - all \"well\"\nwarn second - not so well - mend it\nwarn\n");
    c.what = "third";
    check_fail(&c, "give up", "bad: \xff");
    check_put_json(&c, &json);
    json_t *j = json_loadb(json.p, json.n, 0, NULL);
    ck_assert_ptr_nonnull(j);
    const char *verdict, *level[3], *what[3], *finding[3], *fix[3] = { NULL };
    ck_assert_int_eq(json_unpack(j, "{s:s,s:[{s:s,s:s,s:s},{s:s,s:s,s:s,s:s},{s:s,s:s,s:s,s:s}]}",
        "verdict", &verdict, "findings",
        "level", &level[0], "what", &what[0], "finding", &finding[0],
        "level", &level[1], "what", &what[1], "finding", &finding[1], "fix", &fix[1],
        "level", &level[2], "what", &what[2], "finding", &finding[2], "fix", &fix[2]), 0);
    ck_assert_str_eq(verdict, "fail");
    ck_assert_str_eq(level[0], "ok");
    ck_assert_str_eq(finding[0], "all \"well\"");
    ck_assert_str_eq(what[1], "second");
    ck_assert_str_eq(fix[1], "mend it");
    ck_assert_str_eq(finding[2], "not UTF-8");
    json_decref(j);
    buf_free(&text);
    buf_free(&json);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("check");
    TCase *t = tcase_create("check");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, check_reads_what_the_kernel_shows);
    tcase_add_test(t, check_holds_memory_against_the_configuration);
    tcase_add_test(t, check_holds_threads_against_cores_and_quota);
    tcase_add_test(t, check_counts_descriptors);
    tcase_add_test(t, check_tries_the_address);
    tcase_add_test(t, check_reads_the_files_that_are_named);
    tcase_add_test(t, check_looks_at_the_model_file);
    tcase_add_test(t, check_writes_lines_and_json);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
