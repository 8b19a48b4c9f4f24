/* loader.h - one plugin file, from its name to tables that are safe to call.
 *
 * Three steps, and no code of the file runs before the third. */
#ifndef BITNET_PLUG_LOADER_H
#define BITNET_PLUG_LOADER_H

#include <sys/stat.h>

#include "core/base/err.h"
#include "core/plug/plug.h"

struct loader_file {
    int fd;                       /* -1: not open                              */
    struct stat st;
};

/* Refuses what others than root and this user could have written. what is
 * "file" or "directory". */
int loader_check_owner(const struct stat *, const char *name, const char *what, struct err *);

/* 1. Opens entry->file in the directory dirfd: a regular file, no link, not
 * writable by others. */
int loader_open(struct loader_file *, const struct plug_entry *, int dirfd, struct err *);
void loader_close(struct loader_file *);

/* 2. Reads the note into the entry and holds it against this host: ABI,
 * machine, device kind, and isa, the bits that may be used. */
int loader_note(struct plug_entry *, const struct loader_file *, uint64_t isa, struct err *);

/* 3. Loads the file and copies its tables, checked, into the entry. */
int loader_load(struct plug_entry *, const struct loader_file *, struct err *);
void loader_unload(struct plug_entry *);

#endif
