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

static struct model *open_made(void)
{
    struct model *m;
    struct err e = { 0 };
    bytes = (struct buf){ 0 };
    gguf_make_done(&made, &bytes);
    ck_assert_msg(!model_open_mem(&m, bytes.p, bytes.n, "tiny.gguf", NULL, &e), "%s", e.text);
    return m;
}

static struct model *open_tiny(const struct tiny *tiny)
{
    gguf_make_tiny(&made, tiny);
    return open_made();
}

/* Whether one of the model's warnings has this text. */
static bool says(const struct model *m, const char *text)
{
    for (unsigned i = 0; i < m->n_warning; i++)
        if (strstr(m->warning[i], text))
            return true;
    return false;
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

/* In a GGUF the name falcon3 leaves two readings; steps that are written out do
 * not. */
START_TEST(hf_directory_says_which_falcon3_it_is)
{
    gguf_make_tiny(&made, &(struct tiny){ .arch = "llama" });
    gguf_make_str(&made, "tokenizer.ggml.pre", "falcon3");
    struct model *gguf = open_made(), *hf;
    hf_dir_of(&dir, gguf, HF_DIR_DIVIDE);
    hf_dir_write(&dir);
    hf = open_path(dir.path);
    ck_assert_str_eq(vocab_kind(hf->vocab), "bpe/falcon3");
    ck_assert_str_eq(vocab_kind(gguf->vocab), "bpe/falcon3");
    ck_assert(says(gguf, "two readings") && !says(hf, "two readings"));
    model_close(hf);
    hf_dir_free(&dir);
    close_tiny(gguf);
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
    tcase_add_test(c, hf_directory_says_which_falcon3_it_is);
    tcase_add_test(c, hf_types_are_refused_in_a_file);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
