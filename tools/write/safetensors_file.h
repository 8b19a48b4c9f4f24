/* safetensors_file.h - a safetensors file written front to back.
 *
 * The header first, then the tensors' bytes in the order of the list, in pieces
 * of any size: memory is the caller's piece. The file appears when it is
 * complete (whole.h). One at a time in a process, [any one thread]. */
#ifndef BITNET_TOOLS_WRITE_SAFETENSORS_FILE_H
#define BITNET_TOOLS_WRITE_SAFETENSORS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/file.h"

struct safetensors_file_tensor {
    const char *name;             /* printable ASCII without " and \           */
    const char *dtype;            /* "BF16", as the format spells it           */
    uint32_t n_dims;              /* 1 or 2                                    */
    uint64_t dim[2];              /* the last is the fastest                   */
    uint64_t size;                /* bytes, not 0                              */
};

struct safetensors_file {
    struct file_out out;
    uint64_t left;                /* bytes of tensors that are still to come   */
};

/* After a failure nothing is left and there is nothing to close. */
int safetensors_file_open(struct safetensors_file *, const char *path,
                          const struct safetensors_file_tensor *, uint32_t n, struct err *);
/* The next n bytes, of one tensor or several. */
int safetensors_file_write(struct safetensors_file *, const void *p, size_t n, struct err *);
/* All tensors are full: the file appears. Closes it in any case. */
int safetensors_file_commit(struct safetensors_file *, struct err *);
/* Closes and removes what is unfinished; legal after a commit. */
void safetensors_file_abort(struct safetensors_file *);

#endif
