/* kern_bench.c - how fast are ternary kernels, per clock cycle and from memory?
 *
 *   kern_bench [ROUNDS]
 *
 * Other programs and the clock change under a measurement. So each takes well
 * under a millisecond, all are repeated in turns, and the best of each is
 * shown; the clock likewise, by a chain of operations of known latency.
 *
 * L2: a few panels, again and again. RAM: LARGE bytes of panels from front to
 * back, so that nothing is found in a cache. One thread. */
#include "tests/bench/kern_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COLS 2560u
#define SMALL ((size_t)160 << 10)
#define LARGE ((size_t)96 << 20)
#define MAX_KERNELS 8u

static const uint32_t toks[] = { 1, 2, 3, 4, 6, 8, 16, 32, 128 };
enum { N_TOKS = sizeof toks / sizeof *toks };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Cycles per second: a multiplication waits for an or, and the or for it. */
static double clock_hz(void)
{
    const uint32_t n = 100000;
    uint32_t x = 3;
    const double start = now_s();
    for (uint32_t i = 0; i < n; i++) {
        x *= x | 5;
        __asm__ volatile("" : "+r"(x));
    }
    return n * 4.0 / (now_s() - start);     /* 3 to multiply, 1 to or */
}

struct subject {
    const struct tern *t;
    uint8_t *panels;            /* [n_panel], LARGE bytes                    */
    size_t panel_size, n_panel;
    uint8_t *act, *scratch;
    size_t act_stride;
    double l2[N_TOKS];          /* seconds for a weight and a token          */
    double ram[N_TOKS];         /* seconds for all panels                    */
};

static void *get(size_t size)
{
    void *p = aligned_alloc(64, (size + 127) / 64 * 64);
    if (!p) {
        perror("kern_bench");
        exit(1);
    }
    memset(p, 0, (size + 127) / 64 * 64);
    return p;
}

static int32_t sums[KERN_TOK];      /* their values do not change the time */
static int32_t acc[KERN_TOK * 128];

static void fill_panels(struct subject *s)
{
    uint8_t *rows = get((size_t)s->t->panel_rows * COLS / 4);
    uint32_t x = 1;
    for (size_t i = 0; i < (size_t)s->t->panel_rows * COLS; i++) {
        x = x * 1664525u + 1013904223u;
        rows[i / 4] |= (uint8_t)((x >> 16) % 3 << 2 * (i % 4));
    }
    s->t->pack(rows, COLS / 4, COLS, s->panels);
    for (size_t p = 1; p < s->n_panel; p++)
        memcpy(s->panels + p * s->panel_size, s->panels, s->panel_size);
    free(rows);
}

static void open_subject(struct subject *s, const struct tern *t)
{
    *s = (struct subject){ .t = t, .panel_size = t->panel_size(COLS) };
    s->n_panel = LARGE / s->panel_size;
    s->panels = get(s->n_panel * s->panel_size);
    fill_panels(s);
    s->act_stride = (t->act_size ? t->act_size(COLS) : (COLS + 63) / 64 * 64) + 64;
    s->act = get(KERN_TOK * s->act_stride);
    s->scratch = get(t->scratch);
    int8_t q[COLS];
    for (uint32_t k = 0; k < KERN_TOK; k++) {
        for (uint32_t i = 0; i < COLS; i++)
            q[i] = (int8_t)((i * 37 + k * 11) % 255 - 127);
        if (t->build)
            t->build(q, COLS, s->act + k * s->act_stride);
        else
            memcpy(s->act + k * s->act_stride, q, COLS);
    }
    for (int i = 0; i < N_TOKS; i++)
        s->l2[i] = s->ram[i] = 1e9;
}

/* Seconds for the first n panels, `times` times over. */
static double run(struct subject *s, uint32_t n_tok, size_t n, size_t times)
{
    const double start = now_s();
    for (size_t i = 0; i < times; i++)
        for (size_t p = 0; p < n; p++)
            s->t->dot(&(struct tern_call){
                .panel = s->panels + p * s->panel_size, .cols = COLS, .n_cols = COLS,
                .n_tok = n_tok, .act = s->act, .act_stride = s->act_stride, .sum = sums,
                .acc = acc, .scratch = s->scratch });
    return now_s() - start;
}

/* ram: all panels too, which takes long. */
static void measure(struct subject *s, int i, bool ram)
{
    const size_t n = SMALL / s->panel_size;
    const double macs = (double)n * s->t->panel_rows * COLS * toks[i];
    const size_t times = 1 + (size_t)(1e7 / macs);
    run(s, toks[i], n, 1);
    const double t = run(s, toks[i], n, times) / (macs * (double)times);
    if (t < s->l2[i])
        s->l2[i] = t;
    if (!ram)
        return;
    const double all = run(s, toks[i], s->n_panel, 1);
    if (all < s->ram[i])
        s->ram[i] = all;
}

/* Seconds to read all panels with nothing else to do. */
static double read_all(const struct subject *s)
{
    const uint64_t *p = (const uint64_t *)(const void *)s->panels;
    const size_t n = s->n_panel * s->panel_size / sizeof *p;
    uint64_t x = 0;
    const double start = now_s();
    for (size_t i = 0; i < n; i += 8) {         /* a cache line */
        __builtin_prefetch(p + i + 512);
        x += p[i];
    }
    __asm__ volatile("" : : "r"(x));
    return now_s() - start;
}

static void print(const struct subject *s, double hz)
{
    const double size = (double)s->n_panel * (double)s->panel_size;
    const double weights = (double)s->n_panel * s->t->panel_rows * COLS;
    for (int i = 0; i < N_TOKS; i++) {
        printf("%-10s %6u %12.1f", s->t->name, toks[i], 1 / (s->l2[i] * hz));
        if (s->ram[i] < 1e9)
            printf(" %10.1f %10.1f", weights * toks[i] / s->ram[i] / 1e9, size / s->ram[i] / 1e9);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    static struct subject all[MAX_KERNELS];
    const int rounds = argc > 1 ? atoi(argv[1]) : 40;
    double hz = 0, read = 1e9;
    unsigned n = 0;
    for (; n < MAX_KERNELS && kern_bench_list[n]; n++)
        open_subject(&all[n], kern_bench_list[n]);
    for (int r = 0; r < rounds; r++) {
        const double t = r % 8 ? read : read_all(&all[0]);
        read = t < read ? t : read;
        for (int i = 0; i < N_TOKS; i++)
            for (unsigned k = 0; k < n; k++) {
                const double f = clock_hz();
                hz = f > hz ? f : hz;
                measure(&all[k], i, toks[i] <= 8 && r % 8 == 0);
            }
    }
    printf("%.2f GHz, %u columns, one thread; RAM is read at %.1f GB/s\n", hz / 1e9, COLS,
           (double)all[0].n_panel * (double)all[0].panel_size / read / 1e9);
    printf("%-10s %6s %12s %10s %10s\n", "packing", "tokens", "L2 MAC/cycle", "RAM GMAC/s",
           "RAM GB/s");
    for (unsigned k = 0; k < n; k++)
        print(&all[k], hz);
    return 0;
}
