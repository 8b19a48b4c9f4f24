/* gguf_check.h - what gguf.c and gguf_check.c share: the parsed container and
 * the checks that need all of it. Nobody else includes this. */
#ifndef BITNET_MODEL_GGUF_CHECK_H
#define BITNET_MODEL_GGUF_CHECK_H

#include "core/base/file.h"
#include "core/model/gguf.h"

/* Tensor names: what ggml itself can hold, without the NUL. */
#define GGUF_NAME_MAX 63

struct gguf {
    struct file_map map;         /* p == NULL: the bytes are the caller's     */
    const uint8_t *p;
    uint64_t n;                  /* bytes of the file                         */
    char *name;
    uint32_t version;
    uint64_t align, data;        /* where the data section starts             */
    struct gguf_kv *kv;
    struct gguf_tensor *tensor;
    uint32_t *kv_by_key, *tensor_by_name;    /* sorted; lookups bisect        */
    uint32_t n_kv, n_tensor;
    void *owner;                 /* of a container made from parts            */
    void (*close)(void *owner);
    void (*drop)(const void *owner, const uint8_t *p, uint64_t n);
};

/* Byte order first, then length: any total order will do for the index. */
int gguf_str_cmp(struct str a, struct str b);

/* Sorts the indexes and refuses a name that occurs twice. */
int gguf_check_names(struct gguf *, struct err *);

/* Sets every tensor's offset, gap, size and data, from the offsets relative to
 * the data section that the file gives. Refuses what is unaligned, overlaps or
 * ends outside the file. */
int gguf_check_tensors(struct gguf *, struct err *);

/* For "%.*s": names from files are quoted at most this long. */
static inline int gguf_quote(struct str s)
{
    return s.n < 80 ? (int)s.n : 80;
}

#endif
