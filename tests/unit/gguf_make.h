/* gguf_make.h - small GGUF files, made in memory, right or wrong on purpose.
 *
 * Keys and tensors are lists that a test may edit before gguf_make_done writes
 * them out: drop a key, lie about a count, move an offset. Set version before
 * the first key. Not for code that may fail: running out of memory or room
 * aborts. */
#ifndef TESTS_UNIT_GGUF_MAKE_H
#define TESTS_UNIT_GGUF_MAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/model/gguf.h"
#include "core/model/wsrc.h"

struct make_kv {
    char key[80];
    size_t key_n;
    uint32_t type;               /* enum gguf_type                            */
    struct buf value;            /* as in the file                            */
};

struct make_tensor {
    char name[80];
    size_t name_n;
    uint32_t type, n_dims;
    uint64_t ne[5];
    uint64_t offset;             /* set by gguf_make_tensor; a test may lie   */
    struct buf data;
};

struct gguf_make {
    uint32_t version, align;     /* 0: 3, 32                                  */
    struct make_kv kv[64];
    struct make_tensor t[64];
    unsigned n_kv, n_t;
    uint64_t say_n_kv, say_n_t;  /* not 0: written in the place of the truth  */
};

/* Each adds a key, or replaces the one of that name. */
void gguf_make_raw(struct gguf_make *, const char *key, uint32_t type, const void *p, size_t n);
void gguf_make_u32(struct gguf_make *, const char *key, uint32_t v);
void gguf_make_f32(struct gguf_make *, const char *key, float v);
void gguf_make_bool(struct gguf_make *, const char *key, bool v);
void gguf_make_str(struct gguf_make *, const char *key, const char *v);
void gguf_make_strs(struct gguf_make *, const char *key, size_t n, const char *const *v);
void gguf_make_i32s(struct gguf_make *, const char *key, size_t n, const int32_t *v);
struct make_kv *gguf_make_key(struct gguf_make *, const char *key);
void gguf_make_drop_key(struct gguf_make *, const char *key);

/* A matrix of rows x cols, or a vector when rows is 0. */
struct make_tensor *gguf_make_tensor(struct gguf_make *, const char *name, uint32_t type,
                                     uint64_t rows, uint64_t cols, const void *p, size_t n);
struct make_tensor *gguf_make_find(struct gguf_make *, const char *name);
void gguf_make_drop_tensor(struct gguf_make *, const char *name);
/* Lays the tensors out again, one behind the other, after an edit. */
void gguf_make_place(struct gguf_make *);

void gguf_make_done(const struct gguf_make *, struct buf *out);
void gguf_make_free(struct gguf_make *);

/* Ternary weights w (-1, 0, 1) in a file encoding, appended to out. For TQx_0
 * the scale is rounded to half; Q1_0 and Q2_0 have one to three times scale. */
void gguf_make_ternary(uint32_t type, enum i2s_layout layout, uint64_t rows, uint64_t cols,
                       const int8_t *w, float scale, struct buf *out);

/* A whole model that opens: one layer, BPE vocabulary of 12 tokens. */
struct tiny {
    const char *arch;            /* NULL: bitnet-b1.58                        */
    uint32_t n_embd;             /* 0: 16; a multiple of 256 for TQx_0, Q6_K  */
    uint32_t linear, embd;       /* types of the projections and of the       */
                                 /* embedding; 0: I2_S and F16                */
    uint32_t version;
    uint32_t n_head, n_head_kv;  /* 0: 2, 1                                   */
    uint32_t head_dim;           /* 0: n_embd / n_head, and no key says so    */
    uint32_t n_ff;               /* 0: 2 * n_embd, or n_embd from 256 on      */
    float rope_base;             /* 0: 10000                                  */
    enum i2s_layout layout;      /* of I2_S                                   */
    bool proj_norm;              /* norms of every projection's input, for    */
                                 /* qwen3 and gemma3                          */
};
void gguf_make_tiny(struct gguf_make *, const struct tiny *);

/* Deterministic noise. */
uint32_t make_random(uint64_t *state);
/* zlib's crc32. */
uint32_t make_crc32(const void *, size_t n);

#endif
