/* gguf.h - the GGUF container, versions 1, 2 and 3.
 *
 * The file is mapped read-only and everything in it is checked before use:
 * counts, lengths, nesting, types, alignment, offsets, sizes against the file
 * and against the gap to the next tensor. What gguf_open accepts can be read
 * without further checks. All pointers borrow from the struct gguf. */
#ifndef BITNET_MODEL_GGUF_H
#define BITNET_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum gguf_type {
    GGUF_U8 = 0, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32,
    GGUF_BOOL, GGUF_STR, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64
};

struct gguf_kv {
    struct str key;
    uint32_t type;           /* enum gguf_type                                */
    uint32_t elem;           /* element type when type is GGUF_ARRAY          */
    uint32_t len_size;       /* bytes of a length inside an array of strings: */
                             /* 4 in version 1, else 8                        */
    uint64_t n;              /* elements; 1 for a scalar                      */
    const uint8_t *p;        /* the value, unaligned, little-endian; of a     */
                             /* string its text                               */
    uint64_t size;           /* its bytes                                     */
};

struct gguf_tensor {
    struct str name;
    uint32_t type;           /* ggml type id                                  */
    uint32_t n_dims;
    uint64_t ne[4];          /* innermost first; 1 beyond n_dims              */
    uint64_t offset;         /* bytes from the start of the file              */
    uint64_t size;           /* bytes, by the type's formula; the gap when    */
                             /* this program does not know the type, or when  */
                             /* the file means another by a shared number     */
    uint64_t gap;            /* bytes to the next tensor or the end           */
    const uint8_t *data;
    uint32_t head_rows;          /* 0: rows are read as they lie. Else rows of   */
                                 /* a head, which lie in the order of halves  */
                                 /* and are read in that of pairs (wsrc.c)    */
};

struct gguf;

int gguf_open(struct gguf **out, const char *path, struct err *);
/* The same over memory that the caller keeps; name is for messages. */
int gguf_open_mem(struct gguf **out, const void *p, size_t n, const char *name, struct err *);
void gguf_close(struct gguf *);

/* A container that is no GGUF file: keys and tensors from elsewhere. All memory
 * belongs to owner, which is taken over, whatever comes of it. */
struct gguf_parts {
    const char *name;            /* for messages                                  */
    uint64_t file_size;          /* bytes of all its files                        */
    const void *kv;              /* n_kv keys, as a version 3 file has them       */
    size_t kv_size;
    uint64_t n_kv;
    const struct gguf_tensor *tensor;    /* [n_tensor], all fields set, the data  */
    size_t n_tensor;                     /* as large as size says; copied         */
    void *owner;
    void (*close)(void *owner);  /* or NULL                                       */
    void (*drop)(const void *owner, const uint8_t *p, uint64_t n);   /* may go    */
};
int gguf_open_parts(struct gguf **out, const struct gguf_parts *, struct err *);

const char *gguf_name(const struct gguf *);              /* path, for messages */
uint32_t gguf_version(const struct gguf *);      /* 0: no GGUF file         */
uint64_t gguf_file_size(const struct gguf *);
uint64_t gguf_align(const struct gguf *);                /* bytes: of tensors */
size_t gguf_n_kv(const struct gguf *);
const struct gguf_kv *gguf_kv_at(const struct gguf *, size_t i);
const struct gguf_kv *gguf_kv(const struct gguf *, const char *key);
size_t gguf_n_tensors(const struct gguf *);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *, size_t i);
const struct gguf_tensor *gguf_tensor(const struct gguf *, const char *name);
/* n bytes of the tensor's data from byte first on into dst, without leaving pages of
 * the map behind. False: they cannot be read. */
bool gguf_copy(const struct gguf *, const struct gguf_tensor *, uint64_t first, uint64_t n,
               void *dst);
/* Pages of n bytes from byte first on may go; they come back when touched. */
void gguf_drop(const struct gguf *, const struct gguf_tensor *, uint64_t first, uint64_t n);

/* Typed values. 1: found; 0: no such key, *v untouched; negative: the value
 * has another type or does not fit, and err says so. Any integer type is
 * accepted for u64, any float or integer for f64. */
int gguf_get_u64(const struct gguf *, const char *key, uint64_t *v, struct err *);
int gguf_get_f64(const struct gguf *, const char *key, double *v, struct err *);
int gguf_get_bool(const struct gguf *, const char *key, bool *v, struct err *);
int gguf_get_str(const struct gguf *, const char *key, struct str *v, struct err *);

/* Walks an array of strings: start with *pos = 0; false at the end. */
bool gguf_next_str(const struct gguf_kv *, uint64_t *pos, struct str *s);
/* Element i of an array of fixed-size elements, as a double (exact for all
 * 32-bit types). i < kv->n. */
double gguf_num_at(const struct gguf_kv *, uint64_t i);

#endif
