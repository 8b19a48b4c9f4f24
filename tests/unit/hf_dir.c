/* hf_dir.c - see hf_dir.h. */
#include "hf_dir.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitnet_plugin.h"
#include "tools/write/tokenizer_json.h"

static void need(bool holds)
{
    if (!holds)
        abort();
}

/* ---------------------------------------------------------------- tensors */

struct hf_dir_tensor *hf_dir_add(struct hf_dir *d, const char *name, const char *dtype,
                                 uint32_t n_dims, uint64_t d0, uint64_t d1, const void *p,
                                 size_t n)
{
    need(d->n_t < sizeof d->t / sizeof d->t[0]);
    struct hf_dir_tensor *t = &d->t[d->n_t++];
    *t = (struct hf_dir_tensor){ .dtype = dtype, .n_dims = n_dims, .dim = { d0, d1 } };
    snprintf(t->name, sizeof t->name, "%s", name);
    buf_add(&t->data, p, n);
    need(!t->data.failed);
    return t;
}

struct hf_dir_tensor *hf_dir_find(struct hf_dir *d, const char *name)
{
    for (unsigned i = 0; i < d->n_t; i++)
        if (!strcmp(d->t[i].name, name))
            return &d->t[i];
    need(false);
    return NULL;
}

void hf_dir_drop(struct hf_dir *d, const char *name)
{
    struct hf_dir_tensor *t = hf_dir_find(d, name);
    buf_free(&t->data);
    *t = d->t[--d->n_t];
}

void hf_dir_pack(uint64_t rows, uint64_t cols, const int8_t *w, struct buf *out)
{
    need(rows % 4 == 0);
    const uint64_t quarter = rows / 4;
    for (uint64_t p = 0; p < quarter; p++)
        for (uint64_t k = 0; k < cols; k++) {
            uint8_t byte = 0;
            for (unsigned i = 0; i < 4; i++)
                byte |= (uint8_t)((w[(i * quarter + p) * cols + k] + 1) << 2 * i);
            buf_add(out, &byte, 1);
        }
}

/* ------------------------------------------------------------------ files */

void hf_dir_file(const struct hf_dir *d, unsigned shard, struct buf *out)
{
    json_t *head = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    uint64_t at = 0;
    for (unsigned i = 0; i < d->n_t; i++) {
        const struct hf_dir_tensor *t = &d->t[i];
        if (t->file != shard)
            continue;
        json_t *shape = json_array();
        for (uint32_t k = 0; k < t->n_dims; k++)
            json_array_append_new(shape, json_integer((json_int_t)t->dim[k]));
        need(!json_object_set_new(head, t->name,
                                  json_pack("{s:s, s:o, s:[I,I]}", "dtype", t->dtype, "shape",
                                            shape, "data_offsets", (json_int_t)at,
                                            (json_int_t)(at + t->data.n))));
        at += t->data.n;
    }
    char *text = json_dumps(head, JSON_COMPACT);
    need(text != NULL);
    const uint64_t n = strlen(text);
    buf_add(out, &n, sizeof n);
    buf_add(out, text, n);
    for (unsigned i = 0; i < d->n_t; i++)
        if (d->t[i].file == shard)
            buf_add(out, d->t[i].data.p, d->t[i].data.n);
    need(!out->failed);
    free(text);
    json_decref(head);
}

void hf_dir_put(const struct hf_dir *d, const char *file, const void *p, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", d->path, file);
    FILE *f = fopen(path, "wb");
    need(f && fwrite(p, 1, n, f) == n && !fclose(f));
}

static void put_json(const struct hf_dir *d, const char *file, const json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(1));
    need(text != NULL);
    hf_dir_put(d, file, text, strlen(text));
    free(text);
}

static void shard_name(const struct hf_dir *d, unsigned i, char name[64])
{
    if (d->n_file < 2)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05u-of-%05u.safetensors", i + 1, d->n_file);
}

static void put_index(const struct hf_dir *d)
{
    json_t *map = json_object();
    for (unsigned i = 0; i < d->n_t; i++) {
        char name[64];
        shard_name(d, d->t[i].file, name);
        json_object_set_new(map, d->t[i].name, json_string(name));
    }
    json_t *root = json_pack("{s:{s:i}, s:o}", "metadata", "total_size", 0, "weight_map", map);
    put_json(d, "model.safetensors.index.json", root);
    json_decref(root);
}

void hf_dir_write(const struct hf_dir *d)
{
    put_json(d, "config.json", d->config);
    for (unsigned i = 0; i < (d->n_file ? d->n_file : 1); i++) {
        struct buf b = { 0 };
        char name[64];
        shard_name(d, i, name);
        hf_dir_file(d, i, &b);
        hf_dir_put(d, name, b.p, b.n);
        buf_free(&b);
    }
    if (d->index)
        put_json(d, "model.safetensors.index.json", d->index);
    else if (d->n_file > 1)
        put_index(d);
}

void hf_dir_new(struct hf_dir *d, const struct model *m)
{
    *d = (struct hf_dir){ .path = "/tmp/bitnet-hf-XXXXXX", .config = json_object() };
    need(mkdtemp(d->path) && d->config);
    struct buf b = { 0 };
    need(!tokenizer_json(&b, m->file, false, NULL));
    hf_dir_put(d, "tokenizer.json", b.p, b.n);
    buf_free(&b);
}

void hf_dir_free(struct hf_dir *d)
{
    DIR *dir = opendir(d->path);
    char path[512];
    for (struct dirent *f = dir ? readdir(dir) : NULL; f; f = readdir(dir)) {
        snprintf(path, sizeof path, "%s/%s", d->path, f->d_name);
        unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(d->path);
    for (unsigned i = 0; i < d->n_t; i++)
        buf_free(&d->t[i].data);
    json_decref(d->config);
    json_decref(d->index);
    *d = (struct hf_dir){ 0 };
}

/* ------------------------------------------------------------ of a model */

static const struct {
    const char *theirs;
    bool linear, turns;
} slot[T_LAYER_N] = {
    [T_ATTN_NORM]        = { "input_layernorm", false, false },
    [T_ATTN_Q_NORM_IN]   = { "self_attn.q_proj.norm", false, false },
    [T_ATTN_Q]           = { "self_attn.q_proj", true, true },
    [T_ATTN_K_NORM_IN]   = { "self_attn.k_proj.norm", false, false },
    [T_ATTN_K]           = { "self_attn.k_proj", true, true },
    [T_ATTN_V_NORM_IN]   = { "self_attn.v_proj.norm", false, false },
    [T_ATTN_V]           = { "self_attn.v_proj", true, false },
    [T_ATTN_Q_NORM]      = { "self_attn.q_norm", false, false },
    [T_ATTN_K_NORM]      = { "self_attn.k_norm", false, false },
    [T_ATTN_SUB_NORM]    = { "self_attn.attn_sub_norm", false, false },
    [T_ATTN_OUT]         = { "self_attn.o_proj", true, false },
    [T_ATTN_POST_NORM]   = { "post_attention_layernorm", false, false },
    [T_FFN_NORM]         = { "post_attention_layernorm", false, false },
    [T_FFN_GATE_NORM_IN] = { "mlp.gate_proj.norm", false, false },
    [T_FFN_GATE]         = { "mlp.gate_proj", true, false },
    [T_FFN_UP_NORM_IN]   = { "mlp.up_proj.norm", false, false },
    [T_FFN_UP]           = { "mlp.up_proj", true, false },
    [T_FFN_SUB_NORM]     = { "mlp.ffn_sub_norm", false, false },
    [T_FFN_DOWN]         = { "mlp.down_proj", true, false },
    [T_FFN_POST_NORM]    = { "post_feedforward_layernorm", false, false },
};

/* Where names depend on the graph. */
static const char *theirs(const struct model *m, unsigned s)
{
    if (m->hp.proj_norm && s == T_ATTN_SUB_NORM)
        return "self_attn.o_proj.norm";
    if (m->hp.proj_norm && s == T_FFN_SUB_NORM)
        return "mlp.down_proj.norm";
    return m->hp.post_norm && s == T_FFN_NORM ? "pre_feedforward_layernorm" : slot[s].theirs;
}

/* Canonical rows of floats as they are; a vector of Gemma's own norms less 1. */
static void add_floats(struct hf_dir *d, const char *name, const struct wsrc *w, bool less_1)
{
    const char *dtype = w->format == BNP_FMT_F16 ? "F16"
                      : w->format == BNP_FMT_BF16 ? "BF16" : "F32";
    const size_t size = (size_t)w->cols * (w->format == BNP_FMT_F32 ? 4 : 2);
    const uint32_t n_dims = w->rows > 1 ? 2 : 1;
    need(w->format == BNP_FMT_F16 || w->format == BNP_FMT_BF16 || w->format == BNP_FMT_F32);
    struct hf_dir_tensor *t = hf_dir_add(d, name, dtype, n_dims, n_dims == 2 ? w->rows : w->cols,
                                         w->cols, NULL, 0);
    uint8_t *row = malloc(size);
    need(row != NULL);
    for (uint32_t i = 0; i < w->rows; i++) {
        need(!wsrc_read_rows(w, i, 1, row, size));
        for (uint32_t k = 0; less_1 && k < w->cols; k++) {
            need(w->format == BNP_FMT_F32);
            ((float *)(void *)row)[k] -= 1;
        }
        buf_add(&t->data, row, size);
    }
    need(!t->data.failed);
    free(row);
}

/* All weights of a matrix; of a llama graph's q and k in the order of halves. */
static int8_t *codes_of(const struct model *m, const struct wsrc *w, bool turns)
{
    const uint32_t hd = m->hp.head_dim;
    int8_t *out = malloc((size_t)w->rows * w->cols);
    uint8_t *row = malloc((size_t)w->cols / 4 + 1);
    need(out && row && w->format == BNP_FMT_T2);
    turns = turns && !strcmp(m->arch, "llama");
    for (uint32_t i = 0; i < w->rows; i++) {
        const uint32_t r = i % hd, to = turns ? i - r + r % 2 * (hd / 2) + r / 2 : i;
        need(!wsrc_read_rows(w, i, 1, row, 0));
        for (uint32_t k = 0; k < w->cols; k++)
            out[(size_t)to * w->cols + k] = (int8_t)((row[k / 4] >> 2 * (k % 4) & 3) - 1);
    }
    free(row);
    return out;
}

static void add_linear(struct hf_dir *d, const struct model *m, const char *module,
                       const struct wsrc *w, bool turns, enum hf_dir_weights how)
{
    char name[96];
    float scale;
    struct buf b = { 0 };
    int8_t *code = codes_of(m, w, turns);
    need(!wsrc_read_scales(w, 0, 1, &scale) && w->scale_kind == BNP_SCALE_TENSOR);
    snprintf(name, sizeof name, "%s.weight", module);
    if (how == HF_DIR_LATENT) {
        for (size_t i = 0; i < (size_t)w->rows * w->cols; i++) {
            const float v = (float)code[i] * scale;
            buf_add(&b, &v, sizeof v);
        }
        hf_dir_add(d, name, "F32", 2, w->rows, w->cols, b.p, b.n);
    } else {
        hf_dir_pack(w->rows, w->cols, code, &b);
        hf_dir_add(d, name, "U8", 2, w->rows / 4, w->cols, b.p, b.n);
        snprintf(name, sizeof name, "%s.weight_scale", module);
        scale = how == HF_DIR_DIVIDE ? 1 / scale : scale;
        hf_dir_add(d, name, "F32", 1, 1, 0, &scale, sizeof scale);
    }
    buf_free(&b);
    free(code);
}

static json_t *config_of(const struct model *m, enum hf_dir_weights how)
{
    const struct hparams *h = &m->hp;
    const char *class = !strcmp(m->arch, "llama") ? "LlamaForCausalLM"
                      : !strcmp(m->arch, "qwen3") ? "Qwen3Model"
                      : !strcmp(m->arch, "gemma3") ? "Gemma3TextModel" : "BitNetForCausalLM";
    const char *act = h->glu == BNP_GLU_RELU2 ? "relu2"
                    : h->glu == BNP_GLU_SILU ? "silu" : "gelu_pytorch_tanh";
    uint64_t bos = 0, eos = 0;
    need(gguf_get_u64(m->file, "tokenizer.ggml.bos_token_id", &bos, NULL) == 1 &&
         gguf_get_u64(m->file, "tokenizer.ggml.eos_token_id", &eos, NULL) == 1);
    json_t *c = json_pack(
        "{s:[s], s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:b, s:I, s:I}",
        "architectures", class, "hidden_size", (json_int_t)h->n_embd, "intermediate_size",
        (json_int_t)h->n_ff, "num_hidden_layers", (json_int_t)h->n_layer, "num_attention_heads",
        (json_int_t)h->n_head, "num_key_value_heads", (json_int_t)h->n_head_kv, "head_dim",
        (json_int_t)h->head_dim, "vocab_size", (json_int_t)h->n_vocab, "max_position_embeddings",
        (json_int_t)h->n_ctx, "rope_theta", h->rope_base, "rms_norm_eps", (double)h->eps,
        "hidden_act", act, "tie_word_embeddings", (int)h->tied_head, "bos_token_id",
        (json_int_t)bos,
        "eos_token_id", (json_int_t)eos);
    json_t *q = json_pack("{s:s, s:s, s:s}", "quant_method", "bitnet", "linear_class",
                          how == HF_DIR_DIVIDE ? "bitlinear" : "autobitlinear",
                          "quantization_mode", how == HF_DIR_LATENT ? "online" : "offline");
    need(c && q && !json_object_set_new(c, "quantization_config", q));
    return c;
}

void hf_dir_of(struct hf_dir *d, const struct model *m, enum hf_dir_weights how)
{
    char name[80];
    const bool gemma = m->hp.post_norm;
    hf_dir_new(d, m);
    json_decref(d->config);
    d->config = config_of(m, how);
    add_floats(d, "model.embed_tokens.weight", &m->embd, false);
    add_floats(d, "model.norm.weight", &m->output_norm, gemma);
    if (!m->hp.tied_head)
        add_floats(d, "lm_head.weight", &m->head, false);
    for (uint32_t i = 0; i < m->hp.n_layer; i++)
        for (unsigned s = 0; s < T_LAYER_N; s++) {
            const struct wsrc *w = &m->layer[i].t[s];
            if (!w->t)
                continue;
            const char *their = theirs(m, s);
            const bool own = !strstr(their, "_proj.norm");
            snprintf(name, sizeof name, "model.layers.%u.%s%s", i, their,
                     slot[s].linear ? "" : ".weight");
            if (slot[s].linear)
                add_linear(d, m, name, w, slot[s].turns, how);
            else
                add_floats(d, name, w, gemma && own);
        }
}
