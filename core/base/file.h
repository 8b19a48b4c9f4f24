/* file.h - whole files: mapped read-only, or written so that a crash or a full
 * disk never leaves half of one behind. */
#ifndef BITNET_BASE_FILE_H
#define BITNET_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct file_map {
    const uint8_t *p;            /* NULL: nothing is mapped                   */
    size_t n;
    int fd;                      /* for file_copy; -1: none                   */
};

/* A regular, non-empty file, MAP_SHARED and PROT_READ. */
int file_map(struct file_map *, const char *path, struct err *);
void file_unmap(struct file_map *);

/* n bytes of the file from at on, read rather than mapped: what is looked at once
 * is had for half the price that its pages cost. False: they cannot be read. */
bool file_read_at(int fd, void *dst, size_t n, uint64_t at);
/* The bytes [p, p+n) of the map into dst, in that way. */
bool file_copy(const struct file_map *, const uint8_t *p, size_t n, void *dst);

/* Tells the kernel that [p, p+n) of the map will not be read again soon. */
void file_drop(const struct file_map *, const uint8_t *p, size_t n);

/* Reads a file of at most max bytes into malloc'ed memory with a NUL after it. */
int file_read(const char *path, size_t max, char **out, size_t *n, struct err *);
/* The same for what others must not see: refused when everybody may read or
 * write the file, or its group may write it. */
int file_read_secret(const char *path, size_t max, char **out, size_t *n, struct err *);

/* A file that appears under its name only when complete: written beside it,
 * fsync'ed (unless lazy is set, by owners who verify what they read back),
 * renamed by file_out_commit. file_out_abort (also legal after a
 * commit) removes what is unfinished. "-" writes to standard output. */
struct file_out {
    int fd;
    bool lazy;
    char *path, *temp;
};
int file_out_open(struct file_out *, const char *path, struct err *);
int file_out_write(struct file_out *, const void *p, size_t n, struct err *);
int file_out_commit(struct file_out *, struct err *);
void file_out_abort(struct file_out *);

#endif
