/* check_machine.c - what the machine and its limits are like. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <time.h>

#include "core/daemon/check.h"
#include "core/plug/cgroup.h"
#include "core/plug/isa.h"

#define MIB(n) ((unsigned long long)((n) >> 20))

void check_cpu(struct check *c)
{
    const struct topo *t = &c->d->plug->topo;
    char isa[256];
    isa_format(t->abi.isa, isa, sizeof isa);
    if (t->abi.n_workers > t->n_cores)
        check_warn(c, "plugins.threads = 0 takes one thread per core",
                   "%u compute threads on %u cores: they wait for each other", t->abi.n_workers,
                   t->n_cores);
    else
        check_ok(c, "%s, %u threads on %u cores, %s", t->cpu_name, t->abi.n_workers, t->n_cores,
                 isa);
}

void check_governor(struct check *c)
{
    char name[256];
    check_read(c, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", name);
    if (!strcmp(name, "powersave") || !strcmp(name, "conservative"))
        check_warn(c, "cpupower frequency-set -g performance",
                   "the frequency governor is %s: steps start on slow cores", name);
    else
        check_ok(c, "%s", *name ? name : "the kernel does not govern frequencies here");
}

void check_quota(struct check *c)
{
    char self[512], root[512];
    snprintf(self, sizeof self, "%s/proc/self/cgroup", c->root);
    snprintf(root, sizeof root, "%s/sys/fs/cgroup", c->root);
    const uint32_t quota = cgroup_cpus(self, root), n = c->d->plug->topo.abi.n_workers;
    if (quota && n > quota)
        check_warn(c, "plugins.threads = 0, or a larger CPUQuota=",
                   "the control group may use %u processors, and there are %u compute threads",
                   quota, n);
    else if (quota)
        check_ok(c, "the control group may use %u processors", quota);
    else
        check_ok(c, "no limit of processor time");
}

void check_memory(struct check *c)
{
    const uint64_t free_now = cgroup_memory(c->root);
    const uint64_t want = (uint64_t)c->d->conf.max_mem_mib << 20;
    if (free_now == UINT64_MAX)
        check_warn(c, "mount /proc", "how much memory is free cannot be read");
    else if (want > free_now)
        check_warn(c, "lower engine.max_mem_mib, or free memory",
                   "engine.max_mem_mib is %u, and %llu MiB are free", c->d->conf.max_mem_mib,
                   MIB(free_now));
    else
        check_ok(c, "%llu MiB are free", MIB(free_now));
}

void check_overcommit(struct check *c)
{
    char mode[256];
    check_read(c, "/proc/sys/vm/overcommit_memory", mode);
    if (!strcmp(mode, "2"))
        check_warn(c, "sysctl vm.overcommit_memory=0",
                   "the kernel never overcommits: reserved address space counts as memory");
    else
        check_ok(c, "vm.overcommit_memory = %s", *mode ? mode : "(unknown)");
}

static bool has_own_memory(const struct forward *f)
{
    return f->mem.n_place > 0;
}

/* bitnetd locks nothing; drivers of devices with memory of their own do. */
void check_memlock(struct check *c)
{
    struct rlimit r = { 0 };
    getrlimit(RLIMIT_MEMLOCK, &r);
    const bool tight = r.rlim_cur != RLIM_INFINITY && r.rlim_cur < (rlim_t)64 << 20;
    if (tight && has_own_memory(c->d->forward))
        check_warn(c, "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited",
                   "%llu MiB may be locked, and a device's driver may need more",
                   MIB((uint64_t)r.rlim_cur));
    else
        check_ok(c, "nothing in use needs more locked memory than is allowed");
}

void check_huge_pages(struct check *c)
{
    char mode[256];
    check_read(c, "/sys/kernel/mm/transparent_hugepage/enabled", mode);
    if (strstr(mode, "[never]"))
        check_warn(c, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
                   "transparent huge pages are off: large weights cost more address translation");
    else
        check_ok(c, "transparent huge pages: %s", *mode ? mode : "the kernel has none");
}

/* As serving.c raises the limit. */
void check_descriptors(struct check *c)
{
    struct rlimit r = { 0 };
    const unsigned want = c->d->conf.max_connections + SERVING_OWN_FILES;
    getrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_max < want)
        check_warn(c, "LimitNOFILE= in the unit, or a smaller server.max_connections",
                   "%llu files may be open, server.max_connections = %u needs %u",
                   (unsigned long long)r.rlim_max, c->d->conf.max_connections, want);
    else
        check_ok(c, "%llu may be open, %u are needed at most", (unsigned long long)r.rlim_max,
                 want);
}

void check_clock(struct check *c)
{
    enum { YEAR_2025 = 1735689600 };
    static const char *const quick[] = { "tsc", "arch_sys_counter", "kvm-clock",
                                         "hyperv_clocksource_tsc_page", "" };
    struct timex t = { .modes = 0 };
    char source[256];
    bool is_quick = false;
    check_read(c, "/sys/devices/system/clocksource/clocksource0/current_clocksource", source);
    for (unsigned i = 0; i < sizeof quick / sizeof *quick; i++)
        is_quick = is_quick || !strcmp(source, quick[i]);
    if (time(NULL) < YEAR_2025)
        check_warn(c, "start a time service, as systemd-timesyncd",
                   "the clock says it is before 2025: certificates and logs will be wrong");
    else if (!is_quick)
        check_warn(c, "clocksource=tsc on the kernel's command line, where the machine allows it",
                   "the clock source is %s: each look at the clock is a system call", source);
    else if (adjtimex(&t) == TIME_ERROR)
        check_warn(c, "start a time service, as systemd-timesyncd",
                   "the kernel does not take the clock for synchronised");
    else
        check_ok(c, "synchronised, source %s", *source ? source : "unknown");
}
