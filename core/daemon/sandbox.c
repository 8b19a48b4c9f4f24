/* sandbox.c - a list of what may be called, for libseccomp. */
#include "core/daemon/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Names, not numbers: each processor has some of them only. */
static const char *const allowed[] = {
    /* files: sessions, prepared weights, logs, what a reload reads */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "open", "openat",
    "close", "stat", "fstat", "lstat", "newfstatat", "statx", "lseek", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getdents64", "fcntl", "dup", "dup3", "fsync",
    "fdatasync", "ftruncate", "fallocate", "rename", "renameat", "renameat2", "unlink", "unlinkat",
    "mkdir", "mkdirat", "utimensat", "flock", "umask", "getcwd", "statfs", "fstatfs", "fadvise64",
    /* memory; maps of machine code are ruled out below */
    "munmap", "mremap", "madvise", "brk", "msync", "mlock", "mlock2", "munlock", "mbind",
    "set_mempolicy", "get_mempolicy", "membarrier", "mincore",
    /* threads and time */
    "futex", "futex_waitv", "set_robust_list", "get_robust_list", "rseq", "set_tid_address",
    "sched_yield", "sched_getaffinity", "sched_setaffinity", "getcpu", "nanosleep",
    "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "exit", "exit_group",
    "restart_syscall",
    /* signals to itself */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigpending",
    "sigaltstack", "tgkill",
    /* connections that were accepted, waiting for them, systemd's socket */
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
    "select", "pselect6", "eventfd2", "pipe2", "accept", "accept4", "recvfrom", "recvmsg", "sendto",
    "sendmsg", "sendmmsg", "sendfile", "shutdown", "getsockopt", "setsockopt", "getsockname",
    "getpeername",
    /* who and where am I */
    "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrandom", "uname",
    "sysinfo", "getrusage", "getrlimit",
};

static const char *const outward[] = { "connect", "bind", "recvmmsg" };

static int allow_names(scmp_filter_ctx f, const char *const *name, unsigned n)
{
    int rc = 0;
    for (unsigned i = 0; i < n && !rc; i++) {
        const int nr = seccomp_syscall_resolve_name(name[i]);
        /* Negative: not on this processor. */
        rc = nr < 0 ? 0 : seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0);
    }
    return rc;
}

/* Where the argument of that index, through the mask, has the value. */
static int allow_masked(scmp_filter_ctx f, int nr, unsigned arg, scmp_datum_t mask,
                        scmp_datum_t value)
{
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 1,
                            SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, mask, value));
}

static int allow_some(scmp_filter_ctx f, const struct sandbox_conf *c)
{
    /* No new machine code, and none that can be written. */
    int rc = allow_masked(f, SCMP_SYS(mmap), 2, PROT_EXEC, 0);
    if (!rc)
        rc = allow_masked(f, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
    /* Threads, no processes. The arguments of clone3 are out of a filter's
     * sight; without it the C library uses clone. */
    if (!rc)
        rc = allow_masked(f, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);
    if (!rc)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (!rc)
        rc = allow_masked(f, SCMP_SYS(socket), 0, UINT64_MAX, AF_UNIX);
    /* Threads' names; and what a limit is, not to set one. */
    if (!rc)
        rc = allow_masked(f, SCMP_SYS(prctl), 0, UINT64_MAX, PR_SET_NAME);
    if (!rc)
        rc = allow_masked(f, SCMP_SYS(prlimit64), 2, UINT64_MAX, 0);
    /* Typing into a terminal that others use is no device driver's business. */
    if (!rc)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                              SCMP_A1_32(SCMP_CMP_NE, TIOCSTI, 0));
    if (rc || !c->connect)
        return rc;
    rc = allow_names(f, outward, sizeof outward / sizeof *outward);
    static const int family[] = { AF_INET, AF_INET6, AF_NETLINK };
    for (unsigned i = 0; i < sizeof family / sizeof *family && !rc; i++)
        rc = allow_masked(f, SCMP_SYS(socket), 0, UINT64_MAX, (scmp_datum_t)family[i]);
    return rc;
}

int sandbox_enter(const struct sandbox_conf *c, struct err *e)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!f)
        return err_set(e, ERR_NOMEM, "server.sandbox: no memory for the filter");
    int rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);          /* old kernels cannot */
    seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);     /* a tree, not a list */
    if (!rc)
        rc = allow_names(f, allowed, sizeof allowed / sizeof *allowed);
    if (!rc)
        rc = allow_some(f, c);
    if (!rc)
        rc = seccomp_load(f);
    seccomp_release(f);
    if (rc)
        return err_set(e, ERR_IO, "server.sandbox: the kernel does not take the filter: %s; "
                       "server.sandbox = no goes without", strerror(-rc));
    return 0;
}
