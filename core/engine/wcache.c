/* wcache.c - see wcache.h.
 *
 * A file is the storage, zeros that may be read past its end, the hashes of its
 * chunks, and 64 bytes that say what it is. The storage comes first for huge pages
 * of the file to be huge pages of the map. Kept storages are hashed in one list, by
 * all workers, so that many small matrices keep them busy like a large one. XXH3
 * finds damage; it is no defence against somebody who may write the folder. */
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/log.h"
#include "core/base/xxh.h"
#include "core/engine/workmem.h"

#define MAGIC  UINT64_C(0x3277746e74696200)        /* "\0bitntw2" */
#define CHUNK  ((uint64_t)4 << 20)                 /* bytes                    */
#define SUFFIX ".bnw"

struct head {                     /* little-endian, as the machines we run on  */
    uint64_t magic, layout_id, size, n_chunk;
    XXH128_hash_t key, chunks;    /* chunks: hash of the hashes before         */
};
_Static_assert(sizeof(struct head) == 64, "the head is 64 bytes without padding");

struct path {
    char at[PATH_MAX + 64];
};

/* What is known of a weight while its file is looked for. */
struct entry {
    XXH128_hash_t key;
    bool has_key;
    XXH64_hash_t *want;           /* [n_chunk] hashes of its file              */
    size_t first;                 /* its pieces                                */
    int fd;                       /* read into the storage; -1: not            */
};

struct wcache {
    struct plug *plug;
    char dir[PATH_MAX];
    uint64_t max_size, used;      /* bytes of all files                        */
    unsigned n_hit, n_made, n_bad;
    struct path bad;              /* the first that was                        */
    bool stopped;                 /* keeping failed once                       */
    const struct weight *w;       /* those that were looked for, and what is   */
    struct entry *entry;          /* known of each, [n]                        */
    uint32_t n;
};

/* ---------------------------------------------------------------- hashing */

struct piece {                    /* a chunk of memory, perhaps from a file    */
    uint8_t *p;
    uint64_t n, at;               /* at: in the file                           */
    int fd;                       /* -1: p is filled already                   */
    XXH64_hash_t hash;
    bool failed;
};

struct pieces {
    struct piece *piece;
    size_t n, room;
};

static uint64_t n_chunk(uint64_t size)
{
    return (size + CHUNK - 1) / CHUNK;
}

static void add_pieces(struct pieces *l, uint8_t *p, uint64_t size, int fd)
{
    for (uint64_t at = 0; at < size; at += CHUNK)
        l->piece[l->n++] = (struct piece){ .p = p + at, .at = at, .fd = fd,
                                           .n = size - at < CHUNK ? size - at : CHUNK };
}

static void do_piece(void *arg, uint32_t task, uint32_t worker)
{
    struct piece *c = &((struct piece *)arg)[task];
    (void)worker;
    c->failed = c->fd >= 0 && !file_read_at(c->fd, c->p, c->n, c->at);
    c->hash = c->failed ? 0 : XXH3_64bits(c->p, c->n);
}

/* Storage is touched first by the worker that will read it. */
static void hash_all(struct wcache *c, struct pieces *l)
{
    workers_run(c->plug->workers, (uint32_t)l->n, BNP_PAR_STATIC, do_piece, l->piece);
}

/* Everything that the prepared bytes depend on; sum has the n sums of its tensor. */
static bool key_of(const struct weight *w, const uint64_t *sum, uint64_t n, XXH128_hash_t *key)
{
    const struct gguf_tensor *t = w->src->t;
    const uint32_t desc[] = { w->desc.format, w->desc.scale_kind, w->desc.flags, w->desc.rows,
                              w->desc.cols, w->desc.block_cols, t->type,
                              (uint32_t)w->src->layout, w->src->tiles.rows, w->src->tiles.cols,
                              w->src->tiles.step, t->head_rows };
    const float scale[] = { w->src->scale, w->src->extra_scale };
    const uint64_t layout[] = { w->layout.layout_id, w->layout.size, t->size };
    const char *id = w->dev->plugin->note.raw.id;
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return false;
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, sum, n * sizeof *sum);
    XXH3_128bits_update(state, desc, sizeof desc);
    XXH3_128bits_update(state, scale, sizeof scale);
    XXH3_128bits_update(state, layout, sizeof layout);
    XXH3_128bits_update(state, id, strlen(id) + 1);
    *key = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    return true;
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

/* Storage and what may be read behind it. */
static uint64_t room_of(uint64_t size)
{
    return (size + 63) / 64 * 64 + BNP_SLACK;
}

static bool cacheable(const struct weight *w)
{
    const struct bnp_linear_ops *ops = w->dev->linear;
    return !w->handle && w->layout.layout_id && (ops->adopt || ops->adopt_rows) &&
           !workmem_private(w->dev);
}

/* Pages of a file lie on whatever node read it first, and begin where a page
 * does: otherwise it is read into memory that workers touch first. */
static bool may_map(const struct wcache *c, const struct weight *w)
{
    return c->plug->topo.abi.n_numa <= 1 &&
           w->layout.align <= (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What plugins may do with storage, they may do: their writes stay with us. */
static bool map_file(struct weight *w, int fd, uint64_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return false;
    w->kept = (struct file_map){ p, size, -1 };
    w->storage = (bnp_span){ p, 0, w->layout.size };
    return true;
}

/* The end of a file says what the rest must be. */
static bool read_end(int fd, const struct weight *w, struct entry *at)
{
    const uint64_t size = w->layout.size, n = n_chunk(size), hashes = n * sizeof *at->want;
    struct head h;
    if (!trusted(fd, room_of(size) + hashes + sizeof h) ||
        !file_read_at(fd, &h, sizeof h, room_of(size) + hashes) || h.magic != MAGIC ||
        h.layout_id != w->layout.layout_id || h.size != size || h.n_chunk != n ||
        !same(&h.key, &at->key, sizeof h.key) || !(at->want = calloc(n, sizeof *at->want)) ||
        !file_read_at(fd, at->want, hashes, room_of(size)))
        return false;
    const XXH128_hash_t all = XXH3_128bits(at->want, hashes);
    return same(&all, &h.chunks, sizeof all);
}

static void drop_storage(struct wcache *c, struct weight *w)
{
    if (w->kept.p) {
        file_unmap(&w->kept);
        w->storage = (bnp_span){ 0 };
    } else {
        workmem_put(c->plug, w->dev, &w->storage);
    }
}

static void remove_bad(struct wcache *c, const struct entry *at)
{
    const struct path p = path_of(c, at->key);
    (void)unlink(p.at);
    if (!c->n_bad++)
        c->bad = p;
}

/* Opens w's file, if there is a good one as far as its end tells, and lists the
 * pieces of its storage. */
static void open_file(struct wcache *c, struct weight *w, struct entry *at, struct pieces *l)
{
    const struct path p = path_of(c, at->key);
    const int fd = open(p.at, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct err none = { 0 };
    if (fd < 0)
        return;
    if (!read_end(fd, w, at)) {
        close(fd);
        remove_bad(c, at);
        return;
    }
    const bool map = may_map(c, w);
    w->found = map ? map_file(w, fd, room_of(w->layout.size))
                   : !workmem_get(c->plug, w->dev, BNP_MEM_WEIGHT, w->layout.size, w->layout.align,
                                  w->name, &w->storage, &none);
    (void)futimens(fd, NULL);                 /* used now: the last to make room */
    at->first = l->n;
    at->fd = w->found && !map ? fd : -1;
    if (at->fd < 0)
        close(fd);
    if (w->found)
        add_pieces(l, (uint8_t *)w->storage.base + w->storage.offset, w->layout.size, at->fd);
}

static bool as_kept(const struct weight *w, const struct entry *at, const struct pieces *l)
{
    for (uint64_t i = 0; i < n_chunk(w->layout.size); i++)
        if (l->piece[at->first + i].failed || l->piece[at->first + i].hash != at->want[i])
            return false;
    return true;
}

static void help(void *sums, uint32_t task, uint32_t worker)
{
    (void)task, (void)worker;
    sums_help(sums);
}

static void find_keys(struct wcache *c, struct sums *sums, const struct weight *w)
{
    workers_run(c->plug->workers, c->plug->topo.abi.n_workers, 0, help, sums);
    sums_finish(sums);
    for (uint32_t i = 0; i < c->n; i++) {
        uint64_t n;
        const uint64_t *sum = cacheable(&w[i]) ? sums_of(sums, w[i].src->t, &n) : NULL;
        c->entry[i].has_key = sum && key_of(&w[i], sum, n, &c->entry[i].key);
    }
}

static void find_files(struct wcache *c, struct weight *w, struct pieces *l)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (c->entry[i].has_key)
            open_file(c, &w[i], &c->entry[i], l);
    hash_all(c, l);
    for (uint32_t i = 0; i < c->n; i++) {
        struct entry *at = &c->entry[i];
        if (at->fd >= 0)
            close(at->fd);
        at->fd = -1;
        if (w[i].found && !as_kept(&w[i], at, l))
            wcache_refuse(c, &w[i]);
        c->n_hit += w[i].found;
        free(at->want);
        at->want = NULL;
    }
}

static bool room_for(const struct wcache *c, const struct weight *w, struct pieces *l)
{
    *l = (struct pieces){ 0 };
    for (uint32_t i = 0; i < c->n; i++)
        l->room += n_chunk(w[i].layout.size);
    if (l->room >= UINT32_MAX)
        return false;
    l->piece = calloc(l->room + 1, sizeof *l->piece);
    return l->piece != NULL;
}

void wcache_find(struct wcache *c, struct sums *sums, struct weight *w, uint32_t n)
{
    struct pieces l;
    free(c->entry);
    c->w = w;
    c->n = n;
    c->entry = calloc((size_t)n + 1, sizeof *c->entry);
    if (!c->entry || !sums || !room_for(c, w, &l)) {
        c->n = 0;                             /* nothing is found, nothing kept */
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        c->entry[i].fd = -1;
        w[i].found = false;
    }
    find_keys(c, sums, w);
    find_files(c, w, &l);
    free(l.piece);
}

void wcache_refuse(struct wcache *c, struct weight *w)
{
    w->found = false;
    drop_storage(c, w);
    remove_bad(c, &c->entry[w - c->w]);
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

static int write_file(struct wcache *c, const struct weight *w, XXH128_hash_t key,
                      struct pieces *l, XXH64_hash_t *hash, struct err *e)
{
    static const uint8_t zeros[64 + BNP_SLACK];
    const uint64_t size = w->layout.size, n = n_chunk(size), hashes = n * sizeof *hash;
    const struct path p = path_of(c, key);
    uint8_t *storage = (uint8_t *)w->storage.base + w->storage.offset;
    struct file_out out;
    add_pieces(l, storage, size, -1);
    hash_all(c, l);
    for (uint64_t i = 0; i < n; i++)
        hash[i] = l->piece[i].hash;
    const struct head h = { .magic = MAGIC, .layout_id = w->layout.layout_id, .size = size,
                            .n_chunk = n, .key = key, .chunks = XXH3_128bits(hash, hashes) };
    make_room(c, room_of(size) + hashes + sizeof h);
    int rc = file_out_open(&out, p.at, e);
    if (rc)
        return rc;
    out.lazy = true;
    if ((rc = file_out_write(&out, storage, size, e)) ||
        (rc = file_out_write(&out, zeros, room_of(size) - size, e)) ||
        (rc = file_out_write(&out, hash, hashes, e)) ||
        (rc = file_out_write(&out, &h, sizeof h, e))) {
        file_out_abort(&out);
        return rc;
    }
    c->used += room_of(size) + hashes + sizeof h;
    return file_out_commit(&out, e);
}

void wcache_keep(struct wcache *c, const struct weight *w)
{
    struct err e = { 0 };
    const struct entry *at = w >= c->w && w < c->w + c->n ? &c->entry[w - c->w] : NULL;
    if (c->stopped || !at || !at->has_key)
        return;
    const uint64_t n = n_chunk(w->layout.size);
    struct pieces l = { .piece = calloc(n, sizeof *l.piece), .room = n };
    XXH64_hash_t *hash = calloc(n, sizeof *hash);
    const int rc = l.piece && hash ? write_file(c, w, at->key, &l, hash, &e)
                                   : err_set(&e, ERR_NOMEM, "%s: no memory for its hashes", w->name);
    free(l.piece);
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
    free(c->entry);
    free(c);
}
