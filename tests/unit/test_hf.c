/* test_hf.c - a Hugging Face directory is the model that its GGUF is.
 *
 * Directories are made of models whose GGUF opens (hf_dir.h), so every number
 * has a twin to be compared with, bit by bit. What is refused is in
 * test_hf_refused.c. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/hf.h"
#include "core/model/hf_config.h"
#include "core/model/hf_json.h"
#include "core/model/wtype.h"
#include "gguf_make.h"
#include "hf_dir.h"

static struct gguf_make made;
static struct buf bytes;
static struct hf_dir dir;

static struct model *open_path(const char *path)
{
    struct model *m;
    struct err e = { 0 };
    ck_assert_msg(!model_open(&m, path, NULL, &e), "%s", e.text);
    return m;
}

static struct model *open_tiny(const struct tiny *tiny)
{
    struct model *m;
    struct err e = { 0 };
    bytes = (struct buf){ 0 };
    gguf_make_tiny(&made, tiny);
    gguf_make_done(&made, &bytes);
    ck_assert_msg(!model_open_mem(&m, bytes.p, bytes.n, "tiny.gguf", NULL, &e), "%s", e.text);
    return m;
}

static void close_tiny(struct model *m)
{
    model_close(m);
    gguf_make_free(&made);
    buf_free(&bytes);
}

/* ---------------------------------------------------------------- equality */

/* The mean of |w| that the latent form of these weights has. */
static float mean_of(const struct wsrc *w)
{
    float *row = malloc(w->cols * sizeof *row);
    double sum = 0;
    for (uint32_t i = 0; i < w->rows; i++) {
        ck_assert(!wsrc_read_f32(w, i, row));
        for (uint32_t k = 0; k < w->cols; k++)
            sum += (double)fabsf(row[k]);
    }
    free(row);
    return (float)(sum / ((double)w->rows * w->cols));
}

static void check_rows(const struct wsrc *a, const struct wsrc *b)
{
    const size_t size = wtype_row_size(a->format, a->cols);
    uint8_t *x = malloc(size), *y = malloc(size);
    ck_assert(x && y);
    for (uint32_t i = 0; i < a->rows; i++) {
        ck_assert(!wsrc_read_rows(a, i, 1, x, size) && !wsrc_read_rows(b, i, 1, y, size));
        ck_assert_msg(!memcmp(x, y, size), "%s, row %u", a->name, i);
    }
    free(x);
    free(y);
}

/* Codes and scales alike; latent: the scale is the mean. */
static void check_same(const struct wsrc *gguf, const struct wsrc *hf, bool latent)
{
    float a = 0, b = 0;
    ck_assert_int_eq(!gguf->t, !hf->t);
    if (!gguf->t)
        return;
    ck_assert_str_eq(gguf->name, hf->name);
    ck_assert(gguf->rows == hf->rows && gguf->cols == hf->cols && gguf->format == hf->format);
    ck_assert(gguf->scale_kind == hf->scale_kind && gguf->flags == hf->flags);
    check_rows(gguf, hf);
    if (gguf->scale_kind == BNP_SCALE_NONE)
        return;
    ck_assert(!wsrc_read_scales(gguf, 0, 1, &a) && !wsrc_read_scales(hf, 0, 1, &b));
    ck_assert_msg((latent ? mean_of(gguf) : a) == b, "%s: %.9g, expected %.9g", hf->name, (double)b,
                  (double)a);
}

static void check_models(const struct model *gguf, const struct model *hf, bool latent)
{
    const struct hparams *a = &gguf->hp, *b = &hf->hp;
    ck_assert_str_eq(gguf->arch, hf->arch);
    ck_assert(a->n_layer == b->n_layer && a->n_embd == b->n_embd && a->n_ff == b->n_ff);
    ck_assert(a->n_head == b->n_head && a->n_head_kv == b->n_head_kv && a->head_dim == b->head_dim);
    ck_assert(a->n_rot == b->n_rot && a->n_ctx == b->n_ctx && a->n_vocab == b->n_vocab);
    ck_assert(a->eps == b->eps && a->rope_base == b->rope_base && a->glu == b->glu);
    ck_assert(a->rope_style == b->rope_style && a->tied_head == b->tied_head);
    ck_assert(a->sub_norm == b->sub_norm && a->proj_norm == b->proj_norm);
    ck_assert(a->head_norm == b->head_norm && a->post_norm == b->post_norm);
    check_same(&gguf->embd, &hf->embd, false);
    check_same(&gguf->output_norm, &hf->output_norm, false);
    check_same(&gguf->head, &hf->head, false);
    for (uint32_t i = 0; i < a->n_layer; i++)
        for (unsigned s = 0; s < T_LAYER_N; s++)
            check_same(&gguf->layer[i].t[s], &hf->layer[i].t[s],
                       latent && gguf->layer[i].t[s].format == BNP_FMT_T2);
    ck_assert_uint_eq(vocab_n(gguf->vocab), vocab_n(hf->vocab));
    ck_assert_int_eq(vocab_bos(gguf->vocab), vocab_bos(hf->vocab));
}

static const struct tiny graph[] = {
    { 0 }, { .arch = "bitnet" }, { .arch = "llama" }, { .arch = "llama", .n_embd = 32, .embd = 30 },
    { .arch = "qwen3", .head_dim = 16, .proj_norm = true },
    { .arch = "gemma3", .head_dim = 32, .proj_norm = true },
};
enum { N_GRAPH = sizeof graph / sizeof graph[0] };

START_TEST(hf_directory_is_the_model_of_its_gguf)
{
    for (enum hf_dir_weights how = HF_DIR_MULTIPLY; how <= HF_DIR_LATENT; how++)
        for (unsigned n_file = 1; n_file <= 3; n_file += 2) {
            struct model *gguf = open_tiny(&graph[_i]);
            hf_dir_of(&dir, gguf, how);
            dir.n_file = n_file;
            for (unsigned i = 0; i < dir.n_t; i++)
                dir.t[i].file = i % n_file;
            hf_dir_write(&dir);
            struct model *hf = open_path(dir.path);
            ck_assert_str_eq(hf->name, dir.path + strlen("/tmp/"));
            ck_assert_uint_eq(gguf_version(hf->file), 0);
            check_models(gguf, hf, how == HF_DIR_LATENT);
            model_close(hf);
            hf_dir_free(&dir);
            close_tiny(gguf);
        }
}
END_TEST

START_TEST(hf_directory_of_a_trained_model_is_that_model)
{
    struct model *gguf = open_path("models/story.gguf");
    hf_dir_of(&dir, gguf, HF_DIR_MULTIPLY);
    hf_dir_write(&dir);
    struct model *hf = open_path(dir.path);
    check_models(gguf, hf, false);
    /* What leaves memory comes back. */
    const struct gguf_tensor *t = gguf_tensor(hf->file, "blk.3.ffn_up.weight");
    const uint8_t before = t->data[4096];
    gguf_drop(hf->file, t, 0, t->size);
    ck_assert_uint_eq(t->data[4096], before);
    ck_assert_uint_gt(gguf_file_size(hf->file), 1 << 20);
    model_close(hf);
    hf_dir_free(&dir);
    model_close(gguf);
}
END_TEST

/* --------------------------------------------------------------- accepted */

static json_t *quantization(void)
{
    return json_object_get(dir.config, "quantization_config");
}

static void set(json_t *j, const char *key, json_t *v)
{
    ck_assert(!json_object_set_new(j, key, v));
}

/* Writes the directory as it was edited, opens it, and compares. */
static struct model *reopen(const struct model *gguf)
{
    hf_dir_write(&dir);
    struct model *hf = open_path(dir.path);
    check_models(gguf, hf, false);
    return hf;
}

START_TEST(hf_names_of_older_checkpoints_are_known)
{
    struct model *gguf = open_tiny(&(struct tiny){ .arch = "bitnet" });
    hf_dir_of(&dir, gguf, HF_DIR_MULTIPLY);
    strcpy(hf_dir_find(&dir, "model.layers.0.self_attn.attn_sub_norm.weight")->name,
           "model.layers.0.self_attn.inner_attn_ln.weight");
    strcpy(hf_dir_find(&dir, "model.layers.0.mlp.ffn_sub_norm.weight")->name,
           "model.layers.0.mlp.ffn_layernorm.weight");
    hf_dir_add(&dir, "model.layers.0.self_attn.rotary_emb.inv_freq", "F32", 1, 1, 0, "\0\0\0", 4);
    set(dir.config, "architectures", json_pack("[s]", "BitnetForCausalLM"));
    set(dir.config, "rope_scaling", json_null());
    ck_assert(!json_object_del(dir.config, "head_dim"));
    ck_assert(!json_object_del(dir.config, "tie_word_embeddings"));
    model_close(reopen(gguf));
    /* The latent form as its first code had it. */
    hf_dir_free(&dir);
    hf_dir_of(&dir, gguf, HF_DIR_LATENT);
    ck_assert(!json_object_del(dir.config, "quantization_config"));
    set(dir.config, "weight_bits", json_integer(1));
    set(dir.config, "input_bits", json_integer(8));
    hf_dir_write(&dir);
    struct model *hf = open_path(dir.path);
    check_models(gguf, hf, true);
    model_close(hf);
    hf_dir_free(&dir);
    close_tiny(gguf);
}
END_TEST

/* Names without "model.", and weights that only their norms show to be ternary. */
START_TEST(hf_embedding_checkpoint_is_ternary_by_its_norms)
{
    struct model *gguf = open_tiny(&(struct tiny){ .arch = "qwen3", .proj_norm = true });
    hf_dir_of(&dir, gguf, HF_DIR_LATENT);
    for (unsigned i = 0; i < dir.n_t; i++)
        memmove(dir.t[i].name, dir.t[i].name + strlen("model."), strlen(dir.t[i].name) - 5);
    ck_assert(!json_object_del(dir.config, "quantization_config"));
    hf_dir_write(&dir);
    struct model *hf = open_path(dir.path);
    check_models(gguf, hf, true);
    ck_assert_int_eq(hf->hp.pooling, POOLING_LAST);
    model_close(hf);
    hf_dir_free(&dir);
    close_tiny(gguf);
}
END_TEST

/* A tied head may be there or not; a missing linear_class means divide. */
START_TEST(hf_defaults_are_those_of_transformers)
{
    struct model *gguf = open_tiny(&(struct tiny){ 0 });
    hf_dir_of(&dir, gguf, HF_DIR_DIVIDE);
    ck_assert(!json_object_del(quantization(), "linear_class"));
    ck_assert(!json_object_del(quantization(), "quantization_mode"));
    const struct hf_dir_tensor *embd = hf_dir_find(&dir, "model.embed_tokens.weight");
    hf_dir_add(&dir, "lm_head.weight", "F16", 2, embd->dim[0], embd->dim[1], embd->data.p,
               embd->data.n);
    model_close(reopen(gguf));
    set(dir.config, "tie_word_embeddings", json_false());       /* and it is the embedding */
    model_close(reopen(gguf));
    hf_dir_free(&dir);
    close_tiny(gguf);
}
END_TEST

START_TEST(hf_modules_named_in_the_configuration_stay_floats)
{
    struct model *gguf = open_tiny(&(struct tiny){ .arch = "llama" });
    hf_dir_of(&dir, gguf, HF_DIR_MULTIPLY);
    const struct wsrc *v = &gguf->layer[0].t[T_ATTN_Q];
    float row[16], *all = calloc((size_t)v->rows * v->cols, sizeof *all);
    hf_dir_drop(&dir, "model.layers.0.self_attn.q_proj.weight");
    hf_dir_drop(&dir, "model.layers.0.self_attn.q_proj.weight_scale");
    for (uint32_t i = 0; i < v->rows * v->cols; i++)
        all[i] = (float)i;
    hf_dir_add(&dir, "model.layers.0.self_attn.q_proj.weight", "F32", 2, v->rows, v->cols, all,
               (size_t)v->rows * v->cols * sizeof *all);
    set(quantization(), "modules_to_not_convert",
        json_pack("[s,s]", "lm_head", "layers.0.self_attn"));
    hf_dir_write(&dir);
    struct model *hf = open_path(dir.path);
    const struct wsrc *w = &hf->layer[0].t[T_ATTN_Q];
    size_t stride;
    ck_assert(w->format == BNP_FMT_F32 && w->scale_kind == BNP_SCALE_NONE);
    ck_assert_ptr_null(wsrc_rows(w, &stride));          /* they lie in another order */
    ck_assert(!wsrc_read_f32(w, 1, row));               /* of the first head, pair 0, second */
    ck_assert_float_eq(row[0], 4 * 16);
    ck_assert(!wsrc_read_f32(w, 10, row));              /* of the second, pair 1, first */
    ck_assert_float_eq(row[3], 9 * 16 + 3);
    free(all);
    model_close(hf);
    hf_dir_free(&dir);
    close_tiny(gguf);
}
END_TEST

/* The rule written down the other way round: wavelengths, and pow. */
START_TEST(hf_rope_of_llama3_becomes_divisors)
{
    static const char text[] =
        "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":4096,"
        "\"intermediate_size\":14336,"
        "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":8,"
        "\"vocab_size\":128256,\"max_position_embeddings\":131072,\"rope_theta\":500000.0,"
        "\"rms_norm_eps\":1e-05,\"hidden_act\":\"silu\",\"rope_scaling\":{\"factor\":8.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}";
    struct hf_config c;
    struct err e = { 0 };
    json_t *root;
    float factor[64];
    unsigned between = 0;
    ck_assert_msg(!hf_json_parse(&root, "c", text, strlen(text), &e), "%s", e.text);
    ck_assert_msg(!hf_config_read(&c, root, "c", &e), "%s", e.text);
    ck_assert(c.rope_llama3 && c.head_dim == 128);
    hf_config_rope(&c, factor);
    for (unsigned i = 0; i < 64; i++) {
        const double wave = 2 * M_PI * pow(500000, i / 64.0);
        const double smooth = (8192 / wave - 1) / (4 - 1);
        const double want = wave < 8192 / 4.0 ? 1
                          : wave > 8192 ? 8 : 1 / ((1 - smooth) / 8 + smooth);
        between += want > 1 && want < 8;
        ck_assert_double_eq_tol((double)factor[i], want, 1e-6 * want);
    }
    ck_assert_uint_gt(between, 3);
    ck_assert(factor[0] == 1 && factor[63] == 8);
    json_decref(root);

    struct model *gguf = open_tiny(&(struct tiny){ .arch = "llama" });
    hf_dir_of(&dir, gguf, HF_DIR_DIVIDE);
    set(dir.config, "rope_scaling",
        json_pack("{s:s,s:f,s:f,s:f,s:i}", "rope_type", "llama3", "factor", 2.0, "low_freq_factor",
                  1.0, "high_freq_factor", 4.0, "original_max_position_embeddings", 32));
    struct model *hf = reopen(gguf);
    ck_assert(hf->rope_factor && hf->rope_factor[0] == 1 && hf->rope_factor[3] == 2);
    model_close(hf);
    hf_dir_free(&dir);
    close_tiny(gguf);
}
END_TEST

START_TEST(hf_gemma3_looks_no_further_than_its_window)
{
    struct model *gguf = open_tiny(&(struct tiny){ .arch = "gemma3", .head_dim = 32,
                                                   .proj_norm = true });
    hf_dir_of(&dir, gguf, HF_DIR_MULTIPLY);
    set(dir.config, "sliding_window", json_integer(40));
    set(dir.config, "rope_local_base_freq", json_integer(10000));
    set(dir.config, "query_pre_attn_scalar", json_integer(32));
    hf_dir_write(&dir);
    struct model *hf = open_path(dir.path);
    ck_assert_uint_eq(hf->hp.n_ctx, 40);
    model_close(hf);
    hf_dir_free(&dir);
    close_tiny(gguf);
}
END_TEST

/* ---------------------------------------------------------------- decoders */

/* A container of one tensor, and a scale where the type has none. */
static struct gguf *one_tensor(uint32_t type, uint64_t rows, uint64_t cols, const void *p, size_t n,
                               void (*closed)(void *))
{
    static float half = 0.5f;
    const struct gguf_tensor t[] = {
        { .name = { "x.weight", 8 }, .type = type, .n_dims = 2, .ne = { cols, rows, 1, 1 },
          .size = n, .gap = n, .data = p },
        { .name = { "x.scale", 7 }, .n_dims = 1, .ne = { 1, 1, 1, 1 }, .size = 4, .gap = 4,
          .data = (const uint8_t *)&half }
    };
    const struct gguf_parts parts = { .name = "parts", .file_size = n, .tensor = t,
                                      .n_tensor = type == HF_U8 ? 2 : 1, .close = closed };
    struct gguf *g;
    struct err e = { 0 };
    ck_assert_msg(!gguf_open_parts(&g, &parts, &e), "%s", e.text);
    return g;
}

static void close_nothing(void *owner)
{
    (void)owner;
}

static struct wsrc open_one(const struct gguf *g)
{
    struct wsrc w;
    struct err e = { 0 };
    ck_assert_msg(!wsrc_open(&w, g, gguf_tensor(g, "x.weight"), NULL, &e), "%s", e.text);
    return w;
}

/* The published vector: 64 x 256 weights by a formula. */
START_TEST(hf_packed_rows_are_the_published_ones)
{
    static const uint8_t first[16] = { 0x24, 0x2a, 0x01, 0x18, 0x12, 0x25, 0x00, 0x06,
                                       0x19, 0x24, 0x2a, 0x01, 0x18, 0x12, 0x25, 0x00 };
    enum { M = 64, K = 256 };
    static int8_t w[M * K];
    float row[K];
    struct buf b = { 0 };
    for (int m = 0; m < M; m++)
        for (int k = 0; k < K; k++)
            w[m * K + k] = (int8_t)((31 * m + 17 * k + m * k / 3) % 3 - 1);
    hf_dir_pack(M, K, w, &b);
    ck_assert(b.n == 4096 && make_crc32(b.p, b.n) == 0x319cb0c8 && !memcmp(b.p, first, 16));
    struct gguf *g = one_tensor(HF_U8, M, K, b.p, b.n, close_nothing);
    const struct wsrc s = open_one(g);
    for (uint32_t m = 0; m < M; m++) {
        ck_assert(!wsrc_read_f32(&s, m, row));
        for (int k = 0; k < K; k++)
            ck_assert_float_eq(row[k], 0.5f * (float)w[m * K + (uint32_t)k]);
    }
    gguf_close(g);
    buf_free(&b);
}
END_TEST

/* Columns that do not fill bytes: the tail is coded as zeros. */
START_TEST(hf_packed_rows_end_anywhere)
{
    for (uint32_t cols = 1; cols <= 9; cols++) {
        int8_t w[8 * 9];
        uint8_t row[3];
        uint64_t state = cols;
        struct buf b = { 0 };
        for (uint32_t i = 0; i < 8 * cols; i++)
            w[i] = (int8_t)(make_random(&state) % 3 - 1);
        hf_dir_pack(8, cols, w, &b);
        struct gguf *g = one_tensor(HF_U8, 8, cols, b.p, b.n, close_nothing);
        const struct wsrc s = open_one(g);
        for (uint32_t i = 0; i < 8; i++) {
            ck_assert(!wsrc_read_rows(&s, i, 1, row, 0));
            for (uint32_t k = 0; k < (cols + 3) / 4 * 4; k++)
                ck_assert_int_eq((row[k / 4] >> 2 * (k % 4) & 3) - 1,
                                 k < cols ? w[i * cols + k] : 0);
        }
        gguf_close(g);
        buf_free(&b);
    }
}
END_TEST

/* One row of every finite value of a 16-bit type, against the formula. */
static void check_latent16(uint32_t type)
{
    static uint16_t v[65536];
    static uint8_t row[65536 / 4];
    const bool half = type == HF_LATENT_F16;
    uint32_t n = 0;
    double sum = 0;
    for (uint32_t i = 0; i < 65536; i++) {
        const float f = half ? f16_to_f32((uint16_t)i) : bf16_to_f32((uint16_t)i);
        if (isfinite(f) && fabsf(f) < 1e4f)
            v[n++] = (uint16_t)i;
    }
    for (uint32_t i = 0; i < n; i++)
        sum += (double)fabsf(half ? f16_to_f32(v[i]) : bf16_to_f32(v[i]));
    struct gguf *g = one_tensor(type, 1, n, v, n * sizeof v[0], close_nothing);
    const struct wsrc w = open_one(g);
    ck_assert_double_eq_tol((double)w.scale, sum / n, 1e-6 * sum / n);
    ck_assert(!wsrc_read_rows(&w, 0, 1, row, 0));
    for (uint32_t i = 0; i < n; i++) {
        const float f = half ? f16_to_f32(v[i]) : bf16_to_f32(v[i]);
        const float q = rintf(f / w.scale);
        ck_assert_msg((row[i / 4] >> 2 * (i % 4) & 3) - 1 == (q > 1 ? 1 : q < -1 ? -1 : (int)q),
                      "%.9g at scale %.9g", (double)f, (double)w.scale);
    }
    gguf_close(g);
}

START_TEST(hf_latent_weights_round_to_the_nearest)
{
    check_latent16(HF_LATENT_BF16);
    check_latent16(HF_LATENT_F16);
    /* f32, around half a scale: the mean of these is 2, and ties go to zero. */
    float v[68] = { 1.0f, nextafterf(1, 2), -1.0f, -nextafterf(1, 2), nextafterf(1, 0), 0.0f, -0.0f,
                    3 };
    double rest = 2 * 68;
    for (int i = 0; i < 8; i++)
        rest -= (double)fabsf(v[i]);
    for (int i = 8; i < 68; i++)
        v[i] = (float)(rest / 60);
    static const int want[8] = { 0, 1, 0, -1, 0, 0, 0, 1 };
    uint8_t row[17];
    struct gguf *g = one_tensor(HF_LATENT_F32, 1, 68, v, sizeof v, close_nothing);
    const struct wsrc w = open_one(g);
    ck_assert_float_eq(w.scale, 2);
    ck_assert(!wsrc_read_rows(&w, 0, 1, row, 0));
    for (unsigned i = 0; i < 68; i++)
        ck_assert_int_eq((row[i / 4] >> 2 * (i % 4) & 3) - 1, i < 8 ? want[i] : 1);
    gguf_close(g);
    /* Nothing but zeros: a scale, and no weight. */
    static const uint16_t zero[20] = { 0 };
    g = one_tensor(HF_LATENT_BF16, 1, 20, zero, sizeof zero, close_nothing);
    const struct wsrc z = open_one(g);
    ck_assert(z.scale == 1e-5f && !wsrc_read_rows(&z, 0, 1, row, 0));
    ck_assert(row[0] == 0x55 && row[4] == 0x55);
    gguf_close(g);
}
END_TEST

/* Wherever it stands, in the last few elements too. */
START_TEST(hf_latent_weights_are_numbers)
{
    static const struct {
        uint32_t type;
        unsigned size;
        uint32_t bits[3];        /* Inf, NaN, -NaN                            */
    } c[] = {
        { HF_LATENT_BF16, 2, { 0x7f80, 0x7fc0, 0xffc1 } },
        { HF_LATENT_F16, 2, { 0x7c00, 0x7e00, 0xfc01 } },
        { HF_LATENT_F32, 4, { 0x7f800000, 0x7fc00000, 0xff800001 } },
    };
    for (unsigned t = 0; t < 3; t++)
        for (unsigned at = 0; at < 37; at++)
            for (unsigned k = 0; k < 3; k++) {
                uint8_t v[37 * 4] = { 0 };
                struct wsrc w;
                struct err e = { 0 };
                memcpy(v + at * c[t].size, &c[t].bits[k], c[t].size);
                struct gguf *g = one_tensor(c[t].type, 1, 37, v, 37 * c[t].size, close_nothing);
                ck_assert_int_eq(wsrc_open(&w, g, gguf_tensor(g, "x.weight"), NULL, &e), ERR_DATA);
                ck_assert(strstr(e.text, "a value is NaN or infinite") != NULL);
                gguf_close(g);
            }
}
END_TEST

/* -------------------------------------------------------------------- parts */

static int n_closed;

static void count_closed(void *owner)
{
    (void)owner;
    n_closed++;
}

START_TEST(gguf_parts_belong_to_the_container)
{
    static const float v[2] = { 1, 2 };
    struct gguf *g = one_tensor(0, 1, 2, v, sizeof v, count_closed);
    ck_assert(gguf_n_tensors(g) == 1 && gguf_n_kv(g) == 0 && gguf_file_size(g) == 8);
    ck_assert_int_eq(n_closed, 0);
    gguf_close(g);
    ck_assert_int_eq(n_closed, 1);
    /* Refused, and closed all the same: keys that are cut, a name twice. */
    struct err e = { 0 };
    struct gguf_parts parts = { .name = "parts", .kv = "\1\0\0\0", .kv_size = 4, .n_kv = 1,
                                .close = count_closed };
    ck_assert_int_eq(gguf_open_parts(&g, &parts, &e), ERR_DATA);
    const struct gguf_tensor twice[2] = { { .name = { "a", 1 } }, { .name = { "a", 1 } } };
    parts = (struct gguf_parts){ .name = "parts", .tensor = twice, .n_tensor = 2,
                                 .close = count_closed };
    ck_assert_int_eq(gguf_open_parts(&g, &parts, &e), ERR_DATA);
    ck_assert(strstr(e.text, "occurs twice") && n_closed == 3 && !g);
}
END_TEST

/* No file may have a type that only directories have. */
START_TEST(hf_types_are_refused_in_a_file)
{
    struct gguf *g;
    struct err e = { 0 };
    gguf_make_tiny(&made, &(struct tiny){ 0 });
    gguf_make_find(&made, "blk.0.attn_q.weight")->type = HF_U8;
    bytes = (struct buf){ 0 };
    gguf_make_done(&made, &bytes);
    ck_assert_int_eq(gguf_open_mem(&g, bytes.p, bytes.n, "made", &e), ERR_DATA);
    ck_assert(strstr(e.text, "type 65536"));
    gguf_make_free(&made);
    buf_free(&bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hf");
    TCase *c = tcase_create("hf");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, hf_directory_is_the_model_of_its_gguf, 0, N_GRAPH);
    tcase_add_test(c, hf_directory_of_a_trained_model_is_that_model);
    tcase_add_test(c, hf_names_of_older_checkpoints_are_known);
    tcase_add_test(c, hf_embedding_checkpoint_is_ternary_by_its_norms);
    tcase_add_test(c, hf_defaults_are_those_of_transformers);
    tcase_add_test(c, hf_modules_named_in_the_configuration_stay_floats);
    tcase_add_test(c, hf_rope_of_llama3_becomes_divisors);
    tcase_add_test(c, hf_gemma3_looks_no_further_than_its_window);
    tcase_add_test(c, hf_packed_rows_are_the_published_ones);
    tcase_add_test(c, hf_packed_rows_end_anywhere);
    tcase_add_test(c, hf_latent_weights_round_to_the_nearest);
    tcase_add_test(c, hf_latent_weights_are_numbers);
    tcase_add_test(c, gguf_parts_belong_to_the_container);
    tcase_add_test(c, hf_types_are_refused_in_a_file);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
