/* file.c - mapping, reading and writing whole files. */
#include "core/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_os(struct err *e, const char *path, const char *what)
{
    int no = errno;
    return err_set(e, no == ENOMEM ? ERR_NOMEM : ERR_IO, "%s: %s: %s", path, what, strerror(no));
}

static int map_fd(struct file_map *m, int fd, const char *path, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st))
        return fail_os(e, path, "cannot stat");
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s: not a regular file, expected one", path);
    if (st.st_size <= 0)
        return err_set(e, ERR_DATA, "%s: the file is empty", path);
    if ((uintmax_t)st.st_size > SIZE_MAX)
        return err_set(e, ERR_IO, "%s: %jd bytes do not fit the address space", path,
                       (intmax_t)st.st_size);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return fail_os(e, path, "cannot map");
    *m = (struct file_map){ p, (size_t)st.st_size, fd };
    return 0;
}

int file_map(struct file_map *m, const char *path, struct err *e)
{
    *m = (struct file_map){ 0 };
    /* O_NONBLOCK: a FIFO in the file's place must be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_os(e, path, "cannot open");
    int rc = map_fd(m, fd, path, e);
    if (rc)
        close(fd);
    return rc;
}

void file_unmap(struct file_map *m)
{
    if (m->p)
        munmap((void *)(uintptr_t)m->p, m->n);
    if (m->p && m->fd >= 0)
        close(m->fd);
    *m = (struct file_map){ 0 };
}

bool file_read_at(int fd, void *dst, size_t n, uint64_t at)
{
    for (uint8_t *to = dst; n;) {
        const ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

bool file_copy(const struct file_map *m, const uint8_t *p, size_t n, void *dst)
{
    return m->p && m->fd >= 0 && p >= m->p && n <= m->n - (size_t)(p - m->p) &&
           file_read_at(m->fd, dst, n, (uint64_t)(p - m->p));
}

void file_drop(const struct file_map *m, const uint8_t *p, size_t n)
{
    /* Whole pages inside the range only: its neighbours may still be wanted. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t lo = ((uintptr_t)p + page - 1) / page * page;
    uintptr_t hi = ((uintptr_t)p + n) / page * page;
    if (p >= m->p && n <= m->n - (size_t)(p - m->p) && lo < hi)
        madvise((void *)lo, hi - lo, MADV_DONTNEED);
}

static int read_fd(int fd, const char *path, size_t max, char **out, size_t *n, struct err *e)
{
    size_t cap = 0, len = 0;
    char *p = NULL;
    for (;;) {
        if (len + 1 >= cap) {           /* always room for a byte more and the NUL */
            cap = cap ? cap * 2 : 4096;
            char *q = realloc(p, cap);
            if (!q) {
                free(p);
                return err_set(e, ERR_NOMEM, "%s: no memory for its content", path);
            }
            p = q;
        }
        ssize_t got = read(fd, p + len, cap - 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int rc = fail_os(e, path, "cannot read");
            free(p);
            return rc;
        }
        if (!got)
            break;
        len += (size_t)got;
        if (len > max) {
            free(p);
            return err_set(e, ERR_LIMIT, "%s: over %zu bytes, the most this may hold", path, max);
        }
    }
    p[len] = 0;
    *out = p;
    *n = len;
    return 0;
}

int file_read(const char *path, size_t max, char **out, size_t *n, struct err *e)
{
    *out = NULL;
    *n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_os(e, path, "cannot open");
    int rc = read_fd(fd, path, max, out, n, e);
    close(fd);
    return rc;
}

int file_read_secret(const char *path, size_t max, char **out, size_t *n, struct err *e)
{
    struct stat st;
    *out = NULL;
    *n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   /* a FIFO would wait */
    if (fd < 0)
        return fail_os(e, path, "cannot open");
    int rc;
    if (fstat(fd, &st))
        rc = fail_os(e, path, "cannot look at it");
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_ARG, "%s: is not a regular file", path);
    else if (st.st_mode & (S_IRWXO | S_IWGRP))
        rc = err_set(e, ERR_ARG, "%s: others may use it (mode %03o), expected mode 600 or 640; "
                     "chmod 600 it", path, (unsigned)st.st_mode & 0777);
    else
        rc = read_fd(fd, path, max, out, n, e);
    close(fd);
    return rc;
}

/* Opens a file of its own beside o->path. open(2) with O_EXCL, not mkstemp(3):
 * the result should carry the mode that the umask asks for. */
static int open_beside(struct file_out *o, struct err *e)
{
    static _Atomic unsigned serial;
    for (int tries = 0; tries < 100; tries++) {
        unsigned n = atomic_fetch_add_explicit(&serial, 1, memory_order_relaxed);
        free(o->temp);
        if (asprintf(&o->temp, "%s.%ld-%u.part", o->path, (long)getpid(), n) < 0) {
            o->temp = NULL;
            return err_set(e, ERR_NOMEM, "%s: no memory for its name", o->path);
        }
        o->fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (o->fd >= 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    int rc = fail_os(e, o->temp, "cannot create");
    free(o->temp);
    o->temp = NULL;
    return rc;
}

int file_out_open(struct file_out *o, const char *path, struct err *e)
{
    *o = (struct file_out){ .fd = -1 };
    o->path = strdup(path);
    if (!o->path)
        return err_set(e, ERR_NOMEM, "%s: no memory for its name", path);
    int rc = 0;
    struct stat st;
    if (!strcmp(path, "-"))
        o->fd = STDOUT_FILENO;
    else if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
        /* A device or a pipe cannot be replaced by a rename: write straight to it. */
        o->fd = open(path, O_WRONLY | O_CLOEXEC);
        if (o->fd < 0)
            rc = fail_os(e, path, "cannot open for writing");
    } else
        rc = open_beside(o, e);
    if (rc)
        file_out_abort(o);
    return rc;
}

int file_out_write(struct file_out *o, const void *p, size_t n, struct err *e)
{
    const char *at = p;
    while (n) {
        ssize_t put = write(o->fd, at, n < (size_t)1 << 30 ? n : (size_t)1 << 30);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return fail_os(e, o->path, "cannot write");
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

/* Makes the rename itself durable. Some file systems cannot fsync a directory;
 * the file is complete in any case, so that is no failure. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(dir);
}

int file_out_commit(struct file_out *o, struct err *e)
{
    int rc = 0;
    if (o->temp && !o->lazy && fsync(o->fd))
        rc = fail_os(e, o->path, "cannot write");
    if (o->fd >= 0 && o->fd != STDOUT_FILENO && close(o->fd) && !rc)
        rc = fail_os(e, o->path, "cannot write");
    o->fd = -1;
    if (!rc && o->temp) {
        if (rename(o->temp, o->path))
            rc = fail_os(e, o->path, "cannot rename into place");
        else {
            if (!o->lazy)
                sync_folder(o->path);
            free(o->temp);
            o->temp = NULL;
        }
    }
    file_out_abort(o);
    return rc;
}

void file_out_abort(struct file_out *o)
{
    if (o->fd >= 0 && o->fd != STDOUT_FILENO)
        close(o->fd);
    if (o->temp)
        unlink(o->temp);
    free(o->temp);
    free(o->path);
    *o = (struct file_out){ .fd = -1 };
}
