/* cache.c - see cache.h.
 *
 * The file's name is a hash of everything that the binary depends on. Inside: a
 * head with length and checksum, the group sizes, the binary (or none: the driver
 * keeps its own). It is machine code that a driver will run: only a file that is
 * ours and that nobody else can write is read. It is written under another name
 * and renamed, so nobody reads half. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE_LIMIT (UINT64_C(256) << 20)

struct head {
    char magic[8];
    uint64_t size;              /* of what follows                           */
    uint64_t sum;               /* fnv of what follows                       */
};

static const char magic[8] = "bnpocl1\n";

static uint64_t fnv(uint64_t h, const void *p, size_t n)
{
    const unsigned char *at = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ at[i]) * UINT64_C(0x100000001b3);
    return h;
}

#define FNV_START UINT64_C(0xcbf29ce484222325)

static uint64_t fnv_text(uint64_t h, const char *s)
{
    return fnv(h, s, strlen(s) + 1);
}

static void say(struct ocl_device *o, const char *path, const char *what)
{
    char line[600];
    snprintf(line, sizeof line, "%.400s: %s", path, what);
    o->d.host->log(o->d.host->ctx, BNP_LOG_WARN, line);
}

/* Option cache_dir, or as the host places its own caches. */
static bool folder(const bnp_host *host, char *out, size_t size)
{
    const char *dir = ocl_option(host, "cache_dir"), *own = getenv("CACHE_DIRECTORY");
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (dir && dir[0] == '/')
        n = snprintf(out, size, "%s", dir);
    else if (own && own[0] == '/')
        n = snprintf(out, size, "%.*s", (int)strcspn(own, ":"), own);
    else if (xdg && xdg[0] == '/')
        n = snprintf(out, size, "%s/bitnet", xdg);
    else if (home && home[0] == '/')
        n = snprintf(out, size, "%s/.cache/bitnet", home);
    return n > 0 && (size_t)n < size;
}

static void make_folder(char *dir)
{
    for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(dir, 0700);             /* what cannot be made is seen by open */
        *slash = '/';
    }
    (void)mkdir(dir, 0700);
}

static bool path_of(struct ocl_device *o, const char *flags, char *out, size_t size)
{
    const char *use = ocl_option(o->d.host, "cache");
    char dir[400];
    if ((use && !strcmp(use, "off")) || !folder(o->d.host, dir, sizeof dir))
        return false;
    uint64_t h = fnv_text(FNV_START, ocl_source);
    h = fnv_text(h, flags);
    h = fnv_text(h, o->f.name);
    h = fnv_text(h, o->f.driver);
    h = fnv_text(h, o->f.platform_version);
    make_folder(dir);
    snprintf(out, size, "%s/opencl-%016llx.bin", dir, (unsigned long long)h);
    return true;
}

static bool read_all(int fd, void *to, size_t n)
{
    for (size_t at = 0; at < n;) {
        const ssize_t k = read(fd, (char *)to + at, n - at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        at += (size_t)k;
    }
    return true;
}

static bool write_all(int fd, const void *from, size_t n)
{
    for (size_t at = 0; at < n;) {
        const ssize_t k = write(fd, (const char *)from + at, n - at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        at += (size_t)k;
    }
    return true;
}

static bool tune_ok(const struct ocl_device *o, const struct ocl_tune *t)
{
    const struct ocl_shape s[] = { t->one, t->tile };
    bool ok = true;
    for (unsigned i = 0; i < 2; i++)
        ok = ok && s[i].rows && s[i].parts && s[i].rows <= 1024 && s[i].parts <= 1024 &&
             (size_t)s[i].rows * s[i].parts <= o->f.max_group;
    return ok;
}

/* What follows the head, or NULL. */
static unsigned char *read_body(struct ocl_device *o, int fd, const struct head *h)
{
    const bnp_host *host = o->d.host;
    unsigned char *body = host->alloc(host->ctx, (size_t)h->size, BNP_ALIGN, -1);
    if (body && read_all(fd, body, (size_t)h->size) &&
        fnv(FNV_START, body, (size_t)h->size) == h->sum)
        return body;
    host->release(host->ctx, body);
    return NULL;
}

static unsigned char *read_file(struct ocl_device *o, const char *path, int fd, size_t *size)
{
    struct stat st;
    struct head h;
    struct ocl_tune tune;
    if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 022) || !S_ISREG(st.st_mode)) {
        say(o, path, "not used: expected a file of this user that no other can write");
        return NULL;
    }
    unsigned char *body = NULL;
    if (read_all(fd, &h, sizeof h) && !memcmp(h.magic, magic, sizeof magic) &&
        h.size >= sizeof tune && h.size < SIZE_LIMIT &&
        h.size == (uint64_t)st.st_size - sizeof h)
        body = read_body(o, fd, &h);
    if (body) {
        memcpy(&tune, body, sizeof tune);
        o->tuned = tune_ok(o, &tune);
        if (o->tuned)
            o->tune = tune;
        *size = (size_t)h.size - sizeof tune;
        if (*size)
            return body;
        o->d.host->release(o->d.host->ctx, body);
        return NULL;
    }
    say(o, path, "damaged; the kernels are compiled again");
    return NULL;
}

unsigned char *cache_read(struct ocl_device *o, const char *flags, size_t *size)
{
    char path[460];
    if (!path_of(o, flags, path, sizeof path))
        return NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return NULL;
    unsigned char *body = read_file(o, path, fd, size);
    close(fd);
    return body ? body + sizeof(struct ocl_tune) : NULL;
}

void cache_free(struct ocl_device *o, unsigned char *binary)
{
    o->d.host->release(o->d.host->ctx, binary - sizeof(struct ocl_tune));
}

void cache_write(struct ocl_device *o, const char *flags, const unsigned char *binary, size_t size)
{
    char path[460], fresh[500];
    if (!path_of(o, flags, path, sizeof path))
        return;
    struct head h = { .size = sizeof o->tune + size };
    memcpy(h.magic, magic, sizeof magic);
    h.sum = fnv(FNV_START, &o->tune, sizeof o->tune);
    if (size)
        h.sum = fnv(h.sum, binary, size);
    snprintf(fresh, sizeof fresh, "%s.%ld", path, (long)getpid());
    const int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        say(o, path, "cannot be written; the kernels will be compiled at every start");
        return;
    }
    bool ok = write_all(fd, &h, sizeof h) && write_all(fd, &o->tune, sizeof o->tune) &&
              (!size || write_all(fd, binary, size));
    ok = !close(fd) && ok;
    if (!ok || rename(fresh, path)) {
        (void)unlink(fresh);
        say(o, path, "cannot be written; the kernels will be compiled at every start");
    }
}
