/* bitnet_synth.c - `bitnet synth`: a model file of a published shape whose
 * weights are random.
 *
 * For measuring and testing: every size, type and key is as in the real file,
 * so other programs read it too, and the sampled text means nothing. The file
 * is written front to back, a piece of a tensor at a time. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/model.h"
#include "tools/bitnet.h"
#include "tools/bitnet_synth.h"
#include "tools/write/gguf_file.h"

static const char *shape_name, *type_name = "i2_s", *head_name = "f16", *arch, *vocab, *out;
static uint64_t seed, shard_mb = 5000;
static uint32_t n_ctx;
static bool hf, latent;

static const struct opt options[] = {
    { "shape", 0, OPT_TEXT, &shape_name, "NAME",
      "whose sizes: see above" },
    { "type", 0, OPT_TEXT, &type_name, "TYPE", "of the layers' matrices (default i2_s)" },
    { "head", 0, OPT_TEXT, &head_name, "TYPE", "of embedding and head (default f16)" },
    { "vocab", 0, OPT_TEXT, &vocab, "FILE", "take the tokenizer of this GGUF" },
    { "arch", 0, OPT_TEXT, &arch, "NAME", "bitnet, bitnet-25 or bitnet-b1.58, for other programs" },
    { "ctx", 0, OPT_U32, &n_ctx, "N", "positions (default: as published)" },
    { "seed", 0, OPT_U64, &seed, "S", "same seed, same bytes (default 0)" },
    { "hf", 0, OPT_FLAG, &hf, NULL, "a Hugging Face directory instead of a GGUF file" },
    { "latent", 0, OPT_FLAG, &latent, NULL, "with --hf: floats, ternary when they are read" },
    { "shard-size", 0, OPT_U64, &shard_mb, "MB", "with --hf: of a file's tensors (default 5000)" },
    { "out", 'o', OPT_TEXT, &out, "FILE", "where to; with --hf a directory" },
    { NULL, 0, OPT_FLAG, NULL, NULL, NULL }
};

static const struct usage usage = {
    "synth", "--shape NAME -o FILE [OPTION]...",
    "Writes a GGUF file of a published model's shape with random weights. Shapes are\n"
    "2b4t, 0.7b, 3b, 8b, falcon-e-1b, -3b, falcon3-1b, -3b, -7b, -10b, embedding-0.6b,\n"
    "-270m, and tiny, 1bitllm-tiny, llama3-tiny, falcon3-tiny, falcon-e-tiny, qwen3-tiny\n"
    "and gemma3-tiny, which are nobody's. Types are i2_s, tq1_0, tq2_0, f32, f16, q8_0\n"
    "and q6_k. The file appears when it is complete. With --hf it is a directory as the\n"
    "model's publisher has: config.json, the tokenizer's files, and safetensors files of\n"
    "packed weights or floats.",
    { options, NULL, NULL }
};

struct synth {
    struct synth_shape shape;
    const struct enc *type, *head;
    struct synth_tensor *t;
    uint32_t n;
    struct gguf_put kv;
    struct gguf_file_tensor *list;    /* [n] the same for the file             */
    struct gguf_file file;
    int8_t *codes;                    /* [SYNTH_PIECE]                               */
    float *floats;                    /* [SYNTH_PIECE]                               */
};

/* -------------------------------------------------------------------- keys */

static int make_keys(struct synth *s, struct err *e)
{
    const struct synth_shape *p = &s->shape;
    struct gguf_put *kv = &s->kv;
    char key[96], about[160];
#define ARCH(suffix) (snprintf(key, sizeof key, "%s." suffix, p->arch), key)
    snprintf(about, sizeof about, "random weights: bitnet synth --shape %s --type %s --head %s "
             "--seed %" PRIu64, p->name, s->type->name, s->head->name, seed);
    gguf_put_text(kv, "general.architecture", p->arch);
    gguf_put_text(kv, "general.name", p->title);
    gguf_put_text(kv, "general.description", about);
    gguf_put_u32(kv, "general.file_type", s->type->file_type);
    gguf_put_u32(kv, "general.quantization_version", 2);
    gguf_put_u32(kv, ARCH("vocab_size"), p->n_vocab);
    gguf_put_u32(kv, ARCH("context_length"), p->n_ctx);
    gguf_put_u32(kv, ARCH("embedding_length"), p->n_embd);
    gguf_put_u32(kv, ARCH("block_count"), p->n_layer);
    gguf_put_u32(kv, ARCH("feed_forward_length"), p->n_ff);
    gguf_put_u32(kv, ARCH("rope.dimension_count"), synth_head_dim(p));
    gguf_put_f32(kv, ARCH("rope.freq_base"), p->rope_base);
    gguf_put_u32(kv, ARCH("attention.head_count"), p->n_head);
    gguf_put_u32(kv, ARCH("attention.head_count_kv"), p->n_head_kv);
    gguf_put_f32(kv, ARCH("attention.layer_norm_rms_epsilon"), p->eps);
    if (p->head_dim) {
        gguf_put_u32(kv, ARCH("attention.key_length"), p->head_dim);
        gguf_put_u32(kv, ARCH("attention.value_length"), p->head_dim);
    }
    if (p->embedding)
        gguf_put_u32(kv, ARCH("pooling_type"), POOLING_LAST);
    if (arch)                     /* under another name it must be said */
        gguf_put_text(kv, ARCH("hidden_activation"), p->glu);
#undef ARCH
    int rc = 0;
    if (vocab)
        rc = synth_vocab_copy(kv, vocab, p->n_vocab, e);
    else
        synth_vocab_make(kv, p->family, p->n_vocab, p->n_special);
    if (!rc && kv->b.failed)
        rc = err_set(e, ERR_NOMEM, "synth: no memory for the keys");
    return rc;
}

/* ----------------------------------------------------------------- content */

static int fill(struct synth *s, uint32_t tensor, uint64_t piece, size_t n, struct enc_tensor *to,
                struct err *e)
{
    const struct synth_tensor *t = &s->t[tensor];
    struct synth_random r = synth_random_at(seed, tensor, piece);
    if (t->kind == SYNTH_MATRIX) {
        synth_random_codes(&r, s->codes, n);
        return enc_codes(to, s->codes, n, e);
    }
    const bool norm = t->kind == SYNTH_NORM;
    synth_random_floats(&r, norm ? 1.0f : 0.0f, norm ? 0.1f : synth_table_deviation(t->cols),
                        s->floats, n);
    return enc_floats(to, s->floats, n, e);
}

static int to_file(void *ctx, const void *p, size_t n, struct err *e)
{
    return gguf_file_write(ctx, p, n, e);
}

static int write_tensor(struct synth *s, uint32_t tensor, struct err *e)
{
    const struct synth_tensor *t = &s->t[tensor];
    const uint32_t rows = t->rows ? t->rows : 1;
    const uint64_t all = (uint64_t)rows * t->cols;
    struct enc_tensor to;
    int rc = enc_open(&to, t->enc, rows, t->cols, NULL, (struct enc_sink){ to_file, &s->file }, e);
    to.scale = synth_matrix_scale(t->cols);
    for (uint64_t at = 0, n; at < all && !rc; at += n) {
        n = all - at < SYNTH_PIECE ? all - at : SYNTH_PIECE;
        rc = fill(s, tensor, at / SYNTH_PIECE, (size_t)n, &to, e);
    }
    if (!rc)
        rc = enc_finish(&to, e);
    enc_close(&to);
    return rc;
}

static void make_list(struct synth *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        const struct synth_tensor *t = &s->t[i];
        s->list[i] = (struct gguf_file_tensor){
            .name = t->name, .type = t->enc->id, .n_dims = t->rows ? 2 : 1,
            .ne = { t->cols, t->rows }, .size = t->size,
        };
    }
}

/* --------------------------------------------------------------------- verb */

enum { N_TERNARY = 3 };

static const char *const types[] = { "i2_s", "tq1_0", "tq2_0", "f32", "f16", "q8_0", "q6_k", NULL };

static const struct enc *enc_allowed(const char *name, const char *const *allowed)
{
    while (*allowed && strcmp(*allowed, name))
        allowed++;
    return *allowed ? synth_enc_find(name) : NULL;
}

static int choose(struct synth *s, struct err *e)
{
    const struct synth_shape *p = synth_shape_find(shape_name, e);
    if (!p)
        return e->code;
    s->shape = *p;
    s->type = enc_allowed(type_name, types);
    if (!s->type)
        return err_set(e, ERR_ARG, "--type: %.100s, expected i2_s, tq1_0, tq2_0, f32, f16, q8_0 or "
                       "q6_k", type_name);
    s->head = enc_allowed(head_name, types + N_TERNARY);
    if (!s->head)
        return err_set(e, ERR_ARG, "--head: %.100s, expected f32, f16, q8_0 or q6_k", head_name);
    if (arch && (!p->sub_norm || (strcmp(arch, "bitnet") && strcmp(arch, "bitnet-25") &&
                                  strcmp(arch, "bitnet-b1.58"))))
        return err_set(e, ERR_ARG, "--arch: %.100s, expected %s for %s", arch,
                       p->sub_norm ? "bitnet, bitnet-25 or bitnet-b1.58" : "no such option",
                       p->name);
    s->shape.arch = arch ? arch : p->arch;
    s->shape.n_ctx = n_ctx ? n_ctx : p->n_ctx;
    return 0;
}

static int write_file(struct synth *s, struct err *e)
{
    s->codes = malloc(SYNTH_PIECE * sizeof *s->codes);
    s->floats = malloc(SYNTH_PIECE * sizeof *s->floats);
    s->list = calloc(s->n, sizeof *s->list);
    if (!s->codes || !s->floats || !s->list)
        return err_set(e, ERR_NOMEM, "synth: no memory for a piece of a tensor");
    make_list(s);
    int rc = gguf_file_open(&s->file, out, &s->kv, s->list, s->n, e);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < s->n && !rc; i++)
        rc = write_tensor(s, i, e);
    if (!rc)
        rc = gguf_file_commit(&s->file, e);
    gguf_file_abort(&s->file);
    return rc;
}

static int file(struct err *e)
{
    struct synth s = { 0 };
    int rc = choose(&s, e);
    if (!rc)
        rc = synth_tensors(&s.shape, s.type, s.head, &s.t, &s.n, e);
    if (!rc)
        rc = make_keys(&s, e);
    if (!rc)
        rc = write_file(&s, e);
    if (!rc)
        fprintf(stderr, "bitnet: %s: %s, %s with %s head, %u tensors of %.1f MB\n", out,
                s.shape.name, s.type->name, s.head->name, s.n,
                (double)gguf_file_data_size(s.list, s.n) / 1e6);
    free(s.t);
    free(s.list);
    free(s.codes);
    free(s.floats);
    buf_free(&s.kv.b);
    return rc;
}

static int directory(struct err *e)
{
    const struct synth_shape *p = synth_shape_find(shape_name, e);
    if (!p)
        return e->code;
    if (shard_mb == 0 || shard_mb > 1u << 30)
        return err_set(e, ERR_ARG, "--shard-size: %" PRIu64 " MB, expected 1 to 2^30", shard_mb);
    struct synth_shape shape = *p;
    shape.n_ctx = n_ctx ? n_ctx : p->n_ctx;
    const struct synth_hf h = { .shape = &shape, .dir = out, .vocab = vocab, .seed = seed,
                                .shard_size = shard_mb * 1000000, .latent = latent };
    return synth_hf(&h, e);
}

int verb_synth(int argc, char **argv)
{
    struct err e = { 0 };
    struct words w;
    int rc = opt_parse(&usage, argc, argv, &w, &e);
    if (rc)
        return tool_exit(rc, &e);
    if (w.n)
        rc = err_set(&e, ERR_ARG, "synth: %.100s: unexpected, a file is given with --out", w.at[0]);
    else if (!shape_name)
        rc = err_set(&e, ERR_ARG, "synth: no --shape, expected a published model's, such as 2b4t");
    else if (!out)
        rc = err_set(&e, ERR_ARG, "synth: no --out, expected the file to write");
    else if (!hf && latent)
        rc = err_set(&e, ERR_ARG, "synth: --latent, expected --hf with it");
    else if (hf && (arch || strcmp(type_name, "i2_s") || strcmp(head_name, "f16")))
        rc = err_set(&e, ERR_ARG, "synth: --arch, --type and --head are for GGUF files, expected "
                     "none with --hf");
    if (!rc)
        rc = hf ? directory(&e) : file(&e);
    return tool_exit(rc, &e);
}
