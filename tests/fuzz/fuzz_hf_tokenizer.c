/* fuzz_hf_tokenizer.c - any bytes as the tokenizer files of a directory: they
 * are refused with one line, or their keys open as a GGUF.
 *
 * The input is the JSON files one behind the other, a NUL between them; without
 * a { in front it is a tokenizer.model. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/hf_make.h"
#include "tests/fuzz/fuzz.h"

/* The next file; p NULL when nothing is left. */
static struct str take(const char **p, const char *end)
{
    if (*p >= end)
        return (struct str){ NULL, 0 };
    const char *const from = *p, *const stop = memchr(from, 0, (size_t)(end - from));
    const struct str s = { from, (size_t)((stop ? stop : end) - from) };
    *p = stop ? stop + 1 : end;
    return s;
}

static void read_files(const struct hf_tokenizer_files *f, uint32_t n_vocab)
{
    struct gguf *g;
    struct buf bytes;
    struct vocab *v = NULL;
    struct err e = { 0 };
    char warn[256];
    int rc = hf_make_gguf(&g, &bytes, f, n_vocab, &e);
    if (rc == 0)
        rc = vocab_open(&v, g, NULL, warn, &e);
    require(rc == e.code && (rc < 0) == (e.text[0] != 0) && !strchr(e.text, '\n'));
    vocab_close(v);
    gguf_close(g);
    buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *p = (const char *)data;
    const char *const end = p + n;
    struct hf_tokenizer_files f = { 0 };
    struct str *const file[] = { &f.tokenizer, &f.config, &f.special, &f.generation, &f.model,
                                 &f.chat_template };
    if (n && *data != '{') {
        f.pieces = (struct str){ p, n };
        p = end;
    }
    for (size_t i = 0; i < sizeof file / sizeof *file; i++)
        *file[i] = take(&p, end);
    /* Ids may be large, and each is a row: the memory of one run is bounded. */
    read_files(&f, 4096);
    return 0;
}
