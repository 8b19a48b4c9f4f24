/* bitnet_convert.c - `bitnet convert`: a model that can be read, written in
 * another encoding.
 *
 * What is read is opened as every verb opens a model, so what cannot run is not
 * converted. The new file appears when it is complete. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/bitnet.h"
#include "tools/bitnet_convert.h"

static const char *type_name, *head_name, *out_layout, *out_preset;
static bool absmean, force;

static const struct opt options[] = {
    { "type", 0, OPT_TEXT, &type_name, "TYPE", "of the layers' matrices" },
    { "head", 0, OPT_TEXT, &head_name, "TYPE",
      "of embedding and head (default: as in IN)" },
    { "i2s-layout", 0, OPT_TEXT, &out_layout, "a|b|c", "byte order of the I2_S that is written" },
    { "tl-preset", 0, OPT_TEXT, &out_preset, "NAME", "tiles of the TL1 or TL2 that is written" },
    { "absmean", 0, OPT_FLAG, &absmean, NULL, "make weights ternary that are not" },
    { "force", 'f', OPT_FLAG, &force, NULL, "replace OUT if it is there" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct opt input[] = {
    { "in-i2s-layout", 0, OPT_TEXT, &common.i2s_layout, "NAME",
      "type 36 in IN: a, b, c, rs-inline32 or rs-qk256 (default a)" },
    { "in-tl-preset", 0, OPT_TEXT, &common.tl_preset, "NAME",
      "tiles of TL1 and TL2 in IN: setup_env, ini, or MxK:BM/BY/bm,..." },
    { "pre", 0, OPT_TEXT, &common.pre, "NAME", "pre-tokenizer (default: what IN says)" },
    { "activation", 0, OPT_TEXT, &common.activation, "NAME",
      "relu2, silu or gelu_tanh (default: what IN says)" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "convert", "IN OUT.gguf --type TYPE [OPTION]...",
    "Writes a model, a GGUF file or a Hugging Face directory, in another encoding, with\n"
    "all its keys. Matrices: i2_s, tq1_0, tq2_0, tl1, tl2, q2_0, iq1_bn, iq2_bn, iq2_bn_r4,\n"
    "f16, bf16, f32, q8_0, q6_k, q5_1 or q4_0. Embedding and head: f16, q8_0, q6_k, q4_0,\n"
    "bf16 or f32. OUT appears when it is complete.",
    { options, input, NULL }
};

/* ------------------------------------------------------------------ options */

static const char *const types[] = { "i2_s", "tq1_0", "tq2_0", "tl1", "tl2", "q2_0", "iq1_bn",
                                     "iq2_bn", "iq2_bn_r4", "f16", "bf16", "f32", "q8_0", "q6_k",
                                     "q5_1", "q4_0", NULL };
static const char *const heads[] = { "f16", "q8_0", "q6_k", "q4_0", "bf16", "f32", NULL };

static int find_enc(const struct enc **out, const char *name, const char *option,
                    const char *const *allowed, struct err *e)
{
    struct buf b = { 0 };
    unsigned i = 0;
    for (; allowed[i] && strcmp(allowed[i], name); i++)
        buf_addf(&b, "%s%s", i ? allowed[i + 1] ? ", " : " or " : "", allowed[i]);
    *out = allowed[i] ? enc_find(name) : NULL;
    int rc = *out ? 0 : err_set(e, ERR_ARG, "--%s: %.100s, expected %s", option, name,
                                b.p ? b.p : "another");
    buf_free(&b);
    return rc;
}

static int choose(struct convert *c, struct err *e)
{
    int rc = find_enc(&c->type, type_name, "type", types, e);
    if (!rc && head_name)
        rc = find_enc(&c->head, head_name, "head", heads, e);
    if (rc || !out_layout)
        return rc;
    if (c->type->id != enc_find("i2_s")->id)
        return err_set(e, ERR_ARG, "--i2s-layout: %.100s, expected only with --type i2_s; what IN "
                       "has is said by --in-i2s-layout", out_layout);
    if (strlen(out_layout) != 1 || !strchr("abc", out_layout[0]))
        return err_set(e, ERR_ARG, "--i2s-layout: %.100s, expected a, b or c", out_layout);
    if (out_layout[0] != 'a')
        c->type = enc_find(out_layout[0] == 'b' ? "i2_s-b" : "i2_s-c");
    return 0;
}

/* Nobody loses a file: not the one that is read, and another only when told so. */
static int check_out(const char *in, const char *out, struct err *e)
{
    struct stat a, b;
    if (!strcmp(out, "-") || stat(out, &b))
        return 0;
    if (!stat(in, &a) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return err_set(e, ERR_ARG, "%s: is what is read, expected another name to write to", out);
    if (S_ISREG(b.st_mode) && !force)
        return err_set(e, ERR_IO, "%s: is there already, expected a new name, or --force to replace "
                       "it", out);
    return 0;
}

/* -------------------------------------------------------------------- output */

static bool has_i2s(const struct gguf *g)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        if (gguf_tensor_at(g, i)->type == 36)
            return true;
    return false;
}

/* Nothing in a file tells the layouts apart, and the option of one end is easily
 * taken for the other's. */
static void say_layouts(const struct convert *c)
{
    if (has_i2s(c->m->file) && (out_layout || common.i2s_layout))
        fprintf(stderr, "bitnet: %s: type 36 is read in layout %s (--in-i2s-layout)\n",
                gguf_name(c->m->file), common.i2s_layout ? common.i2s_layout : "a");
}

static void report(const struct convert *c, const char *out)
{
    for (unsigned i = 0; i < c->m->n_warning; i++)
        fprintf(stderr, "bitnet: warning: %s\n", c->m->warning[i]);
    if (c->n_absmean)
        fprintf(stderr, "bitnet: warning: %u of %u matrices were not ternary: --absmean made them "
                "so; the least like what it was is %s, correlation %.4f, mean squared error %.3g\n",
                c->n_absmean, c->n_ternary, c->worst_name, c->worst, c->mse);
    if (c->rounded > 0)
        fprintf(stderr, "bitnet: warning: %s holds scales as halves: the one that changed most "
                "changed by %.2g %%\n", type_name, (double)c->rounded * 100);
    fprintf(stderr, "bitnet: %s: %s, %u tensors of %.1f MB\n", out, type_name, c->n,
            (double)gguf_file_data_size(c->list, c->n) / 1e6);
}

static int write_file(struct convert *c, const char *out, struct err *e)
{
    int rc = gguf_file_open(&c->file, out, &c->keys, c->list, c->n, e);
    if (rc)
        return rc;
    bar_open(&c->bar, "converting");
    for (uint32_t i = 0; i < c->n && !rc; i++)
        rc = convert_tensor(c, &c->item[i], e);
    bar_clear(&c->bar);
    if (!rc)
        rc = gguf_file_commit(&c->file, e);
    gguf_file_abort(&c->file);
    return rc;
}

static int convert(const char *in, const char *out, struct err *e)
{
    struct convert c = { .absmean = absmean, .out_preset = out_preset };
    struct model_opts opts;
    int rc = choose(&c, e);
    if (!rc)
        rc = load_options(&opts, e);
    if (!rc)
        rc = check_out(in, out, e);
    if (!rc)
        rc = model_open(&c.m, in, &opts, e);
    if (rc)
        return rc;
    c.opts = (struct wsrc_opts){ .i2s_layout = opts.i2s_layout, .tl_preset = opts.tl_preset };
    say_layouts(&c);
    rc = convert_plan(&c, e);
    if (!rc)
        rc = write_file(&c, out, e);
    if (!rc)
        report(&c, out);
    free(c.item);
    free(c.list);
    free(c.other);
    buf_free(&c.keys.b);
    model_close(c.m);
    return rc;
}

int verb_convert(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n != 2)
        rc = err_set(&e, ERR_ARG, "convert: %u file names, expected two: what is read, and what is "
                     "written", w.n);
    else if (!type_name)
        rc = err_set(&e, ERR_ARG, "convert: no --type, expected one, such as i2_s");
    if (!rc)
        rc = convert(w.at[0], w.at[1], &e);
    return tool_exit(rc, &e);
}
