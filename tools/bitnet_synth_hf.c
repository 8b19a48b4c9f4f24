/* bitnet_synth_hf.c - `bitnet synth --hf`: a directory as a model's publisher
 * has, with random weights.
 *
 * The codes of a matrix are those of the GGUF of the same seed. Packed, a byte
 * holds weights of four rows that lie a quarter of the matrix apart, so four
 * streams of codes are drawn side by side. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "tools/bitnet_synth.h"
#include "tools/write/safetensors_file.h"
#include "tools/write/tokenizer_json.h"
#include "tools/write/whole.h"

/* -------------------------------------------------------- how publishers do it */

static const struct form {
    const char *architecture, *model_type;
    const char *prefix;               /* of tensors that are not the head's    */
    const char *attn_sub, *ffn_sub;   /* the norms before o_proj and down_proj */
    const char *packed, *latent;      /* quantization_config; NULL: none       */
    const char *dtype;                /* of all that is not packed             */
    bool only_latent;                 /* nothing packed was published          */
    bool bits;                        /* weight_bits and input_bits say it     */
} forms[] = {
    [SYNTH_MICROSOFT] = {
        "BitNetForCausalLM", "bitnet", "model.", "attn_sub_norm", "ffn_sub_norm",
        "{\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"offline\"}",
        "{\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"online\"}", "BF16", false, false },
    [SYNTH_1BITLLM] = {
        "BitnetForCausalLM", "llama", "model.", "inner_attn_ln", "ffn_layernorm", NULL, NULL, "F16",
        true, true },
    [SYNTH_LLAMA3] = {
        "LlamaForCausalLM", "llama", "model.", NULL, NULL, "{\"quant_method\": \"bitnet\"}",
        "{\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"online\"}", "BF16", false, false },
    [SYNTH_FALCON3] = {
        "LlamaForCausalLM", "llama", "model.", NULL, NULL,
        "{\"quant_method\": \"bitnet\", \"modules_to_not_convert\": null}",
        "{\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"online\"}", "BF16", false, false },
    [SYNTH_FALCON_E] = {
        "LlamaForCausalLM", "llama", "model.", NULL, NULL,
        "{\"quant_method\": \"bitnet\", \"linear_class\": \"bitlinear\","
        " \"modules_to_not_convert\": [\"lm_head\"]}",
        "{\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"online\"}", "BF16", false, false },
    [SYNTH_QWEN3] = {
        "Qwen3Model", "qwen3", "", NULL, NULL, NULL, NULL, "BF16", true, false },
    [SYNTH_GEMMA3] = {
        "Gemma3TextModel", "gemma3_text", "", NULL, NULL, NULL, NULL, "BF16", true, false },
};

/* Names within a layer; those of sub-norms are the form's. */
static const struct {
    const char *ours, *theirs;
} parts[] = {
    { "attn_norm", "input_layernorm" },
    { "attn_q_norm_in", "self_attn.q_proj.norm" }, { "attn_q", "self_attn.q_proj" },
    { "attn_k_norm_in", "self_attn.k_proj.norm" }, { "attn_k", "self_attn.k_proj" },
    { "attn_v_norm_in", "self_attn.v_proj.norm" }, { "attn_v", "self_attn.v_proj" },
    { "attn_q_norm", "self_attn.q_norm" }, { "attn_k_norm", "self_attn.k_norm" },
    { "attn_output_norm_in", "self_attn.o_proj.norm" }, { "attn_output", "self_attn.o_proj" },
    { "post_attention_norm", "post_attention_layernorm" },
    { "ffn_gate_norm_in", "mlp.gate_proj.norm" }, { "ffn_gate", "mlp.gate_proj" },
    { "ffn_up_norm_in", "mlp.up_proj.norm" }, { "ffn_up", "mlp.up_proj" },
    { "ffn_down_norm_in", "mlp.down_proj.norm" }, { "ffn_down", "mlp.down_proj" },
    { "post_ffw_norm", "post_feedforward_layernorm" },
};

/* ----------------------------------------------------------------- tensors */

struct hf_tensor {
    char name[96];
    const char *dtype;
    uint32_t source;                  /* of the GGUF's list                    */
    bool is_scale;                    /* weight_scale of source                */
    uint32_t shard;                   /* from 1                                */
    uint64_t size;                    /* bytes                                 */
};

struct making {
    const struct synth_hf *h;
    const struct form *form;
    bool packed;
    const struct enc *floats;         /* of form->dtype                        */
    struct synth_tensor *from;        /* the GGUF's list                       */
    uint32_t n_from;
    struct hf_tensor *t;              /* in the order of the files             */
    uint32_t n, n_shard;
    uint64_t total;                   /* bytes of all tensors                  */
    struct safetensors_file file;
    int8_t *codes;                    /* [4][SYNTH_PIECE]                      */
    float *x;                         /* [SYNTH_PIECE]                         */
    uint8_t *bytes;                   /* [SYNTH_PIECE]                         */
    struct err *e;
};

/* sub: room for a name that is put together. */
static const char *part_name(const struct making *m, const char *ours, size_t n, char sub[48])
{
    const bool gemma = m->h->shape->family == SYNTH_GEMMA3;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strlen(parts[i].ours) == n && !memcmp(parts[i].ours, ours, n))
            return parts[i].theirs;
    if (n == 8 && !memcmp(ours, "ffn_norm", n))
        return gemma ? "pre_feedforward_layernorm" : "post_attention_layernorm";
    const bool attn = ours[0] == 'a';
    snprintf(sub, 48, "%s.%s", attn ? "self_attn" : "mlp",
             attn ? m->form->attn_sub : m->form->ffn_sub);
    return sub;
}

/* "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight" */
static void put_name(const struct making *m, const char *ours, char out[96])
{
    unsigned layer = 0;
    int at = 0;
    char sub[48];
    if (!strcmp(ours, "output.weight")) {
        snprintf(out, 96, "lm_head.weight");
    } else if (sscanf(ours, "blk.%u.%n", &layer, &at) == 1 && at) {
        const size_t n = strlen(ours + at) - strlen(".weight");
        snprintf(out, 96, "%slayers.%u.%s.weight", m->form->prefix, layer,
                 part_name(m, ours + at, n, sub));
    } else {
        snprintf(out, 96, "%s%s.weight", m->form->prefix,
                 strcmp(ours, "token_embd.weight") ? "norm" : "embed_tokens");
    }
}

static uint64_t elements(const struct synth_tensor *t)
{
    return (uint64_t)(t->rows ? t->rows : 1) * t->cols;
}

static void add(struct making *m, uint32_t source, bool is_scale)
{
    const struct synth_tensor *const from = &m->from[source];
    struct hf_tensor *const t = &m->t[m->n++];
    const bool packed = m->packed && from->kind == SYNTH_MATRIX && !is_scale;
    *t = (struct hf_tensor){ .source = source, .is_scale = is_scale,
                             .dtype = packed ? "U8" : m->form->dtype,
                             .size = is_scale ? 2 : packed ? elements(from) / 4
                                                           : elements(from) * 2 };
    put_name(m, from->name, t->name);
    if (is_scale)
        strncat(t->name, "_scale", sizeof t->name - strlen(t->name) - 1);
}

/* Wider types first within a file, as the format's own library writes them. */
static int by_file(const void *a, const void *b)
{
    const struct hf_tensor *const x = a, *const y = b;
    const int byte_x = x->dtype[0] == 'U', byte_y = y->dtype[0] == 'U';
    if (x->shard != y->shard)
        return x->shard < y->shard ? -1 : 1;
    return byte_x != byte_y ? byte_x - byte_y : strcmp(x->name, y->name);
}

static int list_tensors(struct making *m)
{
    const struct enc *const f32 = enc_find("f32");
    int rc = synth_tensors(m->h->shape, f32, f32, &m->from, &m->n_from, m->e);
    if (rc)
        return rc;
    m->t = calloc(2 * (size_t)m->n_from, sizeof *m->t);
    if (!m->t)
        return err_set(m->e, ERR_NOMEM, "synth: no memory for the list of tensors");
    uint64_t in_shard = 0;
    m->n_shard = 1;
    for (uint32_t i = 0; i < m->n_from; i++) {
        const uint32_t first = m->n;
        uint64_t size = 0;
        add(m, i, false);
        if (m->packed && m->from[i].kind == SYNTH_MATRIX)
            add(m, i, true);
        for (uint32_t k = first; k < m->n; k++)
            size += m->t[k].size;
        if (in_shard && in_shard + size > m->h->shard_size) {
            m->n_shard++;
            in_shard = 0;
        }
        in_shard += size;
        m->total += size;
        for (uint32_t k = first; k < m->n; k++)
            m->t[k].shard = m->n_shard;
    }
    qsort(m->t, m->n, sizeof *m->t, by_file);
    return 0;
}

/* ----------------------------------------------------------------- content */

static int to_file(void *ctx, const void *p, size_t n, struct err *e)
{
    return safetensors_file_write(ctx, p, n, e);
}

/* Gains of gemma's own norms are stored less 1. */
static float norm_mean(const struct making *m, const struct synth_tensor *t)
{
    return m->h->shape->family == SYNTH_GEMMA3 && !strstr(t->name, "norm_in") ? 0.0f : 1.0f;
}

static int write_floats(struct making *m, uint32_t source)
{
    const struct synth_tensor *const t = &m->from[source];
    const float mean = t->kind == SYNTH_NORM ? norm_mean(m, t) : 0.0f;
    const float deviation = t->kind == SYNTH_NORM    ? 0.1f
                            : t->kind == SYNTH_TABLE ? synth_table_deviation(t->cols)
                                                     : synth_matrix_scale(t->cols);
    const uint64_t all = elements(t);
    struct enc_tensor to;
    int rc = enc_open(&to, m->floats, t->rows ? t->rows : 1, t->cols, NULL,
                      (struct enc_sink){ to_file, &m->file }, m->e);
    for (uint64_t at = 0; at < all && !rc; at += SYNTH_PIECE) {
        const size_t n = (size_t)(all - at < SYNTH_PIECE ? all - at : SYNTH_PIECE);
        struct synth_random r = synth_random_at(m->h->seed, source, at / SYNTH_PIECE);
        synth_random_floats(&r, mean, deviation, m->x, n);
        rc = enc_floats(&to, m->x, n, m->e);
    }
    if (!rc)
        rc = enc_finish(&to, m->e);
    enc_close(&to);
    return rc;
}

/* Codes of a matrix from any element on; piece is what buf holds. */
struct stream {
    int8_t *buf;                      /* [SYNTH_PIECE]                         */
    uint64_t piece, at;
};

static int8_t next_code(const struct making *m, uint32_t source, uint64_t all, struct stream *s)
{
    const uint64_t piece = s->at / SYNTH_PIECE;
    if (piece != s->piece) {
        struct synth_random r = synth_random_at(m->h->seed, source, piece);
        const uint64_t left = all - piece * SYNTH_PIECE;
        synth_random_codes(&r, s->buf, (size_t)(left < SYNTH_PIECE ? left : SYNTH_PIECE));
        s->piece = piece;
    }
    return s->buf[s->at++ % SYNTH_PIECE];
}

/* Byte p of row r: rows r, r + R, r + 2R, r + 3R, the first in the low bits. */
static int write_packed(struct making *m, uint32_t source)
{
    const uint64_t all = elements(&m->from[source]), quarter = all / 4;
    struct stream s[4];
    int rc = 0;
    for (unsigned i = 0; i < 4; i++)
        s[i] = (struct stream){ m->codes + (size_t)i * SYNTH_PIECE, UINT64_MAX, i * quarter };
    for (uint64_t at = 0, n; at < quarter && !rc; at += n) {
        n = quarter - at < SYNTH_PIECE ? quarter - at : SYNTH_PIECE;
        for (uint64_t k = 0; k < n; k++) {
            unsigned byte = 0;
            for (unsigned i = 0; i < 4; i++)
                byte |= (unsigned)(next_code(m, source, all, &s[i]) + 1) << 2 * i;
            m->bytes[k] = (uint8_t)byte;
        }
        rc = safetensors_file_write(&m->file, m->bytes, (size_t)n, m->e);
    }
    return rc;
}

/* The scale, or what to divide by, as the family has it. */
static int write_scale(struct making *m, uint32_t source)
{
    const float scale = synth_matrix_scale(m->from[source].cols);
    const bool times = m->h->shape->family == SYNTH_MICROSOFT;
    const float v = times ? scale : 1.0f / scale;
    uint8_t out[2];
    m->floats->floats(&v, out);
    return safetensors_file_write(&m->file, out, sizeof out, m->e);
}

static int write_tensor(struct making *m, const struct hf_tensor *t)
{
    if (t->is_scale)
        return write_scale(m, t->source);
    return t->dtype[0] == 'U' ? write_packed(m, t->source) : write_floats(m, t->source);
}

/* ------------------------------------------------------------------- files */

static char *path_of(const struct making *m, const char *file)
{
    char *p;
    return asprintf(&p, "%s/%s", m->h->dir, file) < 0 ? NULL : p;
}

static void shard_name(const struct making *m, uint32_t shard, char out[48])
{
    if (m->n_shard == 1)
        snprintf(out, 48, "model.safetensors");
    else
        snprintf(out, 48, "model-%05u-of-%05u.safetensors", shard, m->n_shard);
}

/* [first, first + n) of the list, which is sorted by shard. */
static int write_shard(struct making *m, uint32_t first, uint32_t n)
{
    struct safetensors_file_tensor *const list = calloc(n, sizeof *list);
    char name[48];
    shard_name(m, m->t[first].shard, name);
    char *const path = path_of(m, name);
    int rc = list && path ? 0 : err_set(m->e, ERR_NOMEM, "synth: no memory for a list of tensors");
    for (uint32_t i = 0; i < n && !rc; i++) {
        const struct hf_tensor *const t = &m->t[first + i];
        const struct synth_tensor *const from = &m->from[t->source];
        const bool matrix = from->rows && !t->is_scale;
        const uint64_t rows = t->dtype[0] == 'U' ? from->rows / 4 : from->rows;
        list[i] = (struct safetensors_file_tensor){
            .name = t->name, .dtype = t->dtype, .n_dims = matrix ? 2 : 1, .size = t->size,
            .dim = { matrix ? rows : t->is_scale ? 1 : from->cols, from->cols },
        };
    }
    if (!rc)
        rc = safetensors_file_open(&m->file, path, list, n, m->e);
    if (!rc) {
        for (uint32_t i = 0; i < n && !rc; i++)
            rc = write_tensor(m, &m->t[first + i]);
        if (!rc)
            rc = safetensors_file_commit(&m->file, m->e);
        else
            safetensors_file_abort(&m->file);
    }
    free(list);
    free(path);
    return rc;
}

static int write_shards(struct making *m)
{
    int rc = 0;
    for (uint32_t first = 0, n; first < m->n && !rc; first += n) {
        n = 1;
        while (first + n < m->n && m->t[first + n].shard == m->t[first].shard)
            n++;
        rc = write_shard(m, first, n);
    }
    return rc;
}

static int write_text(const struct making *m, const char *file, const char *p, size_t n)
{
    struct file_out o = { .fd = -1 };
    char *const path = path_of(m, file);
    if (!path)
        return err_set(m->e, ERR_NOMEM, "synth: no memory for a path");
    int rc = whole_open(&o, path, m->e);
    if (!rc)
        rc = file_out_write(&o, p, n, m->e);
    if (!rc)
        rc = file_out_commit(&o, m->e);
    whole_abort(&o);
    free(path);
    return rc;
}

/* Takes the object over. */
static int write_json(const struct making *m, const char *file, json_t *top)
{
    char *const text = top ? json_dumps(top, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    const int rc = text ? write_text(m, file, text, strlen(text))
                        : err_set(m->e, ERR_NOMEM, "synth: no memory for %s", file);
    free(text);
    json_decref(top);
    return rc;
}

static int write_index(const struct making *m)
{
    if (m->n_shard == 1)
        return 0;
    json_t *const map = json_object();
    for (uint32_t i = 0; i < m->n; i++) {
        char name[48];
        shard_name(m, m->t[i].shard, name);
        json_object_set_new(map, m->t[i].name, json_string(name));
    }
    return write_json(m, "model.safetensors.index.json",
                      json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)m->total,
                                "weight_map", map));
}

/* ------------------------------------------------------- tokenizer, config */

/* The keys, which stay, as a container. */
static int open_keys(const struct making *m, const struct gguf_put *keys, struct gguf **g)
{
    const struct gguf_parts all = { .name = m->h->dir, .kv = keys->b.p, .kv_size = keys->b.n,
                                    .n_kv = keys->n };
    return keys->b.failed ? err_set(m->e, ERR_NOMEM, "synth: no memory for the tokenizer")
                          : gguf_open_parts(g, &all, m->e);
}

static int write_tokenizer(const struct making *m, const struct gguf *g)
{
    struct buf b = { 0 };
    const bool pairs = m->h->shape->family == SYNTH_GEMMA3 || m->h->shape->family == SYNTH_QWEN3;
    int rc = tokenizer_json(&b, g, pairs, m->e);
    if (!rc)
        rc = write_text(m, "tokenizer.json", b.p, b.n);
    buf_clear(&b);
    if (!rc)
        rc = tokenizer_json_config(&b, g, m->e);
    if (!rc)
        rc = write_text(m, "tokenizer_config.json", b.p, b.n);
    buf_free(&b);
    return rc;
}

static json_t *config(const struct making *m, json_int_t bos, json_int_t eos)
{
    const struct synth_shape *const p = m->h->shape;
    const char *const quant = m->packed ? m->form->packed : m->form->latent;
    json_t *const j = json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:s, s:b, s:s, s:I, s:I}",
        "architectures", m->form->architecture, "model_type", m->form->model_type,
        "hidden_size", (int)p->n_embd, "intermediate_size", (int)p->n_ff,
        "num_hidden_layers", (int)p->n_layer, "num_attention_heads", (int)p->n_head,
        "num_key_value_heads", (int)p->n_head_kv, "vocab_size", (int)p->n_vocab,
        "max_position_embeddings", (int)p->n_ctx, "rope_theta", (double)p->rope_base,
        "rms_norm_eps", p->eps < 5e-6f ? 1e-6 : 1e-5,
        p->family == SYNTH_GEMMA3 ? "hidden_activation" : "hidden_act",
        strcmp(p->glu, "gelu_tanh") ? p->glu : "gelu_pytorch_tanh",
        "tie_word_embeddings", p->tied, "torch_dtype",
        strcmp(m->form->dtype, "F16") ? "bfloat16" : "float16", "bos_token_id", bos,
        "eos_token_id", eos);
    if (p->head_dim || p->family == SYNTH_FALCON3)
        json_object_set_new(j, "head_dim", json_integer((json_int_t)synth_head_dim(p)));
    if (p->family == SYNTH_GEMMA3)
        json_object_set_new(j, "query_pre_attn_scalar", json_integer((json_int_t)p->head_dim));
    if (p->family == SYNTH_FALCON_E)
        json_object_set_new(j, "is_bitnet_config", json_true());
    if (m->form->bits) {
        json_object_set_new(j, "weight_bits", json_integer(1));
        json_object_set_new(j, "input_bits", json_integer(8));
    }
    if (quant)
        json_object_set_new(j, "quantization_config", json_loads(quant, 0, NULL));
    return j;
}

static int write_configs(const struct making *m, const struct gguf *g)
{
    uint64_t bos = 0, eos = 0;
    int rc = gguf_get_u64(g, "tokenizer.ggml.bos_token_id", &bos, m->e);
    if (rc >= 0)
        rc = gguf_get_u64(g, "tokenizer.ggml.eos_token_id", &eos, m->e);
    if (rc < 0)
        return rc;
    rc = write_json(m, "generation_config.json",
                    json_pack("{s:I, s:[I]}", "bos_token_id", (json_int_t)bos, "eos_token_id",
                              (json_int_t)eos));
    return rc ? rc : write_json(m, "config.json", config(m, (json_int_t)bos, (json_int_t)eos));
}

/* -------------------------------------------------------------- together */

static int write_all(struct making *m, const struct gguf *g)
{
    int rc = mkdir(m->h->dir, 0777) && errno != EEXIST
        ? err_set(m->e, ERR_IO, "%s: cannot create: %s", m->h->dir, strerror(errno)) : 0;
    if (!rc)
        rc = write_shards(m);
    if (!rc)
        rc = write_index(m);
    if (!rc)
        rc = write_tokenizer(m, g);
    return rc ? rc : write_configs(m, g);
}

static int make(struct making *m, struct gguf_put *keys)
{
    const struct synth_shape *const p = m->h->shape;
    struct gguf *g = NULL;
    m->codes = malloc(4 * SYNTH_PIECE);
    m->x = malloc(SYNTH_PIECE * sizeof *m->x);
    m->bytes = malloc(SYNTH_PIECE);
    if (!m->codes || !m->x || !m->bytes)
        return err_set(m->e, ERR_NOMEM, "synth: no memory for a piece of a tensor");
    int rc = list_tensors(m);
    if (!rc && m->h->vocab)
        rc = synth_vocab_copy(keys, m->h->vocab, p->n_vocab, m->e);
    else if (!rc)
        synth_vocab_make(keys, p->family, p->n_vocab, p->n_special);
    if (!rc)
        rc = open_keys(m, keys, &g);
    if (!rc)
        rc = write_all(m, g);
    gguf_close(g);
    return rc;
}

int synth_hf(const struct synth_hf *h, struct err *e)
{
    struct making m = { .h = h, .form = &forms[h->shape->family], .e = e };
    struct gguf_put keys = { { 0 }, 0 };
    m.packed = !h->latent && !m.form->only_latent;
    m.floats = enc_find(strcmp(m.form->dtype, "F16") ? "bf16" : "f16");
    const int rc = make(&m, &keys);
    if (!rc)
        fprintf(stderr, "bitnet: %s: %s, %s, %u tensors of %.1f MB in %u file%s\n", h->dir,
                h->shape->name, m.packed ? "packed" : m.form->dtype, m.n, (double)m.total / 1e6,
                m.n_shard, m.n_shard == 1 ? "" : "s");
    buf_free(&keys.b);
    free(m.from);
    free(m.t);
    free(m.codes);
    free(m.x);
    free(m.bytes);
    return rc;
}
