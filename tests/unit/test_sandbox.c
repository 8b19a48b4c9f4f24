/* test_sandbox.c - what the sandbox lets through and what not, each time in a
 * process of its own, since there is no way back out. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/daemon/sandbox.h"

enum { NO_FILTER = 77 };          /* the kernel, or an emulator, has none      */

/* What f returns inside the sandbox; -1 when it does not get there. */
static int inside(int (*f)(void), bool connect)
{
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        struct err e = { 0 };
        _exit(sandbox_enter(&(struct sandbox_conf){ .connect = connect }, &e) ? NO_FILTER : f());
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int is_eperm(int rc)
{
    return rc < 0 && errno == EPERM;
}

static int run_program(void)
{
    char *argv[] = { (char *)"true", NULL };
    return is_eperm(execv("/bin/true", argv));
}

static int make_process(void)
{
    const pid_t p = fork();
    if (!p)
        _exit(0);
    return is_eperm(p);
}

static int reach_out(void)
{
    return is_eperm(socket(AF_INET, SOCK_STREAM, 0));
}

static int listen_anew(void)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const struct sockaddr_un a = { .sun_family = AF_UNIX };
    return fd >= 0 && is_eperm(bind(fd, (const struct sockaddr *)&a, sizeof a.sun_family));
}

static int map_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED && errno == EPERM;
}

static int turn_into_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && is_eperm(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int become_another(void)
{
    return is_eperm(setuid(getuid()));
}

static int watch_another(void)
{
    return is_eperm((int)ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int raise_limit(void)
{
    struct rlimit r;
    return !getrlimit(RLIMIT_NOFILE, &r) && is_eperm(setrlimit(RLIMIT_NOFILE, &r));
}

static int undo(void)
{
    return is_eperm(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)) && prctl(PR_SET_NAME, "x", 0, 0, 0) == 0;
}

static const struct { const char *what; int (*f)(void); } refused[] = {
    { "a program", run_program }, { "a process", make_process }, { "another machine", reach_out },
    { "a socket of its own", listen_anew }, { "new code", map_code },
    { "data as code", turn_into_code }, { "another user", become_another },
    { "another process", watch_another }, { "a limit", raise_limit }, { "a setting", undo },
};

START_TEST(sandbox_refuses)
{
    const int rc = inside(refused[_i].f, false);
    if (rc != NO_FILTER)
        ck_assert_msg(rc == 1, "%s: %d", refused[_i].what, rc);
}
END_TEST

static void *nothing(void *arg)
{
    return arg;
}

/* What serving does. */
static int serve(void)
{
    pthread_t t;
    void *got = NULL;
    char path[] = "/tmp/bitnet-sandbox-XXXXXX";
    if (pthread_create(&t, NULL, nothing, path) || pthread_join(t, &got) || got != path)
        return 2;
    const int fd = mkstemp(path);
    if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) || close(fd) || unlink(path))
        return 3;
    char *big = malloc(64 << 20);
    if (!big)
        return 4;
    memset(big, 1, 64 << 20);
    free(big);
    const int event = eventfd(0, EFD_CLOEXEC), to_systemd = socket(AF_UNIX, SOCK_DGRAM, 0);
    return event < 0 || to_systemd < 0 || close(event) || close(to_systemd) ? 5 : 1;
}

START_TEST(sandbox_lets_serve)
{
    const int rc = inside(serve, false);
    if (rc != NO_FILTER)
        ck_assert_int_eq(rc, 1);
}
END_TEST

static int reach_out_when_let(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0 && run_program();
}

START_TEST(sandbox_lets_connect_when_asked)
{
    const int rc = inside(reach_out_when_let, true);
    if (rc != NO_FILTER)
        ck_assert_int_eq(rc, 1);
}
END_TEST

static void *try_later(void *arg)
{
    int *ready = arg;
    while (!__atomic_load_n(ready, __ATOMIC_ACQUIRE))
        usleep(1000);
    return (void *)(size_t)run_program();
}

/* A thread that was there before is inside as well. */
START_TEST(sandbox_takes_all_threads)
{
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        struct err e = { 0 };
        pthread_t t;
        void *got = NULL;
        int ready = 0;
        if (pthread_create(&t, NULL, try_later, &ready))
            _exit(2);
        const int rc = sandbox_enter(&(struct sandbox_conf){ 0 }, &e);
        if (rc)
            _exit(NO_FILTER);
        __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
        pthread_join(t, &got);
        _exit(got ? 1 : 3);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) != NO_FILTER)
        ck_assert_int_eq(WEXITSTATUS(status), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sandbox");
    TCase *t = tcase_create("sandbox");
    tcase_add_loop_test(t, sandbox_refuses, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(t, sandbox_lets_serve);
    tcase_add_test(t, sandbox_lets_connect_when_asked);
    tcase_add_test(t, sandbox_takes_all_threads);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int n = srunner_ntests_failed(r);
    srunner_free(r);
    return n ? 1 : 0;
}
