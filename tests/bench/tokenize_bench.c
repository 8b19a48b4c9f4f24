/* tokenize_bench.c - how fast text becomes token ids.
 *
 *     tokenize_bench VOCAB.gguf TEXT [PRE [PASSES]]
 *
 * Encodes the file TEXT in parts of 64 KiB, PASSES times (default 5), and
 * prints the rate of each pass: processor time of one thread, so other work on
 * the machine counts only by what it takes of the caches. The vocabulary's
 * load time is printed first. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/file.h"
#include "core/base/utf8.h"
#include "core/model/vocab.h"

enum { PART = 64 << 10, MAX_PASSES = 100 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "%s: %s\n", what, e->text);
    exit(1);
}

static struct vocab *open_vocab(const char *path, const char *pre)
{
    struct err e = { 0 };
    struct gguf *g;
    struct vocab *v;
    char warn[256];
    if (gguf_open(&g, path, &e))
        die(path, &e);
    const double start = now_s();
    if (vocab_open(&v, g, pre, warn, &e))
        die(path, &e);
    printf("%s: %u tokens, loaded in %.1f ms\n", vocab_kind(v), vocab_n(v),
           (now_s() - start) * 1e3);
    gguf_close(g);
    return v;
}

static size_t encode_all(const struct vocab *v, const char *p, size_t n, struct tokens *t)
{
    struct err e = { 0 };
    size_t tokens = 0;
    for (size_t at = 0; at < n;) {
        const size_t part = n - at < PART ? n - at : utf8_whole(p + at, PART);
        t->n = 0;
        if (vocab_encode(v, p + at, part, VOCAB_SPECIAL, 0, t, &e))
            die("encode", &e);
        tokens += t->n;
        at += part;
    }
    return tokens;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    const int want = argc > 4 ? atoi(argv[4]) : 5;
    if (argc < 3 || want < 1 || want > MAX_PASSES) {
        fprintf(stderr, "usage: tokenize_bench VOCAB.gguf TEXT [PRE [PASSES]]\n");
        return 2;
    }
    struct err e = { 0 };
    char *text;
    size_t n;
    if (file_read(argv[2], (size_t)1 << 30, &text, &n, &e))
        die(argv[2], &e);
    struct vocab *const v = open_vocab(argv[1], argc > 3 ? argv[3] : NULL);
    struct tokens t = { 0 };
    double rate[MAX_PASSES];
    size_t tokens = 0;
    for (int i = 0; i < want; i++) {
        const double start = now_s();
        tokens = encode_all(v, text, n, &t);
        rate[i] = (double)tokens / (now_s() - start);
    }
    qsort(rate, (size_t)want, sizeof *rate, by_value);
    const double bytes = (double)n / (double)tokens;
    printf("%zu bytes, %zu tokens, %d passes: median %.3f million tokens/s (%.1f MB/s), "
           "slowest %.3f, fastest %.3f\n", n, tokens, want, rate[want / 2] * 1e-6,
           rate[want / 2] * bytes * 1e-6, rate[0] * 1e-6, rate[want - 1] * 1e-6);
    free(t.id);
    free(text);
    vocab_close(v);
    return 0;
}
