/* grammar_bench.c - what masks cost on a real vocabulary.
 *
 *     grammar_bench VOCAB.gguf GRAMMAR.gbnf|SCHEMA.json [DOCUMENT...]
 *
 * Each document is tokenized and read token by token; before every token the
 * mask is made, then one token is asked for, then it is accepted. The first
 * pass over all documents finds an empty automaton, the second does not. A
 * document that the grammar does not allow is said so, with its place. Without
 * documents it reads texts of its own: 200 tokens, each drawn from the mask. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/file.h"
#include "core/engine/grammar.h"
#include "core/serve/api_schema.h"
#include "tests/unit/noise.h"

enum { MAX_TIME = 1 << 20, N_OWN = 8, OWN_TOKENS = 200 };

struct times {
    double *us;
    size_t n;
};

/* Of this thread: other work on the machine does not count. */
static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void times_add(struct times *t, double us)
{
    if (t->n < MAX_TIME)
        t->us[t->n++] = us;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void times_print(struct times *t, const char *what)
{
    double sum = 0;
    qsort(t->us, t->n, sizeof *t->us, by_value);
    for (size_t i = 0; i < t->n; i++)
        sum += t->us[i];
    if (t->n)
        printf("%-14s %7zu calls  median %8.1f  p99 %8.1f  worst %8.1f  mean %8.1f us\n", what, t->n,
               t->us[t->n / 2], t->us[t->n * 99 / 100], t->us[t->n - 1], sum / (double)t->n);
    t->n = 0;
}

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "%s: %s\n", what, e->text);
    exit(1);
}

struct bench {
    struct vocab *vocab;
    struct grammar *grammar;
    struct times mask, allows, accept;
    uint64_t seed;
};

static bool one(struct bench *b, struct grammar_state *s, int32_t id)
{
    const double t0 = now_us();
    const uint32_t *const mask = grammar_mask(s);
    const double t1 = now_us();
    const bool allowed = grammar_allows(s, id);
    const double t2 = now_us();
    const bool moved = grammar_accept(s, id, NULL) == 0;
    const double t3 = now_us();
    times_add(&b->mask, t1 - t0);
    times_add(&b->allows, t2 - t1);
    times_add(&b->accept, t3 - t2);
    if (allowed != moved || allowed != (mask && mask[id / 32] >> (id % 32) & 1)) {
        fprintf(stderr, "token %d: mask, allows and accept differ\n", id);
        exit(1);
    }
    return moved;
}

static void read_document(struct bench *b, const char *path)
{
    struct file_map f;
    struct err e = { 0 };
    struct tokens t = { 0 };
    struct grammar_state *s;
    if (file_map(&f, path, &e) || vocab_encode(b->vocab, (const char *)f.p, f.n, 0, 0, &t, &e) ||
        grammar_state_open(&s, b->grammar, &e))
        die(path, &e);
    for (size_t i = 0; i < t.n; i++)
        if (!one(b, s, t.id[i])) {
            printf("%s: token %zu of %zu is not allowed\n", path, i, t.n);
            break;
        }
    grammar_state_close(s);
    free(t.id);
    file_unmap(&f);
}

/* A token out of the mask; the xorshift of Marsaglia, 2003. */
static int32_t draw(struct bench *b, const uint32_t *mask)
{
    const uint32_t n_word = (vocab_n(b->vocab) + 31) / 32;
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_word; i++)
        n += (uint32_t)__builtin_popcount(mask[i]);
    uint32_t k = (uint32_t)(noise_next(&b->seed) % n);
    for (uint32_t i = 0;; i++)
        for (uint32_t w = mask[i]; w; w &= w - 1)
            if (k-- == 0)
                return (int32_t)(i * 32 + (uint32_t)__builtin_ctz(w));
}

static void read_own(struct bench *b)
{
    struct err e = { 0 };
    struct grammar_state *s;
    if (grammar_state_open(&s, b->grammar, &e))
        die("state", &e);
    for (int i = 0; i < OWN_TOKENS && !grammar_is_done(s); i++) {
        const double t0 = now_us();
        const uint32_t *const mask = grammar_mask(s);
        times_add(&b->mask, now_us() - t0);
        if (!mask) {
            printf("%s\n", grammar_trouble(s));
            break;
        }
        const int32_t id = draw(b, mask);
        if (!one(b, s, id))
            exit(1);
    }
    grammar_state_close(s);
}

int main(int argc, char **argv)
{
    struct err e = { 0 };
    struct gguf *g;
    struct file_map f;
    struct buf gbnf = { 0 };
    struct grammar_vocab *gv;
    struct bench b = { .seed = 88172645463325252u };
    char warn[256];
    if (argc < 3) {
        fprintf(stderr, "usage: grammar_bench VOCAB.gguf GRAMMAR.gbnf|SCHEMA.json [DOCUMENT...]\n");
        return 2;
    }
    if (gguf_open(&g, argv[1], &e) || vocab_open(&b.vocab, g, NULL, warn, &e))
        die(argv[1], &e);
    if (file_map(&f, argv[2], &e))
        die(argv[2], &e);
    const size_t length = strlen(argv[2]);
    if (length > 5 && strcmp(argv[2] + length - 5, ".json") == 0) {
        if (api_schema_to_gbnf((const char *)f.p, f.n, &gbnf, &e))
            die(argv[2], &e);
    } else {
        buf_add(&gbnf, f.p, f.n);
    }
    double t0 = now_us();
    if (grammar_vocab_open(&gv, b.vocab, NULL, 0, &e))
        die("vocabulary", &e);
    printf("vocabulary: %u tokens sorted in %.1f ms\n", vocab_n(b.vocab), (now_us() - t0) / 1e3);
    t0 = now_us();
    if (grammar_compile(&b.grammar, gv, gbnf.p ? gbnf.p : "", gbnf.n, &e))
        die("grammar", &e);
    printf("grammar: %zu bytes compiled in %.2f ms %s\n", gbnf.n, (now_us() - t0) / 1e3,
           grammar_note(b.grammar));
    b.mask.us = calloc(MAX_TIME, sizeof(double));
    b.allows.us = calloc(MAX_TIME, sizeof(double));
    b.accept.us = calloc(MAX_TIME, sizeof(double));
    if (!b.mask.us || !b.allows.us || !b.accept.us)
        return 1;
    for (int pass = 1; pass <= 2; pass++) {
        printf("pass %d\n", pass);
        for (int i = 3; i < argc; i++)
            read_document(&b, argv[i]);
        for (int i = 0; i < N_OWN && argc == 3; i++)
            read_own(&b);
        times_print(&b.mask, "mask");
        times_print(&b.allows, "allows");
        times_print(&b.accept, "accept");
    }
    free(b.mask.us);
    free(b.allows.us);
    free(b.accept.us);
    grammar_unref(b.grammar);
    grammar_vocab_unref(gv);
    buf_free(&gbnf);
    file_unmap(&f);
    vocab_close(b.vocab);
    gguf_close(g);
    return 0;
}
