/* cgroup.h - what a container may use: its groups, processor time and memory. */
#ifndef BITNET_PLUG_CGROUP_H
#define BITNET_PLUG_CGROUP_H

#include <stdint.h>

/* The tightest CPU quota of this process, whole processors rounded up; 0: no
 * limit. self is the list of its groups ("/proc/self/cgroup"), root where the
 * hierarchies are mounted ("/sys/fs/cgroup"). */
uint32_t cgroup_cpus(const char *self, const char *root);

/* Bytes that this process may still use: MemAvailable, less where a memory
 * cgroup (v2, v1) that holds it or one above leaves less. root stands before
 * "/proc" and "/sys"; "" is this machine. UINT64_MAX when nothing could be
 * read. */
uint64_t cgroup_memory(const char *root);

#endif
