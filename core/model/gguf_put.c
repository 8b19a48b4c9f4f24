/* gguf_put.c - writing keys and their values.
 *
 * Numbers are written as they lie in memory: little-endian machines only, as
 * everywhere in this program. */
#include "core/model/gguf_put.h"

#include <string.h>

static void put_u32(struct buf *b, uint32_t v)
{
    buf_add(b, &v, sizeof v);
}

static void put_u64(struct buf *b, uint64_t v)
{
    buf_add(b, &v, sizeof v);
}

void gguf_put_string(struct buf *b, const char *p, size_t n)
{
    put_u64(b, n);
    buf_add(b, p, n);
}

static void begin(struct gguf_put *kv, struct str key, uint32_t type)
{
    gguf_put_string(&kv->b, key.p, key.n);
    put_u32(&kv->b, type);
    kv->n++;
}

static void put_scalar(struct gguf_put *kv, const char *key, uint32_t type, const void *p, size_t n)
{
    begin(kv, str_of(key), type);
    buf_add(&kv->b, p, n);
}

void gguf_put_u32(struct gguf_put *kv, const char *key, uint32_t v)
{
    put_scalar(kv, key, GGUF_U32, &v, sizeof v);
}

void gguf_put_i32(struct gguf_put *kv, const char *key, int32_t v)
{
    put_scalar(kv, key, GGUF_I32, &v, sizeof v);
}

void gguf_put_u64(struct gguf_put *kv, const char *key, uint64_t v)
{
    put_scalar(kv, key, GGUF_U64, &v, sizeof v);
}

void gguf_put_f32(struct gguf_put *kv, const char *key, float v)
{
    put_scalar(kv, key, GGUF_F32, &v, sizeof v);
}

void gguf_put_bool(struct gguf_put *kv, const char *key, bool v)
{
    put_scalar(kv, key, GGUF_BOOL, v ? "\1" : "\0", 1);
}

void gguf_put_text(struct gguf_put *kv, const char *key, const char *v)
{
    gguf_put_str(kv, key, str_of(v));
}

void gguf_put_str(struct gguf_put *kv, const char *key, struct str v)
{
    begin(kv, str_of(key), GGUF_STR);
    gguf_put_string(&kv->b, v.p, v.n);
}

static void begin_array(struct gguf_put *kv, struct str key, uint32_t type, uint64_t n)
{
    begin(kv, key, GGUF_ARRAY);
    put_u32(&kv->b, type);
    put_u64(&kv->b, n);
}

void gguf_put_array(struct gguf_put *kv, const char *key, uint32_t type, uint64_t n)
{
    begin_array(kv, str_of(key), type, n);
}

void gguf_put_copy(struct gguf_put *kv, const struct gguf_kv *from)
{
    struct str s;
    uint64_t pos = 0;
    if (from->type != GGUF_ARRAY) {
        begin(kv, from->key, from->type);
        if (from->type == GGUF_STR)
            put_u64(&kv->b, from->size);
        buf_add(&kv->b, from->p, (size_t)from->size);
        return;
    }
    begin_array(kv, from->key, from->elem, from->n);
    if (from->elem != GGUF_STR)
        buf_add(&kv->b, from->p, (size_t)from->size);
    while (gguf_next_str(from, &pos, &s))
        gguf_put_string(&kv->b, s.p, s.n);
}
