/* hf_config.c - config.json to numbers and keys.
 *
 * Transformers writes an entry only where it differs from its default, so some
 * may be missing; those whose default depends on the version or on the class
 * are asked for, rather than guessed. */
#include "core/model/hf_config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/exact.h"
#include "core/model/hf_json.h"

/* Above any model; hparams.c has the limits of what runs. */
#define MAX_COUNT (1u << 26)
#define MAX_HEAD_DIM 8192

struct reader {
    struct hf_config *c;
    struct err *e;
};

static const json_t *entry(const json_t *from, const char *key)
{
    const json_t *j = json_object_get(from, key);
    return json_is_null(j) ? NULL : j;
}

static int fail_missing(const struct reader *r, const char *key, const char *want)
{
    return err_set(r->e, ERR_DATA, "%s: %s is missing, expected %s", r->c->name, key, want);
}

/* 1: set; 0: absent or null, *v untouched. */
static int get_count(const struct reader *r, const char *key, uint32_t *v)
{
    const json_t *j = entry(r->c->root, key);
    if (!j)
        return 0;
    json_int_t n = json_integer_value(j);
    if (!json_is_integer(j) || n < 1 || n > MAX_COUNT)
        return err_set(r->e, ERR_DATA, "%s: %s is no whole number from 1 to %u", r->c->name, key,
                       MAX_COUNT);
    *v = (uint32_t)n;
    return 1;
}

static int need_count(const struct reader *r, const char *key, uint32_t *v)
{
    int rc = get_count(r, key, v);
    return rc ? (rc < 0 ? rc : 0) : fail_missing(r, key, "a whole number");
}

/* A positive number of an object; its key is called as `called` in messages. */
static int get_number(const struct reader *r, const json_t *from, const char *key,
                      const char *called, double *v)
{
    const json_t *j = entry(from, key);
    if (!j)
        return 0;
    double d = json_number_value(j);
    if (!json_is_number(j) || !(d >= 1e-30 && d <= 1e15))
        return err_set(r->e, ERR_DATA, "%s: %s is no number from 1e-30 to 1e15", r->c->name,
                       called);
    *v = d;
    return 1;
}

static int need_number(const struct reader *r, const json_t *from, const char *key,
                       const char *called, double *v)
{
    int rc = get_number(r, from, key, called, v);
    return rc ? (rc < 0 ? rc : 0) : fail_missing(r, called, "a positive number");
}

/* 1: *v is a text of the file; 0: absent or null. */
static int get_text(const struct reader *r, const json_t *from, const char *key,
                    const char *called, const char **v)
{
    const json_t *j = entry(from, key);
    if (!j)
        return 0;
    if (!json_is_string(j))
        return err_set(r->e, ERR_DATA, "%s: %s is %s, expected a text", r->c->name, called,
                       hf_json_kind(j));
    *v = json_string_value(j);
    return 1;
}

static int get_bool(const struct reader *r, const json_t *from, const char *key,
                    const char *called, bool *v)
{
    const json_t *j = entry(from, key);
    if (!j)
        return 0;
    if (!json_is_boolean(j))
        return err_set(r->e, ERR_DATA, "%s: %s is %s, expected true or false", r->c->name, called,
                       hf_json_kind(j));
    *v = json_is_true(j);
    return 1;
}

/* ------------------------------------------------------------------ graph */

static const struct {
    const char *name;            /* as architectures has it                   */
    enum hf_graph graph;
    bool embedding;
    const char *arch;            /* NULL: by the activation                   */
} known[] = {
    { "BitNetForCausalLM", HF_BITNET, false, NULL },
    { "BitnetForCausalLM", HF_BITNET, false, NULL },
    { "LlamaForCausalLM", HF_LLAMA, false, "llama" },
    { "Qwen3ForCausalLM", HF_QWEN3, false, "qwen3" },
    { "Qwen3Model", HF_QWEN3, true, "qwen3" },
    { "Gemma3ForCausalLM", HF_GEMMA3, false, "gemma3" },
    { "Gemma3TextModel", HF_GEMMA3, true, "gemma3" },
};

static int read_graph(struct reader *r)
{
    static const char want[] = "BitNetForCausalLM, BitnetForCausalLM, LlamaForCausalLM, "
                               "Qwen3ForCausalLM, Qwen3Model, Gemma3ForCausalLM or Gemma3TextModel";
    const json_t *list = entry(r->c->root, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    if (!name)
        return fail_missing(r, "architectures", want);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(name, known[i].name)) {
            r->c->graph = known[i].graph;
            r->c->embedding = known[i].embedding;
            r->c->arch = known[i].arch;
            return 0;
        }
    return err_set(r->e, ERR_UNSUPPORTED, "%s: architectures has %s, expected %s", r->c->name,
                   hf_quote(str_of(name)).text, want);
}

static int read_activation(struct reader *r)
{
    static const struct { const char *theirs, *ours; } act[] = {
        { "relu2", "relu2" }, { "silu", "silu" }, { "swish", "silu" },
        { "gelu_pytorch_tanh", "gelu_tanh" }
    };
    const char *name = NULL;
    int rc = get_text(r, r->c->root, "hidden_act", "hidden_act", &name);
    if (!rc)
        rc = get_text(r, r->c->root, "hidden_activation", "hidden_activation", &name);
    if (rc <= 0)
        return rc ? rc : fail_missing(r, "hidden_act", "the name of the activation");
    for (size_t i = 0; i < sizeof act / sizeof act[0]; i++)
        if (!strcmp(name, act[i].theirs))
            r->c->activation = act[i].ours;
    if (!r->c->activation)
        return err_set(r->e, ERR_UNSUPPORTED, "%s: hidden_act is %s, expected relu2, silu or "
                       "gelu_pytorch_tanh", r->c->name, hf_quote(str_of(name)).text);
    if (!r->c->arch)
        r->c->arch = strcmp(r->c->activation, "relu2") ? "bitnet" : "bitnet-b1.58";
    return 0;
}

static int read_sizes(struct reader *r)
{
    struct hf_config *c = r->c;
    const struct { const char *key; uint32_t *to; } count[] = {
        { "num_hidden_layers", &c->n_layer }, { "hidden_size", &c->n_embd },
        { "intermediate_size", &c->n_ff }, { "num_attention_heads", &c->n_head },
        { "max_position_embeddings", &c->n_ctx }, { "vocab_size", &c->n_vocab }
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof count / sizeof count[0] && !rc; i++)
        rc = need_count(r, count[i].key, count[i].to);
    if (rc)
        return rc;
    c->n_head_kv = c->n_head;
    rc = get_count(r, "num_key_value_heads", &c->n_head_kv);
    if (rc >= 0)
        rc = get_count(r, "head_dim", &c->head_dim);
    if (rc < 0)
        return rc;
    if (!rc && c->n_embd % c->n_head)
        return err_set(r->e, ERR_DATA, "%s: hidden_size %u over %u heads, expected a multiple, or "
                       "head_dim", c->name, c->n_embd, c->n_head);
    if (!rc)
        c->head_dim = c->n_embd / c->n_head;
    if (c->head_dim % 2 || c->head_dim > MAX_HEAD_DIM)
        return err_set(r->e, ERR_DATA, "%s: heads of %u elements, expected an even number up to %d",
                       c->name, c->head_dim, MAX_HEAD_DIM);
    return 0;
}

/* ------------------------------------------------------------------- rope */

static int read_llama3(struct reader *r, const json_t *from)
{
    struct hf_config *c = r->c;
    c->rope_llama3 = true;
    int rc = need_number(r, from, "factor", "rope_scaling.factor", &c->rope_factor);
    if (!rc)
        rc = need_number(r, from, "low_freq_factor", "rope_scaling.low_freq_factor", &c->rope_low);
    if (!rc)
        rc = need_number(r, from, "high_freq_factor", "rope_scaling.high_freq_factor",
                         &c->rope_high);
    if (!rc)
        rc = need_number(r, from, "original_max_position_embeddings",
                         "rope_scaling.original_max_position_embeddings", &c->rope_n_ctx);
    if (!rc && !(c->rope_low < c->rope_high && c->rope_factor <= 1e6))
        rc = err_set(r->e, ERR_DATA, "%s: rope_scaling: factor %g, low_freq_factor %g, "
                     "high_freq_factor %g, expected a factor up to 1e6 and low below high", c->name,
                     c->rope_factor, c->rope_low, c->rope_high);
    return rc;
}

/* rope_scaling, or what newer versions call rope_parameters. */
static int read_scaling(struct reader *r, const json_t *from)
{
    const char *type = NULL;
    if (!json_is_object(from))
        return err_set(r->e, ERR_DATA, "%s: rope_scaling is %s, expected an object or null",
                       r->c->name, hf_json_kind(from));
    int rc = get_text(r, from, "rope_type", "rope_scaling.rope_type", &type);
    if (!rc)
        rc = get_text(r, from, "type", "rope_scaling.type", &type);
    if (rc < 0 || !type || !strcmp(type, "default"))
        return rc < 0 ? rc : 0;
    if (!strcmp(type, "llama3"))
        return read_llama3(r, from);
    double factor = 0;
    rc = get_number(r, from, "factor", "rope_scaling.factor", &factor);
    if (rc < 0 || (!strcmp(type, "linear") && factor == 1))
        return rc < 0 ? rc : 0;
    return err_set(r->e, ERR_UNSUPPORTED, "%s: rope_scaling is %s with factor %g, expected none, "
                   "llama3, or linear with factor 1", r->c->name, hf_quote(str_of(type)).text,
                   factor);
}

static int read_rope(struct reader *r)
{
    struct hf_config *c = r->c;
    const json_t *both = entry(c->root, "rope_parameters"), *old = entry(c->root, "rope_scaling");
    int rc = get_number(r, both, "rope_theta", "rope_parameters.rope_theta", &c->rope_base);
    if (!rc)
        rc = need_number(r, c->root, "rope_theta", "rope_theta", &c->rope_base);
    if (rc >= 0)
        rc = both || old ? read_scaling(r, both ? both : old) : 0;
    if (rc)
        return rc;
    double part = 1;
    rc = get_number(r, c->root, "partial_rotary_factor", "partial_rotary_factor", &part);
    if (rc >= 0 && part != 1)
        return err_set(r->e, ERR_UNSUPPORTED, "%s: partial_rotary_factor is %g, expected 1",
                       c->name, part);
    return rc < 0 ? rc : 0;
}

/* ---------------------------------------------------------- other graphs */

/* Entries that mean another graph unless they have this value. */
static int refuse_number(const struct reader *r, const char *key, double neutral)
{
    const json_t *j = entry(r->c->root, key);
    if (!j || (json_is_number(j) && json_number_value(j) == neutral))
        return 0;
    if (!json_is_number(j))
        return err_set(r->e, ERR_DATA, "%s: %s is %s, expected a number", r->c->name, key,
                       hf_json_kind(j));
    return err_set(r->e, ERR_UNSUPPORTED, "%s: %s is %g, expected %g or none: this program does "
                   "not compute that graph", r->c->name, key, json_number_value(j), neutral);
}

static int refuse_true(const struct reader *r, const char *key)
{
    bool v = false;
    int rc = get_bool(r, r->c->root, key, key, &v);
    if (rc < 0 || !v)
        return rc < 0 ? rc : 0;
    return err_set(r->e, ERR_UNSUPPORTED, "%s: %s is true, expected false: this program does not "
                   "compute that graph", r->c->name, key);
}

/* Layers that look back a window only, and their own rope base, are computed
 * like the others: right while the context is no longer than the window and the
 * bases are one. */
static int read_gemma3(struct reader *r)
{
    struct hf_config *c = r->c;
    uint32_t window = c->n_ctx;
    int rc = get_count(r, "sliding_window", &window);
    if (rc < 0)
        return rc;
    if (window < c->n_ctx)
        c->n_ctx = window;
    rc = refuse_number(r, "rope_local_base_freq", c->rope_base);
    return rc ? rc : refuse_number(r, "query_pre_attn_scalar", c->head_dim);
}

static int refuse_other_graphs(struct reader *r)
{
    static const struct { const char *key; double neutral; } number[] = {
        { "attn_logit_softcapping", 0 }, { "final_logit_softcapping", 0 }, { "num_experts", 0 },
        { "num_local_experts", 0 }, { "logits_scaling", 1 }, { "embedding_multiplier", 1 },
        { "residual_multiplier", 1 }
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof number / sizeof number[0] && !rc; i++)
        rc = refuse_number(r, number[i].key, number[i].neutral);
    if (!rc)
        rc = refuse_true(r, "use_sliding_window");
    if (!rc)
        rc = refuse_true(r, "use_bidirectional_attention");
    return rc || r->c->graph != HF_GEMMA3 ? rc : read_gemma3(r);
}

/* ---------------------------------------------------------------- weights */

/* A norm before each projection is part of qwen3 and gemma3 graphs here, with
 * the one epsilon of the model. */
static int read_rms_norm(struct reader *r, const json_t *q)
{
    bool on = false;
    double eps = 1e-6;
    int rc = get_bool(r, q, "use_rms_norm", "quantization_config.use_rms_norm", &on);
    if (rc >= 0)
        rc = get_number(r, q, "rms_norm_eps", "quantization_config.rms_norm_eps", &eps);
    if (rc < 0 || !on)
        return rc < 0 ? rc : 0;
    if (!(r->c->graph & (HF_QWEN3 | HF_GEMMA3)))
        return err_set(r->e, ERR_UNSUPPORTED, "%s: quantization_config.use_rms_norm is true, "
                       "expected false: only qwen3 and gemma3 graphs have norms before each "
                       "projection", r->c->name);
    if (eps != r->c->eps)
        return err_set(r->e, ERR_UNSUPPORTED, "%s: quantization_config.rms_norm_eps is %g, "
                       "expected %g, the model's own", r->c->name, eps, r->c->eps);
    return 0;
}

/* The direction is never guessed from the numbers: linear_class says it. */
static int read_bitnet(struct reader *r, const json_t *q)
{
    const char *class = "bitlinear", *mode = "offline";
    int rc = get_text(r, q, "linear_class", "quantization_config.linear_class", &class);
    if (rc >= 0)
        rc = get_text(r, q, "quantization_mode", "quantization_config.quantization_mode", &mode);
    if (rc < 0)
        return rc;
    bool online = !strcmp(mode, "online");
    if (!online && strcmp(mode, "offline"))
        return err_set(r->e, ERR_UNSUPPORTED, "%s: quantization_config.quantization_mode is %s, "
                       "expected offline or online", r->c->name, hf_quote(str_of(mode)).text);
    if (!strcmp(class, "autobitlinear"))
        r->c->weights = online ? HF_LATENT : HF_MULTIPLY;
    else if (strcmp(class, "bitlinear"))
        return err_set(r->e, ERR_UNSUPPORTED, "%s: quantization_config.linear_class is %s, "
                       "expected bitlinear or autobitlinear", r->c->name,
                       hf_quote(str_of(class)).text);
    else if (online)
        return err_set(r->e, ERR_DATA, "%s: quantization_config has linear_class bitlinear, which "
                       "is packed, and quantization_mode online, which is not: expected offline, "
                       "or autobitlinear", r->c->name);
    else
        r->c->weights = HF_DIVIDE;
    const json_t *list = entry(q, "modules_to_not_convert");
    if (list && !json_is_array(list))
        return err_set(r->e, ERR_DATA, "%s: quantization_config.modules_to_not_convert is %s, "
                       "expected a list", r->c->name, hf_json_kind(list));
    r->c->as_floats = list;
    return read_rms_norm(r, q);
}

/* 1bitLLM's own code, before transformers knew any of this. */
static int read_1bitllm(struct reader *r)
{
    const json_t *w = entry(r->c->root, "weight_bits"), *in = entry(r->c->root, "input_bits");
    if (!w && !in)
        return 0;
    if (!json_is_integer(w) || json_integer_value(w) != 1 || !json_is_integer(in) ||
        json_integer_value(in) != 8)
        return err_set(r->e, ERR_UNSUPPORTED, "%s: weight_bits and input_bits, expected 1 and 8",
                       r->c->name);
    r->c->weights = HF_LATENT;
    return 0;
}

static int read_weights(struct reader *r)
{
    const json_t *q = entry(r->c->root, "quantization_config");
    const char *method = NULL;
    if (!q)
        return read_1bitllm(r);
    if (!json_is_object(q))
        return err_set(r->e, ERR_DATA, "%s: quantization_config is %s, expected an object",
                       r->c->name, hf_json_kind(q));
    int rc = get_text(r, q, "quant_method", "quantization_config.quant_method", &method);
    if (rc < 0)
        return rc;
    if (!method || strcmp(method, "bitnet"))
        return err_set(r->e, ERR_UNSUPPORTED, "%s: quantization_config.quant_method is %s, "
                       "expected bitnet", r->c->name,
                       method ? hf_quote(str_of(method)).text : "missing");
    return read_bitnet(r, q);
}

int hf_config_read(struct hf_config *c, const json_t *root, const char *name, struct err *e)
{
    struct reader r = { c, e };
    *c = (struct hf_config){ .name = name, .root = root, .tied = -1 };
    bool tied = false;
    int rc = read_graph(&r);
    if (!rc)
        rc = read_activation(&r);
    if (!rc)
        rc = read_sizes(&r);
    if (!rc)
        rc = need_number(&r, root, "rms_norm_eps", "rms_norm_eps", &c->eps);
    if (!rc)
        rc = read_rope(&r);
    if (!rc)
        rc = refuse_other_graphs(&r);
    if (!rc)
        rc = read_weights(&r);
    if (rc)
        return rc;
    rc = get_bool(&r, root, "tie_word_embeddings", "tie_word_embeddings", &tied);
    if (rc > 0)
        c->tied = tied;
    return rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------- keys */

static const char *key_of(char key[96], const struct hf_config *c, const char *suffix)
{
    snprintf(key, 96, "%s.%s", c->arch, suffix);
    return key;
}

void hf_config_put(const struct hf_config *c, const char *title, struct gguf_put *put)
{
    char key[96];
    const struct { const char *suffix; uint32_t v; } count[] = {
        { "vocab_size", c->n_vocab }, { "context_length", c->n_ctx },
        { "embedding_length", c->n_embd }, { "block_count", c->n_layer },
        { "feed_forward_length", c->n_ff }, { "rope.dimension_count", c->head_dim },
        { "attention.head_count", c->n_head }, { "attention.head_count_kv", c->n_head_kv }
    };
    gguf_put_text(put, "general.architecture", c->arch);
    gguf_put_text(put, "general.name", title);
    for (size_t i = 0; i < sizeof count / sizeof count[0]; i++)
        gguf_put_u32(put, key_of(key, c, count[i].suffix), count[i].v);
    if ((uint64_t)c->head_dim * c->n_head != c->n_embd) {
        gguf_put_u32(put, key_of(key, c, "attention.key_length"), c->head_dim);
        gguf_put_u32(put, key_of(key, c, "attention.value_length"), c->head_dim);
    }
    gguf_put_f32(put, key_of(key, c, "attention.layer_norm_rms_epsilon"), (float)c->eps);
    gguf_put_f32(put, key_of(key, c, "rope.freq_base"), (float)c->rope_base);
    gguf_put_text(put, key_of(key, c, "hidden_activation"), c->activation);
}

/* Wavelengths (in positions) longer than the old context are stretched by the
 * factor, short ones are left, and between the two the divisor's inverse goes
 * evenly: the rule of the Llama 3.1 release. */
void hf_config_rope(const struct hf_config *c, float *factor)
{
    const double two_pi = 6.283185307179586, log_base = exact_log(c->rope_base);
    for (uint32_t i = 0; i < c->head_dim / 2; i++) {
        const double turn = exact_exp(-2.0 * i / c->head_dim * log_base);
        const double turns = c->rope_n_ctx * turn / two_pi;    /* within the old context */
        if (turns > c->rope_high) {
            factor[i] = 1;
        } else if (turns < c->rope_low) {
            factor[i] = (float)c->rope_factor;
        } else {
            const double smooth = (turns - c->rope_low) / (c->rope_high - c->rope_low);
            factor[i] = (float)(1 / ((1 - smooth) / c->rope_factor + smooth));
        }
    }
}

/* An entry names a module by any whole part of its dotted path. */
bool hf_config_as_floats(const struct hf_config *c, const char *module, size_t n)
{
    size_t i;
    const json_t *j;
    json_array_foreach(c->as_floats, i, j) {
        const char *part = json_string_value(j);
        const size_t len = part ? strlen(part) : 0;
        if (!len)
            continue;
        for (size_t at = 0; at + len <= n; at++)
            if ((!at || module[at - 1] == '.') && !memcmp(module + at, part, len) &&
                (at + len == n || module[at + len] == '.'))
                return true;
    }
    return false;
}
