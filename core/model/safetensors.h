/* safetensors.h - one safetensors file: its header, checked, and its tensors
 * where they lie.
 *
 *   8 bytes   length of the header, little-endian
 *   header    JSON: name -> { dtype, shape, data_offsets: [begin, end) }
 *   data      offsets count from here; rows one behind the other
 *
 * What safetensors_open accepts can be read without further checks: every
 * tensor lies inside the file, is as large as its shape and type say, and
 * overlaps no other. Nothing is said about alignment. All pointers borrow from
 * the struct safetensors. */
#ifndef BITNET_MODEL_SAFETENSORS_H
#define BITNET_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum st_dtype {                  /* the first four hold weights               */
    ST_F32, ST_F16, ST_BF16, ST_U8,
    ST_F64, ST_I64, ST_I32, ST_I16, ST_I8, ST_U64, ST_U32, ST_U16, ST_BOOL, ST_F8_E4M3, ST_F8_E5M2,
    ST_DTYPE_N
};

#define ST_MAX_DIMS 4

struct st_tensor {
    struct str name;             /* printable ASCII; a NUL follows            */
    enum st_dtype dtype;
    uint32_t n_dims;             /* 0: one number                             */
    uint64_t dim[ST_MAX_DIMS];   /* the last is the fastest                   */
    uint64_t offset;             /* bytes from the start of the file          */
    uint64_t size;               /* bytes                                     */
    const uint8_t *data;         /* unaligned                                 */
};

struct safetensors;

int safetensors_open(struct safetensors **out, const char *path, struct err *);
/* The same over memory that the caller keeps; name is for messages. */
int safetensors_open_mem(struct safetensors **out, const void *p, size_t n, const char *name,
                         struct err *);
void safetensors_close(struct safetensors *);

const char *safetensors_name(const struct safetensors *);
uint64_t safetensors_file_size(const struct safetensors *);
size_t safetensors_n(const struct safetensors *);
const struct st_tensor *safetensors_at(const struct safetensors *, size_t i);   /* by offset */
/* Whether p lies in this file's map; if so, its n bytes may leave memory. */
bool safetensors_drop(const struct safetensors *, const uint8_t *p, uint64_t n);

const char *safetensors_dtype(enum st_dtype);

#endif
