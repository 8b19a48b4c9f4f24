/* cgroup.h - how many processors' worth of time a container may use. */
#ifndef BITNET_PLUG_CGROUP_H
#define BITNET_PLUG_CGROUP_H

#include <stdint.h>

/* The tightest CPU quota of this process, whole processors rounded up; 0: no
 * limit. self is the list of its groups ("/proc/self/cgroup"), root where the
 * hierarchies are mounted ("/sys/fs/cgroup"). */
uint32_t cgroup_cpus(const char *self, const char *root);

#endif
