/* memplan.c - reads the kernel's small text files and adds up.
 *
 * A cgroup's own figure counts cached file pages as used; those that the
 * kernel calls inactive are given back on demand, so they count as free. */
#include "core/engine/memplan.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/engine/forward.h"
#include "core/plug/cgroup.h"

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

uint64_t memplan_available(const char *root)
{
    char path[PATH_MAX / 2], mount[PATH_MAX / 2];
    uint64_t kib, room = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
    cgroup_each(path, mount, "memory", least_room, &room);
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
