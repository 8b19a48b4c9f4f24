/* note.h - the identity card of a plugin file, read without running it. */
#ifndef BITNET_PLUG_NOTE_H
#define BITNET_PLUG_NOTE_H

#include <stddef.h>
#include <stdint.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"

struct note {
    struct bnp_note raw;          /* id and version are NUL-terminated         */
    uint64_t isa;                 /* isa_lo and isa_hi together                */
    char build[65];               /* hex: the linker's build id, or without    */
                                  /* one a digest of the file                  */
};

/* Finds the bitnet note in an open ELF file: right class, byte order, machine
 * and file type, exactly one note, a well-formed id. name is for messages. */
int note_read(struct note *, int fd, const char *name, struct err *);
/* The same over bytes in memory. */
int note_read_mem(struct note *, const void *p, size_t n, const char *name, struct err *);

#endif
