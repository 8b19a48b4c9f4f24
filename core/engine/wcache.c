/* wcache.c - see wcache.h.
 *
 * A file is a header of 64 bytes, the hashes of its chunks, then the storage.
 * Chunks are read and hashed by all workers, each its own share, so that the
 * pages land where the worker is that will multiply with them. XXH3 finds
 * damage; it is no defence against somebody who may write the folder. */
#include "core/engine/wcache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "core/base/file.h"
#include "core/base/log.h"
#include "core/engine/workmem.h"

#define MAGIC  UINT64_C(0x3177746e74696200)        /* "\0bitntw1" */
#define CHUNK  ((uint64_t)4 << 20)                 /* bytes                    */
#define SUFFIX ".bnw"

struct head {                     /* little-endian, as the machines we run on  */
    uint64_t magic, layout_id, size, n_chunk;
    XXH128_hash_t key, chunks;    /* chunks: hash of the hashes that follow    */
};
_Static_assert(sizeof(struct head) == 64, "the header is 64 bytes without padding");

struct path {
    char at[PATH_MAX + 64];
};

struct wcache {
    struct plug *plug;
    char dir[PATH_MAX];
    uint64_t max_size, used;      /* bytes of all files                        */
    unsigned n_hit, n_made, n_bad;
    struct path bad;              /* the first that was                        */
    bool stopped;                 /* keeping failed once                       */
    const struct weight *asked;   /* the last that wcache_load saw, and its key */
    XXH128_hash_t key;
};

/* ---------------------------------------------------------------- hashing */

struct job {                      /* chunks of memory, perhaps from a file     */
    uint8_t *p;
    uint64_t size;
    int fd;                       /* -1: p is filled already                   */
    uint64_t offset;              /* of chunk 0 in the file                    */
    XXH64_hash_t *hash;           /* [n_chunk]                                 */
    _Atomic(bool) failed;
};

static uint64_t n_chunk(uint64_t size)
{
    return (size + CHUNK - 1) / CHUNK;
}

static bool read_all(int fd, uint8_t *p, uint64_t n, uint64_t at)
{
    while (n) {
        const ssize_t got = pread(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

static void do_chunk(void *arg, uint32_t task, uint32_t worker)
{
    struct job *j = arg;
    const uint64_t from = task * CHUNK, left = j->size - from, n = left < CHUNK ? left : CHUNK;
    (void)worker;
    if (j->fd >= 0 && !read_all(j->fd, j->p + from, n, j->offset + from)) {
        atomic_store(&j->failed, true);
        return;
    }
    j->hash[task] = XXH3_64bits(j->p + from, n);
}

static bool run(struct wcache *c, struct job *j)
{
    atomic_init(&j->failed, false);
    workers_run(c->plug->workers, (uint32_t)n_chunk(j->size), BNP_PAR_STATIC, do_chunk, j);
    return !atomic_load(&j->failed);
}

/* Everything that the prepared bytes depend on. */
static bool key_of(struct wcache *c, const struct weight *w, XXH128_hash_t *key)
{
    const struct gguf_tensor *t = w->src->t;
    struct job j = { .p = (uint8_t *)(uintptr_t)t->data, .size = t->size, .fd = -1 };
    XXH3_state_t *state = XXH3_createState();
    j.hash = calloc(n_chunk(t->size) + 1, sizeof *j.hash);
    const bool ok = state && j.hash && run(c, &j);
    if (ok) {
        const uint32_t desc[] = { w->desc.format, w->desc.scale_kind, w->desc.flags, w->desc.rows,
                                  w->desc.cols, w->desc.block_cols, t->type,
                                  (uint32_t)w->src->layout };
        const float scale[] = { w->src->scale, w->src->extra_scale };
        const uint64_t layout[] = { w->layout.layout_id, w->layout.size, t->size };
        const char *id = w->dev->plugin->note.raw.id;
        XXH3_128bits_reset(state);
        XXH3_128bits_update(state, j.hash, n_chunk(t->size) * sizeof *j.hash);
        XXH3_128bits_update(state, desc, sizeof desc);
        XXH3_128bits_update(state, scale, sizeof scale);
        XXH3_128bits_update(state, layout, sizeof layout);
        XXH3_128bits_update(state, id, strlen(id) + 1);
        *key = XXH3_128bits_digest(state);
    }
    free(j.hash);
    XXH3_freeState(state);
    return ok;
}

static struct path path_of(const struct wcache *c, XXH128_hash_t key)
{
    struct path p;
    snprintf(p.at, sizeof p.at, "%s/%016" PRIx64 "%016" PRIx64 SUFFIX, c->dir, key.high64,
             key.low64);
    return p;
}

/* ------------------------------------------------------------------- load */

/* A regular file of root's or this user's that nobody else may write. */
static bool trusted(int fd, uint64_t size)
{
    struct stat st;
    return !fstat(fd, &st) && S_ISREG(st.st_mode) && !(st.st_mode & 022) &&
           (st.st_uid == 0 || st.st_uid == geteuid()) && (uint64_t)st.st_size == size;
}

static bool same(const void *a, const void *b, size_t n)
{
    return !memcmp(a, b, n);
}

static bool read_file(struct wcache *c, int fd, const struct weight *w)
{
    const uint64_t size = w->layout.size, n = n_chunk(size), hashes = n * sizeof(XXH64_hash_t);
    struct head h;
    XXH64_hash_t *want = calloc(n + 1, sizeof *want), *got = calloc(n + 1, sizeof *got);
    bool ok = want && got && trusted(fd, sizeof h + hashes + size) &&
              read_all(fd, (uint8_t *)&h, sizeof h, 0) && h.magic == MAGIC &&
              h.layout_id == w->layout.layout_id && h.size == size && h.n_chunk == n &&
              same(&h.key, &c->key, sizeof h.key) &&
              read_all(fd, (uint8_t *)want, hashes, sizeof h);
    if (ok) {
        const XXH128_hash_t all = XXH3_128bits(want, hashes);
        struct job j = { .p = (uint8_t *)w->storage.base + w->storage.offset, .size = size,
                         .fd = fd, .offset = sizeof h + hashes, .hash = got };
        ok = same(&all, &h.chunks, sizeof all) && run(c, &j) && same(got, want, hashes);
    }
    free(want);
    free(got);
    return ok;
}

static bool cacheable(const struct weight *w)
{
    return w->layout.layout_id && !workmem_private(w->dev) && w->dev->linear->adopt &&
           n_chunk(w->layout.size) < UINT32_MAX && n_chunk(w->src->t->size) < UINT32_MAX;
}

bool wcache_load(struct wcache *c, const struct weight *w)
{
    c->asked = NULL;
    if (!cacheable(w) || !key_of(c, w, &c->key))
        return false;
    c->asked = w;
    const struct path p = path_of(c, c->key);
    const int fd = open(p.at, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    const bool ok = read_file(c, fd, w);
    if (ok)
        (void)futimens(fd, NULL);             /* used now: the last to make room */
    close(fd);
    if (!ok) {
        (void)unlink(p.at);
        if (!c->n_bad++)
            c->bad = p;
        return false;
    }
    c->n_hit++;
    return true;
}

/* ------------------------------------------------------------------- keep */

struct old {
    struct path path;
    struct timespec used;
    uint64_t size;
};

/* The least recently used file; false when there is none. Adds up all sizes. */
static bool find_oldest(struct wcache *c, struct old *oldest)
{
    DIR *dir = opendir(c->dir);
    bool any = false;
    c->used = 0;
    for (struct dirent *d; dir && (d = readdir(dir));) {
        struct old o;
        struct stat st;
        const size_t n = strlen(d->d_name), suffix = strlen(SUFFIX);
        if (n < suffix || strcmp(d->d_name + n - suffix, SUFFIX))
            continue;
        snprintf(o.path.at, sizeof o.path.at, "%.*s/%.60s", PATH_MAX - 1, c->dir, d->d_name);
        if (lstat(o.path.at, &st) || !S_ISREG(st.st_mode))
            continue;
        o.used = st.st_mtim;
        o.size = (uint64_t)st.st_size;
        c->used += o.size;
        if (!any || o.used.tv_sec < oldest->used.tv_sec ||
            (o.used.tv_sec == oldest->used.tv_sec && o.used.tv_nsec < oldest->used.tv_nsec))
            *oldest = o;
        any = true;
    }
    if (dir)
        closedir(dir);
    return any;
}

static void make_room(struct wcache *c, uint64_t size)
{
    struct old oldest;
    while (c->used + size > c->max_size && find_oldest(c, &oldest) &&
           c->used + size > c->max_size) {
        if (unlink(oldest.path.at))
            return;
        c->used -= oldest.size;
    }
}

static int write_file(struct wcache *c, const struct weight *w, XXH64_hash_t *hash, struct err *e)
{
    const uint64_t size = w->layout.size, n = n_chunk(size), hashes = n * sizeof *hash;
    const struct path p = path_of(c, c->key);
    struct job j = { .p = (uint8_t *)w->storage.base + w->storage.offset, .size = size, .fd = -1,
                     .hash = hash };
    struct file_out out;
    (void)run(c, &j);                         /* nothing to read: cannot fail */
    const struct head h = { .magic = MAGIC, .layout_id = w->layout.layout_id, .size = size,
                            .n_chunk = n, .key = c->key, .chunks = XXH3_128bits(hash, hashes) };
    make_room(c, sizeof h + hashes + size);
    int rc = file_out_open(&out, p.at, e);
    if (rc)
        return rc;
    out.lazy = true;
    if ((rc = file_out_write(&out, &h, sizeof h, e)) ||
        (rc = file_out_write(&out, hash, hashes, e)) || (rc = file_out_write(&out, j.p, size, e))) {
        file_out_abort(&out);
        return rc;
    }
    c->used += sizeof h + hashes + size;
    return file_out_commit(&out, e);
}

void wcache_keep(struct wcache *c, const struct weight *w)
{
    struct err e = { 0 };
    if (c->stopped || c->asked != w)
        return;
    XXH64_hash_t *hash = calloc(n_chunk(w->layout.size) + 1, sizeof *hash);
    const int rc = hash ? write_file(c, w, hash, &e)
                        : err_set(&e, ERR_NOMEM, "%s: no memory for its hashes", w->name);
    free(hash);
    if (rc) {
        log_warn("prepared weights are not kept for the next start: %s", e.text);
        c->stopped = true;
        return;
    }
    c->n_made++;
}

/* ---------------------------------------------------------- open and close */

int wcache_open(struct wcache **out, struct plug *plug, const char *dir, uint64_t max_size,
                uint64_t need_size, struct err *e)
{
    struct old oldest;
    struct stat st;
    *out = NULL;
    if (need_size > max_size)
        return err_set(e, ERR_LIMIT, "prepared weights of %" PRIu64 " MiB are not kept: "
                       "plugins.weight_cache_mib allows %" PRIu64, need_size >> 20, max_size >> 20);
    if (mkdir(dir, 0700) && errno != EEXIST)
        return err_set(e, ERR_IO, "%s: cannot be made: %s", dir, strerror(errno));
    if (stat(dir, &st) || !S_ISDIR(st.st_mode) || (st.st_mode & 022) ||
        (st.st_uid && st.st_uid != geteuid()))
        return err_set(e, ERR_IO, "%s: not a folder that only its owner may write", dir);
    struct wcache *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "prepared weights: no memory");
    c->plug = plug;
    c->max_size = max_size;
    snprintf(c->dir, sizeof c->dir, "%s", dir);
    (void)find_oldest(c, &oldest);
    *out = c;
    return 0;
}

void wcache_close(struct wcache *c)
{
    if (!c)
        return;
    if (c->n_bad)
        log_warn("prepared weights: %u files damaged or not of this user, such as %s: removed, and "
                 "made again", c->n_bad, c->bad.at);
    log_info("prepared weights: %u from %s, %u kept there now", c->n_hit, c->dir, c->n_made);
    free(c);
}
