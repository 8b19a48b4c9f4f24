/* cgroup.c - walking the groups and reading their small files, of v2 and v1.
 *
 * A group is held to its own quota and to that of every group above it, so we
 * walk from our group up to the mount. Inside a container the listed path may
 * not exist under the mount: what is missing limits nothing, and the mount
 * itself is then the container's group.
 *
 * A group's own memory figure counts cached file pages as used; those that the
 * kernel calls inactive are given back on demand, so they count as free. */
#include "core/plug/cgroup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

#define SMALL_FILE ((size_t)64 << 10)

/* Visits the directory of a group; v2 says which files to look for there. It may
 * not exist. */
typedef void cgroup_visit(void *ctx, const char *dir, bool v2);

static uint32_t quota_cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    const long long cpus = quota / period + (quota % period != 0);
    return cpus > UINT32_MAX ? 0 : (uint32_t)cpus;
}

static void read_number(const char *dir, const char *name, long long *v)
{
    char path[PATH_MAX], *text;
    size_t n;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path ||
        file_read(path, SMALL_FILE, &text, &n, NULL))
        return;
    *v = strtoll(text, NULL, 10);
    free(text);
}

static uint32_t group_v2(const char *dir)
{
    char path[PATH_MAX], *text;
    size_t n;
    long long quota = 0, period = 0;
    if (snprintf(path, sizeof path, "%s/cpu.max", dir) >= (int)sizeof path ||
        file_read(path, SMALL_FILE, &text, &n, NULL))
        return 0;
    const int got = sscanf(text, "%lld %lld", &quota, &period);   /* "max 100000" matches nothing */
    free(text);
    return got == 2 ? quota_cpus(quota, period) : 0;
}

static uint32_t group_v1(const char *dir)
{
    long long quota = 0, period = 0;
    read_number(dir, "cpu.cfs_quota_us", &quota);
    read_number(dir, "cpu.cfs_period_us", &period);
    return quota_cpus(quota, period);
}

/* From mount/path up to mount. */
static void walk_up(const char *mount, const char *path, bool v2, cgroup_visit *visit, void *ctx)
{
    char dir[PATH_MAX];
    const size_t stem = strlen(mount);
    if (snprintf(dir, sizeof dir, "%s%s", mount, path) >= (int)sizeof dir)
        return;
    for (;;) {
        visit(ctx, dir, v2);
        char *slash = strrchr(dir + stem, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

/* Whether the comma-separated list has the controller. */
static bool has(const char *list, const char *controller)
{
    const size_t n = strlen(controller);
    for (; *list; list += strcspn(list, ",") + (strchr(list, ',') != NULL))
        if (strcspn(list, ",") == n && !memcmp(list, controller, n))
            return true;
    return false;
}

/* "number:controllers:path"; v2 has no controllers. */
static void visit_line(const char *line, const char *root, const char *controller,
                       cgroup_visit *visit, void *ctx)
{
    char list[128], path[PATH_MAX / 2], mount[PATH_MAX / 2];
    const char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
    if (!second || (size_t)(second - first) > sizeof list || strlen(second + 1) >= sizeof path ||
        strlen(root) + sizeof list + 1 >= sizeof mount)
        return;
    memcpy(list, first + 1, (size_t)(second - first - 1));
    list[second - first - 1] = 0;
    memcpy(path, second + 1, strlen(second + 1) + 1);
    if (!list[0]) {
        walk_up(root, path, true, visit, ctx);
        snprintf(mount, sizeof mount, "%s/unified", root);
        walk_up(mount, path, true, visit, ctx);
    } else if (has(list, controller)) {
        snprintf(mount, sizeof mount, "%s/%s", root, list);
        walk_up(mount, path, false, visit, ctx);
    }
}

/* Every group that accounts this process for controller ("cpu", "memory"), from
 * its own up to the mount. self is the list of its groups ("/proc/self/cgroup"),
 * root where the hierarchies are mounted ("/sys/fs/cgroup"). */
static void each_group(const char *self, const char *root, const char *controller,
                       cgroup_visit *visit, void *ctx)
{
    char *text, *rest = NULL;
    size_t n;
    if (file_read(self, SMALL_FILE, &text, &n, NULL))
        return;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        visit_line(line, root, controller, visit, ctx);
    free(text);
}

static void least_cpus(void *ctx, const char *dir, bool v2)
{
    uint32_t *least = ctx;
    const uint32_t cpus = v2 ? group_v2(dir) : group_v1(dir);
    if (cpus && (!*least || cpus < *least))
        *least = cpus;
}

uint32_t cgroup_cpus(const char *self, const char *root)
{
    uint32_t least = 0;
    each_group(self, root, "cpu", least_cpus, &least);
    return least;
}

/* The number behind the line that starts with key ("" for the first line);
 * false when there is none (also for "max"). */
static bool number_at(const char *path, const char *key, uint64_t *v)
{
    char *text;
    size_t n, key_n = strlen(key);
    if (file_read(path, 1 << 20, &text, &n, NULL))
        return false;
    const char *line = text;
    while (line && strncmp(line, key, key_n)) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    bool found = line && sscanf(line + key_n, "%" SCNu64, v) == 1;
    free(text);
    return found;
}

struct cgroup_files {
    const char *limit, *used, *inactive;
};

static const struct cgroup_files v1 = {
    "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "
};
static const struct cgroup_files v2 = { "memory.max", "memory.current", "inactive_file " };

/* What the group in directory dir leaves to its members, if that is less. */
static void least_room(void *ctx, const char *dir, bool two)
{
    uint64_t *room = ctx, limit, used, inactive;
    const struct cgroup_files *f = two ? &v2 : &v1;
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, f->limit) >= (int)sizeof path ||
        !number_at(path, "", &limit))
        return;
    if (snprintf(path, sizeof path, "%s/%s", dir, f->used) >= (int)sizeof path ||
        !number_at(path, "", &used))
        return;
    if (snprintf(path, sizeof path, "%s/memory.stat", dir) < (int)sizeof path &&
        number_at(path, f->inactive, &inactive))
        used = used > inactive ? used - inactive : 0;
    const uint64_t here = limit > used ? limit - used : 0;
    *room = here < *room ? here : *room;
}

uint64_t cgroup_memory(const char *root)
{
    char path[PATH_MAX / 2], mount[PATH_MAX / 2];
    uint64_t kib, room = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
    each_group(path, mount, "memory", least_room, &room);
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (number_at(path, "MemAvailable:", &kib) && kib <= UINT64_MAX / 1024 && kib * 1024 < room)
        room = kib * 1024;
    return room;
}
