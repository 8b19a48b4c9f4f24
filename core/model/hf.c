/* hf.c - the directory put together: configuration, files, tensors, tokenizer.
 *
 * Every tensor of the files is looked at, not only those that a graph asks for:
 * one that is not understood means that the model is another one. The maps, the
 * names and the few numbers that are in no file (scales that multiply, Gemma's
 * gains, rope's divisors) belong to struct hf, which the container owns. */
#include "core/model/hf.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/arena.h"
#include "core/base/f16.h"
#include "core/model/hf_files.h"
#include "core/model/hf_json.h"
#include "core/model/hf_names.h"
#include "core/model/hf_tokenizer.h"
#include "core/model/wtype.h"

enum { GGML_F32 = 0, GGML_F16 = 1, GGML_BF16 = 30 };

struct hf {
    struct arena mem;
    struct hf_files files;
    struct gguf_put put;
};

struct building {
    struct hf *h;
    const char *dir;
    struct hf_config c;
    struct gguf_tensor *tensor;  /* [n], in h->mem                            */
    size_t n;
    struct err *e;
};

static void close_hf(void *owner)
{
    struct hf *h = owner;
    hf_files_close(&h->files);
    buf_free(&h->put.b);
    arena_free(&h->mem);
    free(h);
}

static void drop(const void *owner, const uint8_t *p, uint64_t n)
{
    const struct hf *h = owner;
    hf_files_drop(&h->files, p, n);
}

static int fail_nomem(const struct building *b)
{
    return err_set(b->e, ERR_NOMEM, "%s: no memory for its index", b->dir);
}

__attribute__((format(printf, 4, 5)))
static int fail(const struct building *b, const struct hf_item *i, int code, const char *fmt, ...)
{
    char what[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(b->e, code, "%s: tensor %.100s: %s", safetensors_name(i->file), i->t->name.p,
                   what);
}

/* ---------------------------------------------------------------- tensors */

static bool is_float(const struct st_tensor *t)
{
    return t->dtype == ST_F32 || t->dtype == ST_F16 || t->dtype == ST_BF16;
}

static uint32_t float_type(const struct st_tensor *t)
{
    return t->dtype == ST_F32 ? GGML_F32 : t->dtype == ST_F16 ? GGML_F16 : GGML_BF16;
}

/* Element i of a tensor of floats. */
static float float_at(const struct st_tensor *t, uint64_t i)
{
    uint32_t bits;
    if (t->dtype != ST_F32) {
        const uint16_t h = wtype_u16(t->data + 2 * i);
        return t->dtype == ST_F16 ? f16_to_f32(h) : bf16_to_f32(h);
    }
    memcpy(&bits, t->data + 4 * i, sizeof bits);
    return f32_from_bits(bits);
}

static int check_shape(const struct building *b, const struct hf_item *i, uint32_t n_dims,
                       const char *want)
{
    bool good = i->t->n_dims == n_dims;
    for (uint32_t d = 0; good && d < n_dims; d++)
        good = i->t->dim[d] > 0;
    return good ? 0 : fail(b, i, ERR_DATA, "%u dimensions, or one that is 0, expected %s",
                           i->t->n_dims, want);
}

/* A place in the list for tensor `name`, its shape that of t, innermost first. */
static struct gguf_tensor *add(struct building *b, const char *name, const struct st_tensor *t)
{
    struct gguf_tensor *g = &b->tensor[b->n];
    const size_t n = strlen(name);
    *g = (struct gguf_tensor){ .name = { arena_strndup(&b->h->mem, name, n), n },
                               .ne = { 1, 1, 1, 1 } };
    if (!g->name.p)
        return NULL;
    if (t) {
        g->n_dims = t->n_dims;
        for (uint32_t d = 0; d < t->n_dims; d++)
            g->ne[d] = t->dim[t->n_dims - 1 - d];
        g->offset = t->offset;
        g->size = g->gap = t->size;
        g->data = t->data;
    }
    b->n++;
    return g;
}

/* n numbers of our own as tensor `name`, for the caller to fill. */
static float *add_numbers(struct building *b, const char *name, size_t n)
{
    float *v = arena_alloc(&b->h->mem, n, sizeof *v);
    struct gguf_tensor *g = v ? add(b, name, NULL) : NULL;
    if (!g)
        return NULL;
    g->type = GGML_F32;
    g->n_dims = 1;
    g->ne[0] = n;
    g->size = g->gap = n * sizeof *v;
    g->data = (const uint8_t *)v;
    return v;
}

static int add_floats(struct building *b, const struct hf_item *i, const char *name)
{
    if (!is_float(i->t))
        return fail(b, i, ERR_UNSUPPORTED, "%s, expected BF16, F16 or F32",
                    safetensors_dtype(i->t->dtype));
    struct gguf_tensor *g = add(b, name, i->t);
    if (!g)
        return fail_nomem(b);
    g->type = float_type(i->t);
    return 0;
}

static int add_norm(struct building *b, const struct hf_item *i, const struct hf_name *name)
{
    int rc = check_shape(b, i, 1, "a vector");
    if (rc || name->kind == HF_NORM)
        return rc ? rc : add_floats(b, i, name->gguf);
    if (!is_float(i->t))
        return fail(b, i, ERR_UNSUPPORTED, "%s, expected BF16, F16 or F32",
                    safetensors_dtype(i->t->dtype));
    float *v = add_numbers(b, name->gguf, (size_t)i->t->dim[0]);
    if (!v)
        return fail_nomem(b);
    for (uint64_t k = 0; k < i->t->dim[0]; k++)
        v[k] = 1 + float_at(i->t, k);
    return 0;
}

/* The tensor whose name is the module's and tail. */
static const struct hf_item *sibling(const struct building *b, const struct hf_name *name,
                                     const char *tail)
{
    char full[320];
    int n = snprintf(full, sizeof full, "%.*s%s", (int)name->module.n, name->module.p, tail);
    return n < (int)sizeof full ? hf_files_find(&b->h->files, full) : NULL;
}

static int add_scale(struct building *b, const struct hf_item *weight, const struct hf_name *name)
{
    const struct hf_item *s = sibling(b, name, ".weight_scale");
    if (!s)
        return fail(b, weight, ERR_DATA, "packed, and without its weight_scale, expected "
                    "one number");
    if (!is_float(s->t) || s->t->size != (s->t->dtype == ST_F32 ? 4 : 2))
        return fail(b, s, ERR_UNSUPPORTED, "%s, %" PRIu64 " bytes, expected one number in BF16, "
                    "F16 or F32", safetensors_dtype(s->t->dtype), s->t->size);
    const float v = float_at(s->t, 0), scale = b->c.weights == HF_DIVIDE ? 1.0f / v : v;
    if (!(v > 0 && isfinite(v) && scale > 0 && isfinite(scale)))
        return fail(b, s, ERR_DATA, "%g, expected a positive number", (double)v);
    char ours[64];
    snprintf(ours, sizeof ours, "%.*s.scale", (int)(strlen(name->gguf) - strlen(".weight")),
             name->gguf);
    float *to = add_numbers(b, ours, 1);
    if (!to)
        return fail_nomem(b);
    *to = scale;
    return 0;
}

static int add_packed(struct building *b, const struct hf_item *i, const struct hf_name *name,
                      struct gguf_tensor **out)
{
    if (b->c.weights != HF_DIVIDE && b->c.weights != HF_MULTIPLY)
        return fail(b, i, ERR_DATA, "packed (U8), and config.json says %s, expected "
                    "quantization_config, which tells how weight_scale is meant",
                    b->c.weights == HF_LATENT ? "that weights are floats" : "nothing of it");
    struct gguf_tensor *g = add(b, name->gguf, i->t);
    if (!g)
        return fail_nomem(b);
    g->type = HF_U8;
    g->ne[1] *= 4;
    *out = g;
    return add_scale(b, i, name);
}

/* Floats stay what they are where config.json names their module, are ternary
 * by absmean where it says so, and mean another model elsewhere. */
static int add_latent(struct building *b, const struct hf_item *i, const struct hf_name *name,
                      struct gguf_tensor **out)
{
    const bool as_floats = hf_config_as_floats(&b->c, name->module.p, name->module.n);
    if (!as_floats && b->c.weights == HF_UNSAID)
        return fail(b, i, ERR_UNSUPPORTED, "%s, and config.json has neither quantization_config "
                    "nor weight_bits, expected a checkpoint that says that its weights are ternary",
                    safetensors_dtype(i->t->dtype));
    if (!as_floats && b->c.weights != HF_LATENT)
        return fail(b, i, ERR_DATA, "%s, expected U8: quantization_config says that weights are "
                    "packed", safetensors_dtype(i->t->dtype));
    int rc = add_floats(b, i, name->gguf);
    if (rc)
        return rc;
    struct gguf_tensor *g = &b->tensor[b->n - 1];
    if (!as_floats)
        g->type = i->t->dtype == ST_F32 ? HF_LATENT_F32
                : i->t->dtype == ST_F16 ? HF_LATENT_F16 : HF_LATENT_BF16;
    *out = g;
    return 0;
}

static int add_linear(struct building *b, const struct hf_item *i, const struct hf_name *name)
{
    struct gguf_tensor *g = NULL;
    int rc = check_shape(b, i, 2, "a matrix");
    if (!rc)
        rc = i->t->dtype == ST_U8 ? add_packed(b, i, name, &g) : add_latent(b, i, name, &g);
    if (rc)
        return rc;
    /* As converters permute them, so that both give the same bits. */
    if (name->turns && b->c.graph == HF_LLAMA) {
        g->head_rows = b->c.head_dim;
        if (g->ne[1] % g->head_rows)
            return fail(b, i, ERR_DATA, "%" PRIu64 " rows, expected a multiple of a head's %u",
                        g->ne[1], g->head_rows);
    }
    return 0;
}

static int check_scale(struct building *b, const struct hf_item *i, const struct hf_name *name)
{
    const struct hf_item *w = sibling(b, name, ".weight");
    if (w && w->t->dtype == ST_U8)
        return 0;                /* it came with its weight */
    return fail(b, i, ERR_DATA, "a scale of weights that are %s, expected packed ones (U8)",
                w ? safetensors_dtype(w->t->dtype) : "not there");
}

/* A tied head repeats the embedding, or is not used. */
static int add_head(struct building *b, const struct hf_item *i, const struct hf_name *name)
{
    const struct hf_item *embd = hf_files_find(&b->h->files, "model.embed_tokens.weight");
    if (b->c.tied == 1 || b->c.embedding ||
        (embd && embd->t->dtype == i->t->dtype && embd->t->size == i->t->size &&
         !memcmp(embd->t->data, i->t->data, (size_t)i->t->size)))
        return 0;
    if (b->c.graph == HF_BITNET)
        return fail(b, i, ERR_UNSUPPORTED, "a head of its own, expected the embedding again: %s "
                    "graphs take logits from that", b->c.arch);
    int rc = check_shape(b, i, 2, "a matrix");
    return rc ? rc : add_floats(b, i, name->gguf);
}

static int add_embedding(struct building *b, const struct hf_item *i, const struct hf_name *name)
{
    int rc = check_shape(b, i, 2, "a matrix");
    if (!rc && i->t->dim[0] != b->c.n_vocab)
        rc = fail(b, i, ERR_DATA, "%" PRIu64 " rows, expected %u, the vocab_size of config.json",
                  i->t->dim[0], b->c.n_vocab);
    return rc ? rc : add_floats(b, i, name->gguf);
}

static int add_item(struct building *b, const struct hf_item *i)
{
    const struct hf_name name = hf_name_of(&b->c, i->t->name);
    const size_t n = i->t->name.n;
    switch (name.kind) {
    case HF_SKIPPED:     return 0;
    case HF_EMBEDDING:   return add_embedding(b, i, &name);
    case HF_HEAD:        return add_head(b, i, &name);
    case HF_NORM:
    case HF_NORM_LESS_1: return add_norm(b, i, &name);
    case HF_LINEAR:      return add_linear(b, i, &name);
    case HF_SCALE:       return check_scale(b, i, &name);
    default:
        return fail(b, i, ERR_UNSUPPORTED, "%s, expected only what the graph of %s with %u layers "
                    "uses", n > 5 && !strcmp(i->t->name.p + n - 5, ".bias") ? "a bias" : "unknown",
                    b->c.arch, b->c.n_layer);
    }
}

/* Whether there is a head at all is known when all tensors are. */
static int check_tied(const struct building *b)
{
    if (b->c.tied || b->c.embedding || b->c.graph == HF_BITNET ||
        hf_files_find(&b->h->files, "lm_head.weight"))
        return 0;
    return err_set(b->e, ERR_DATA, "%s: tie_word_embeddings is false, and there is no tensor "
                   "lm_head.weight, expected one or the other", b->c.name);
}

/* Checkpoints of the embedding models say nothing of their weights, but no
 * other model has a norm before each projection. */
static void decide_weights(struct building *b)
{
    static const char *const norm[] = { "layers.0.self_attn.q_proj.norm.weight",
                                        "model.layers.0.self_attn.q_proj.norm.weight" };
    for (unsigned i = 0; i < 2; i++)
        if (b->c.weights == HF_UNSAID && (b->c.graph & (HF_QWEN3 | HF_GEMMA3)) &&
            hf_files_find(&b->h->files, norm[i]))
            b->c.weights = HF_LATENT;
}

static int add_tensors(struct building *b)
{
    const struct hf_files *f = &b->h->files;
    b->tensor = arena_alloc(&b->h->mem, 2 * f->n_item + 1, sizeof *b->tensor);
    if (!b->tensor)
        return fail_nomem(b);
    decide_weights(b);
    int rc = check_tied(b);
    for (size_t i = 0; i < f->n_item && !rc; i++)
        rc = add_item(b, &f->item[i]);
    if (rc || !b->c.rope_llama3)
        return rc;
    float *factor = add_numbers(b, "rope_freqs.weight", b->c.head_dim / 2);
    if (!factor)
        return fail_nomem(b);
    hf_config_rope(&b->c, factor);
    return 0;
}

/* -------------------------------------------------------------- together */

/* The folder's own name, whatever way leads to it. */
static char *title_of(struct building *b)
{
    char *real = realpath(b->dir, NULL), *slash = real ? strrchr(real, '/') : NULL;
    const char *base = slash && slash[1] ? slash + 1 : "model";
    char *title = arena_strndup(&b->h->mem, base, strlen(base));
    free(real);
    return title;
}

/* Sentence encoders say in a file of theirs which token's state is the result. */
static int put_pooling(struct building *b)
{
    static const struct { const char *key; uint32_t v; } mode[] = {
        { "pooling_mode_mean_tokens", 1 }, { "pooling_mode_cls_token", 2 },
        { "pooling_mode_lasttoken", 3 }
    };
    const char *path = hf_path(&b->h->mem, b->dir, "1_Pooling/config.json");
    char key[64];
    json_t *root;
    if (!path)
        return fail_nomem(b);
    if (!(b->c.graph & (HF_QWEN3 | HF_GEMMA3)) || !hf_exists(path))
        return 0;
    int rc = hf_json_read(&root, path, HF_CONFIG_MAX, b->e);
    if (rc)
        return rc;
    snprintf(key, sizeof key, "%s.pooling_type", b->c.arch);
    for (size_t i = 0; i < sizeof mode / sizeof mode[0]; i++)
        if (json_is_true(json_object_get(root, mode[i].key))) {
            gguf_put_u32(&b->h->put, key, mode[i].v);
            break;
        }
    json_decref(root);
    return 0;
}

static int put_keys(struct building *b)
{
    struct gguf_put *put = &b->h->put;
    const char *title = title_of(b);
    if (!title)
        return fail_nomem(b);
    hf_config_put(&b->c, title, put);
    int rc = put_pooling(b);
    if (!rc)
        rc = hf_tokenizer_read(put, b->dir, b->c.n_vocab, b->e);
    return rc || !put->b.failed ? rc : fail_nomem(b);
}

static int read_all(struct building *b, const json_t *config, const char *name)
{
    int rc = hf_config_read(&b->c, config, name, b->e);
    if (!rc)
        rc = hf_files_open(&b->h->files, b->dir, b->e);
    if (!rc)
        rc = add_tensors(b);
    return rc ? rc : put_keys(b);
}

static int open_dir(struct gguf **out, const char *dir, struct err *e)
{
    *out = NULL;
    struct building b = { .h = calloc(1, sizeof *b.h), .dir = dir, .e = e };
    const char *name = b.h ? hf_path(&b.h->mem, dir, "config.json") : NULL;
    json_t *config = NULL;
    int rc = name ? hf_json_read(&config, name, HF_CONFIG_MAX, e)
                  : err_set(e, ERR_NOMEM, "%s: no memory to open it", dir);
    if (!rc)
        rc = read_all(&b, config, name);
    json_decref(config);
    if (rc) {
        if (b.h)
            close_hf(b.h);
        return rc;
    }
    const struct gguf_parts parts = {
        .name = dir, .file_size = hf_files_size(&b.h->files), .kv = b.h->put.b.p,
        .kv_size = b.h->put.b.n, .n_kv = b.h->put.n, .tensor = b.tensor, .n_tensor = b.n,
        .owner = b.h, .close = close_hf, .drop = drop
    };
    return gguf_open_parts(out, &parts, e);
}

int hf_open_any(struct gguf **out, const char *path, struct err *e)
{
    static const char end[] = ".safetensors";
    struct stat st;
    const size_t n = strlen(path), tail = sizeof end - 1;
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return open_dir(out, path, e);
    *out = NULL;
    if (n > tail && !strcmp(path + n - tail, end))
        return err_set(e, ERR_ARG, "%s: weights alone, expected the directory that they are in, "
                       "with config.json and tokenizer.json", path);
    return gguf_open(out, path, e);
}
