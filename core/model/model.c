/* model.c - from an opened file to a checked model.
 *
 * The list of tensors is the graph's, not the file's: each one is looked up,
 * its shape compared and its content checked by wsrc_open. A tensor of the
 * file that the graph does not use is refused too, for the model that needs
 * it is another model. */
#include "core/model/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/aside.h"
#include "core/base/utf8.h"
#include "core/model/arch.h"
#include "core/model/hf.h"
#include "core/model/hparams.h"
#include "core/model/tl_tiles.h"

enum dim { ONE, EMBD, HEADS, HEADS_KV, HEAD, FF };

enum norms { ALWAYS, SUB, PROJ, HEADWISE, POST };      /* graphs that have it */

static const struct {
    const char *name;
    enum dim rows, cols;         /* rows ONE: a vector, in a float type       */
    enum norms only;
    const char *proj_name;       /* with a norm for every projection; or NULL */
} slot[T_LAYER_N] = {
    [T_ATTN_NORM]        = { "attn_norm", ONE, EMBD, ALWAYS, NULL },
    [T_ATTN_Q_NORM_IN]   = { "attn_q_norm_in", ONE, EMBD, PROJ, NULL },
    [T_ATTN_Q]           = { "attn_q", HEADS, EMBD, ALWAYS, NULL },
    [T_ATTN_K_NORM_IN]   = { "attn_k_norm_in", ONE, EMBD, PROJ, NULL },
    [T_ATTN_K]           = { "attn_k", HEADS_KV, EMBD, ALWAYS, NULL },
    [T_ATTN_V_NORM_IN]   = { "attn_v_norm_in", ONE, EMBD, PROJ, NULL },
    [T_ATTN_V]           = { "attn_v", HEADS_KV, EMBD, ALWAYS, NULL },
    [T_ATTN_Q_NORM]      = { "attn_q_norm", ONE, HEAD, HEADWISE, NULL },
    [T_ATTN_K_NORM]      = { "attn_k_norm", ONE, HEAD, HEADWISE, NULL },
    [T_ATTN_SUB_NORM]    = { "attn_sub_norm", ONE, HEADS, SUB, "attn_output_norm_in" },
    [T_ATTN_OUT]         = { "attn_output", EMBD, HEADS, ALWAYS, NULL },
    [T_ATTN_POST_NORM]   = { "post_attention_norm", ONE, EMBD, POST, NULL },
    [T_FFN_NORM]         = { "ffn_norm", ONE, EMBD, ALWAYS, NULL },
    [T_FFN_GATE_NORM_IN] = { "ffn_gate_norm_in", ONE, EMBD, PROJ, NULL },
    [T_FFN_GATE]         = { "ffn_gate", FF, EMBD, ALWAYS, NULL },
    [T_FFN_UP_NORM_IN]   = { "ffn_up_norm_in", ONE, EMBD, PROJ, NULL },
    [T_FFN_UP]           = { "ffn_up", FF, EMBD, ALWAYS, NULL },
    [T_FFN_SUB_NORM]     = { "ffn_sub_norm", ONE, FF, SUB, "ffn_down_norm_in" },
    [T_FFN_DOWN]         = { "ffn_down", EMBD, FF, ALWAYS, NULL },
    [T_FFN_POST_NORM]    = { "post_ffw_norm", ONE, EMBD, POST, NULL },
};

static bool has_norms(const struct hparams *hp, enum norms n)
{
    switch (n) {
    case SUB:      return hp->sub_norm;
    case PROJ:     return hp->proj_norm;
    case HEADWISE: return hp->head_norm;
    case POST:     return hp->post_norm;
    default:       return true;
    }
}

static uint32_t dim_of(const struct hparams *hp, enum dim d)
{
    switch (d) {
    case EMBD:     return hp->n_embd;
    case HEADS:    return hp->n_head * hp->head_dim;
    case HEADS_KV: return hp->n_head_kv * hp->head_dim;
    case HEAD:     return hp->head_dim;
    case FF:       return hp->n_ff;
    default:       return 1;
    }
}

__attribute__((format(printf, 2, 3)))
static void warn(struct model *m, const char *fmt, ...)
{
    if (m->n_warning == sizeof m->warning / sizeof m->warning[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->warning[m->n_warning++], sizeof m->warning[0], fmt, ap);
    va_end(ap);
}

/* What open needs besides the model. */
struct opening {
    struct model *m;
    const struct arch *arch;
    struct model_opts opts;
    bool *used;                  /* [tensors of the file]                     */
    bool guessed;                /* how a tensor lies (wsrc.h)                */
    struct err *e;
};

static void mark_used(struct opening *o, const struct gguf_tensor *t)
{
    o->used[t - gguf_tensor_at(o->m->file, 0)] = true;
}

static int open_tensor(struct opening *o, struct wsrc *w, const char *name, uint32_t rows,
                       uint32_t cols)
{
    struct gguf *g = o->m->file;
    const struct gguf_tensor *t = gguf_tensor(g, name);
    if (!t)
        return err_set(o->e, ERR_DATA, "%s: tensor %s is missing, expected %u x %u", gguf_name(g),
                       name, rows, cols);
    if (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != 1 || t->ne[3] != 1)
        return err_set(o->e, ERR_DATA, "%s: tensor %s is %" PRIu64 " x %" PRIu64 "%s, expected "
                       "%u x %u", gguf_name(g), name, t->ne[1], t->ne[0],
                       t->ne[2] * t->ne[3] > 1 ? " and has more dimensions" : "", rows, cols);
    mark_used(o, t);
    const struct wsrc_opts opts = { .i2s_layout = o->opts.i2s_layout,
                                    .tl_preset = o->opts.tl_preset,
                                    .unchecked = o->m->unchecked && rows > 1 };
    const int rc = wsrc_open(w, g, t, &opts, o->e);
    o->guessed |= !rc && w->guessed;
    gguf_drop(g, t, 0, t->size);         /* checked; it comes back when it is prepared */
    return rc;
}

/* A norm's gain or another vector that is used as f32. */
static int open_vector(struct opening *o, struct wsrc *w, const char *name, uint32_t n)
{
    int rc = open_tensor(o, w, name, 1, n);
    if (!rc && w->scale_kind != BNP_SCALE_NONE)
        rc = err_set(o->e, ERR_UNSUPPORTED, "%s: tensor %s is a %s vector, expected F32, F16 or "
                     "BF16", gguf_name(o->m->file), name, wtype_name_of(w->t));
    return rc;
}

static int open_slot(struct opening *o, uint32_t layer, unsigned s)
{
    const struct hparams *hp = &o->m->hp;
    struct wsrc *w = &o->m->layer[layer].t[s];
    char name[64];
    if (!has_norms(hp, slot[s].only))
        return 0;
    snprintf(name, sizeof name, "blk.%u.%s.weight", layer,
             hp->proj_norm && slot[s].proj_name ? slot[s].proj_name : slot[s].name);
    uint32_t rows = dim_of(hp, slot[s].rows), cols = dim_of(hp, slot[s].cols);
    if (slot[s].rows == ONE)
        return open_vector(o, w, name, cols);
    int rc = open_tensor(o, w, name, rows, cols);
    if (rc)
        return rc;
    snprintf(name, sizeof name, "blk.%u.%s.scale", layer, slot[s].name);
    const struct gguf_tensor *scale = gguf_tensor(o->m->file, name);
    if (scale)
        mark_used(o, scale);             /* wsrc_open folded it in */
    return 0;
}

static int open_layers(struct opening *o)
{
    struct model *m = o->m;
    m->layer = calloc(m->hp.n_layer, sizeof *m->layer);
    if (!m->layer)
        return err_set(o->e, ERR_NOMEM, "%s: no memory for its layers", gguf_name(m->file));
    for (uint32_t i = 0; i < m->hp.n_layer; i++)
        for (unsigned s = 0; s < T_LAYER_N; s++) {
            int rc = open_slot(o, i, s);
            if (rc)
                return rc;
        }
    return 0;
}

static int open_head(struct opening *o)
{
    struct model *m = o->m;
    const struct gguf_tensor *t = gguf_tensor(m->file, "output.weight");
    m->hp.tied_head = !t || !(o->arch->graph & ARCH_OWN_HEAD);
    if (!m->hp.tied_head)
        return open_tensor(o, &m->head, "output.weight", m->hp.n_vocab, m->hp.n_embd);
    m->head = m->embd;
    if (t) {
        mark_used(o, t);
        warn(m, "output.weight is ignored: %s models take their logits from token_embd.weight",
             m->arch);
    }
    return 0;
}

/* Llama 3's long-context files: a divisor for the angle of each pair. */
static int open_rope_factor(struct opening *o)
{
    struct model *m = o->m;
    struct wsrc w;
    if (!gguf_tensor(m->file, "rope_freqs.weight"))
        return 0;
    int rc = open_vector(o, &w, "rope_freqs.weight", m->hp.n_rot / 2);
    if (rc)
        return rc;
    m->rope_factor = calloc(w.cols, sizeof *m->rope_factor);
    if (!m->rope_factor)
        return err_set(o->e, ERR_NOMEM, "%s: no memory for its rope factors", gguf_name(m->file));
    wsrc_read_f32(&w, 0, m->rope_factor);
    for (uint32_t i = 0; i < w.cols; i++)
        if (!(m->rope_factor[i] > 0))
            return err_set(o->e, ERR_DATA, "%s: tensor rope_freqs.weight: element %u is %g, "
                           "expected a positive number", gguf_name(m->file), i,
                           (double)m->rope_factor[i]);
    return 0;
}

static int refuse_unused(const struct opening *o)
{
    struct gguf *g = o->m->file;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        struct str s = gguf_tensor_at(g, i)->name;
        if (o->used[i])
            continue;
        bool bias = s.n > 5 && !memcmp(s.p + s.n - 5, ".bias", 5);
        return err_set(o->e, ERR_UNSUPPORTED, "%s: tensor %.*s: %s, expected only what the graph "
                       "of %s with %u layers uses", gguf_name(g), (int)s.n, s.p,
                       bias ? "a bias" : "unknown", o->m->arch, o->m->hp.n_layer);
    }
    return 0;
}

static int open_tensors(struct opening *o)
{
    struct model *m = o->m;
    int rc = open_tensor(o, &m->embd, "token_embd.weight", m->hp.n_vocab, m->hp.n_embd);
    if (!rc)
        rc = open_vector(o, &m->output_norm, "output_norm.weight", m->hp.n_embd);
    if (!rc)
        rc = open_head(o);
    if (!rc)
        rc = open_rope_factor(o);
    if (!rc)
        rc = open_layers(o);
    if (o->guessed)
        warn(m, "two sets of tiles are in use for TL1 tensors of these shapes: taken to be those of "
             "setup_env.py; if the text makes no sense, try model.tl_preset = ini");
    return rc ? rc : refuse_unused(o);
}

/* The vocabulary and the tensors know nothing of each other, and checking either
 * takes as long: both at once. */
struct vocab_job {
    const struct opening *o;
    struct vocab *vocab;
    char warning[256];
    struct err e;
    int rc;
};

static void read_vocab(void *arg)
{
    struct vocab_job *j = arg;
    j->rc = vocab_open(&j->vocab, j->o->m->file, j->o->opts.pre, j->warning, &j->e);
}

static int take_vocab(struct opening *o, const struct vocab_job *j)
{
    struct model *m = o->m;
    if (j->rc)
        return err_set(o->e, j->rc, "%s", j->e.text);
    if (j->warning[0])
        warn(m, "%s", j->warning);
    if (vocab_n(m->vocab) != m->hp.n_vocab)
        return err_set(o->e, ERR_DATA, "%s: the tokenizer has %u tokens, expected %u, the rows of "
                       "token_embd.weight", gguf_name(m->file), vocab_n(m->vocab), m->hp.n_vocab);
    return 0;
}

static int open_glu(struct opening *o)
{
    struct model *m = o->m;
    bool sure;
    int rc = arch_glu(o->arch, m->file, o->opts.activation, &m->hp, &sure, o->e);
    if (!rc && !sure)
        warn(m, "the file does not name its activation: taken to be squared ReLU, as other %s "
             "models have; if the text makes no sense, try model.activation = silu", m->arch);
    return rc;
}

/* general.name, else the file's base name. It goes into JSON and onto terminals,
 * so what is not printable UTF-8 becomes a question mark. */
static void set_name(struct model *m)
{
    const char *path = gguf_name(m->file), *base = strrchr(path, '/');
    struct str s = { base ? base + 1 : path, 0 }, given;
    s.n = strlen(s.p);
    if (gguf_get_str(m->file, "general.name", &given, NULL) == 1 && given.n)
        s = given;
    size_t out = 0;
    for (size_t i = 0, len; i < s.n; i += len) {
        uint32_t cp = 0;
        len = utf8_decode(s.p + i, s.n - i, &cp);
        bool good = len && cp >= 0x20 && (cp < 0x7f || cp >= 0xa0);
        len = len ? len : 1;
        size_t put = good ? len : 1;
        if (out + put >= sizeof m->name)
            break;
        memcpy(m->name + out, good ? s.p + i : "?", put);
        out += put;
    }
    m->name[out] = 0;
}

static int understand(struct opening *o)
{
    struct model *m = o->m;
    int rc = tl_tiles_check(o->opts.tl_preset, o->e);
    if (!rc)
        rc = arch_find(&o->arch, m->file, o->e);
    if (rc)
        return rc;
    m->arch = o->arch->name;
    set_name(m);
    rc = hparams_read(&m->hp, m->file, o->arch, o->e);
    if (!rc)
        rc = open_glu(o);
    if (rc)
        return rc;
    o->used = calloc(gguf_n_tensors(m->file) + 1, sizeof *o->used);
    if (!o->used)
        return err_set(o->e, ERR_NOMEM, "%s: no memory for its tensors", gguf_name(m->file));
    struct vocab_job job = { .o = o };
    struct aside aside;
    aside_start(&aside, read_vocab, &job);
    rc = open_tensors(o);
    aside_wait(&aside);
    m->vocab = job.vocab;
    free(o->used);
    return rc ? rc : take_vocab(o, &job);
}

/* Takes g over, whatever comes of it. */
static int open_common(struct model **out, struct gguf *g, const struct model_opts *opts,
                       struct err *e)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m) {
        int rc = err_set(e, ERR_NOMEM, "%s: no memory to open it", gguf_name(g));
        gguf_close(g);
        return rc;
    }
    m->file = g;
    struct opening o = { .m = m, .e = e };
    if (opts)
        o.opts = *opts;
    m->unchecked = o.opts.kept;
    m->sums = o.opts.kept ? sums_open(g) : NULL;
    int rc = understand(&o);
    if (rc) {
        model_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

int model_open(struct model **out, const char *path, const struct model_opts *opts, struct err *e)
{
    struct gguf *g;
    *out = NULL;
    int rc = hf_open_any(&g, path, e);
    return rc ? rc : open_common(out, g, opts, e);
}

int model_open_mem(struct model **out, const void *p, size_t n, const char *name,
                   const struct model_opts *opts, struct err *e)
{
    struct gguf *g;
    *out = NULL;
    int rc = gguf_open_mem(&g, p, n, name, e);
    return rc ? rc : open_common(out, g, opts, e);
}

void model_close(struct model *m)
{
    if (!m)
        return;
    vocab_close(m->vocab);
    free(m->layer);
    free(m->rope_factor);
    sums_close(m->sums);
    gguf_close(m->file);
    free(m);
}
