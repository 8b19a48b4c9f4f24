/* test_formats.c - one model in the files of other programs: the same weights,
 * and where the arithmetic is the same, the same bits.
 *
 * The originals were written by the quantizers of three projects. models/
 * story.gguf is one of them; the others are built from it here, by our own
 * encoders, and are the originals byte for byte, which the recorded checksums
 * say: a file that is right in both directions. With a folder as argument the
 * originals themselves are read, and those that no encoder of ours writes (the
 * project of IQ*_BN searches the scales of k-quants in a way of its own) are in
 * tests/golden/models. Four
 * bits are too few for an embedding to correlate better than 0.99. */
#include <check.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/golden/correlation.h"
#include "tests/golden/rig.h"
#include "tools/write/enc.h"
#include "tools/write/gguf_file.h"

#define STORY "models/story.gguf"

#define MIXED "mixed"

enum { N_PROMPT = 2 };

static const char *const of_layer[] = { "iq2_bn_r4", "tq1_0", "i2_s", "iq1_bn", "tq2_0", "iq2_bn" };

/* The same bits as models/story.gguf, or logits that correlate. */
struct recipe {
    const char *name;
    const char *sha256;
    const char *matrix, *embd;    /* encoders; matrix NULL: none of ours does, */
                                  /* MIXED: another one in every layer; embd   */
                                  /* NULL: the embedding is copied             */
    uint32_t file_type;
    bool version;                 /* general.quantization_version is there     */
    enum i2s_layout layout;
    double least;                 /* correlation at any position; 1: same bits */
    const char *tl_preset;
    double most;                  /* relative error of matrices; 0: the same   */
    enum { AS_BUILT, KEPT, OTHER_ZEROS } how;     /* KEPT: in tests/golden/models. */
                                  /* OTHER_ZEROS: the original was made from   */
                                  /* f16, and has zeros of both signs          */
};

static const struct recipe recipe[] = {
    { "story-i2_s", "2c4c47c27883f0cd5e31095f7509657721ac749d12747336be12827ee0b18d87",
      NULL, NULL, 40, true, I2S_A, 1, NULL, 0, AS_BUILT },
    { "story-i2_s-layout-b", "acf0ea27f88086b7ed8eda823244d484f3ff53be2ba07d7e8da14adcc39ec901",
      "i2_s-b", NULL, 40, true, I2S_B, 1, NULL, 0, AS_BUILT },
    { "story-i2_s-layout-c", "4464a1f0c8029a8476dc7f59035d1a208b1267f7fa8a6bae16685ef7cae10a22",
      "i2_s-c", NULL, 40, true, I2S_C, 1, NULL, 0, AS_BUILT },
    { "story-tq1_0", "a5ba9066c9cd1b0a998cf2f869ab2146f15ddefe8c1fad0e15d94add2efa05eb",
      "tq1_0", NULL, 1, false, I2S_A, 1, NULL, 0, AS_BUILT },
    { "story-tq2_0", "c252c928d1f580a814e28eada06c89b6db03c1587545f014efcea441b0878bad",
      "tq2_0", NULL, 1, false, I2S_A, 1, NULL, 0, AS_BUILT },
    { "story-iq1_bn", "c1d2560c0681646dfa42d725a35bcb7a7d887024da58cdf3c655e63ed8006e52",
      "iq1_bn", NULL, 136, true, I2S_A, 1, NULL, 0, AS_BUILT },
    { "story-iq2_bn", "d5ddbee301f0b7a051894b71bdf2b19530988318e4abfe6c2df5dbd1c0e1a3ec",
      "iq2_bn", NULL, 137, true, I2S_A, 1, NULL, 0, AS_BUILT },
    { "story-iq2_bn_r4", "ab696a40e9a82ab97456773bd1b221b35382ed92c611bac7712cd69cbc9964be",
      "iq2_bn_r4", NULL, 337, true, I2S_A, 1, NULL, 0, AS_BUILT },
    { "story-iq2_bn-emb-q8_0", "dbc951a5ceee5d80f214d9e588ed73d49590ec3bc11961c0cf3b32455dcd937f",
      "iq2_bn", "q8_0", 137, true, I2S_A, 0.999, NULL, 0, AS_BUILT },
    { "story-iq2_bn-emb-q6_K", "09d015c3a75cbd5749e3a6cfd08a3e4a53d4d8fd2de70bf51c7bde2b8f4459b2",
      NULL, NULL, 137, true, I2S_A, 0.999, NULL, 0, KEPT },
    { "story-iq2_bn-emb-q4_0", "9f635b15932f026f57983d77ace115d9bfd4873b18355ae5c55ea5c6085925af",
      "iq2_bn", "q4_0", 137, true, I2S_A, 0.99, NULL, 0, AS_BUILT },
    { "story-iq2_bn-emb-q4_K", "f331656858485a53a24b39db892ec439bfd54df732587b1eeda49ff5de756ef6",
      NULL, NULL, 137, true, I2S_A, 0.99, NULL, 0, KEPT },
    { "story-bf16", "77a0e37353fe86c272e4a89fa21446a31bbb76fb18a21700e1489733586cb612",
      "bf16", NULL, 1, false, I2S_A, 0.999, NULL, 0.01, OTHER_ZEROS },
    { "story-q8_0", "c97c46b6519935379550bcd4e739017cc14c886256c0a87655aee207cf8644ce",
      "q8_0", NULL, 7, true, I2S_A, 0.999, NULL, 0.01, AS_BUILT },
    { "story-q5_1", "edcee8bfb353e7f997255ac9938f9101550099143c34f11350b78cbd53aea72b",
      "q5_1", NULL, 1, false, I2S_A, 0.999, NULL, 0.05, OTHER_ZEROS },
    { "story-q4_k_s", "2cc781e9efac2024692857bbc1f10e0d1e51ba74cd35290fb8144186bb5a305f",
      NULL, NULL, 0, true, I2S_A, 0.999, NULL, 0.001, KEPT },
    /* Two bits and a code book without 0: it holds other weights. */
    { "story-iq2_s", "7a7c863b4839571b77c36cfec043ce603832bc4f280f19e15fd4aa9996705c33",
      NULL, NULL, 0, true, I2S_A, 0.9, NULL, 0.35, KEPT },
    { "mixed", NULL, MIXED, NULL, 40, true, I2S_A, 1, NULL, 0, AS_BUILT },
    { "tl1", NULL, "tl1", NULL, 38, true, I2S_A, 1,
      "256x256:128/64/32,128x256:64/128/64,512x256:256/64/64,256x512:64/512/32", 0, AS_BUILT },
    { "tl2", NULL, "tl2", NULL, 39, true, I2S_A, 1,
      "256x256:128/96/32,128x256:32/192/32,512x256:256/192/32,256x512:64/96/32", 0, AS_BUILT },
};
enum { N_RECIPE = sizeof recipe / sizeof *recipe };

static const char *originals;               /* a folder, or NULL               */
static char built[64];                      /* the file of this test           */
static struct golden golden[GOLDEN_N];
static float *story_logits;                 /* of models/story.gguf            */

/* -------------------------------------------------------------- one's bytes */

static struct gguf *open_story(void)
{
    struct gguf *g;
    struct err e = { 0 };
    ck_assert_msg(!gguf_open(&g, STORY, &e), "%s", e.text);
    return g;
}

static void put_keys(struct gguf_put *k, const struct gguf *g, const struct recipe *r)
{
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        if (str_is(kv->key, "general.file_type"))
            gguf_put_u32(k, "general.file_type", r->file_type);
        else if (r->version || !str_is(kv->key, "general.quantization_version"))
            gguf_put_copy(k, kv);
    }
}

/* The encoder of a tensor; NULL: its bytes are copied. */
static const struct enc *enc_of(const struct gguf_tensor *t, const struct recipe *r)
{
    const char *name = t->type == 36 ? r->matrix : t->type == 1 ? r->embd : NULL;
    if (name && !strcmp(name, MIXED))
        name = of_layer[strtoul(t->name.p + strlen("blk."), NULL, 10) % 6];
    const struct enc *c = name ? enc_find(name) : NULL;
    ck_assert_msg(!name || c, "%s: no encoder", name);
    return c;
}

static int to_buf(void *b, const void *p, size_t n, struct err *e)
{
    (void)e;
    buf_add(b, p, n);
    return 0;
}

static int8_t *trits_of(const struct wsrc *w, uint32_t row)
{
    int8_t *trit = malloc(w->cols);
    uint8_t *code = malloc(w->cols / 4 + 1);
    ck_assert(trit && code && !wsrc_read_rows(w, row, 1, code, 0));
    for (uint32_t k = 0; k < w->cols; k++)
        trit[k] = (int8_t)((int)(code[k / 4] >> 2 * (k % 4) & 3) - 1);
    free(code);
    return trit;
}

/* The quantizer of the story model left what it found in memory in the last 28
 * bytes of a tensor, and the files made from it have them too. */
static void copy_tail(struct buf *b, const struct gguf_tensor *t)
{
    memcpy(b->p + b->n - 28, t->data + t->size - 28, 28);
}

static void encode(struct buf *b, const struct gguf *g, const struct gguf_tensor *t,
                   const struct enc *c, const char *tl_preset)
{
    struct err e = { 0 };
    struct wsrc w;
    struct enc_tensor out;
    const struct enc_sink sink = { to_buf, b };
    ck_assert_msg(!wsrc_open(&w, g, t, NULL, &e), "%s", e.text);
    int rc = enc_open(&out, c, w.rows, w.cols, tl_preset, sink, &e);
    out.scale = w.scale;
    float *row = malloc(w.cols * sizeof *row);
    for (uint32_t i = 0; i < w.rows && !rc; i++) {
        if (c->ternary) {
            int8_t *trit = trits_of(&w, i);
            rc = enc_codes(&out, trit, w.cols, &e);
            free(trit);
        } else {
            rc = wsrc_read_f32(&w, i, row);
            rc = rc ? rc : enc_floats(&out, row, w.cols, &e);
        }
    }
    rc = rc ? rc : enc_finish(&out, &e);
    ck_assert_msg(!rc, "%s", e.text);
    if (c->id == 36)
        copy_tail(b, t);
    enc_close(&out);
    free(row);
}

/* Writes the file as its program did, from the story model. */
static void build(const struct recipe *r, const char *path)
{
    struct gguf *g = open_story();
    struct gguf_put keys = { 0 };
    struct gguf_file_tensor t[128];
    struct gguf_file f;
    struct err e = { 0 };
    char name[128][64];
    const uint32_t n = (uint32_t)gguf_n_tensors(g);
    ck_assert_uint_le(n, 128);
    put_keys(&keys, g, r);
    for (uint32_t i = 0; i < n; i++) {
        const struct gguf_tensor *s = gguf_tensor_at(g, i);
        const struct enc *c = enc_of(s, r);
        snprintf(name[i], sizeof name[i], "%.*s", (int)s->name.n, s->name.p);
        t[i] = (struct gguf_file_tensor){ .name = name[i], .type = c ? c->id : s->type,
                                          .n_dims = s->n_dims, .size = s->size };
        memcpy(t[i].ne, s->ne, sizeof t[i].ne);
        ck_assert_msg(!c || !enc_check(c, (uint32_t)s->ne[1], (uint32_t)s->ne[0], r->tl_preset,
                                       &t[i].size, &e), "%s", e.text);
    }
    ck_assert_msg(!gguf_file_open(&f, path, &keys, t, n, &e), "%s", e.text);
    for (uint32_t i = 0; i < n; i++) {
        const struct gguf_tensor *s = gguf_tensor_at(g, i);
        const struct enc *c = enc_of(s, r);
        struct buf b = { 0 };
        if (c)
            encode(&b, g, s, c, r->tl_preset);
        else
            buf_add(&b, s->data, s->size);
        ck_assert_msg(!b.failed && !gguf_file_write(&f, b.p, b.n, &e), "%s", e.text);
        buf_free(&b);
    }
    ck_assert_msg(!gguf_file_commit(&f, &e), "%s", e.text);
    buf_free(&keys.b);
    gguf_close(g);
}

static void check_sum(const char *path, const char *want)
{
    struct err e = { 0 };
    unsigned char sum[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof sum + 1], *p;
    size_t n;
    ck_assert_msg(!file_read(path, 64 << 20, &p, &n, &e), "%s", e.text);
    crypto_hash_sha256(sum, (const unsigned char *)p, n);
    sodium_bin2hex(hex, sizeof hex, sum, sizeof sum);
    ck_assert_msg(!strcmp(hex, want), "%s: %zu bytes with SHA-256 %s, expected %s", path, n, hex,
                  want);
    free(p);
}

/* -------------------------------------------------------------- its weights */

static float scale_of(const struct wsrc *w)
{
    float v = 0;
    ck_assert_uint_eq(w->scale_kind, BNP_SCALE_TENSOR);
    ck_assert_int_eq(wsrc_read_scales(w, 0, 1, &v), 0);
    return v;
}

static void same_rows(const struct wsrc *a, const struct wsrc *b)
{
    ck_assert(a->rows == b->rows && a->cols == b->cols);
    size_t size = (size_t)a->cols * 4;
    uint8_t *x = calloc(1, size), *y = calloc(1, size);
    for (uint32_t m = 0; m < a->rows; m++) {
        ck_assert(!wsrc_read_rows(a, m, 1, x, 0) && !wsrc_read_rows(b, m, 1, y, 0));
        if (memcmp(x, y, size))
            ck_abort_msg("tensor %s: row %u differs", a->name, m);
    }
    free(x);
    free(y);
}

/* |a - b| / |b| over all elements, Euclidean. */
static double apart(const struct wsrc *a, const struct wsrc *b)
{
    double off = 0, all = 0;
    float *x = malloc(a->cols * sizeof *x), *y = malloc(b->cols * sizeof *y);
    ck_assert(x && y && a->rows == b->rows && a->cols == b->cols);
    for (uint32_t m = 0; m < a->rows; m++) {
        ck_assert(!wsrc_read_f32(a, m, x) && !wsrc_read_f32(b, m, y));
        for (uint32_t k = 0; k < a->cols; k++) {
            const double d = (double)x[k] - (double)y[k];
            off += d * d;
            all += (double)y[k] * (double)y[k];
        }
    }
    free(x);
    free(y);
    return sqrt(off / all);
}

static void same_weights(const char *path, const struct recipe *r)
{
    struct gguf *g[2] = { open_story(), NULL };
    struct err e = { 0 };
    const struct wsrc_opts opts = { .i2s_layout = r->layout, .tl_preset = r->tl_preset };
    unsigned n = 0;
    double worst = 0;
    ck_assert_msg(!gguf_open(&g[1], path, &e), "%s", e.text);
    ck_assert_uint_eq(gguf_n_tensors(g[0]), gguf_n_tensors(g[1]));
    for (size_t i = 0; i < gguf_n_tensors(g[0]); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g[0], i);
        char name[64];
        struct wsrc a, b;
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        if (t->type == 1 && r->least < 1 && !(r->most > 0))
            continue;                       /* another embedding */
        ck_assert_msg(!wsrc_open(&a, g[0], t, NULL, &e), "%s", e.text);
        ck_assert_msg(!wsrc_open(&b, g[1], gguf_tensor(g[1], name), &opts, &e), "%s", e.text);
        if (a.format == BNP_FMT_T2 && r->most > 0) {
            worst = fmax(worst, apart(&b, &a));
            n++;
            continue;
        }
        ck_assert_uint_eq(a.format, b.format);
        if (a.format == BNP_FMT_T2) {
            ck_assert_msg(scale_of(&a) == scale_of(&b), "tensor %s: another scale", name);
            n++;
        }
        same_rows(&a, &b);
    }
    ck_assert_uint_eq(n, 42);
    if (r->most > 0)
        printf("%s: relative error of matrices %.2g at most\n", r->name, worst);
    ck_assert_double_le(worst, r->most);
    gguf_close(g[0]);
    gguf_close(g[1]);
}

/* --------------------------------------------------------------- its logits */

static float *logits_of(const struct rig_opts *o, uint32_t *n_row, uint32_t *n_vocab)
{
    struct rig r;
    rig_open(&r, o);
    *n_vocab = r.model->hp.n_vocab;
    *n_row = 0;
    for (int i = 0; i < N_PROMPT; i++)
        *n_row += golden[i].n;
    float *out = malloc((size_t)*n_row * *n_vocab * sizeof *out), *at = out;
    ck_assert_ptr_nonnull(out);
    for (int i = 0; i < N_PROMPT; i++) {
        rig_logits(&r, golden[i].id, golden[i].n, 0, at);
        at += (size_t)golden[i].n * *n_vocab;
    }
    rig_close(&r);
    return out;
}

static void same_logits(const char *path, const struct recipe *r)
{
    uint32_t n_row, n_vocab;
    const struct rig_opts other = { .model = path, .layout = r->layout, .tl_preset = r->tl_preset };
    const float *want = story_logits;
    float *got = logits_of(&other, &n_row, &n_vocab);
    const bool same = !memcmp(want, got, (size_t)n_row * n_vocab * sizeof *got);
    double worst = 1;
    for (uint32_t i = 0; i < n_row; i++)
        worst = fmin(worst, correlation(want + (size_t)i * n_vocab, got + (size_t)i * n_vocab,
                                        n_vocab));
    if (same)
        printf("%s: the same weights, the same bits at %u positions\n", r->name, n_row);
    else
        printf("%s: %s weights; correlation at the worst of %u positions %.6f\n", r->name,
               r->most > 0 ? "other" : "the same", n_row, worst);
    ck_assert(same == (r->least == 1));
    ck_assert_double_ge(worst, r->least - 1e-12);
    free(got);
}

/* Once, for all of them. */
static void open_prompts(void)
{
    uint32_t n_row, n_vocab;
    const struct rig_opts story = { .model = STORY };
    rig_golden(golden);
    story_logits = logits_of(&story, &n_row, &n_vocab);
}

static void close_prompts(void)
{
    rig_golden_free(golden);
    free(story_logits);
}

START_TEST(a_file_of_another_program_is_the_same_model)
{
    const struct recipe *r = &recipe[_i];
    char path[1024];
    if (originals && r->sha256) {
        snprintf(path, sizeof path, "%s/%s.gguf", originals, r->name);
    } else if (!originals && r->matrix) {
        snprintf(path, sizeof path, "%s", built);
        build(r, path);
    } else if (r->how == KEPT) {
        snprintf(path, sizeof path, "tests/golden/models/%s.gguf", r->name);
    } else {
        return;                             /* only read where the original is */
    }
    if (r->sha256 && (originals || r->how != OTHER_ZEROS))
        check_sum(path, r->sha256);
    same_weights(path, r);
    same_logits(path, r);
}
END_TEST

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    originals = argc > 1 ? argv[1] : NULL;
    if (sodium_init() < 0)
        return 2;
    snprintf(built, sizeof built, "/tmp/bitnet-formats.%d.gguf", (int)getpid());
    Suite *s = suite_create("formats");
    TCase *c = tcase_create("formats");
    tcase_set_timeout(c, 300);
    tcase_add_unchecked_fixture(c, open_prompts, close_prompts);
    tcase_add_loop_test(c, a_file_of_another_program_is_the_same_model, 0, N_RECIPE);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    unlink(built);                          /* here, so that a failing child leaves nothing */
    return failed != 0;
}
