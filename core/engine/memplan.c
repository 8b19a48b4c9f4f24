/* memplan.c - reads the kernel's small text files and adds up.
 *
 * A cgroup's own figure counts cached file pages as used; those that the
 * kernel calls inactive are given back on demand, so they count as free. */
#include "core/engine/memplan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/engine/forward.h"

#define MIB 1048576.0

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

/* What the group in directory dir leaves to its members. */
static uint64_t group_room(const char *dir, const struct cgroup_files *f)
{
    char path[4096 + 64];
    uint64_t limit, used, inactive = 0;
    snprintf(path, sizeof path, "%s/%s", dir, f->limit);
    if (!number_at(path, "", &limit))
        return UINT64_MAX;
    snprintf(path, sizeof path, "%s/%s", dir, f->used);
    if (!number_at(path, "", &used))
        return UINT64_MAX;
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    if (number_at(path, f->inactive, &inactive))
        used = used > inactive ? used - inactive : 0;
    return limit > used ? limit - used : 0;
}

/* The group and all above it, up to the mount. */
static uint64_t path_room(const char *mount, const char *group, const struct cgroup_files *f)
{
    char dir[4096];
    int n = snprintf(dir, sizeof dir, "%s%s", mount, group);
    size_t stop = strlen(mount);
    uint64_t room = UINT64_MAX;
    if (n < 0 || (size_t)n >= sizeof dir)
        return room;
    for (;;) {
        uint64_t here = group_room(dir, f);
        room = here < room ? here : room;
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < stop)
            return room;
        *slash = 0;
    }
}

/* A line of /proc/self/cgroup is "number:controllers:path"; v2 has none in
 * the middle. */
static uint64_t cgroup_room(const char *root)
{
    char path[4096], mount[4096];
    char *text;
    size_t n;
    uint64_t room = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (file_read(path, 1 << 20, &text, &n, NULL))
        return room;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        bool two = controllers[1] == 0;
        if (!two && !strstr(controllers, "memory"))
            continue;
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root, two ? "" : "/memory");
        uint64_t here = path_room(mount, group, two ? &v2 : &v1);
        room = here < room ? here : room;
    }
    free(text);
    return room;
}

uint64_t memplan_available(const char *root)
{
    char path[4096];
    uint64_t kib, room = cgroup_room(root);
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (number_at(path, "MemAvailable:", &kib) && kib <= UINT64_MAX / 1024 && kib * 1024 < room)
        room = kib * 1024;
    return room;
}

static uint64_t add(uint64_t a, uint64_t b)              /* sticks at the top */
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

int memplan_check(struct mem_plan *m, bool fixed, struct err *err)
{
    m->total = add(add(m->weights, m->kv), add(m->work, m->rope));
    if (m->total <= m->limit)
        return 0;
    const char *advice =
        m->weights > m->limit ? "the weights alone do not fit: use a smaller model" :
        m->work > m->limit - m->weights ? "lower engine.row_budget" :
        m->kv > m->rope ? "lower engine.kv_tok, or engine.n_ctx" : "lower engine.n_ctx";
    return err_set(err, ERR_LIMIT, "memory: %.1f MiB needed (weights %.1f, KV %.1f, work %.1f, "
                   "rope %.1f), %.1f MiB %s: %s%s",
                   (double)m->total / MIB, (double)m->weights / MIB, (double)m->kv / MIB,
                   (double)m->work / MIB, (double)m->rope / MIB, (double)m->limit / MIB,
                   fixed ? "allowed by engine.max_mem_mib" : "available", advice,
                   fixed ? ", or raise engine.max_mem_mib" : "");
}

void memplan_print(const struct mem_plan *m, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t size;
    } row[] = {
        { "weights", m->weights }, { "KV cache", m->kv }, { "work", m->work },
        { "rope table", m->rope }, { "total", m->total }, { "limit", m->limit }
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        buf_addf(out, "%-10s %12.1f MiB\n", row[i].name, (double)row[i].size / MIB);
}
