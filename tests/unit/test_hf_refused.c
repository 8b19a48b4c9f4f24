/* test_hf_refused.c - Hugging Face directories that must be refused, each with
 * one line that says which thing, what is wrong and what was expected.
 *
 * A case is a good directory with one thing changed: an entry of config.json,
 * a tensor, the index, or the bytes of a file. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/model/hf.h"
#include "gguf_make.h"
#include "hf_dir.h"

#define Q "model.layers.0.self_attn.q_proj.weight"
#define GATE "model.layers.0.mlp.gate_proj.weight"
#define NORM "model.layers.0.input_layernorm.weight"

static struct hf_dir dir;

/* ------------------------------------------------------------ config.json */

struct config_case {
    const char *set;             /* entries that replace others, with ' for ";  */
                                 /* quantization_config is merged              */
    const char *drop;            /* an entry that is taken out, or NULL       */
    const char *says;
    const char *arch;            /* NULL: bitnet-b1.58                        */
};

#define SET(json, says) { json, NULL, says, NULL }
#define DROP(key, says) { NULL, key, says, NULL }
static const struct config_case config[] = {
    DROP("architectures", "config.json: architectures is missing, expected BitNetForCausalLM"),
    SET("'architectures':[]", "architectures is missing"),
    SET("'architectures':'LlamaForCausalLM'", "architectures is missing"),
    SET("'architectures':['Phi3ForCausalLM']", "architectures has Phi3ForCausalLM"),
    SET("'architectures':['a\\nb']", "architectures has a\\x0ab, expected"),
    DROP("hidden_act", "hidden_act is missing"),
    SET("'hidden_act':7", "hidden_act is a whole number, expected a text"),
    SET("'hidden_act':'gelu'", "hidden_act is gelu, expected relu2, silu or"),
    DROP("hidden_size", "hidden_size is missing, expected a whole number"),
    DROP("num_hidden_layers", "num_hidden_layers is missing"),
    DROP("intermediate_size", "intermediate_size is missing"),
    DROP("num_attention_heads", "num_attention_heads is missing"),
    DROP("max_position_embeddings", "max_position_embeddings is missing"),
    DROP("vocab_size", "vocab_size is missing"),
    DROP("rms_norm_eps", "rms_norm_eps is missing, expected a positive number"),
    DROP("rope_theta", "rope_theta is missing"),
    SET("'hidden_size':'16'", "hidden_size is no whole number from 1 to"),
    SET("'hidden_size':16.0", "hidden_size is no whole number"),
    SET("'hidden_size':0", "hidden_size is no whole number"),
    SET("'hidden_size':-16", "hidden_size is no whole number"),
    SET("'num_hidden_layers':9223372036854775807", "num_hidden_layers is no whole number"),
    SET("'num_hidden_layers':67108864", "block_count is 67108864"),
    SET("'num_hidden_layers':2", "tensor blk.1.attn_norm.weight is missing"),
    { "'num_attention_heads':3", "head_dim", "hidden_size 16 over 3 heads", NULL },
    SET("'num_attention_heads':4", "tensor blk.0.attn_q.weight is 16 x 16, expected 32 x 16"),
    SET("'num_key_value_heads':{}", "num_key_value_heads is no whole number"),
    SET("'num_key_value_heads':3", "2 heads over 3 key-value heads"),
    SET("'head_dim':7", "heads of 7 elements, expected an even number"),
    SET("'head_dim':8194", "heads of 8194 elements"),
    SET("'intermediate_size':31", "ffn_gate.weight is 32 x 16, expected 31 x 16"),
    SET("'vocab_size':13", "embed_tokens.weight: 12 rows, expected 13, the vocab_size"),
    SET("'rms_norm_eps':0", "rms_norm_eps is no number from 1e-30"),
    SET("'rms_norm_eps':'1e-5'", "rms_norm_eps is no number"),
    SET("'rope_theta':1e300", "rope_theta is no number from"),
    SET("'rope_theta':[]", "rope_theta is no number from"),
    SET("'rope_parameters':{'rope_theta':'x'}", "rope_parameters.rope_theta is no number"),
    SET("'rope_scaling':7", "rope_scaling is a whole number, expected an object or null"),
    SET("'rope_scaling':{'rope_type':7}", "rope_scaling.rope_type is a whole number"),
    SET("'rope_scaling':{'type':'yarn','factor':4}",
        "rope_scaling is yarn with factor 4, expected none, llama3, or linear with factor 1"),
    SET("'rope_scaling':{'type':'linear','factor':2}", "rope_scaling is linear with factor 2"),
    SET("'rope_scaling':{'type':'linear'}", "rope_scaling is linear with factor 0"),
    SET("'rope_scaling':{'rope_type':'llama3'}", "rope_scaling.factor is missing"),
    SET("'rope_scaling':{'rope_type':'llama3','factor':8,'low_freq_factor':4,"
        "'high_freq_factor':4,'original_max_position_embeddings':64}",
        "expected a factor up to 1e6 and low below high"),
    SET("'partial_rotary_factor':0.5", "partial_rotary_factor is 0.5, expected 1"),
    SET("'final_logit_softcapping':30.0", "final_logit_softcapping is 30, expected 0 or none"),
    SET("'num_experts':'8'", "num_experts is a text, expected a number"),
    SET("'use_sliding_window':true", "use_sliding_window is true, expected false"),
    SET("'use_sliding_window':1", "use_sliding_window is a whole number, expected true"),
    SET("'tie_word_embeddings':'yes'", "tie_word_embeddings is a text"),
    { "'tie_word_embeddings':true", NULL, NULL, "llama" },     /* then its head is not used */
    { "'rope_local_base_freq':500", NULL, "rope_local_base_freq is 500, expected 10000", "gemma3" },
    { "'query_pre_attn_scalar':16", NULL, "query_pre_attn_scalar is 16, expected 8", "gemma3" },
    SET("'quantization_config':7", "quantization_config is a whole number, expected an object"),
    SET("'quantization_config':{'quant_method':'gptq'}", "quant_method is gptq, expected bitnet"),
    SET("'quantization_config':{'quant_method':null}", "quant_method is missing, expected bitnet"),
    SET("'quantization_config':{'linear_class':'bits'}",
        "linear_class is bits, expected bitlinear"),
    SET("'quantization_config':{'quantization_mode':'both'}",
        "quantization_mode is both, expected"),
    SET("'quantization_config':{'quantization_mode':'online','linear_class':'bitlinear'}",
        "linear_class bitlinear, which is packed, and quantization_mode online"),
    SET("'quantization_config':{'quantization_mode':'online'}",
        "proj.weight: packed (U8), and config.json says that weights are floats"),
    SET("'quantization_config':{'modules_to_not_convert':'lm_head'}",
        "modules_to_not_convert is a text, expected a list"),
    SET("'quantization_config':{'use_rms_norm':true}", "use_rms_norm is true, expected false"),
    { "'quantization_config':{'use_rms_norm':true,'rms_norm_eps':0.5}",
      NULL, "rms_norm_eps is 0.5, expected", "qwen3" },
    DROP("quantization_config", "packed (U8), and config.json says nothing of it"),
    { "'weight_bits':2,'input_bits':8",
      "quantization_config", "weight_bits and input_bits, expected 1 and 8", NULL },
    { "'weight_bits':1",
      "quantization_config", "weight_bits and input_bits, expected 1 and 8", NULL },
};

/* The directory of a tiny model, open for edits. */
static void make_dir(const char *arch, enum hf_dir_weights how)
{
    static struct gguf_make made;
    struct buf bytes = { 0 };
    struct model *m;
    struct err e = { 0 };
    const bool in = arch && (!strcmp(arch, "qwen3") || !strcmp(arch, "gemma3"));
    gguf_make_tiny(&made, &(struct tiny){ .arch = arch, .proj_norm = in });
    gguf_make_done(&made, &bytes);
    ck_assert_msg(!model_open_mem(&m, bytes.p, bytes.n, "tiny", NULL, &e), "%s", e.text);
    hf_dir_of(&dir, m, how);
    model_close(m);
    gguf_make_free(&made);
    buf_free(&bytes);
}

/* What model_open says of dir.path; NULL: that it opens. */
static void check_says(const char *says)
{
    struct model *m;
    struct err e = { 0 };
    const int rc = model_open(&m, dir.path, NULL, &e);
    if (!says) {
        ck_assert_msg(!rc, "%s", e.text);
        model_close(m);
        return;
    }
    ck_assert_msg(rc < 0 && rc == e.code, "it opens, and not \"%s\"", says);
    ck_assert_ptr_null(m);
    ck_assert_msg(strstr(e.text, says) != NULL, "\"%s\" lacks \"%s\"", e.text, says);
    ck_assert_msg(!strchr(e.text, '\n') && strstr(e.text, dir.path), "%s", e.text);
}

static void edit_config(const struct config_case *c)
{
    if (c->drop)
        ck_assert(!json_object_del(dir.config, c->drop));
    struct buf text = { 0 };
    buf_addf(&text, "{%s}", c->set ? c->set : "");
    for (size_t i = 0; i < text.n; i++)
        text.p[i] = text.p[i] == '\'' ? '"' : text.p[i];
    json_t *set = json_loadb(text.p, text.n, 0, NULL);
    ck_assert_msg(set != NULL, "%s", text.p);
    buf_free(&text);
    json_t *q = json_object_get(set, "quantization_config");
    if (json_is_object(q)) {
        ck_assert(!json_object_update(json_object_get(dir.config, "quantization_config"), q));
        ck_assert(!json_object_del(set, "quantization_config"));
    }
    ck_assert(!json_object_update(dir.config, set));
    json_decref(set);
}

START_TEST(hf_bad_configuration_is_refused_with_a_line)
{
    make_dir(config[_i].arch, HF_DIR_MULTIPLY);
    edit_config(&config[_i]);
    hf_dir_write(&dir);
    check_says(config[_i].says);
    hf_dir_free(&dir);
}
END_TEST

/* ------------------------------------------------------------------ tensors */

#define E(name) static void name(void)

static void set_float(const char *name, float v)
{
    memcpy(hf_dir_find(&dir, name)->data.p, &v, sizeof v);
}

static void rename_to(const char *name, const char *to)
{
    strcpy(hf_dir_find(&dir, name)->name, to);
}

static void config_text(const char *text)
{
    hf_dir_write(&dir);
    hf_dir_put(&dir, "config.json", text, strlen(text));
}

static void remove_file(const char *name)
{
    char path[128];
    hf_dir_write(&dir);
    snprintf(path, sizeof path, "%s/%s", dir.path, name);
    ck_assert(!unlink(path));
}

static void cut_file(const char *name, long by)
{
    char path[128];
    hf_dir_write(&dir);
    snprintf(path, sizeof path, "%s/%s", dir.path, name);
    FILE *f = fopen(path, "r");
    ck_assert(f && !fseek(f, 0, SEEK_END));
    ck_assert(!truncate(path, ftell(f) - by) && !fclose(f));
}

/* Two files; those from `first` on in the second. */
static void shard(unsigned first)
{
    dir.n_file = 2;
    for (unsigned i = first; i < dir.n_t; i++)
        dir.t[i].file = 1;
}

/* The index says that everything, or the one tensor, is in `file`. */
static void index_says(const char *tensor, const char *file)
{
    json_t *map = json_object();
    for (unsigned i = 0; i < dir.n_t; i++)
        if (!tensor || strcmp(tensor, dir.t[i].name))
            json_object_set_new(map, dir.t[i].name,
                                json_sprintf("model-%05u-of-00002.safetensors", dir.t[i].file + 1));
    if (tensor && file)
        json_object_set_new(map, tensor, json_string(file));
    dir.index = json_pack("{s:o}", "weight_map", map);
}

E(no_scale)         { hf_dir_drop(&dir, Q "_scale"); }
E(scale_nan)        { set_float(Q "_scale", NAN); }
E(scale_zero)       { set_float(Q "_scale", 0); }
E(scale_negative)   { set_float(Q "_scale", -1); }
E(scale_inf)        { set_float(Q "_scale", INFINITY); }
E(scale_tiny)       { set_float(Q "_scale", 1e-40f); }      /* and 1 / it is infinite */
E(scale_of_two)
{
    hf_dir_drop(&dir, Q "_scale");
    hf_dir_add(&dir, Q "_scale", "F32", 1, 2, 0, "\0\0\0\0\0\0\0", 8);
}
E(scale_u8)
{
    hf_dir_drop(&dir, Q "_scale");
    hf_dir_add(&dir, Q "_scale", "U8", 1, 4, 0, "\0\0\0", 4);
}
E(scale_alone)      { hf_dir_drop(&dir, Q); }
E(code_3)           { hf_dir_find(&dir, Q)->data.p[5] = 0x0c; }
E(packed_vector)    { hf_dir_find(&dir, Q)->n_dims = 1; hf_dir_find(&dir, Q)->dim[0] = 64; }
E(packed_short)
{
    struct hf_dir_tensor *t = hf_dir_find(&dir, GATE);
    t->dim[0] = 4;
    t->data.n = 64;
}
E(packed_i8)        { hf_dir_find(&dir, Q)->dtype = "I8"; }
E(floats_instead)
{
    hf_dir_drop(&dir, Q);
    static float v[256];
    hf_dir_add(&dir, Q, "F32", 2, 16, 16, v, sizeof v);
    hf_dir_drop(&dir, Q "_scale");
}
E(rows_no_heads)
{
    struct hf_dir_tensor *t = hf_dir_find(&dir, Q);
    t->dim[0] = 3;
    t->data.n = 48;
}
E(latent_unsaid)    { json_object_del(dir.config, "quantization_config"); }
E(latent_nan)       { set_float(Q, NAN); }
E(latent_u8)
{
    struct hf_dir_tensor *t = hf_dir_find(&dir, Q);
    t->dtype = "U8";
    t->data.n /= 4;
}
E(latent_scale)     { hf_dir_add(&dir, Q "_scale", "F32", 1, 1, 0, "\0\0\200?", 4); }
E(norm_missing)     { hf_dir_drop(&dir, NORM); }
E(norm_matrix)
{
    struct hf_dir_tensor *t = hf_dir_find(&dir, NORM);
    t->n_dims = 2;
    t->dim[1] = 1;
}
E(norm_u8)
{
    struct hf_dir_tensor *t = hf_dir_find(&dir, NORM);
    t->dtype = "U8";
    t->dim[0] *= 4;
}
E(norm_nan)         { set_float(NORM, NAN); }
E(norm_empty)
{
    struct hf_dir_tensor *t = hf_dir_find(&dir, NORM);
    t->dim[0] = 0;
    t->data.n = 0;
}
E(norm_twice)
{
    hf_dir_add(&dir, "layers.0.input_layernorm.weight", "F32", 1, 1, 0, "\0\0\0", 4);
}
E(bias)
{
    hf_dir_add(&dir, "model.layers.0.self_attn.q_proj.bias", "F32", 1, 1, 0, "\0\0\0", 4);
}
E(unknown)          { rename_to(NORM, "model.layers.0.router.weight"); }
E(other_layer)      { rename_to(NORM, "model.layers.1.input_layernorm.weight"); }
E(other_number)     { rename_to(NORM, "model.layers.00.input_layernorm.weight"); }
E(huge_number)      { rename_to(NORM, "model.layers.99999999999999999999.input_layernorm.weight"); }
E(other_graph)      { rename_to(NORM, "model.layers.0.pre_feedforward_layernorm.weight"); }
E(proj_norm)
{
    hf_dir_add(&dir, "model.layers.0.mlp.up_proj.norm.weight", "F32", 1, 1, 0, "\0\0\0", 4);
}
E(no_embedding)     { hf_dir_drop(&dir, "model.embed_tokens.weight"); }
E(no_head)          { hf_dir_drop(&dir, "lm_head.weight"); }
E(head_u8)
{
    hf_dir_find(&dir, "lm_head.weight")->dtype = "U8";
    hf_dir_find(&dir, "lm_head.weight")->dim[1] *= 2;
}
E(bitnet_head)
{
    static const char v[12 * 16 * 2];
    hf_dir_add(&dir, "lm_head.weight", "F16", 2, 12, 16, v, sizeof v);
    json_object_set_new(dir.config, "tie_word_embeddings", json_false());
}
E(file_missing)     { remove_file("model.safetensors"); }
E(file_pickle)
{
    remove_file("model.safetensors");
    hf_dir_put(&dir, "pytorch_model.bin", "PK", 2);
}
E(file_empty)       { hf_dir_write(&dir); hf_dir_put(&dir, "model.safetensors", "", 0); }
E(file_cut)         { cut_file("model.safetensors", 1); }
E(file_gguf)
{
    hf_dir_write(&dir);
    hf_dir_put(&dir, "model.safetensors", "GGUF\3\0\0\0\0\0\0\0\0\0\0\0", 16);
}
E(config_missing)   { remove_file("config.json"); }
E(config_empty)     { config_text(""); }
E(config_broken)    { config_text("{\"architectures\": [\"BitNetForCausalLM\"], \"a\n"); }
E(config_list)      { config_text("[1, 2]"); }
E(config_twice)     { config_text("{\"vocab_size\": 12, \"vocab_size\": 13}"); }
E(config_large)
{
    char *v = malloc(5 << 20);
    memset(v, ' ', 5 << 20);
    v[0] = '{';
    hf_dir_write(&dir);
    hf_dir_put(&dir, "config.json", v, 5 << 20);
    free(v);
}
E(config_deep)
{
    char *v = malloc(1 << 19);
    memset(v, '[', 1 << 19);
    hf_dir_write(&dir);
    hf_dir_put(&dir, "config.json", v, 1 << 19);
    free(v);
}
E(no_tokenizer)     { remove_file("tokenizer.json"); }
E(shard_missing)    { shard(9); remove_file("model-00002-of-00002.safetensors"); }
E(shard_cut)        { shard(9); cut_file("model-00002-of-00002.safetensors", 1); }
E(shard_twice)
{
    shard(9);
    index_says(NULL, NULL);
    hf_dir_add(&dir, NORM, "F32", 1, 1, 0, "\0\0\0", 4)->file = 1;
}
E(index_other)      { shard(9); index_says(NORM, "model-00002-of-00002.safetensors"); }
E(index_lacks)      { shard(9); index_says(NORM, NULL); }
E(index_more)
{
    shard(9);
    index_says("model.more.weight", "model-00002-of-00002.safetensors");
}
E(index_up)         { shard(9); index_says(NORM, "../model-00001-of-00002.safetensors"); }
E(index_root)       { shard(9); index_says(NORM, "/etc/x.safetensors"); }
E(index_dots)       { shard(9); index_says(NORM, "..safetensors"); }
E(index_bin)        { shard(9); index_says(NORM, "model.bin"); }
E(index_number)
{
    shard(9);
    index_says(NORM, NULL);
    json_object_set_new(json_object_get(dir.index, "weight_map"), NORM, json_integer(1));
}
E(index_empty)      { dir.n_file = 2; dir.index = json_pack("{s:{}}", "weight_map"); }
E(index_no_map)     { dir.n_file = 2; dir.index = json_object(); }
E(index_list)       { dir.n_file = 2; dir.index = json_pack("{s:[]}", "weight_map"); }
E(index_broken)
{
    shard(9);
    hf_dir_write(&dir);
    hf_dir_put(&dir, "model.safetensors.index.json", "{", 1);
}
E(pooling_broken)   { hf_dir_write(&dir); hf_dir_put(&dir, "1_Pooling", "x", 1); }

static const struct tensor_case {
    const char *name;
    void (*edit)(void);          /* may write the directory itself            */
    const char *says;
    const char *arch;
    enum hf_dir_weights how;
} tensor[] = {
#define PACKED(name, says) { #name, name, says, NULL, HF_DIR_MULTIPLY }
#define LATENT(name, says) { #name, name, says, NULL, HF_DIR_LATENT }
#define OTHER(name, arch, how, says) { #name, name, says, arch, how }
    PACKED(no_scale, Q ": packed, and without its weight_scale"),
    PACKED(scale_nan, Q "_scale: nan, expected a positive number"),
    OTHER(scale_zero, NULL, HF_DIR_DIVIDE, "weight_scale: 0, expected a positive number"),
    PACKED(scale_negative, "weight_scale: -1, expected a positive"),
    OTHER(scale_inf, NULL, HF_DIR_DIVIDE, "weight_scale: inf, expected a positive"),
    OTHER(scale_tiny, NULL, HF_DIR_DIVIDE, "expected a positive number"),
    PACKED(scale_of_two, "weight_scale: F32, 8 bytes, expected one number"),
    PACKED(scale_u8, "weight_scale: U8, 4 bytes, expected one number"),
    PACKED(scale_alone, "a scale of weights that are not there"),
    PACKED(code_3, "tensor blk.0.attn_q.weight: 1 codes are 3"),
    PACKED(packed_vector, Q ": 1 dimensions, or one that is 0, expected a matrix"),
    PACKED(packed_short, "tensor blk.0.ffn_gate.weight is 16 x 16, expected 32 x 16"),
    PACKED(packed_i8, Q ": I8, expected U8"),
    OTHER(floats_instead, NULL, HF_DIR_DIVIDE, Q ": F32, expected U8: quantization_config says"),
    OTHER(rows_no_heads, "llama", HF_DIR_DIVIDE, Q ": 12 rows, expected a multiple of a head's 8"),
    LATENT(latent_unsaid, "proj.weight: F32, and config.json has neither quantization_config"),
    LATENT(latent_nan, "tensor blk.0.attn_q.weight: a value is NaN or infinite"),
    LATENT(latent_u8, "q_proj.weight"),
    LATENT(latent_scale, "a scale of weights that are F32, expected packed ones"),
    PACKED(norm_missing, "tensor blk.0.attn_norm.weight is missing"),
    PACKED(norm_matrix, NORM ": 2 dimensions, or one that is 0, expected a vector"),
    PACKED(norm_u8, NORM ": U8, expected BF16, F16 or F32"),
    OTHER(norm_u8, "gemma3", HF_DIR_MULTIPLY, NORM ": U8, expected BF16, F16 or F32"),
    PACKED(norm_nan, "blk.0.attn_norm.weight: 1 of its values are NaN"),
    PACKED(norm_empty, NORM ": 1 dimensions, or one that is 0"),
    PACKED(norm_twice, "tensor blk.0.attn_norm.weight occurs twice"),
    OTHER(bias, "llama", HF_DIR_DIVIDE, "q_proj.bias: a bias, expected only what the graph of "
          "llama with 1 layers uses"),
    PACKED(unknown, "router.weight: unknown, expected only"),
    PACKED(other_layer, "model.layers.1.input_layernorm.weight: unknown"),
    PACKED(other_number, "model.layers.00.input_layernorm.weight: unknown"),
    PACKED(huge_number, "99999.input_layernorm.weight: unknown"),
    OTHER(other_graph, "qwen3", HF_DIR_MULTIPLY, "pre_feedforward_layernorm.weight: unknown"),
    OTHER(proj_norm, "llama", HF_DIR_MULTIPLY, "up_proj.norm.weight: unknown"),
    PACKED(no_embedding, "token_embd.weight is missing"),
    OTHER(no_head, "llama", HF_DIR_MULTIPLY, "tie_word_embeddings is false, and there is no "
          "tensor lm_head.weight"),
    OTHER(head_u8, "llama", HF_DIR_MULTIPLY, "lm_head.weight: U8, expected BF16, F16 or F32"),
    PACKED(bitnet_head, "lm_head.weight: a head of its own, expected the embedding"),
    PACKED(file_missing, "neither model.safetensors nor model.safetensors.index.json is there"),
    PACKED(file_pickle, "pytorch_model.bin is a program"),
    PACKED(file_empty, "model.safetensors: the file is empty"),
    PACKED(file_cut, "it is truncated, or the header wrong"),
    PACKED(file_gguf, "no safetensors file, or it is truncated"),
    PACKED(config_missing, "config.json: cannot open"),
    PACKED(config_empty, "config.json: no valid JSON at line 1"),
    PACKED(config_broken, "config.json: no valid JSON at line 1"),
    PACKED(config_list, "config.json: an array, expected a JSON object"),
    PACKED(config_twice, "duplicate object key"),
    PACKED(config_large, "config.json: over 4194304 bytes"),
    PACKED(config_deep, "config.json: no valid JSON"),
    PACKED(no_tokenizer, "tokenizer.json"),
    PACKED(shard_missing, "model-00002-of-00002.safetensors: cannot open"),
    PACKED(shard_cut, "model-00002-of-00002.safetensors: tensor"),
    PACKED(shard_twice, "tensor " NORM " is in"),
    PACKED(index_other, "tensor " NORM " is in model-00001-of-00002.safetensors, and weight_map "
           "says model-00002-of-00002.safetensors"),
    PACKED(index_lacks, "weight_map says nothing of it"),
    PACKED(index_more, "weight_map has "),
    PACKED(index_up, "the file of a tensor is elsewhere"),
    PACKED(index_root, "the file of a tensor is elsewhere"),
    PACKED(index_dots, "the file of a tensor is elsewhere"),
    PACKED(index_bin, "the file of a tensor is elsewhere"),
    PACKED(index_number, "the file of a tensor is a whole number"),
    PACKED(index_empty, "weight_map is empty"),
    PACKED(index_no_map, "weight_map is null, expected an object"),
    PACKED(index_list, "weight_map is an array, expected an object"),
    PACKED(index_broken, "index.json: no valid JSON"),
    OTHER(pooling_broken, "qwen3", HF_DIR_MULTIPLY, "1_Pooling/config.json"),
};

/* Edits that write the directory leave their own file; the others are written here. */
static bool is_written(void)
{
    char path[128];
    static const char *const file[] = { "config.json", "model.safetensors",
                                        "model-00001-of-00002.safetensors" };
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir.path, file[i]);
        if (!access(path, F_OK))
            return true;
    }
    return false;
}

START_TEST(hf_bad_directory_is_refused_with_a_line)
{
    const struct tensor_case *c = &tensor[_i];
    make_dir(c->arch, c->how);
    c->edit();
    if (!is_written())
        hf_dir_write(&dir);
    check_says(c->says);
    hf_dir_free(&dir);
}
END_TEST

/* A file alone, and what is no model at all. */
START_TEST(hf_weights_alone_are_refused)
{
    char path[128];
    struct gguf *g;
    struct err e = { 0 };
    make_dir(NULL, HF_DIR_MULTIPLY);
    hf_dir_write(&dir);
    snprintf(path, sizeof path, "%s/model.safetensors", dir.path);
    ck_assert_int_eq(hf_open_any(&g, path, &e), ERR_ARG);
    ck_assert(strstr(e.text, "weights alone, expected the directory") && !g);
    ck_assert_int_eq(hf_open_any(&g, "/nowhere", &e), ERR_IO);
    hf_dir_free(&dir);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hf_refused");
    TCase *c = tcase_create("hf_refused");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, hf_bad_configuration_is_refused_with_a_line, 0,
                        (int)(sizeof config / sizeof config[0]));
    tcase_add_loop_test(c, hf_bad_directory_is_refused_with_a_line, 0,
                        (int)(sizeof tensor / sizeof tensor[0]));
    tcase_add_test(c, hf_weights_alone_are_refused);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
