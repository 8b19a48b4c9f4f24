/* gguf_make.c - see the header. */
#include "gguf_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"

static void check(bool good)
{
    if (!good)
        abort();
}

static void add_int(struct buf *b, uint64_t v, unsigned size)
{
    uint8_t p[8];
    for (unsigned i = 0; i < size; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    buf_add(b, p, size);
}

static unsigned len_size(const struct gguf_make *m)
{
    return m->version == 1 ? 4 : 8;
}

static void add_str(const struct gguf_make *m, struct buf *b, const char *p, size_t n)
{
    add_int(b, n, len_size(m));
    buf_add(b, p, n);
}

struct make_kv *gguf_make_key(struct gguf_make *m, const char *key)
{
    for (unsigned i = 0; i < m->n_kv; i++)
        if (!strcmp(m->kv[i].key, key))
            return &m->kv[i];
    return NULL;
}

void gguf_make_drop_key(struct gguf_make *m, const char *key)
{
    struct make_kv *kv = gguf_make_key(m, key);
    check(kv);
    buf_free(&kv->value);
    memmove(kv, kv + 1, (size_t)(&m->kv[--m->n_kv] - kv) * sizeof *kv);
}

void gguf_make_raw(struct gguf_make *m, const char *key, uint32_t type, const void *p, size_t n)
{
    struct make_kv *kv = gguf_make_key(m, key);
    if (!kv) {
        check(m->n_kv < sizeof m->kv / sizeof m->kv[0] && strlen(key) < sizeof kv->key);
        kv = &m->kv[m->n_kv++];
        *kv = (struct make_kv){ .key_n = strlen(key) };
        memcpy(kv->key, key, kv->key_n + 1);
    }
    kv->type = type;
    buf_clear(&kv->value);
    buf_add(&kv->value, p, n);
}

void gguf_make_u32(struct gguf_make *m, const char *key, uint32_t v)
{
    gguf_make_raw(m, key, GGUF_U32, &v, sizeof v);
}

void gguf_make_f32(struct gguf_make *m, const char *key, float v)
{
    gguf_make_raw(m, key, GGUF_F32, &v, sizeof v);
}

void gguf_make_bool(struct gguf_make *m, const char *key, bool v)
{
    gguf_make_raw(m, key, GGUF_BOOL, &v, 1);
}

void gguf_make_str(struct gguf_make *m, const char *key, const char *v)
{
    struct buf b = { 0 };
    add_str(m, &b, v, strlen(v));
    gguf_make_raw(m, key, GGUF_STR, b.p, b.n);
    buf_free(&b);
}

void gguf_make_strs(struct gguf_make *m, const char *key, size_t n, const char *const *v)
{
    struct buf b = { 0 };
    add_int(&b, GGUF_STR, 4);
    add_int(&b, n, len_size(m));
    for (size_t i = 0; i < n; i++)
        add_str(m, &b, v[i], strlen(v[i]));
    gguf_make_raw(m, key, GGUF_ARRAY, b.p, b.n);
    buf_free(&b);
}

void gguf_make_i32s(struct gguf_make *m, const char *key, size_t n, const int32_t *v)
{
    struct buf b = { 0 };
    add_int(&b, GGUF_I32, 4);
    add_int(&b, n, len_size(m));
    buf_add(&b, v, n * sizeof *v);
    gguf_make_raw(m, key, GGUF_ARRAY, b.p, b.n);
    buf_free(&b);
}

static uint64_t align_of(const struct gguf_make *m)
{
    return m->align ? m->align : 32;
}

static uint64_t round_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) / align * align;
}

void gguf_make_place(struct gguf_make *m)
{
    uint64_t at = 0;
    for (unsigned i = 0; i < m->n_t; i++) {
        m->t[i].offset = at;
        at = round_up(at + m->t[i].data.n, align_of(m));
    }
}

struct make_tensor *gguf_make_tensor(struct gguf_make *m, const char *name, uint32_t type,
                                     uint64_t rows, uint64_t cols, const void *p, size_t n)
{
    check(m->n_t < sizeof m->t / sizeof m->t[0] && strlen(name) < sizeof m->t[0].name);
    struct make_tensor *t = &m->t[m->n_t++];
    *t = (struct make_tensor){ .name_n = strlen(name), .type = type, .n_dims = rows ? 2 : 1,
                               .ne = { cols, rows ? rows : 1, 1, 1, 1 } };
    memcpy(t->name, name, t->name_n + 1);
    buf_add(&t->data, p, n);
    gguf_make_place(m);
    return t;
}

struct make_tensor *gguf_make_find(struct gguf_make *m, const char *name)
{
    for (unsigned i = 0; i < m->n_t; i++)
        if (!strcmp(m->t[i].name, name))
            return &m->t[i];
    abort();
}

void gguf_make_drop_tensor(struct gguf_make *m, const char *name)
{
    struct make_tensor *t = gguf_make_find(m, name);
    buf_free(&t->data);
    memmove(t, t + 1, (size_t)(&m->t[--m->n_t] - t) * sizeof *t);
    gguf_make_place(m);
}

static void pad_to(struct buf *b, uint64_t n)
{
    while (b->n < n)
        buf_add(b, "", 1);
}

void gguf_make_done(const struct gguf_make *m, struct buf *out)
{
    buf_add(out, "GGUF", 4);
    add_int(out, m->version ? m->version : 3, 4);
    add_int(out, m->say_n_t ? m->say_n_t : m->n_t, len_size(m));
    add_int(out, m->say_n_kv ? m->say_n_kv : m->n_kv, len_size(m));
    for (unsigned i = 0; i < m->n_kv; i++) {
        add_str(m, out, m->kv[i].key, m->kv[i].key_n);
        add_int(out, m->kv[i].type, 4);
        buf_add(out, m->kv[i].value.p, m->kv[i].value.n);
    }
    for (unsigned i = 0; i < m->n_t; i++) {
        const struct make_tensor *t = &m->t[i];
        add_str(m, out, t->name, t->name_n);
        add_int(out, t->n_dims, 4);
        for (unsigned d = 0; d < t->n_dims && d < 5; d++)
            add_int(out, t->ne[d], len_size(m));
        add_int(out, t->type, 4);
        add_int(out, t->offset, 8);
    }
    uint64_t at = round_up(out->n, align_of(m));
    for (unsigned i = 0; i < m->n_t; i++) {      /* where they belong, whatever is said */
        pad_to(out, at);
        buf_add(out, m->t[i].data.p, m->t[i].data.n);
        at = round_up(at + m->t[i].data.n, align_of(m));
    }
    check(!out->failed);
}

void gguf_make_free(struct gguf_make *m)
{
    for (unsigned i = 0; i < m->n_kv; i++)
        buf_free(&m->kv[i].value);
    for (unsigned i = 0; i < m->n_t; i++)
        buf_free(&m->t[i].data);
    *m = (struct gguf_make){ 0 };
}

uint32_t make_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

uint32_t make_crc32(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
    }
    return ~c;
}

/* ---------------------------------------------------------------- Ternary */

static void make_i2s(enum i2s_layout layout, uint64_t rows, uint64_t cols, const int8_t *w,
                     float scale, struct buf *out)
{
    uint64_t n = rows * cols;
    uint8_t *p = calloc(n / 4 + 32, 1);
    check(p);
    for (uint64_t e = 0; e < n; e++) {
        uint64_t stride = layout == I2S_B ? 16 : 32, r = e % (4 * stride);
        uint64_t byte = e / (4 * stride) * stride + r % stride, field = r / stride;
        if (layout == I2S_C) {
            byte = e / cols / 4 * cols + e % cols;
            field = e / cols % 4;
        }
        p[byte] |= (uint8_t)((w[e] + 1) << (6 - 2 * field));
    }
    memcpy(p + n / 4, &scale, sizeof scale);
    buf_add(out, p, n / 4 + 32);
    free(p);
}

static void add_half(struct buf *out, float v)
{
    add_int(out, f16_from_f32(v), 2);
}

static void make_tq2_block(const int8_t *w, float scale, struct buf *out)
{
    uint8_t q[64] = { 0 };
    for (unsigned e = 0; e < 256; e++)
        q[e / 128 * 32 + e % 32] |= (uint8_t)((w[e] + 1) << 2 * (e % 128 / 32));
    buf_add(out, q, sizeof q);
    add_half(out, scale);
}

/* Five digits, the first most significant, scaled up to a byte. */
static uint8_t tq1_byte(const int8_t *w, unsigned step, unsigned n)
{
    unsigned v = 0;
    for (unsigned i = 0; i < 5; i++)
        v = 3 * v + (i < n ? (unsigned)(w[i * step] + 1) : 0);
    return (uint8_t)((v * 256 + 242) / 243);
}

static void make_tq1_block(const int8_t *w, float scale, struct buf *out)
{
    uint8_t q[52];
    for (unsigned i = 0; i < 32; i++)
        q[i] = tq1_byte(w + i, 32, 5);
    for (unsigned i = 0; i < 16; i++)
        q[32 + i] = tq1_byte(w + 160 + i, 16, 5);
    for (unsigned i = 0; i < 4; i++)
        q[48 + i] = tq1_byte(w + 240 + i, 4, 4);
    buf_add(out, q, sizeof q);
    add_half(out, scale);
}

/* Q1_0 (type 41: a bit each, so no zeros) and Q2_0 (42), low bits first. Scales
 * differ from block to block, as files of group-scaled models have them. */
static void make_group_block(uint32_t type, const int8_t *w, float scale, uint64_t index,
                             struct buf *out)
{
    const unsigned n = type == 41 ? 128 : 64, bits = type == 41 ? 1 : 2;
    uint8_t q[16] = { 0 };
    for (unsigned e = 0; e < n; e++) {
        const unsigned code = type == 41 ? w[e] > 0 : (unsigned)(w[e] + 1);
        q[e * bits / 8] |= (uint8_t)(code << e * bits % 8);
    }
    add_half(out, scale * (float)(1 + index % 3));
    buf_add(out, q, sizeof q);
}

void gguf_make_ternary(uint32_t type, enum i2s_layout layout, uint64_t rows, uint64_t cols,
                       const int8_t *w, float scale, struct buf *out)
{
    if (type == 36) {
        make_i2s(layout, rows, cols, w, scale, out);
        return;
    }
    if (type == 41 || type == 42) {
        const unsigned n = type == 41 ? 128 : 64;
        check(cols % n == 0);
        for (uint64_t e = 0; e < rows * cols; e += n)
            make_group_block(type, w + e, scale, e / n, out);
        return;
    }
    check(cols % 256 == 0 && (type == 34 || type == 35));
    for (uint64_t e = 0; e < rows * cols; e += 256)
        (type == 34 ? make_tq1_block : make_tq2_block)(w + e, scale, out);
}

/* ------------------------------------------------------------- Tiny model */

static void weights(struct gguf_make *m, const char *name, uint32_t type, enum i2s_layout layout,
                    uint64_t rows, uint64_t cols, uint64_t *state)
{
    struct buf b = { 0 };
    uint64_t n = rows * cols;
    int8_t *w = malloc(n);
    check(w);
    for (uint64_t i = 0; i < n; i++)
        w[i] = (int8_t)(make_random(state) % 3 - 1);
    if (type >= 34) {
        gguf_make_ternary(type, layout, rows, cols, w, 0.25f, &b);
    } else {
        uint64_t block = type == 8 ? 32 : type == 14 ? 256 : 1;
        for (uint64_t i = 0; i < n; i += block) {
            float v = (float)w[i] * 0.25f;
            if (type == 0)
                add_int(&b, f32_bits(v), 4);
            else if (type == 1)
                add_half(&b, v);
            else if (type == 30)
                add_int(&b, f32_bits(v) >> 16, 2);
            else if (type == 8)
                add_half(&b, 0.25f);
            for (uint64_t k = 0; type == 8 && k < 32; k++)
                add_int(&b, (uint8_t)w[i + k], 1);
            for (uint64_t k = 0; type == 14 && k < 208; k++)
                add_int(&b, (uint8_t)(w[i + k] + 5), 1);
            if (type == 14)
                add_half(&b, 0.0625f);
        }
    }
    gguf_make_tensor(m, name, type, rows, cols, b.p, b.n);
    buf_free(&b);
    free(w);
}

static void norm(struct gguf_make *m, const char *name, uint64_t n)
{
    float one[10240];
    check(n <= 10240);
    for (uint64_t i = 0; i < n; i++)
        one[i] = 1;
    gguf_make_tensor(m, name, 0, 0, n, one, n * sizeof one[0]);
}

static uint32_t tiny_head_dim(const struct tiny *t, uint32_t n_embd)
{
    return t->head_dim ? t->head_dim : n_embd / (t->n_head ? t->n_head : 2);
}

static void tiny_keys(struct gguf_make *m, const char *arch, uint32_t n_embd, uint32_t n_ff,
                      const struct tiny *tiny)
{
    static const char *const token[12] = {
        "a", "b", "c", "d", "\xc4\xa0", "ab", "cd", "\304\240a", "abcd", "e", "<|begin|>",
        "<|end|>"
    };
    static const int32_t type[12] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3 };
    static const char *const merge[4] = { "a b", "c d", "\xc4\xa0 a", "ab cd" };
    char key[64];
#define KEY(suffix) (snprintf(key, sizeof key, "%s." suffix, arch), key)
    gguf_make_str(m, "general.architecture", arch);
    gguf_make_str(m, "general.name", "tiny");
    gguf_make_u32(m, KEY("vocab_size"), 12);
    gguf_make_u32(m, KEY("context_length"), 64);
    gguf_make_u32(m, KEY("embedding_length"), n_embd);
    gguf_make_u32(m, KEY("block_count"), 1);
    gguf_make_u32(m, KEY("feed_forward_length"), n_ff);
    gguf_make_u32(m, KEY("attention.head_count"), tiny->n_head ? tiny->n_head : 2);
    gguf_make_u32(m, KEY("attention.head_count_kv"), tiny->n_head_kv ? tiny->n_head_kv : 1);
    gguf_make_f32(m, KEY("attention.layer_norm_rms_epsilon"), 1e-5f);
    gguf_make_f32(m, KEY("rope.freq_base"), tiny->rope_base > 0 ? tiny->rope_base : 10000);
    gguf_make_u32(m, KEY("rope.dimension_count"), tiny_head_dim(tiny, n_embd));
    if (tiny->head_dim) {
        gguf_make_u32(m, KEY("attention.key_length"), tiny->head_dim);
        gguf_make_u32(m, KEY("attention.value_length"), tiny->head_dim);
    }
    if (tiny->proj_norm)
        gguf_make_u32(m, KEY("pooling_type"), 3);
#undef KEY
    gguf_make_str(m, "tokenizer.ggml.model", "gpt2");
    gguf_make_str(m, "tokenizer.ggml.pre", "llama-bpe");
    gguf_make_strs(m, "tokenizer.ggml.tokens", 12, token);
    gguf_make_i32s(m, "tokenizer.ggml.token_type", 12, type);
    gguf_make_strs(m, "tokenizer.ggml.merges", 4, merge);
    gguf_make_u32(m, "tokenizer.ggml.bos_token_id", 10);
    gguf_make_u32(m, "tokenizer.ggml.eos_token_id", 11);
    gguf_make_bool(m, "tokenizer.ggml.add_bos_token", true);
}

/* A norm that is there when `has` is. */
static void norm_if(struct gguf_make *m, bool has, const char *name, uint64_t n)
{
    if (has)
        norm(m, name, n);
}

void gguf_make_tiny(struct gguf_make *m, const struct tiny *tiny)
{
    const char *arch = tiny->arch ? tiny->arch : "bitnet-b1.58";
    const uint32_t n = tiny->n_embd ? tiny->n_embd : 16, linear = tiny->linear ? tiny->linear : 36;
    const uint32_t n_ff = tiny->n_ff ? tiny->n_ff : n < 256 ? 2 * n : n;
    const uint32_t dim = tiny_head_dim(tiny, n), q = dim * (tiny->n_head ? tiny->n_head : 2);
    const uint32_t kv = dim * (tiny->n_head_kv ? tiny->n_head_kv : 1);
    const enum i2s_layout form = tiny->layout;
    const bool llama = !strcmp(arch, "llama"), gemma = !strcmp(arch, "gemma3");
    const bool sub = !strncmp(arch, "bitnet", 6), in = tiny->proj_norm;
    const bool head = gemma || !strcmp(arch, "qwen3");
    uint64_t state = 7;
    *m = (struct gguf_make){ .version = tiny->version };
    tiny_keys(m, arch, n, n_ff, tiny);
    weights(m, "token_embd.weight", tiny->embd ? tiny->embd : 1, form, 12, n, &state);
    if (llama)
        weights(m, "output.weight", tiny->embd ? tiny->embd : 1, form, 12, n, &state);
    norm(m, "output_norm.weight", n);
    norm(m, "blk.0.attn_norm.weight", n);
    norm_if(m, in, "blk.0.attn_q_norm_in.weight", n);
    weights(m, "blk.0.attn_q.weight", linear, form, q, n, &state);
    norm_if(m, in, "blk.0.attn_k_norm_in.weight", n);
    weights(m, "blk.0.attn_k.weight", linear, form, kv, n, &state);
    norm_if(m, in, "blk.0.attn_v_norm_in.weight", n);
    weights(m, "blk.0.attn_v.weight", linear, form, kv, n, &state);
    norm_if(m, head, "blk.0.attn_q_norm.weight", dim);
    norm_if(m, head, "blk.0.attn_k_norm.weight", dim);
    norm_if(m, sub || in, in ? "blk.0.attn_output_norm_in.weight" : "blk.0.attn_sub_norm.weight", q);
    weights(m, "blk.0.attn_output.weight", linear, form, n, q, &state);
    norm_if(m, gemma, "blk.0.post_attention_norm.weight", n);
    norm(m, "blk.0.ffn_norm.weight", n);
    norm_if(m, in, "blk.0.ffn_gate_norm_in.weight", n);
    weights(m, "blk.0.ffn_gate.weight", linear, form, n_ff, n, &state);
    norm_if(m, in, "blk.0.ffn_up_norm_in.weight", n);
    weights(m, "blk.0.ffn_up.weight", linear, form, n_ff, n, &state);
    norm_if(m, sub || in, in ? "blk.0.ffn_down_norm_in.weight" : "blk.0.ffn_sub_norm.weight", n_ff);
    weights(m, "blk.0.ffn_down.weight", linear, form, n, n_ff, &state);
    norm_if(m, gemma, "blk.0.post_ffw_norm.weight", n);
}
