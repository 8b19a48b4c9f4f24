/* gguf_files.c - writes the files that tests keep in the tree:
 *
 *   gguf_files refused tests/golden/refused   gguf_bad.h's table
 *   gguf_files seeds tests/fuzz/seeds/gguf    small good models for the fuzzer */
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "gguf_bad.h"

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
        { "tq1_0-q6_k", { .n_embd = 256, .linear = 34, .embd = 14 } }
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

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "refused"))
        return refused(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "seeds"))
        return seeds(argv[2]);
    fprintf(stderr, "usage: gguf_files refused|seeds DIR\n");
    return 2;
}
