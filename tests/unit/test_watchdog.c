/* test_watchdog.c - a service manager hears of progress, and of nothing else.
 *
 * The manager is a datagram socket of the test's own in NOTIFY_SOCKET. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/daemon/daemon.h"
#include "core/engine/forward_parts.h"
#include "tests/unit/ask.h"

static struct bitnetd d;
static char folder[64];
static int manager;

static void setup(void)
{
    char pid[16];
    struct err e = { 0 };
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(folder, sizeof folder, "/tmp/bitnet-watchdog-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(a.sun_path, sizeof a.sun_path, "%s/notify", folder);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(manager, (struct sockaddr *)&a, sizeof a), 0);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("NOTIFY_SOCKET", a.sun_path, 1);
    setenv("WATCHDOG_USEC", "2000000", 1);
    setenv("WATCHDOG_PID", pid, 1);

    house_open(N_CTX, 0);
    engine_start(1, 32, 4, 8);
    const struct serve_conf s = { .host = "127.0.0.1", .n_threads = 1, .max_connections = 1,
                                  .max_body_size = 1, .timeout_s = 1 };
    d = (struct bitnetd){ .engine = engine, .conf = { .watchdog_s = 1 } };
    ck_assert_msg(!serve_bind(&d.serve, &s, &e), "%s", e.text);
}

static void teardown(void)
{
    char path[96];
    serve_close(d.serve);
    engine_stop();
    house_close();
    close(manager);
    snprintf(path, sizeof path, "%s/notify", folder);
    unlink(path);
    rmdir(folder);
}

/* Whether the manager was told since the last time. */
static bool told(void)
{
    char text[256];
    bool yes = false;
    for (ssize_t n; (n = recv(manager, text, sizeof text - 1, 0)) > 0;) {
        text[n] = 0;
        ck_assert_str_eq(text, "WATCHDOG=1");
        yes = true;
    }
    return yes;
}

/* Standard error of one look, in text. */
static void look(char text[1024])
{
    FILE *f = tmpfile();
    const int old = dup(STDERR_FILENO);
    ck_assert_ptr_nonnull(f);
    dup2(fileno(f), STDERR_FILENO);
    watchdog_look(&d);
    dup2(old, STDERR_FILENO);
    close(old);
    rewind(f);
    text[fread(text, 1, 1023, f)] = 0;
    fclose(f);
}

START_TEST(watchdog_is_fed_while_there_is_nothing_to_do)
{
    char text[1024];
    sleep(2);                     /* longer than watchdog_s */
    look(text);
    ck_assert(told());
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(watchdog_sees_a_step_that_does_not_end)
{
    char text[1024], again[1024], after[1024];
    struct ask a;
    ask_open(&a, "Once upon a time", 5);
    atomic_store(&bend_hold, true);
    ask_submit(&a);
    while (!atomic_load(&bend_held))
        nap();
    look(text);
    ck_assert(told());            /* not yet */
    ck_assert_str_eq(text, "");
    do {
        nap();
        told();
        look(text);
    } while (!*text);
    ck_assert(!told());
    ck_assert(d.stalled);
    ck_assert_ptr_nonnull(strstr(text, "engine: has not moved on for 1 s, server.watchdog_s is 1: "
                                       "call under way: none; step of 4 rows, 1 sequences"));
    look(again);
    ck_assert(!told());
    ck_assert_str_eq(again, "");  /* said once */
    atomic_store(&bend_hold, false);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ask_close(&a);
    look(after);
    ck_assert(told());
    ck_assert_ptr_nonnull(strstr(after, "engine: moves on again"));
}
END_TEST

/* Many calls, each short: a step may take longer than watchdog_s. */
START_TEST(watchdog_counts_calls_as_progress)
{
    char text[1024];
    struct ask a;
    ask_open(&a, "Once upon a time", 5);
    atomic_store(&bend_hold, true);
    ask_submit(&a);
    while (!atomic_load(&bend_held))
        nap();
    for (int i = 0; i < 15; i++) {
        usleep(100000);
        atomic_store(&rig.f->state->at_us, clock_us());
        look(text);
        ck_assert(told());
        ck_assert_str_eq(text, "");
    }
    atomic_store(&bend_hold, false);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ask_close(&a);
}
END_TEST

START_TEST(watchdog_can_be_turned_off)
{
    char text[1024];
    struct ask a;
    d.conf.watchdog_s = 0;
    ask_open(&a, "Once upon a time", 5);
    atomic_store(&bend_hold, true);
    ask_submit(&a);
    while (!atomic_load(&bend_held))
        nap();
    usleep(1200000);
    look(text);
    ck_assert(told());
    ck_assert_str_eq(text, "");
    atomic_store(&bend_hold, false);
    ck_assert_int_eq(ask_wait(&a), FINISH_LENGTH);
    ask_close(&a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("watchdog");
    TCase *t = tcase_create("watchdog");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, watchdog_is_fed_while_there_is_nothing_to_do);
    tcase_add_test(t, watchdog_sees_a_step_that_does_not_end);
    tcase_add_test(t, watchdog_counts_calls_as_progress);
    tcase_add_test(t, watchdog_can_be_turned_off);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
