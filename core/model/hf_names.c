/* hf_names.c - the names, as transformers' classes give them. Checkpoints of
 * models without a head leave the leading "model." out. */
#include "core/model/hf_names.h"

#include <stdio.h>
#include <string.h>

enum { ALL = HF_BITNET | HF_LLAMA | HF_QWEN3 | HF_GEMMA3 };

static const struct {
    const char *theirs, *ours;
    unsigned graphs;             /* enum hf_graph, those that have it         */
} norm[] = {
    { "input_layernorm", "attn_norm", ALL },
    { "post_attention_layernorm", "ffn_norm", HF_BITNET | HF_LLAMA | HF_QWEN3 },
    { "post_attention_layernorm", "post_attention_norm", HF_GEMMA3 },
    { "pre_feedforward_layernorm", "ffn_norm", HF_GEMMA3 },
    { "post_feedforward_layernorm", "post_ffw_norm", HF_GEMMA3 },
    { "self_attn.attn_sub_norm", "attn_sub_norm", HF_BITNET },
    { "self_attn.inner_attn_ln", "attn_sub_norm", HF_BITNET },
    { "mlp.ffn_sub_norm", "ffn_sub_norm", HF_BITNET },
    { "mlp.ffn_layernorm", "ffn_sub_norm", HF_BITNET },
    { "self_attn.q_norm", "attn_q_norm", HF_QWEN3 | HF_GEMMA3 },
    { "self_attn.k_norm", "attn_k_norm", HF_QWEN3 | HF_GEMMA3 },
};

static const struct {
    const char *theirs, *ours;
    bool turns;
} linear[] = {
    { "self_attn.q_proj", "attn_q", true },       { "self_attn.k_proj", "attn_k", true },
    { "self_attn.v_proj", "attn_v", false },      { "self_attn.o_proj", "attn_output", false },
    { "mlp.gate_proj", "ffn_gate", false },       { "mlp.up_proj", "ffn_up", false },
    { "mlp.down_proj", "ffn_down", false },
};

/* Takes text off the front of s. */
static bool starts(struct str *s, const char *text)
{
    size_t n = strlen(text);
    if (s->n < n || memcmp(s->p, text, n))
        return false;
    s->p += n;
    s->n -= n;
    return true;
}

static void set(struct hf_name *out, enum hf_kind kind, const char *gguf)
{
    out->kind = kind;
    snprintf(out->gguf, sizeof out->gguf, "%s", gguf);
}

static void set_layer(struct hf_name *out, enum hf_kind kind, uint32_t layer, const char *ours,
                      const char *tail)
{
    out->kind = kind;
    snprintf(out->gguf, sizeof out->gguf, "blk.%u.%s%s", layer, ours, tail);
}

/* What the graph's own norms are; those before single projections are plain. */
static enum hf_kind norm_kind(const struct hf_config *c)
{
    return c->graph == HF_GEMMA3 ? HF_NORM_LESS_1 : HF_NORM;
}

static void find_linear(struct hf_name *out, const struct hf_config *c, uint32_t layer,
                        struct str rest)
{
    const char *end = rest.p + rest.n;
    for (size_t i = 0; i < sizeof linear / sizeof linear[0]; i++) {
        struct str tail = rest;
        if (!starts(&tail, linear[i].theirs))
            continue;
        if (str_is(tail, ".weight"))
            set_layer(out, HF_LINEAR, layer, linear[i].ours, ".weight");
        else if (str_is(tail, ".weight_scale"))
            set_layer(out, HF_SCALE, layer, linear[i].ours, ".scale");
        else if ((c->graph & (HF_QWEN3 | HF_GEMMA3)) &&
                 (str_is(tail, ".norm.weight") || str_is(tail, ".rms_norm.weight")))
            set_layer(out, HF_NORM, layer, linear[i].ours, "_norm_in.weight");
        else
            continue;
        out->turns = linear[i].turns;
        out->module.n -= (size_t)(end - tail.p);
        return;
    }
}

static void find_in_layer(struct hf_name *out, const struct hf_config *c, uint32_t layer,
                          struct str rest)
{
    for (size_t i = 0; i < sizeof norm / sizeof norm[0]; i++) {
        struct str tail = rest;
        if ((norm[i].graphs & c->graph) && starts(&tail, norm[i].theirs) &&
            str_is(tail, ".weight")) {
            set_layer(out, norm_kind(c), layer, norm[i].ours, ".weight");
            return;
        }
    }
    if (str_is(rest, "self_attn.rotary_emb.inv_freq"))
        out->kind = HF_SKIPPED;
    else
        find_linear(out, c, layer, rest);
}

/* A number without leading zeros, below limit, and the dot behind it. */
static bool take_number(struct str *s, uint32_t limit, uint32_t *v)
{
    size_t n = 0;
    uint64_t u = 0;
    for (; n < s->n && n < 9 && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        u = u * 10 + (uint64_t)(s->p[n] - '0');
    if (!n || n == s->n || s->p[n] != '.' || (n > 1 && s->p[0] == '0') || u >= limit)
        return false;
    *v = (uint32_t)u;
    s->p += n + 1;
    s->n -= n + 1;
    return true;
}

struct hf_name hf_name_of(const struct hf_config *c, struct str name)
{
    struct hf_name out = { .kind = HF_UNKNOWN, .module = name };
    struct str rest = name;
    uint32_t layer;
    (void)starts(&rest, "model.");
    if (str_is(rest, "embed_tokens.weight"))
        set(&out, HF_EMBEDDING, "token_embd.weight");
    else if (str_is(rest, "norm.weight"))
        set(&out, norm_kind(c), "output_norm.weight");
    else if (str_is(name, "lm_head.weight"))
        set(&out, HF_HEAD, "output.weight");
    else if (str_is(rest, "rotary_emb.inv_freq"))
        out.kind = HF_SKIPPED;
    else if (starts(&rest, "layers.") && take_number(&rest, c->n_layer, &layer))
        find_in_layer(&out, c, layer, rest);
    return out;
}
