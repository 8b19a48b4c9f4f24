/* cgroup.h - what a container may use: its groups, processor time and memory. */
#ifndef BITNET_PLUG_CGROUP_H
#define BITNET_PLUG_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Calls visit with the directory of every group that accounts this process
 * for controller ("cpu", "memory"), from its own up to the mount; v2 says
 * which files to look for there. A directory may not exist. self is the list
 * of its groups ("/proc/self/cgroup"), root where the hierarchies are mounted
 * ("/sys/fs/cgroup"). */
typedef void cgroup_visit(void *ctx, const char *dir, bool v2);
void cgroup_each(const char *self, const char *root, const char *controller, cgroup_visit *visit,
                 void *ctx);

/* The tightest CPU quota of this process, whole processors rounded up; 0: no
 * limit. */
uint32_t cgroup_cpus(const char *self, const char *root);

/* Bytes that this process may still use: MemAvailable, less where a memory
 * cgroup (v2, v1) that holds it or one above leaves less. root stands before
 * "/proc" and "/sys"; "" is this machine. UINT64_MAX when nothing could be
 * read. */
uint64_t cgroup_memory(const char *root);

#endif
