/* bitnet_inspect.c - `bitnet inspect`: what a file says, and whether it runs.
 *
 * The container is listed on its own, so that a file whose tensors this
 * program cannot use is shown too; then the model is opened, for its numbers
 * or for the reason why not. Nothing is computed and no plugin is loaded. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/arch.h"
#include "core/model/hf.h"
#include "tools/bitnet.h"

enum { SHOW = 6 };                /* elements of an array                      */

static const struct opt options[] = {
    { "i2s-layout", 0, OPT_TEXT, &common.i2s_layout, "NAME",
      "type 36: a, b, c, rs-inline32 or rs-qk256 (default a)" },
    { "tl-preset", 0, OPT_TEXT, &common.tl_preset, "NAME",
      "tiles of TL1 and TL2: setup_env, ini, or MxK:BM/BY/bm,..." },
    { "pre", 0, OPT_TEXT, &common.pre, "NAME", "pre-tokenizer (default: what the file says)" },
    { "activation", 0, OPT_TEXT, &common.activation, "NAME",
      "relu2, silu or gelu_tanh (default: what the file says)" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "inspect", "[OPTION]... [FILE]",
    "Lists a GGUF file: metadata, tensors, hyper-parameters, warnings, and whether the\n"
    "model can run.",
    { common_file, options, NULL }
};

static const char *type_name(uint32_t t)
{
    static const char *const name[] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool",
                                        "str", "array", "u64", "i64", "f64" };
    return t < sizeof name / sizeof *name ? name[t] : "?";
}

static const char *tensor_type(uint32_t t, char tmp[24])
{
    const char *name = wtype_name(t);
    if (name)
        return name;
    snprintf(tmp, 24, "type %" PRIu32, t);
    return tmp;
}

/* ------------------------------------------------------------------ metadata */

static json_t *number(const struct gguf_kv *kv, uint64_t i)
{
    uint32_t type = kv->type == GGUF_ARRAY ? kv->elem : kv->type;
    double d = gguf_num_at(kv, i);
    if (type == GGUF_BOOL)
        return json_boolean(d != 0);
    if (type != GGUF_F32 && type != GGUF_F64) {
        int64_t v = 0;            /* 64-bit values do not fit a double */
        if (type == GGUF_U64 || type == GGUF_I64)
            memcpy(&v, kv->p + i * 8, sizeof v);
        else
            v = (int64_t)d;
        return type == GGUF_U64 && v < 0 ? json_real(d) : json_integer(v);
    }
    return isfinite(d) ? json_real(d) : json_null();
}

/* The value of a scalar, or an array's first elements. */
static json_t *values(const struct gguf_kv *kv)
{
    if (kv->type == GGUF_STR)
        return json_text((const char *)kv->p, (size_t)kv->size);
    if (kv->type != GGUF_ARRAY)
        return number(kv, 0);
    json_t *list = json_array();
    uint64_t pos = 0;
    for (uint64_t i = 0; list && i < kv->n && i < SHOW && kv->elem != GGUF_ARRAY; i++) {
        struct str s;
        if (kv->elem != GGUF_STR)
            json_array_append_new(list, number(kv, i));
        else if (gguf_next_str(kv, &pos, &s))
            json_array_append_new(list, json_text(s.p, s.n));
    }
    return list;
}

static json_t *metadata_json(const struct gguf *g)
{
    json_t *all = json_array();
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        json_t *one = kv->type == GGUF_ARRAY
            ? json_pack("{s:o,s:s,s:s,s:I,s:o}", "key", json_text(kv->key.p, kv->key.n), "type",
                        "array", "elements", type_name(kv->elem), "n", (json_int_t)kv->n, "first",
                        values(kv))
            : json_pack("{s:o,s:s,s:o}", "key", json_text(kv->key.p, kv->key.n), "type",
                        type_name(kv->type), "value", values(kv));
        json_array_append_new(all, one);
    }
    return all;
}

/* A value for people: strings cut, numbers as JSON has them. */
static void put_value(struct buf *b, const json_t *v)
{
    if (json_is_string(v)) {
        size_t n = json_string_length(v), cut = n < 60 ? n : 60;
        while (cut < n && ((unsigned char)json_string_value(v)[cut] & 0xc0) == 0x80)
            cut--;                /* not inside a code point */
        buf_addf(b, "\"");
        put_escaped(b, json_string_value(v), cut);
        buf_addf(b, cut < n ? "\"... (%zu bytes)" : "\"", n);
        return;
    }
    char *s = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    buf_addf(b, "%s", s ? s : "?");
    free(s);
}

static void put_metadata(struct buf *b, const struct gguf *g)
{
    buf_addf(b, "\nmetadata, %zu keys\n", gguf_n_kv(g));
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        json_t *v = values(kv);
        buf_addf(b, "  ");
        put_escaped(b, kv->key.p, kv->key.n);
        buf_addf(b, "  ");
        if (kv->type != GGUF_ARRAY) {
            buf_addf(b, "%s  ", type_name(kv->type));
            put_value(b, v);
        } else {
            buf_addf(b, "%s[%" PRIu64 "] ", type_name(kv->elem), kv->n);
            for (size_t k = 0; k < json_array_size(v); k++) {
                buf_addf(b, " ");
                put_value(b, json_array_get(v, k));
            }
            if (kv->n > json_array_size(v))
                buf_addf(b, " ...");
        }
        buf_addf(b, "\n");
        json_decref(v);
    }
}

/* ------------------------------------------------------------------- tensors */

static json_t *tensors_json(const struct gguf *g)
{
    json_t *all = json_array();
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        char tmp[24];
        json_t *shape = json_array();
        for (uint32_t d = 0; d < t->n_dims; d++)
            json_array_append_new(shape, json_integer((json_int_t)t->ne[d]));
        json_array_append_new(all, json_pack("{s:o,s:s,s:I,s:o,s:I,s:I}", "name",
                                             json_text(t->name.p, t->name.n), "type",
                                             tensor_type(t->type, tmp), "type_id",
                                             (json_int_t)t->type, "shape", shape, "offset",
                                             (json_int_t)t->offset, "size", (json_int_t)t->size));
    }
    return all;
}

static void put_tensors(struct buf *b, const struct gguf *g)
{
    uint64_t all = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        all += gguf_tensor_at(g, i)->size;
    buf_addf(b, "\ntensors, %zu, %" PRIu64 " bytes (shape: innermost first)\n", gguf_n_tensors(g),
             all);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        char tmp[24], shape[4 * 22] = "";
        int n = 0;
        for (uint32_t d = 0; d < t->n_dims; d++)
            n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%" PRIu64, d ? " x " : "",
                          t->ne[d]);
        struct buf name = { 0 };
        put_escaped(&name, t->name.p, t->name.n);
        buf_addf(b, "  %-32s %-8s %-18s %12" PRIu64 "\n", name.p ? name.p : "",
                 tensor_type(t->type, tmp), shape, t->size);
        buf_free(&name);
    }
}

/* --------------------------------------------------------------------- model */

static const char *norms_name(const struct hparams *h)
{
    return h->post_norm && h->proj_norm ? "of every projection's input, heads and outputs"
           : h->proj_norm               ? "of every projection's input, and heads"
           : h->post_norm               ? "of heads and outputs"
           : h->head_norm               ? "of heads"
           : h->sub_norm                ? "sub-norms"
                                        : "none";
}

static const char *use_name(const struct hparams *h)
{
    return h->pooling == POOLING_LAST   ? "embeddings, of the last token"
           : h->pooling == POOLING_MEAN ? "embeddings, the mean of all tokens"
                                        : "text";
}

static json_t *model_json(const struct model *m)
{
    const struct hparams *h = &m->hp;
    return json_pack("{s:s,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:s,s:b,s:b,s:s,s:s}",
                     "architecture", m->arch, "name", json_text(m->name, strlen(m->name)),
                     "tokenizer", vocab_kind(m->vocab), "n_layer", (json_int_t)h->n_layer,
                     "n_embd", (json_int_t)h->n_embd, "n_ff", (json_int_t)h->n_ff, "n_head",
                     (json_int_t)h->n_head, "n_head_kv", (json_int_t)h->n_head_kv, "head_dim",
                     (json_int_t)h->head_dim, "n_rot", (json_int_t)h->n_rot, "n_ctx",
                     (json_int_t)h->n_ctx, "n_vocab", (json_int_t)h->n_vocab, "eps",
                     (double)h->eps, "rope_base", h->rope_base, "activation", arch_glu_name(h->glu),
                     "sub_norm", h->sub_norm, "tied_head", h->tied_head, "norms", norms_name(h),
                     "use", use_name(h));
}

static void put_model(struct buf *b, const struct model *m)
{
    const struct hparams *h = &m->hp;
    struct buf name = { 0 };
    put_escaped(&name, m->name, strlen(m->name));
    buf_addf(b, "\nmodel %s, architecture %s, tokenizer %s\n", name.p ? name.p : "", m->arch,
             vocab_kind(m->vocab));
    buf_addf(b, "  %" PRIu32 " layers, width %" PRIu32 ", feed-forward %" PRIu32 " (%s)\n",
             h->n_layer, h->n_embd, h->n_ff, arch_glu_name(h->glu));
    buf_addf(b, "  %" PRIu32 " heads of %" PRIu32 ", %" PRIu32 " for keys and values, more norms: "
             "%s; for %s\n", h->n_head, h->head_dim, h->n_head_kv, norms_name(h), use_name(h));
    buf_addf(b, "  vocabulary %" PRIu32 ", context %" PRIu32 ", rope base %.9g over %" PRIu32
             ", eps %g, head: %s\n", h->n_vocab, h->n_ctx, h->rope_base, h->n_rot,
             (double)h->eps, h->tied_head ? "the embedding" : "its own");
    buf_free(&name);
}

/* ----------------------------------------------------------------- the report */

static int report_json(const struct gguf *g, const struct model *m, const struct err *why,
                       struct err *e)
{
    json_t *warnings = json_array();
    for (unsigned i = 0; m && i < m->n_warning; i++)
        json_array_append_new(warnings, json_text(m->warning[i], strlen(m->warning[i])));
    const char *name = gguf_name(g);
    return put_json(json_pack("{s:o,s:I,s:I,s:o,s:o,s:o,s:o,s:b,s:o}", "file",
                              json_text(name, strlen(name)), "gguf_version",
                              (json_int_t)gguf_version(g), "size", (json_int_t)gguf_file_size(g),
                              "metadata", metadata_json(g), "tensors", tensors_json(g), "model",
                              m ? model_json(m) : json_null(), "warnings", warnings, "runs",
                              m != NULL, "reason",
                              m ? json_null() : json_text(why->text, strlen(why->text))), e);
}

static int report_text(const struct gguf *g, const struct model *m, const struct err *why,
                       struct err *e)
{
    struct buf b = { 0 };
    buf_addf(&b, "%s: GGUF version %" PRIu32 ", %" PRIu64 " bytes\n", gguf_name(g),
             gguf_version(g), gguf_file_size(g));
    put_metadata(&b, g);
    put_tensors(&b, g);
    if (m)
        put_model(&b, m);
    for (unsigned i = 0; m && i < m->n_warning; i++)
        buf_addf(&b, "warning: %s\n", m->warning[i]);
    buf_addf(&b, m ? "\nruns: yes\n" : "\nruns: no: %s\n", why->text);
    int rc = b.failed ? err_set(e, ERR_NOMEM, "inspect: no memory for the report")
                      : put_out(b.p, b.n, e);
    buf_free(&b);
    return rc;
}

static int inspect(struct err *e)
{
    char path[PATH_MAX];
    struct gguf *g = NULL;
    struct model *m = NULL;
    struct err why = { 0 };
    struct model_opts o;
    int rc = load_options(&o, e);
    if (!rc)
        rc = load_path(path, e);
    if (!rc)
        rc = hf_open_any(&g, path, e);
    if (rc)
        return rc;
    if (model_open(&m, path, &o, &why))
        m = NULL;
    rc = common.json ? report_json(g, m, &why, e) : report_text(g, m, &why, e);
    model_close(m);
    gguf_close(g);
    return rc;
}

int verb_inspect(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n > 1 || (w.n && common.model))
        rc = err_set(&e, ERR_ARG, "inspect: %.100s: one file too many", w.at[w.n - 1]);
    if (w.n)
        common.model = w.at[0];
    if (!rc)
        rc = inspect(&e);
    return tool_exit(rc, &e);
}
