/* cgroup.c - walking the groups; reading cpu.max (v2) and cpu.cfs_quota_us (v1).
 *
 * A group is held to its own quota and to that of every group above it, so we
 * walk from our group up to the mount. Inside a container the listed path may
 * not exist under the mount: what is missing limits nothing, and the mount
 * itself is then the container's group. */
#include "core/plug/cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

#define SMALL_FILE ((size_t)64 << 10)

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

void cgroup_each(const char *self, const char *root, const char *controller, cgroup_visit *visit,
                 void *ctx)
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
    cgroup_each(self, root, "cpu", least_cpus, &least);
    return least;
}
