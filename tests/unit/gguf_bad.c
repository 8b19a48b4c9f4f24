/* gguf_bad.c - see the header. */
#include "gguf_bad.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"

#define ARCH "bitnet-b1.58."
#define Q "blk.0.attn_q.weight"
#define N "blk.0.attn_norm.weight"

/* An edit is one line: E(name) { m ... }, a spoiled byte S(name) { b ... }. */
#define E(name) static void name(struct gguf_make *m)
#define S(name) static void name(struct buf *b)

/* Where text first occurs in the bytes. */
static size_t find(const struct buf *b, const char *text)
{
    const char *at = memmem(b->p, b->n, text, strlen(text));
    if (!at)
        abort();
    return (size_t)(at - b->p);
}

static void put(struct buf *b, size_t at, const void *p, size_t n)
{
    memcpy(b->p + at, p, n);
}

static void put_u64(struct buf *b, size_t at, uint64_t v)
{
    put(b, at, &v, sizeof v);
}

/* ---------------------------------------------------- Cut off, or nonsense */

S(cut_magic)         { b->n = 3; }
S(cut_version)       { b->n = 6; }
S(cut_counts)        { b->n = 20; }
S(cut_first_key)     { b->n = 24 + 8 + 5; }
S(cut_key_type)      { b->n = find(b, "general.architecture") + 20 + 2; }
S(cut_string_value)  { b->n = find(b, "bitnet-b1.58") + 4; }
S(cut_scalar)        { b->n = find(b, ARCH "vocab_size") + strlen(ARCH "vocab_size") + 4 + 3; }
S(cut_token)         { b->n = find(b, "<|begin|>") + 3; }
S(cut_type_array)    { b->n = find(b, "tokenizer.ggml.token_type") + 25 + 16 + 10; }
S(cut_tensor_name)   { b->n = find(b, "token_embd.weight") + 4; }
S(cut_tensor_dims)   { b->n = find(b, Q) + strlen(Q) + 4 + 9; }
S(cut_tensor_offset) { b->n = find(b, "blk.0.ffn_down.weight") + 21 + 4 + 16 + 4 + 7; }
S(cut_before_data)   { b->n = find(b, "blk.0.ffn_down.weight") + 21 + 4 + 16 + 4 + 8; }
S(cut_in_floats)     { b->n -= 200; }
S(cut_in_ternary)    { b->n -= 40; }
S(magic_wrong)       { b->p[3] = 'f'; }
S(big_endian)        { put(b, 4, "\0\0\0\3", 4); }
S(version_0)         { put(b, 4, "\0\0\0\0", 4); }
S(version_4)         { put(b, 4, "\4\0\0\0", 4); }
S(key_longer_than_file)    { put_u64(b, 24, (uint64_t)1 << 40); }
S(key_length_wraps)        { put_u64(b, 24, UINT64_MAX - 3); }
S(string_longer_than_file) { put_u64(b, find(b, "tiny") - 8, 1u << 30); }
S(token_longer_than_file)  { put_u64(b, find(b, "<|begin|>") - 8, UINT64_MAX); }
S(array_count_huge)
{
    put_u64(b, find(b, "tokenizer.ggml.tokens") + 21 + 8, UINT64_MAX / 2);
}
S(int_array_count_wraps)
{
    put_u64(b, find(b, "tokenizer.ggml.token_type") + 25 + 8, ((uint64_t)1 << 62) + 1);
}
S(nested_array)      { put(b, find(b, "tokenizer.ggml.merges") + 21 + 4, "\11", 1); }
S(array_type_13)     { put(b, find(b, "tokenizer.ggml.merges") + 21 + 4, "\15", 1); }
S(value_type_13)     { put(b, find(b, ARCH "vocab_size") + strlen(ARCH "vocab_size"), "\15", 1); }
S(bool_2)            { put(b, find(b, "add_bos_token") + 13 + 4, "\2", 1); }
S(key_with_nul)      { put(b, find(b, "general.name") + 4, "\0", 1); }
E(too_many_keys)     { m->say_n_kv = (uint64_t)1 << 60; }
E(too_many_tensors)  { m->say_n_t = (uint64_t)1 << 60; }
E(one_key_too_many)  { m->say_n_kv = m->n_kv + 1; }
E(one_tensor_too_many) { m->say_n_t = m->n_t + 1; }
E(key_empty)         { m->kv[3].key_n = 0; }
E(key_twice)         { memcpy(m->kv[3].key, m->kv[2].key, m->kv[3].key_n = m->kv[2].key_n); }
E(alignment_0)       { gguf_make_u32(m, "general.alignment", 0); }
E(alignment_24)      { gguf_make_u32(m, "general.alignment", 24); }
E(alignment_huge)    { gguf_make_u32(m, "general.alignment", 1u << 31); }
E(alignment_text)    { gguf_make_str(m, "general.alignment", "32"); }

/* ---------------------------------------------------- Where the tensors lie */

static struct make_tensor *tensor(struct gguf_make *m, const char *name)
{
    return gguf_make_find(m, name);
}

E(tensor_twice)      { memcpy(tensor(m, Q)->name, "blk.0.attn_k.weight", 19); }
E(tensor_nameless)   { tensor(m, Q)->name_n = 0; }
E(tensor_name_long)
{
    struct make_tensor *t = tensor(m, Q);
    memset(t->name, 'x', t->name_n = 64);
}
E(dims_0)            { tensor(m, Q)->n_dims = 0; }
E(dims_5)            { tensor(m, Q)->n_dims = 5; }
E(dim_zero)          { tensor(m, Q)->ne[1] = 0; }
E(dims_overflow)     { tensor(m, Q)->ne[0] = tensor(m, Q)->ne[1] = (uint64_t)1 << 32; }
E(dims_overflow_size) { tensor(m, Q)->ne[0] = (uint64_t)1 << 55; }
E(offset_unaligned)  { tensor(m, Q)->offset += 4; }
E(offset_behind_end) { tensor(m, Q)->offset += 1u << 20; }
E(offset_wraps)      { tensor(m, Q)->offset = UINT64_MAX - 31; }
E(tensors_overlap)   { tensor(m, N)->offset = tensor(m, "token_embd.weight")->offset + 32; }
E(tensors_same_place) { tensor(m, N)->offset = tensor(m, "output_norm.weight")->offset; }
E(floats_past_end)   { tensor(m, "blk.0.ffn_down.weight")->type = 0; }

/* ------------------------------------------------------------ Their content */

static float *floats(struct gguf_make *m, const char *name)
{
    return (float *)(void *)tensor(m, name)->data.p;
}

static void set_i2s_scale(struct gguf_make *m, float v)
{
    memcpy(tensor(m, Q)->data.p + 64, &v, sizeof v);        /* 16 x 16 codes before it */
}

static void set_half(struct gguf_make *m, const char *name, size_t at, float v)
{
    uint16_t h = f16_from_f32(v);
    memcpy(tensor(m, name)->data.p + at, &h, sizeof h);
}

static void set_f32(uint8_t *p, float v)
{
    memcpy(p, &v, sizeof v);
}

static void resize(struct gguf_make *m, const char *name, size_t n)
{
    struct buf *b = &tensor(m, name)->data;
    while (b->n < n)
        buf_add(b, "", 1);
    b->n = n;
    gguf_make_place(m);
}

E(type_99)           { tensor(m, Q)->type = 99; }
E(type_iq2_xxs)      { tensor(m, Q)->type = 16; }
E(i2s_of_another_size) { resize(m, Q, 160); }
E(i2s_of_32_more)    { resize(m, Q, 128); }
E(tq1_of_another_size) { tensor(m, Q)->type = 34; }
/* 20 x 16 codes are two and a half blocks of layout A. */
E(i2s_part_block)
{
    resize(m, "blk.0.ffn_gate.weight", 112);
    resize(m, "blk.0.ffn_up.weight", 112);
    resize(m, "blk.0.ffn_sub_norm.weight", 80);
    tensor(m, "blk.0.ffn_gate.weight")->ne[1] = tensor(m, "blk.0.ffn_up.weight")->ne[1] = 20;
    tensor(m, "blk.0.ffn_sub_norm.weight")->ne[0] = 20;
    gguf_make_u32(m, ARCH "feed_forward_length", 20);
}
E(scale_nan)         { set_i2s_scale(m, NAN); }
E(scale_inf)         { set_i2s_scale(m, INFINITY); }
E(scale_zero)        { set_i2s_scale(m, 0); }
E(scale_negative)    { set_i2s_scale(m, -0.5f); }
E(code_3)            { tensor(m, Q)->data.p[5] = (char)0xc3; }
/* All weights -1 of 64 x 64 in another encoding, scales 0. */
static uint8_t *become(struct gguf_make *m, uint32_t type, size_t n)
{
    struct make_tensor *t = tensor(m, Q);
    t->type = type;
    resize(m, Q, n);
    memset(t->data.p, 0, n);
    return (uint8_t *)t->data.p;
}

E(iq1_bn_never)      { become(m, 134, 64 * 15)[2 + 3] = 20; }
E(iq1_bn_scale_nan)  { become(m, 134, 64 * 15)[15 * 63 + 1] = 0x7e; }
E(iq2_bn_code_3)     { become(m, 135, 64 * 20)[4] = 3; }
E(iq2_bn_scale_nan)  { memset(become(m, 135, 64 * 20) + 20, 0xff, 4); }
E(iq2_bn_cut)        { become(m, 135, 64 * 12); }
E(iq2_bn_no_scale)   { become(m, 135, 64 * 16); }
E(iq2_bn_2024_no_scale) { become(m, 32, 64 * 16); }
E(iq2_bn_r4_code_3)  { become(m, 335, 64 * 20)[16 + 63] = 0xc0; }
E(iq2_bn_r4_scale_inf) { set_f32(become(m, 335, 64 * 20) + 12, INFINITY); }
E(tl1_unknown_shape) { become(m, 38, 64 * 16 + 32); }
E(tl1_of_another_size) { become(m, 38, 64 * 20); }
E(tl2_of_another_size) { become(m, 39, 64 * 20); }
E(mxfp4)             { become(m, 39, 64 * 34); }
E(embedding_nan)     { set_half(m, "token_embd.weight", 10, NAN); }
E(norm_inf)          { floats(m, N)[3] = INFINITY; }
E(tq2_scale_inf)     { set_half(m, Q, 66 + 64, INFINITY); }
E(tq1_scale_nan)     { set_half(m, Q, 52, NAN); }
E(q8_0_scale_nan)    { set_half(m, "token_embd.weight", 34, NAN); }
E(q6_k_scale_inf)    { set_half(m, "token_embd.weight", 208, INFINITY); }
E(extra_scale_nan)
{
    float v = NAN;
    gguf_make_tensor(m, "blk.0.attn_q.scale", 0, 0, 1, &v, sizeof v);
}
E(extra_scale_overflows)
{
    float v = 3e38f;
    set_i2s_scale(m, 1000);
    gguf_make_tensor(m, "blk.0.attn_q.scale", 0, 0, 1, &v, sizeof v);
}
E(extra_scale_of_two)
{
    float v[2] = { 1, 2 };
    gguf_make_tensor(m, "blk.0.attn_q.scale", 0, 0, 2, v, sizeof v);
}

/* --------------------------------------------------------------- The model */

E(arch_missing)      { gguf_make_drop_key(m, "general.architecture"); }
E(arch_unknown)      { gguf_make_str(m, "general.architecture", "mamba"); }
E(arch_number)       { gguf_make_u32(m, "general.architecture", 3); }
E(layers_missing)    { gguf_make_drop_key(m, ARCH "block_count"); }
E(layers_0)          { gguf_make_u32(m, ARCH "block_count", 0); }
E(layers_huge)       { gguf_make_u32(m, ARCH "block_count", 100000000); }
E(layers_negative)
{
    int32_t v = -1;
    gguf_make_raw(m, ARCH "block_count", GGUF_I32, &v, sizeof v);
}
E(layers_one_more)   { gguf_make_u32(m, ARCH "block_count", 2); }
E(width_wrong)       { gguf_make_u32(m, ARCH "embedding_length", 32); }
E(width_huge)        { gguf_make_u32(m, ARCH "embedding_length", UINT32_MAX); }
E(ffn_wrong)         { gguf_make_u32(m, ARCH "feed_forward_length", 64); }
E(context_0)         { gguf_make_u32(m, ARCH "context_length", 0); }
E(heads_3)           { gguf_make_u32(m, ARCH "attention.head_count", 3); }
E(heads_16)          { gguf_make_u32(m, ARCH "attention.head_count", 16); }
E(heads_float)       { gguf_make_f32(m, ARCH "attention.head_count", 2); }
E(kv_heads_3)        { gguf_make_u32(m, ARCH "attention.head_count_kv", 3); }
E(key_length_16)     { gguf_make_u32(m, ARCH "attention.key_length", 16); }
E(key_length_7)      { gguf_make_u32(m, ARCH "attention.key_length", 7); }
E(key_length_huge)   { gguf_make_u32(m, ARCH "attention.key_length", 1u << 30); }
E(value_length_16)   { gguf_make_u32(m, ARCH "attention.value_length", 16); }
E(not_causal)        { gguf_make_bool(m, ARCH "attention.causal", false); }
E(swa_base)          { gguf_make_f32(m, ARCH "rope.freq_base_swa", 1e6f); }
E(pooling_cls)       { gguf_make_u32(m, ARCH "pooling_type", 2); }
E(eps_missing)       { gguf_make_drop_key(m, ARCH "attention.layer_norm_rms_epsilon"); }
E(eps_nan)           { gguf_make_f32(m, ARCH "attention.layer_norm_rms_epsilon", NAN); }
E(eps_0)             { gguf_make_f32(m, ARCH "attention.layer_norm_rms_epsilon", 0); }
E(rope_yarn)         { gguf_make_str(m, ARCH "rope.scaling.type", "yarn"); }
E(rope_factor_4)     { gguf_make_f32(m, ARCH "rope.scaling.factor", 4); }
E(rope_dims_odd)     { gguf_make_u32(m, ARCH "rope.dimension_count", 7); }
E(rope_dims_more)    { gguf_make_u32(m, ARCH "rope.dimension_count", 64); }
E(rope_base_0)       { gguf_make_f32(m, ARCH "rope.freq_base", 0); }
E(rope_freqs_0)
{
    float v[4] = { 1, 1, 0, 1 };
    gguf_make_tensor(m, "rope_freqs.weight", 0, 0, 4, v, sizeof v);
}
E(rope_freqs_short)
{
    float v[3] = { 1, 1, 1 };
    gguf_make_tensor(m, "rope_freqs.weight", 0, 0, 3, v, sizeof v);
}
E(activation_gelu)   { gguf_make_str(m, ARCH "hidden_activation", "gelu"); }
E(experts)           { gguf_make_u32(m, ARCH "expert_count", 8); }
E(tensor_missing)    { gguf_make_drop_tensor(m, "blk.0.ffn_down.weight"); }
E(norm_missing)      { gguf_make_drop_tensor(m, "blk.0.ffn_sub_norm.weight"); }
E(embedding_missing) { gguf_make_drop_tensor(m, "token_embd.weight"); }
E(shape_turned)
{
    struct make_tensor *t = tensor(m, "blk.0.ffn_gate.weight");
    t->ne[0] = 32;
    t->ne[1] = 16;
}
E(third_dimension)
{
    struct make_tensor *t = tensor(m, "blk.0.attn_k.weight");
    t->n_dims = 3;
    t->ne[1] = 4;
    t->ne[2] = 2;
}
E(norm_quantized)
{
    struct make_tensor *t = tensor(m, "blk.0.ffn_sub_norm.weight");
    t->type = 8;
    resize(m, "blk.0.ffn_sub_norm.weight", 34);
}
E(bias)
{
    float v[16] = { 0 };
    gguf_make_tensor(m, "blk.0.attn_q.bias", 0, 0, 16, v, sizeof v);
}
E(unknown_tensor)
{
    float v[8] = { 0 };
    gguf_make_tensor(m, "blk.0.attn_q_norm.weight", 0, 0, 8, v, sizeof v);
}
E(vocab_size_wrong)  { gguf_make_u32(m, ARCH "vocab_size", 13); }
E(vocab_too_short)
{
    static const char *const token[11] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k" };
    static const int32_t type[11] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    gguf_make_strs(m, "tokenizer.ggml.tokens", 11, token);
    gguf_make_i32s(m, "tokenizer.ggml.token_type", 11, type);
    gguf_make_u32(m, "tokenizer.ggml.eos_token_id", 10);
}
E(tokens_missing)    { gguf_make_drop_key(m, "tokenizer.ggml.tokens"); }

/* ------------------------------------------------------------------ Table */

#define EDIT(f, says) { #f, says, f, NULL, { 0 } }
#define EDIT_OF(f, says, ...) { #f, says, f, NULL, { __VA_ARGS__ } }
#define SPOIL(f, says) { #f, says, NULL, f, { 0 } }

const struct gguf_bad gguf_bad[] = {
    SPOIL(cut_magic, "not a GGUF file"), SPOIL(cut_version, "inside the header"),
    SPOIL(cut_counts, "inside the header"), SPOIL(cut_first_key, "announced"),
    SPOIL(cut_key_type, "announced"), SPOIL(cut_string_value, "announced"),
    SPOIL(cut_scalar, "announced"), SPOIL(cut_token, "inside key 15 "),
    SPOIL(cut_type_array, "bytes left"), SPOIL(cut_tensor_name, "inside tensor info 1"),
    SPOIL(cut_tensor_dims, "inside tensor info 4"),
    SPOIL(cut_tensor_offset, "inside tensor info 13"),
    SPOIL(cut_before_data, "behind the end of the file"),
    SPOIL(cut_in_floats, "behind the end of the file"),
    SPOIL(cut_in_ternary, "or the file is truncated"),
    SPOIL(magic_wrong, "not a GGUF file"), SPOIL(big_endian, "big-endian"),
    SPOIL(version_0, "version 0"), SPOIL(version_4, "version 4"),
    SPOIL(key_longer_than_file, "inside key 1 "), SPOIL(key_length_wraps, "inside key 1 "),
    SPOIL(string_longer_than_file, "inside key 2 "),
    SPOIL(token_longer_than_file, "inside key 15 "), SPOIL(array_count_huge, "elements, and"),
    SPOIL(int_array_count_wraps, "elements, and"), SPOIL(nested_array, "array of arrays"),
    SPOIL(array_type_13, "array of type 13"), SPOIL(value_type_13, "value of type 13"),
    SPOIL(bool_2, "neither 0 nor 1"), SPOIL(key_with_nul, "no NUL"),
    EDIT(too_many_keys, "keys announced"), EDIT(too_many_tensors, "tensors announced"),
    EDIT(one_key_too_many, "inside tensor info 1 "), EDIT(one_tensor_too_many, "tensor info 14"),
    EDIT(key_empty, "0 bytes of name"), EDIT(key_twice, "occurs twice"),
    EDIT(alignment_0, "alignment is 0"), EDIT(alignment_24, "power of two"),
    EDIT(alignment_huge, "power of two"), EDIT(alignment_text, "expected a whole number"),

    EDIT(tensor_twice, "attn_k.weight occurs twice"), EDIT(tensor_nameless, "0 bytes of name"),
    EDIT(tensor_name_long, "64 bytes of name"), EDIT(dims_0, "0 dimensions"),
    EDIT(dims_5, "5 dimensions"), EDIT(dim_zero, "dimension 1 is 0"),
    EDIT(dims_overflow, "overflows"), EDIT(dims_overflow_size, "overflows"),
    EDIT(offset_unaligned, "multiple of the alignment"),
    EDIT(offset_behind_end, "behind the end of the file"),
    EDIT(offset_wraps, "behind the end of the file"), EDIT(tensors_overlap, "they overlap"),
    EDIT(tensors_same_place, "they overlap"), EDIT(floats_past_end, "it is truncated"),

    EDIT(type_99, "attn_q.weight: its type is 99, expected one of F32"),
    EDIT(type_iq2_xxs, "its type is 16 (IQ2_XXS)"),
    EDIT(i2s_of_another_size, "in 160 bytes: as I2_S takes 96, IQ4_NL_4_4"),
    EDIT(i2s_of_32_more, "in 128 bytes: as I2_S takes 96"),
    EDIT(tq1_of_another_size, "IQ1_BN (ik_llama.cpp in August 2024)"),
    EDIT(i2s_part_block, "does not fill the blocks"), EDIT(scale_nan, "scale is nan"),
    EDIT(scale_inf, "scale is inf"), EDIT(scale_zero, "scale is 0"),
    EDIT(scale_negative, "scale is -0.5"), EDIT(code_3, "2 codes are 3"),
    EDIT_OF(iq1_bn_never, "1 bytes are none that IQ1_BN ever holds", .n_embd = 64),
    EDIT_OF(iq1_bn_scale_nan, "scale of row 63 is NaN", .n_embd = 64),
    EDIT_OF(iq2_bn_code_3, "1 codes are 3, which IQ2_BN never", .n_embd = 64),
    EDIT_OF(iq2_bn_scale_nan, "scale of row 1 is NaN", .n_embd = 64),
    EDIT_OF(iq2_bn_cut, "in 768 bytes: as IQ2_BN takes 1280, IQ2_BN (without", .n_embd = 64),
    EDIT_OF(iq2_bn_no_scale, "attn_q.scale: missing", .n_embd = 64),
    EDIT_OF(iq2_bn_2024_no_scale, "attn_q.scale: missing", .n_embd = 64),
    EDIT_OF(iq2_bn_r4_code_3, "1 codes are 3, which IQ2_BN_R4 never", .n_embd = 64),
    EDIT_OF(iq2_bn_r4_scale_inf, "scale of row 3 is NaN or infinite", .n_embd = 64),
    EDIT_OF(tl1_unknown_shape, "64x64 in TL1: its tiles are not known", .n_embd = 64),
    EDIT_OF(tl1_of_another_size, "as TL1 takes 1056, IQ4_NL_8_8", .n_embd = 64),
    EDIT_OF(tl2_of_another_size, "does not hold this shape, MXFP4 takes 2176", .n_embd = 64),
    EDIT_OF(mxfp4, "its type is 39 (MXFP4), expected one of", .n_embd = 64),
    EDIT(embedding_nan, "token_embd.weight: 1 of its values"), EDIT(norm_inf, "1 of its values"),
    EDIT_OF(tq2_scale_inf, "scale of block 1", .n_embd = 256, .linear = 35),
    EDIT_OF(tq1_scale_nan, "scale of block 0", .n_embd = 256, .linear = 34),
    EDIT_OF(q8_0_scale_nan, "scale 1 of 12", .n_embd = 32, .embd = 8),
    EDIT_OF(q6_k_scale_inf, "scale 0 of 192", .n_embd = 256, .embd = 14, .linear = 36),
    EDIT(extra_scale_nan, "attn_q.scale: NaN"), EDIT(extra_scale_overflows, "scale 0 of 1"),
    EDIT(extra_scale_of_two, "expected one F32"),

    EDIT(arch_missing, "general.architecture is missing"), EDIT(arch_unknown, "\"mamba\""),
    EDIT(arch_number, "expected a string"), EDIT(layers_missing, "block_count is missing"),
    EDIT(layers_0, "expected 1 to 512"), EDIT(layers_huge, "expected 1 to 512"),
    EDIT(layers_negative, "negative"), EDIT(layers_one_more, "blk.1.attn_norm.weight is missing"),
    EDIT(width_wrong, "token_embd.weight is 12 x 16"), EDIT(width_huge, "embedding_length is"),
    EDIT(ffn_wrong, "expected 64 x 16"), EDIT(context_0, "context_length is 0"),
    EDIT(heads_3, "over 3 heads"), EDIT(heads_16, "over 16 heads"),
    EDIT(heads_float, "expected a whole number"), EDIT(kv_heads_3, "2 heads over 3"),
    EDIT(key_length_16, "is 16 x 16, expected 32 x 16"), EDIT(key_length_7, "2 heads of 7"),
    EDIT(key_length_huge, "is 1073741824, expected 2 to"),
    EDIT(value_length_16, "value_length is 16, expected 8"), EDIT(not_causal, "causal is false"),
    EDIT(swa_base, "freq_base_swa is 1e+06, expected 10000"), EDIT(pooling_cls, "pooling_type is 2"),
    EDIT(eps_missing, "epsilon is missing"),
    EDIT(eps_nan, "not a finite number"), EDIT(eps_0, "epsilon is 0"), EDIT(rope_yarn, "\"yarn\""),
    EDIT(rope_factor_4, "factor is 4, expected 1"), EDIT(rope_dims_odd, "is 7, expected an even"),
    EDIT(rope_dims_more, "is 64, expected 2 to 8"), EDIT(rope_base_0, "freq_base is 0"),
    EDIT(rope_freqs_0, "element 2 is 0"), EDIT(rope_freqs_short, "is 1 x 3, expected 1 x 4"),
    EDIT(activation_gelu, "\"gelu\""), EDIT(experts, "expert_count is 8"),
    EDIT(tensor_missing, "blk.0.ffn_down.weight is missing, expected 16 x 32"),
    EDIT(norm_missing, "ffn_sub_norm.weight is missing"),
    EDIT(embedding_missing, "token_embd.weight is missing"),
    EDIT(shape_turned, "is 16 x 32, expected 32 x 16"), EDIT(third_dimension, "more dimensions"),
    EDIT(norm_quantized, "is a Q8_0 vector"), EDIT(bias, "attn_q.bias: a bias"),
    EDIT(unknown_tensor, "attn_q_norm.weight: unknown"), EDIT(vocab_size_wrong, "vocab_size is 13"),
    EDIT(vocab_too_short, "11 tokens, expected 12"), EDIT(tokens_missing, "tokenizer.ggml.tokens"),
};
const size_t n_gguf_bad = sizeof gguf_bad / sizeof gguf_bad[0];

void gguf_bad_make(const struct gguf_bad *bad, struct buf *out)
{
    struct gguf_make m;
    gguf_make_tiny(&m, &bad->base);
    if (bad->edit)
        bad->edit(&m);
    *out = (struct buf){ 0 };
    gguf_make_done(&m, out);
    if (bad->spoil)
        bad->spoil(out);
    gguf_make_free(&m);
}
