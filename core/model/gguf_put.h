/* gguf_put.h - the key section of a GGUF file, built in memory.
 *
 * Keys lie one behind the other as the file has them. A failed allocation sets
 * b.failed and every later call does nothing, so a caller may check once, at
 * the end. Nothing stops a key from being put twice: a reader refuses that.
 * Zero-initialise to start; buf_free(&b) when done. */
#ifndef BITNET_MODEL_GGUF_PUT_H
#define BITNET_MODEL_GGUF_PUT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/model/gguf.h"

struct gguf_put {
    struct buf b;
    uint64_t n;                   /* keys in b                                 */
};

void gguf_put_u32(struct gguf_put *, const char *key, uint32_t v);
void gguf_put_i32(struct gguf_put *, const char *key, int32_t v);
void gguf_put_u64(struct gguf_put *, const char *key, uint64_t v);
void gguf_put_f32(struct gguf_put *, const char *key, float v);
void gguf_put_bool(struct gguf_put *, const char *key, bool v);
void gguf_put_text(struct gguf_put *, const char *key, const char *v);
void gguf_put_str(struct gguf_put *, const char *key, struct str v);

/* The start of an array of n elements of a type of enum gguf_type, which the
 * caller appends to b: numbers as they lie in memory, strings by
 * gguf_put_string. */
void gguf_put_array(struct gguf_put *, const char *key, uint32_t type, uint64_t n);
/* A string as a value or an element: length and bytes. */
void gguf_put_string(struct buf *, const char *p, size_t n);

/* Another file's key with its value; of a version 1 file with the lengths of
 * later ones. */
void gguf_put_copy(struct gguf_put *, const struct gguf_kv *);

#endif
