/* gguf_files.c - writes the files that tests keep in the tree:
 *
 *   gguf_files refused tests/golden/refused   gguf_bad.h's table
 *   gguf_files seeds tests/fuzz/seeds/gguf    small good models for the fuzzer */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "gguf_bad.h"
#include "ternary_make.h"

static int save(const char *dir, const char *name, struct buf *bytes)
{
    char path[1024];
    struct err e = { 0 };
    struct file_out out;
    snprintf(path, sizeof path, "%s/%s.gguf", dir, name);
    int rc = file_out_open(&out, path, &e);
    if (!rc)
        rc = file_out_write(&out, bytes->p, bytes->n, &e);
    if (!rc)
        rc = file_out_commit(&out, &e);
    if (rc) {
        file_out_abort(&out);
        fprintf(stderr, "gguf_files: %s\n", e.text);
    }
    buf_free(bytes);
    return rc;
}

static int refused(const char *dir)
{
    for (size_t i = 0; i < n_gguf_bad; i++) {
        struct buf bytes;
        gguf_bad_make(&gguf_bad[i], &bytes);
        if (save(dir, gguf_bad[i].name, &bytes))
            return 1;
    }
    return 0;
}

static int seeds(const char *dir)
{
    static const struct { const char *name; struct tiny tiny; } seed[] = {
        { "i2_s", { 0 } }, { "i2_s-v1", { .version = 1 } }, { "llama-f16", { .arch = "llama",
        .linear = 1 } }, { "bitnet-bf16", { .arch = "bitnet", .linear = 30, .embd = 30 } },
        { "q8_0", { .n_embd = 32, .linear = 8, .embd = 8, .version = 2 } },
        { "f32", { .arch = "bitnet-25", .linear = 0, .embd = 36, .n_embd = 32 } },
        { "tq1_0-q6_k", { .n_embd = 256, .linear = 34, .embd = 14 } },
        { "qwen3", { .arch = "qwen3", .head_dim = 12, .linear = 30 } },
        { "gemma3", { .arch = "gemma3", .head_dim = 12, .proj_norm = true } }
    };
    for (size_t i = 0; i < sizeof seed / sizeof seed[0]; i++) {
        struct gguf_make m;
        struct buf bytes = { 0 };
        gguf_make_tiny(&m, &seed[i].tiny);
        gguf_make_done(&m, &bytes);
        gguf_make_free(&m);
        if (save(dir, seed[i].name, &bytes))
            return 1;
    }
    return 0;
}

/* The tiny model's matrices, all of one type, in another encoding. */
static void reencode(struct gguf_make *m, uint32_t type, enum ternary_make kind)
{
    const struct ternary_tiles tiles = { 32, kind == MAKE_TL1 ? 64 : 48, 32 };
    uint64_t state = 11;
    for (unsigned i = 0; i < m->n_t; i++) {
        struct make_tensor *t = &m->t[i];
        if (t->type != 36)
            continue;
        const uint32_t rows = (uint32_t)t->ne[1], cols = (uint32_t)t->ne[0];
        int8_t *w = malloc((size_t)rows * cols);
        float *scale = calloc((size_t)rows * cols / 32 + rows, sizeof *scale);
        if (!w || !scale)
            abort();
        for (size_t k = 0; k < (size_t)rows * cols; k++)
            w[k] = (int8_t)((int)(make_random(&state) % 3) - 1);
        for (size_t k = 0; k < (size_t)rows * cols / 32 + rows; k++)
            scale[k] = 0.25f + 0.25f * (float)(k / 3);
        t->type = type;
        buf_clear(&t->data);
        ternary_make(kind, rows, cols, &tiles, w, scale, &t->data);
        free(w);
        free(scale);
    }
    gguf_make_place(m);
}

static int ternary_seeds(const char *dir)
{
    static const struct { const char *name; uint32_t type, n_embd; enum ternary_make kind; } seed[] = {
        { "iq1_bn", 134, 64, MAKE_IQ1_BN }, { "iq2_bn", 135, 64, MAKE_IQ2_BN },
        { "iq2_bn_r4", 335, 64, MAKE_IQ2_BN_R4 }, { "iq1_bn-bare", 31, 64, MAKE_BARE_IQ1_BN },
        { "iq2_bn-bare", 35, 64, MAKE_BARE_IQ2_BN }, { "tl1", 38, 64, MAKE_TL1 },
        { "tl2", 39, 256, MAKE_TL2 }, { "rs-inline32", 36, 32, MAKE_RS_INLINE32 },
        { "rs-qk256", 36, 32, MAKE_RS_QK256 }
    };
    for (size_t i = 0; i < sizeof seed / sizeof seed[0]; i++) {
        struct gguf_make m;
        struct buf bytes = { 0 };
        const struct tiny tiny = { .n_embd = seed[i].n_embd };
        const float one = 1;
        gguf_make_tiny(&m, &tiny);
        reencode(&m, seed[i].type, seed[i].kind);
        if (seed[i].kind == MAKE_BARE_IQ1_BN || seed[i].kind == MAKE_BARE_IQ2_BN)
            gguf_make_tensor(&m, "blk.0.attn_q.scale", 0, 0, 1, &one, sizeof one);
        gguf_make_done(&m, &bytes);
        gguf_make_free(&m);
        if (save(dir, seed[i].name, &bytes))
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "refused"))
        return refused(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "seeds"))
        return seeds(argv[2]) || ternary_seeds(argv[2]);
    fprintf(stderr, "usage: gguf_files refused|seeds DIR\n");
    return 2;
}
