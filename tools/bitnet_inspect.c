/* bitnet_inspect.c - `bitnet inspect`: what a file says, and whether it runs.
 *
 * The container is listed on its own, so that a file whose tensors this
 * program cannot use is shown too; then the model is opened, for its numbers
 * or for the reason why not. Nothing is computed; plugins are asked how much
 * memory they would take. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/arch.h"
#include "core/model/hf.h"
#include "tools/bitnet_inspect.h"

enum { SHOW = 6 };                /* elements of an array                      */

static bool fast;

static const struct opt options[] = {
    { "fast", 0, OPT_FLAG, &fast, NULL, "no figures for which every weight must be read" },
    { "plugin-dir", 0, OPT_TEXT, &common.plugin_dir, "DIR",
      "where the plugins are (default: beside the program)" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "inspect", "[OPTION]... [FILE]",
    "Lists a model: metadata, tensors and what their weights are like, hyper-parameters,\n"
    "memory, warnings, and whether it can run.",
    { common_file, options, common_reading }
};

static const char *type_name(uint32_t t)
{
    static const char *const name[] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool",
                                        "str", "array", "u64", "i64", "f64" };
    return t < sizeof name / sizeof *name ? name[t] : "?";
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

static const char *head_type(const struct model *m)
{
    const char *name = m->hp.pooling == POOLING_NONE ? wtype_name_of(m->head.t) : NULL;
    return name ? name : "none";
}

static const char *head_name(const struct model *m)
{
    return m->hp.pooling != POOLING_NONE ? "none" : m->hp.tied_head ? "the embedding" : "its own";
}

static json_t *model_json(const struct model *m)
{
    const struct hparams *h = &m->hp;
    return json_pack("{s:s,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,"
                     "s:f,s:f,s:s,s:b,s:b,s:s,s:s,s:s}",
                     "architecture", m->arch, "name", json_cstr(m->name),
                     "tokenizer", vocab_kind(m->vocab), "n_layer", (json_int_t)h->n_layer,
                     "n_embd", (json_int_t)h->n_embd, "n_ff", (json_int_t)h->n_ff, "n_head",
                     (json_int_t)h->n_head, "n_head_kv", (json_int_t)h->n_head_kv, "head_dim",
                     (json_int_t)h->head_dim, "n_rot", (json_int_t)h->n_rot, "n_ctx",
                     (json_int_t)h->n_ctx, "n_vocab", (json_int_t)h->n_vocab, "eps",
                     (double)h->eps, "rope_base", h->rope_base, "activation", arch_glu_name(h->glu),
                     "sub_norm", h->sub_norm, "tied_head", h->tied_head, "norms", norms_name(h),
                     "use", use_name(h), "head_type", head_type(m));
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
             ", eps %g, head: %s, %s\n", h->n_vocab, h->n_ctx, h->rope_base, h->n_rot,
             (double)h->eps, head_name(m), head_type(m));
    buf_free(&name);
}

/* ----------------------------------------------------------------- the report */

struct report {
    const struct gguf *g;
    const struct model *m;        /* NULL: it does not open, why says why      */
    struct err why;
    struct wsrc_opts opts;
    struct memory_look memory;
};

#define MIB(n) ((double)(n) / 1048576)

static uint64_t needed(const struct memory_look *k)
{
    return k->weights + k->kv + k->other;
}

/* The longest context that the memory at hand allows, in tokens; 0: none. */
static uint32_t context_that_fits(const struct memory_look *k)
{
    const uint64_t fixed = k->weights + k->other;
    if (needed(k) <= k->available)
        return k->n_ctx;
    if (fixed >= k->available || !k->kv)
        return 0;
    return (uint32_t)((double)(k->available - fixed) / (double)k->kv * k->n_ctx);
}

/* "yes", or "no: " and what would help. */
static void put_verdict(struct buf *b, const struct report *r)
{
    const struct memory_look *k = &r->memory;
    if (!r->m)
        buf_addf(b, "no: %s", r->why.text);
    else if (!k->known)
        buf_addf(b, "not here: %s", k->why);
    else if (!context_that_fits(k))
        buf_addf(b, "not here: %.0f MiB needed, %.0f available: free memory, or use a smaller "
                 "encoding (bitnet convert)", MIB(needed(k)), MIB(k->available));
    else if (context_that_fits(k) < k->n_ctx)
        buf_addf(b, "yes, with engine.n_ctx up to %" PRIu32 ": the whole context needs %.0f MiB, "
                 "%.0f are available", context_that_fits(k), MIB(needed(k)), MIB(k->available));
    else if (r->m->n_warning)
        buf_addf(b, "yes, with warnings: bitnet doctor tries what is uncertain");
    else
        buf_addf(b, "yes");
}

static json_t *memory_json(const struct report *r)
{
    const struct memory_look *k = &r->memory;
    if (!r->m || !k->known)
        return json_null();
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "weights", (json_int_t)k->weights, "kv",
                     (json_int_t)k->kv, "other", (json_int_t)k->other, "total",
                     (json_int_t)needed(k), "available",
                     (json_int_t)(k->available > INT64_MAX ? INT64_MAX : k->available));
}

static void put_memory(struct buf *b, const struct report *r)
{
    const struct memory_look *k = &r->memory;
    if (!r->m)
        return;
    if (k->known)
        buf_addf(b, "  memory for one sequence of %" PRIu32 " tokens: weights %.1f, keys and "
                 "values %.1f, other %.1f, in all %.1f MiB of %.0f available\n", k->n_ctx,
                 MIB(k->weights), MIB(k->kv), MIB(k->other), MIB(needed(k)), MIB(k->available));
    else
        buf_addf(b, "  memory: unknown: %s\n", k->why);
}

static int report_json(const struct report *r, struct err *e)
{
    struct buf verdict = { 0 };
    json_t *warnings = json_array();
    for (unsigned i = 0; r->m && i < r->m->n_warning; i++)
        json_array_append_new(warnings, json_cstr(r->m->warning[i]));
    const char *name = gguf_name(r->g), *why = r->why.text;
    put_verdict(&verdict, r);
    int rc = put_json(json_pack(
        "{s:o,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:b,s:o,s:o}", "file", json_cstr(name),
        "gguf_version", (json_int_t)gguf_version(r->g), "size", (json_int_t)gguf_file_size(r->g),
        "metadata", metadata_json(r->g), "tensors", tensors_json(r->g, fast ? NULL : &r->opts),
        "model", r->m ? model_json(r->m) : json_null(), "memory", memory_json(r), "warnings",
        warnings, "runs", r->m != NULL, "reason", r->m ? json_null() : json_cstr(why),
        "verdict", json_text(verdict.p ? verdict.p : "", verdict.n)), e);
    buf_free(&verdict);
    return rc;
}

static int report_text(const struct report *r, struct err *e)
{
    struct buf b = { 0 };
    char kind[32] = "Hugging Face directory";
    if (gguf_version(r->g))
        snprintf(kind, sizeof kind, "GGUF version %" PRIu32, gguf_version(r->g));
    buf_addf(&b, "%s: %s, %" PRIu64 " bytes\n", gguf_name(r->g), kind, gguf_file_size(r->g));
    put_metadata(&b, r->g);
    put_tensors(&b, r->g, fast ? NULL : &r->opts);
    if (r->m)
        put_model(&b, r->m);
    put_memory(&b, r);
    for (unsigned i = 0; r->m && i < r->m->n_warning; i++)
        buf_addf(&b, "warning: %s\n", r->m->warning[i]);
    buf_addf(&b, "\nruns: ");
    put_verdict(&b, r);
    buf_addf(&b, "\n");
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
    struct report r = { .m = NULL };
    struct model_opts o;
    int rc = load_options(&o, e);
    if (!rc)
        rc = load_path(path, e);
    if (!rc)
        rc = hf_open_any(&g, path, e);
    if (rc)
        return rc;
    r.g = g;
    r.opts = (struct wsrc_opts){ .i2s_layout = o.i2s_layout, .tl_preset = o.tl_preset };
    if (model_open(&m, path, &o, &r.why))
        m = NULL;
    else
        memory_look(&r.memory, m);
    r.m = m;
    rc = common.json ? report_json(&r, e) : report_text(&r, e);
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
    rc = load_word("inspect", &w, &e);
    if (!rc)
        rc = inspect(&e);
    return tool_exit(rc, &e);
}
