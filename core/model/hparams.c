/* hparams.c - keys to numbers. A key that would change the graph in a way this
 * program does not compute is refused, never ignored. */
#include "core/model/hparams.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bitnet_plugin.h"

#define MAX_LAYER 512
#define MAX_EMBD 65536
#define MAX_FF (1u << 18)
#define MAX_HEAD 1024
#define MAX_HEAD_DIM 1024
#define MAX_CTX (1u << 24)
#define MAX_VOCAB (1u << 22)

struct reader {
    const struct gguf *g;
    const struct arch *arch;
    struct err *e;
    char key[96];
};

static const char *key_of(struct reader *r, const char *suffix)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch->name, suffix);
    return r->key;
}

/* 1: set; 0: absent, *v untouched. */
static int get_u32(struct reader *r, const char *suffix, uint32_t lo, uint32_t hi, uint32_t *v)
{
    uint64_t u = 0;
    int rc = gguf_get_u64(r->g, key_of(r, suffix), &u, r->e);
    if (rc <= 0)
        return rc;
    if (u < lo || u > hi)
        return err_set(r->e, ERR_DATA, "%s: key %s is %" PRIu64 ", expected %u to %u",
                       gguf_name(r->g), r->key, u, lo, hi);
    *v = (uint32_t)u;
    return 1;
}

static int need_u32(struct reader *r, const char *suffix, uint32_t lo, uint32_t hi, uint32_t *v)
{
    int rc = get_u32(r, suffix, lo, hi, v);
    if (!rc)
        return err_set(r->e, ERR_DATA, "%s: key %s is missing, expected a number from %u to %u",
                       gguf_name(r->g), r->key, lo, hi);
    return rc < 0 ? rc : 0;
}

static int get_f64(struct reader *r, const char *suffix, double lo, double hi, double *v)
{
    double d = 0;
    int rc = gguf_get_f64(r->g, key_of(r, suffix), &d, r->e);
    if (rc <= 0)
        return rc;
    if (!(d >= lo && d <= hi))
        return err_set(r->e, ERR_DATA, "%s: key %s is %g, expected %g to %g", gguf_name(r->g),
                       r->key, d, lo, hi);
    *v = d;
    return 1;
}

static int read_sizes(struct reader *r, struct hparams *hp)
{
    int rc = need_u32(r, "block_count", 1, MAX_LAYER, &hp->n_layer);
    if (!rc)
        rc = need_u32(r, "embedding_length", 1, MAX_EMBD, &hp->n_embd);
    if (!rc)
        rc = need_u32(r, "feed_forward_length", 1, MAX_FF, &hp->n_ff);
    if (!rc)
        rc = need_u32(r, "context_length", 1, MAX_CTX, &hp->n_ctx);
    return rc;
}

/* key_length says how long heads are where they do not split the embedding
 * evenly; value_length can only say the same: attention's output is read with
 * the shape of its queries. */
static int read_head_dim(struct reader *r, struct hparams *hp)
{
    hp->head_dim = 0;
    int rc = get_u32(r, "attention.key_length", 2, MAX_HEAD_DIM, &hp->head_dim);
    if (rc < 0)
        return rc;
    if (!rc && hp->n_embd % hp->n_head == 0)
        hp->head_dim = hp->n_embd / hp->n_head;
    if (!hp->head_dim || hp->head_dim % 2 || hp->head_dim > MAX_HEAD_DIM)
        return err_set(r->e, ERR_DATA, "%s: %u elements over %u heads of %u, expected an even "
                       "number per head, at most %u", gguf_name(r->g), hp->n_embd, hp->n_head,
                       hp->head_dim, MAX_HEAD_DIM);
    uint32_t value = hp->head_dim;
    rc = get_u32(r, "attention.value_length", 1, UINT32_MAX, &value);
    if (rc >= 0 && value != hp->head_dim)
        return err_set(r->e, ERR_UNSUPPORTED, "%s: key %s is %u, expected %u, the length of keys",
                       gguf_name(r->g), r->key, value, hp->head_dim);
    return rc < 0 ? rc : 0;
}

static int read_heads(struct reader *r, struct hparams *hp)
{
    int rc = need_u32(r, "attention.head_count", 1, MAX_HEAD, &hp->n_head);
    if (rc)
        return rc;
    hp->n_head_kv = hp->n_head;
    rc = get_u32(r, "attention.head_count_kv", 1, MAX_HEAD, &hp->n_head_kv);
    if (rc < 0)
        return rc;
    if (hp->n_head % hp->n_head_kv)
        return err_set(r->e, ERR_DATA, "%s: %u heads over %u key-value heads, expected a multiple",
                       gguf_name(r->g), hp->n_head, hp->n_head_kv);
    return read_head_dim(r, hp);
}

static int read_rope_scaling(struct reader *r)
{
    struct str type = { "none", 4 };
    double factor = 1;
    int rc = gguf_get_str(r->g, key_of(r, "rope.scaling.type"), &type, r->e);
    if (rc < 0)
        return rc;
    if (!str_is(type, "none") && !str_is(type, "linear"))
        return err_set(r->e, ERR_UNSUPPORTED, "%s: key %s is \"%.*s\", expected none, or linear "
                       "with factor 1", gguf_name(r->g), r->key, type.n < 40 ? (int)type.n : 40,
                       type.p);
    static const char *const suffix[] = { "rope.scaling.factor", "rope.scale_linear" };
    for (int i = 0; i < 2; i++) {
        rc = gguf_get_f64(r->g, key_of(r, suffix[i]), &factor, r->e);
        if (rc < 0)
            return rc;
        /* 0 is how some converters write that there is none. */
        if (rc && factor != 1 && factor != 0)
            return err_set(r->e, ERR_UNSUPPORTED, "%s: key %s is %g, expected 1", gguf_name(r->g),
                           r->key, factor);
    }
    return 0;
}

static int read_rope(struct reader *r, struct hparams *hp)
{
    hp->rope_style = r->arch->rope_style;
    hp->n_rot = hp->head_dim;
    hp->rope_base = 10000;
    int rc = get_u32(r, "rope.dimension_count", 2, hp->head_dim, &hp->n_rot);
    if (rc < 0)
        return rc;
    if (hp->n_rot % 2)
        return err_set(r->e, ERR_DATA, "%s: key %s is %u, expected an even number",
                       gguf_name(r->g), r->key, hp->n_rot);
    rc = get_f64(r, "rope.freq_base", 1, 1e12, &hp->rope_base);
    return rc < 0 ? rc : read_rope_scaling(r);
}

/* Keys of other graphs under the same architecture name, and the value with
 * which each does nothing. */
static int refuse_other_graphs(struct reader *r, const struct hparams *hp)
{
    const struct { const char *suffix; double neutral; } other[] = {
        { "expert_count", 0 }, { "attention.sliding_window", 0 }, { "attention.clamp_kqv", 0 },
        { "attention.max_alibi_bias", 0 }, { "attn_logit_softcapping", 0 },
        { "final_logit_softcapping", 0 }, { "logit_scale", 1 }, { "embedding_scale", 1 },
        { "residual_scale", 1 }, { "rope.freq_base_swa", hp->rope_base }
    };
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        double v = other[i].neutral;
        int rc = gguf_get_f64(r->g, key_of(r, other[i].suffix), &v, r->e);
        if (rc < 0)
            return rc;
        if (v != other[i].neutral)
            return err_set(r->e, ERR_UNSUPPORTED, "%s: key %s is %g, expected %g or no such key: "
                           "this program does not compute that graph", gguf_name(r->g), r->key, v,
                           other[i].neutral);
    }
    bool causal = true;
    int rc = gguf_get_bool(r->g, key_of(r, "attention.causal"), &causal, r->e);
    if (rc >= 0 && !causal)
        return err_set(r->e, ERR_UNSUPPORTED, "%s: key %s is false, expected true: every token "
                       "sees those before it only", gguf_name(r->g), r->key);
    return rc < 0 ? rc : 0;
}

/* What a graph norms, beside its row of the table: the files of embedding models
 * norm the input of every projection, others of the same name none. */
static void read_norms(struct reader *r, struct hparams *hp)
{
    const uint32_t graph = r->arch->graph;
    hp->head_norm = graph & ARCH_HEAD_NORM;
    hp->post_norm = graph & ARCH_POST_NORM;
    hp->proj_norm = (graph & ARCH_PROJ_NORM) &&
                    gguf_tensor(r->g, "blk.0.attn_q_norm_in.weight") != NULL;
    hp->sub_norm = (graph & ARCH_SUB_NORM) || hp->proj_norm;
}

static int read_pooling(struct reader *r, struct hparams *hp)
{
    uint32_t v = hp->proj_norm ? POOLING_LAST : POOLING_NONE;
    const int rc = get_u32(r, "pooling_type", 0, UINT32_MAX, &v);
    if (rc >= 0 && v != POOLING_NONE && v != POOLING_MEAN && v != POOLING_LAST)
        return err_set(r->e, ERR_UNSUPPORTED, "%s: key %s is %u, expected %d (a text model), %d "
                       "(the mean of all tokens) or %d (the last one)", gguf_name(r->g), r->key,
                       v, POOLING_NONE, POOLING_MEAN, POOLING_LAST);
    hp->pooling = (enum model_pooling)v;
    return rc < 0 ? rc : 0;
}

/* sqrt rounds correctly everywhere, so these are the same on every machine. */
static int read_scales(struct reader *r, struct hparams *hp)
{
    double eps = 0, scale = 1.0 / sqrt((double)hp->head_dim);
    int rc = get_f64(r, "attention.layer_norm_rms_epsilon", 1e-20, 1, &eps);
    if (!rc)
        return err_set(r->e, ERR_DATA, "%s: key %s is missing, expected a small positive number",
                       gguf_name(r->g), r->key);
    if (rc > 0)
        rc = get_f64(r, "attention.scale", 1e-6, 1e6, &scale);
    const bool scaled = r->arch->graph & ARCH_EMBD_SCALE;
    hp->eps = (float)eps;
    hp->embd_scale = scaled ? (float)sqrt((double)hp->n_embd) : 1.0f;
    hp->eps_stream = scaled ? (float)(eps / hp->n_embd) : hp->eps;
    hp->attn_scale = (float)scale;
    return rc < 0 ? rc : 0;
}

static int read_vocab_size(struct reader *r, struct hparams *hp)
{
    const struct gguf_tensor *t = gguf_tensor(r->g, "token_embd.weight");
    if (!t)
        return err_set(r->e, ERR_DATA, "%s: tensor token_embd.weight is missing, expected %u "
                       "columns and a row for each token", gguf_name(r->g), hp->n_embd);
    if (t->ne[1] > MAX_VOCAB)
        return err_set(r->e, ERR_DATA, "%s: tensor token_embd.weight has %" PRIu64 " rows, "
                       "expected at most %u", gguf_name(r->g), t->ne[1], MAX_VOCAB);
    hp->n_vocab = (uint32_t)t->ne[1];
    uint64_t n = hp->n_vocab;
    int rc = gguf_get_u64(r->g, key_of(r, "vocab_size"), &n, r->e);
    if (rc < 0)
        return rc;
    if (n != hp->n_vocab)
        return err_set(r->e, ERR_DATA, "%s: key %s is %" PRIu64 ", expected %u, the rows of "
                       "token_embd.weight", gguf_name(r->g), r->key, n, hp->n_vocab);
    return 0;
}

int hparams_read(struct hparams *hp, const struct gguf *g, const struct arch *a, struct err *e)
{
    struct reader r = { .g = g, .arch = a, .e = e };
    *hp = (struct hparams){ 0 };
    int rc = read_sizes(&r, hp);
    if (!rc)
        rc = read_heads(&r, hp);
    if (!rc)
        rc = read_rope(&r, hp);
    if (!rc)
        rc = refuse_other_graphs(&r, hp);
    if (!rc)
        rc = read_vocab_size(&r, hp);
    if (rc)
        return rc;
    read_norms(&r, hp);
    rc = read_pooling(&r, hp);
    return rc ? rc : read_scales(&r, hp);
}
