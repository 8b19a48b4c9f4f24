/* bitnet_synth_shape.c - a table of the shapes of published ternary models, and
 * the tensors of each.
 *
 * Each row's numbers are those of the config.json that its comment names, or
 * of the published GGUF file. */
#include "tools/bitnet_synth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct synth_shape shapes[] = {
    /* microsoft/bitnet-b1.58-2B-4T: config.json, and the keys of its published
     * ggml-model-i2_s.gguf, 332 tensors, 1,187,801,280 bytes with its own
     * tokenizer. */
    { "2b4t", "synthetic, shape of bitnet-b1.58-2B-4T", "bitnet-b1.58", "relu2",
      30, 2560, 6912, 20, 5, 128256, 256, 4096, 1e-5f, 500000, true, true, false, false, 0,
      SYNTH_MICROSOFT },
    /* 1bitLLM/bitnet_b1_58-large, config.json */
    { "0.7b", "synthetic, shape of bitnet_b1_58-large", "bitnet", "silu",
      24, 1536, 4096, 16, 16, 32002, 16, 2048, 1e-5f, 10000, true, true, false, false, 0,
      SYNTH_1BITLLM },
    /* 1bitLLM/bitnet_b1_58-3B, config.json. Its columns, 3200 and 8640, fill no
     * blocks of 256: no TQ1_0, TQ2_0 or Q6_K. */
    { "3b", "synthetic, shape of bitnet_b1_58-3B", "bitnet", "silu",
      26, 3200, 8640, 32, 32, 32002, 16, 2048, 1e-5f, 10000, true, true, false, false, 0,
      SYNTH_1BITLLM },
    /* HF1BitLLM/Llama3-8B-1.58-100B-tokens: Llama 3 8B's config.json. I2_S and
     * F16 tables: 3,847,248,896 bytes of tensors. */
    { "8b", "synthetic, shape of Llama3-8B-1.58", "llama", "silu",
      32, 4096, 14336, 32, 8, 128256, 256, 8192, 1e-5f, 500000, false, false, false, false, 0,
      SYNTH_LLAMA3 },
    /* tiiuae/Falcon-E-1B-Base and -3B-Base: sizes from the model cards;
     * 665,203,968 and 998,784,000 bytes of I2_S and F16. Rope base, context and
     * epsilon are Falcon3's, which change no size and no speed. */
    { "falcon-e-1b", "synthetic, shape of Falcon-E-1B", "llama", "silu",
      24, 2048, 9216, 16, 2, 32768, 16, 32768, 1e-6f, 1000042, false, false, false, false, 0,
      SYNTH_FALCON_E },
    { "falcon-e-3b", "synthetic, shape of Falcon-E-3B", "llama", "silu",
      32, 2048, 13312, 16, 2, 32768, 16, 32768, 1e-6f, 1000042, false, false, false, false, 0,
      SYNTH_FALCON_E },
    /* tiiuae/Falcon3-*-Instruct-1.58bit, config.json; of the 7B 3,273,836,672
     * bytes of I2_S and F16. */
    { "falcon3-1b", "synthetic, shape of Falcon3-1B-1.58bit", "llama", "silu",
      18, 2048, 8192, 8, 4, 131072, 16, 8192, 1e-6f, 1000042, false, false, false, false, 0,
      SYNTH_FALCON3 },
    { "falcon3-3b", "synthetic, shape of Falcon3-3B-1.58bit", "llama", "silu",
      22, 3072, 9216, 12, 4, 131072, 16, 32768, 1e-6f, 1000042, false, false, false, false, 0,
      SYNTH_FALCON3 },
    { "falcon3-10b", "synthetic, shape of Falcon3-10B-1.58bit", "llama", "silu",
      40, 3072, 23040, 12, 4, 131072, 16, 32768, 1e-6f, 1000042, false, false, false, false, 0,
      SYNTH_FALCON3 },
    { "falcon3-7b", "synthetic, shape of Falcon3-7B-1.58bit", "llama", "silu",
      28, 3072, 23040, 12, 4, 131072, 16, 32768, 1e-6f, 1000042, false, false, false, false, 0,
      SYNTH_FALCON3 },
    /* No published model: what tests and examples can afford. Sizes fill the
     * blocks of every encoding. */
    { "tiny", "synthetic, tiny", "bitnet-b1.58", "relu2",
      2, 256, 768, 4, 2, 2048, 16, 1024, 1e-5f, 10000, true, true, false, false, 0,
      SYNTH_MICROSOFT },
    /* microsoft/bitnet-embedding-0.6b and -270m: sizes from its guide and the
     * files'. */
    { "embedding-0.6b", "synthetic, shape of bitnet-embedding-0.6b", "qwen3", "silu",
      28, 1024, 3072, 16, 8, 151669, 256, 32768, 1e-6f, 1000000, false, true, true, false, 128,
      SYNTH_QWEN3 },
    { "embedding-270m", "synthetic, shape of bitnet-embedding-270m", "gemma3", "gelu_tanh",
      18, 640, 2048, 4, 1, 262144, 256, 32768, 1e-6f, 10000, false, true, true, true, 256,
      SYNTH_GEMMA3 },
    { "qwen3-tiny", "synthetic, tiny qwen3", "qwen3", "silu",
      2, 256, 768, 4, 2, 2048, 16, 1024, 1e-6f, 10000, false, true, true, false, 128,
      SYNTH_QWEN3 },
    { "gemma3-tiny", "synthetic, tiny gemma3", "gemma3", "gelu_tanh",
      2, 256, 512, 2, 1, 2048, 16, 1024, 1e-6f, 10000, false, true, true, true, 256,
      SYNTH_GEMMA3 },
    { "1bitllm-tiny", "synthetic, tiny, as 1bitLLM's", "bitnet", "silu",
      2, 256, 768, 4, 4, 2048, 16, 1024, 1e-5f, 10000, true, true, false, false, 0,
      SYNTH_1BITLLM },
    { "llama3-tiny", "synthetic, tiny, as Llama 3", "llama", "silu",
      2, 256, 768, 4, 2, 2048, 16, 1024, 1e-5f, 500000, false, false, false, false, 0,
      SYNTH_LLAMA3 },
    { "falcon3-tiny", "synthetic, tiny, as Falcon3", "llama", "silu",
      2, 256, 768, 2, 1, 2048, 16, 1024, 1e-6f, 1000042, false, false, false, false, 0,
      SYNTH_FALCON3 },
    { "falcon-e-tiny", "synthetic, tiny, as Falcon-E", "llama", "silu",
      2, 256, 768, 4, 1, 2048, 16, 1024, 1e-6f, 1000042, false, false, false, false, 0,
      SYNTH_FALCON_E },
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

const struct synth_shape *synth_shape_find(const char *name, struct err *e)
{
    for (unsigned i = 0; i < N_SHAPES; i++)
        if (!strcmp(name, shapes[i].name))
            return &shapes[i];
    struct buf names = { 0 };
    for (unsigned i = 0; i < N_SHAPES; i++)
        buf_addf(&names, "%s%s", !i ? "" : i + 1 < N_SHAPES ? ", " : " or ", shapes[i].name);
    err_set(e, ERR_ARG, "--shape: %.100s, expected %s", name, names.failed ? "a shape" : names.p);
    buf_free(&names);
    return NULL;
}

uint32_t synth_head_dim(const struct synth_shape *p)
{
    return p->head_dim ? p->head_dim : p->n_embd / p->n_head;
}

/* ----------------------------------------------------------------- tensors */

enum { LAYER_MAX = 22 };              /* tensors of a layer, at most           */

struct list {
    const struct synth_shape *shape;
    const struct enc *enc[3];      /* by enum synth_kind                */
    struct synth_tensor *t;
    uint32_t n;
    struct err *e;
};

static int add(struct list *l, const char *name, enum synth_kind kind, uint32_t rows, uint32_t cols)
{
    struct synth_tensor *t = &l->t[l->n];
    const struct enc *enc = l->enc[kind];
    *t = (struct synth_tensor){ .kind = kind, .enc = enc, .rows = rows, .cols = cols };
    snprintf(t->name, sizeof t->name, "%s.weight", name);
    if (!enc_size(enc, rows ? rows : 1, cols, &t->size))
        return err_set(l->e, ERR_ARG, "%s: tensor %s has %u columns, which do not fill the blocks "
                       "of %u that %s has: choose another --%s", l->shape->name, t->name, cols,
                       enc->block, enc->name, kind == SYNTH_TABLE ? "head" : "type");
    l->n++;
    return 0;
}

static int add_layer(struct list *l, uint32_t layer)
{
    const struct synth_shape *p = l->shape;
    const uint32_t head = synth_head_dim(p), q = head * p->n_head, kv = head * p->n_head_kv;
    const bool any = true, sub = p->sub_norm, own = p->embedding, post = p->post_norm;
    const struct {
        const char *name;
        enum synth_kind kind;
        uint32_t rows, cols;
        bool has;
    } part[] = {
        { "attn_norm", SYNTH_NORM, 0, p->n_embd, any },
        { "attn_q_norm_in", SYNTH_NORM, 0, p->n_embd, own },
        { "attn_q", SYNTH_MATRIX, q, p->n_embd, any },
        { "attn_k_norm_in", SYNTH_NORM, 0, p->n_embd, own },
        { "attn_k", SYNTH_MATRIX, kv, p->n_embd, any },
        { "attn_v_norm_in", SYNTH_NORM, 0, p->n_embd, own },
        { "attn_v", SYNTH_MATRIX, kv, p->n_embd, any },
        { "attn_q_norm", SYNTH_NORM, 0, head, own },
        { "attn_k_norm", SYNTH_NORM, 0, head, own },
        { "attn_sub_norm", SYNTH_NORM, 0, q, sub },
        { "attn_output_norm_in", SYNTH_NORM, 0, q, own },
        { "attn_output", SYNTH_MATRIX, p->n_embd, q, any },
        { "post_attention_norm", SYNTH_NORM, 0, p->n_embd, post },
        { "ffn_norm", SYNTH_NORM, 0, p->n_embd, any },
        { "ffn_gate_norm_in", SYNTH_NORM, 0, p->n_embd, own },
        { "ffn_gate", SYNTH_MATRIX, p->n_ff, p->n_embd, any },
        { "ffn_up_norm_in", SYNTH_NORM, 0, p->n_embd, own },
        { "ffn_up", SYNTH_MATRIX, p->n_ff, p->n_embd, any },
        { "ffn_sub_norm", SYNTH_NORM, 0, p->n_ff, sub },
        { "ffn_down_norm_in", SYNTH_NORM, 0, p->n_ff, own },
        { "ffn_down", SYNTH_MATRIX, p->n_embd, p->n_ff, any },
        { "post_ffw_norm", SYNTH_NORM, 0, p->n_embd, post },
    };
    int rc = 0;
    for (unsigned i = 0; !rc && i < sizeof part / sizeof *part; i++) {
        char name[40];
        snprintf(name, sizeof name, "blk.%u.%s", layer, part[i].name);
        if (part[i].has)
            rc = add(l, name, part[i].kind, part[i].rows, part[i].cols);
    }
    return rc;
}

int synth_tensors(const struct synth_shape *p, const struct enc *type, const struct enc *head,
                  struct synth_tensor **t, uint32_t *n, struct err *e)
{
    struct list l = { .shape = p, .e = e };
    l.enc[SYNTH_NORM] = enc_find(p->embedding ? "f16" : "f32");
    l.enc[SYNTH_TABLE] = head;
    l.enc[SYNTH_MATRIX] = type;
    *t = l.t = calloc((size_t)p->n_layer * LAYER_MAX + 3, sizeof *l.t);
    if (!l.t)
        return err_set(e, ERR_NOMEM, "synth: no memory for the list of tensors");
    int rc = add(&l, "token_embd", SYNTH_TABLE, p->n_vocab, p->n_embd);
    for (uint32_t i = 0; !rc && i < p->n_layer; i++)
        rc = add_layer(&l, i);
    if (!rc)
        rc = add(&l, "output_norm", SYNTH_NORM, 0, p->n_embd);
    if (!rc && !p->tied)
        rc = add(&l, "output", SYNTH_TABLE, p->n_vocab, p->n_embd);
    *n = l.n;
    return rc;
}
