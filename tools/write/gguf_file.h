/* gguf_file.h - a GGUF file written front to back.
 *
 * Keys and the list of tensors first, then the tensors' bytes in the order of
 * the list, in pieces of any size: memory is the caller's piece. The file is
 * written beside its name and appears when gguf_file_commit has it safely on
 * the disk. Whatever ends the program before, but for SIGKILL and the power,
 * leaves nothing: a failure, and SIGINT, SIGTERM or SIGHUP too. One at a time
 * in a process, [any one thread]. */
#ifndef BITNET_TOOLS_WRITE_GGUF_FILE_H
#define BITNET_TOOLS_WRITE_GGUF_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/file.h"
#include "core/model/gguf_put.h"

enum { GGUF_FILE_ALIGN = 32 };    /* of tensors: the format's default          */

struct gguf_file_tensor {
    const char *name;             /* the caller's, until the file is open      */
    uint32_t type;                /* ggml type id                              */
    uint32_t n_dims;              /* 1 to 4                                    */
    uint64_t ne[4];               /* innermost first                           */
    uint64_t size;                /* bytes, not 0                              */
};

struct gguf_file {
    struct file_out out;
    const struct gguf_file_tensor *t;
    uint32_t n, at;               /* tensors, and the one that is written      */
    uint64_t done;                /* bytes of that one                         */
    uint64_t size;                /* bytes of the whole file                   */
};

/* Bytes of the tensors, with what lies between them. */
uint64_t gguf_file_data_size(const struct gguf_file_tensor *, uint32_t n);

/* Writes everything before the tensors and takes the room for all of it on the
 * disk, where the file system can, so that a full disk is known at the start.
 * The list is borrowed until the file is closed. path "-": standard output.
 * After a failure nothing is left and there is nothing to close. */
int gguf_file_open(struct gguf_file *, const char *path, const struct gguf_put *keys,
                   const struct gguf_file_tensor *, uint32_t n, struct err *);
/* The next n bytes of the current tensor, at most what it lacks; the tensor
 * that follows begins when it is full. */
int gguf_file_write(struct gguf_file *, const void *p, size_t n, struct err *);
/* All tensors are full: the file appears. Closes it in any case. */
int gguf_file_commit(struct gguf_file *, struct err *);
/* Closes and removes what is unfinished; legal after a commit. */
void gguf_file_abort(struct gguf_file *);

#endif
