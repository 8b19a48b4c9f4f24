/* attn_bench.c - what does attention cost beside reading its keys and values?
 *
 *   attn_bench DIR ID [THREADS [ROUNDS]]
 *
 * A device of plugin ID in DIR, the heads of a 2B-4T model, f16 and int8.
 * Decoding: LAYERS pools, together several times the last cache, one after the
 * other, so that each call reads its KV from memory; in turns with it the same
 * workers plainly read the same pool, because other programs come and go.
 * Prefill: a chunk of rows at the end of a context, in multiply-adds per
 * second. Best of all rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/plug/plug.h"

enum { LAYERS = 12, MAX_CTX = 4096 + 128, PAGE = 16, PAGES = MAX_CTX / PAGE, MAX_TOK = 128 };

static const struct { uint32_t depth, n_tok; } shape[] = {
    { 512, 1 }, { 4096, 1 }, { 4096, 2 }, { 0, 128 }, { 4096, 128 }
};
enum { N_SHAPE = sizeof shape / sizeof *shape };
static const uint32_t kv_format[] = { BNP_KV_F16, BNP_KV_I8 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "attn_bench: %s\n", what);
    exit(1);
}

struct bench {
    struct plug *plug;
    struct dev *dev;
    bnp_stream *stream;
    bnp_attn_desc d;
    bnp_span pool[LAYERS], scratch;
    bnp_rows q, k, v, out;
    double best[2][N_SHAPE], read[2];       /* seconds; GB/s            */
};

static bnp_span span(struct bench *b, uint64_t size)
{
    const bnp_span s = { plug_mem_alloc(b->plug, size, BNP_ALIGN), 0, size };
    need(s.base != NULL, "no memory");
    return s;
}

static bnp_rows rows(struct bench *b, uint32_t cols)
{
    const bnp_rows r = { .mem = span(b, MAX_TOK * 4ull * cols), .stride = 4ull * cols,
                         .n_tok = MAX_TOK, .cols = cols };
    float *x = r.mem.base;
    for (uint32_t i = 0; i < MAX_TOK * cols; i++)
        x[i] = (float)(i * 2654435761u >> 8) * 0x1p-23f - 1.0f;
    return r;
}

/* Rows at positions from..from+n-1 of one sequence; pages lie scattered. */
static void step(struct bench *b, uint32_t from, uint32_t n)
{
    static int32_t id[MAX_TOK], pos[MAX_TOK], page[PAGES];
    const int32_t start[2] = { 0, (int32_t)n }, len = (int32_t)(from + n);
    for (uint32_t i = 0; i < n; i++)
        pos[i] = (int32_t)(from + i);
    for (uint32_t i = 0; i < PAGES; i++)
        page[i] = (int32_t)(i * 89u % PAGES);           /* 264 pages, 89 is prime */
    const bnp_step st = { .struct_size = sizeof st, .n_tok = n, .n_seq = 1, .max_pages = PAGES,
                          .id = id, .pos = pos, .seq_start = start, .kv_len = &len, .page = page };
    need(!b->dev->ops->step_begin(b->stream, &st), "step_begin");
    b->q.n_tok = b->k.n_tok = b->v.n_tok = b->out.n_tok = n;
}

static void end(struct bench *b)
{
    uint64_t ticket;
    need(!b->dev->ops->step_end(b->stream, &ticket), "step_end");
}

static void fill(struct bench *b)
{
    for (uint32_t at = 0; at < MAX_CTX; at += MAX_TOK) {
        step(b, at, MAX_TOK);
        for (uint32_t l = 0; l < LAYERS; l++)
            need(!b->dev->attn->append(b->stream, &b->d, b->pool[l], &b->k, &b->v), "append");
        end(b);
    }
}

static void format_open(struct bench *b, uint32_t format)
{
    bnp_offer offer = { .struct_size = sizeof offer };
    uint64_t size = 0;
    b->d.kv_format = format;
    need(!b->dev->attn->query(b->dev->d, &b->d, &offer) &&
         !b->dev->attn->page_size(b->dev->d, &b->d, &size), "query");
    for (uint32_t l = 0; l < LAYERS; l++)
        b->pool[l] = span(b, size * PAGES);
    b->scratch = span(b, offer.scratch_size);
    fill(b);
}

static void format_close(struct bench *b)
{
    for (uint32_t l = 0; l < LAYERS; l++)
        plug_mem_free(b->plug, b->pool[l].base);
    plug_mem_free(b->plug, b->scratch.base);
}

static volatile uint64_t sink;

/* One of n tasks' share of a span. */
struct reading {
    bnp_span span;
    uint32_t n;
};

static void read_part(void *arg, uint32_t task, uint32_t worker)
{
    const struct reading *r = arg;
    const uint64_t lines = r->span.size / 64 / r->n;
    const uint64_t *p = (const uint64_t *)r->span.base + task * lines * 8;
    uint64_t x[8] = { 0 };
    (void)worker;
    for (uint64_t i = 0; i < lines; i++, p += 8)
        for (int k = 0; k < 8; k++)
            x[k] |= p[k];
    sink = x[0] | x[1] | x[2] | x[3] | x[4] | x[5] | x[6] | x[7];
}

static double read_gbs(struct bench *b, bnp_span pool)
{
    struct reading r = { pool, b->plug->topo.abi.n_workers };
    const double start = now_s();
    workers_run(b->plug->workers, r.n, BNP_PAR_STATIC, read_part, &r);
    return (double)pool.size / (now_s() - start) * 1e-9;
}

/* Seconds for a call. */
static double call(struct bench *b, uint32_t f, uint32_t i)
{
    const uint32_t n = shape[i].n_tok, from = shape[i].depth - (n < 128 ? n : 0);
    double best = 1e9, *read = &b->read[f];
    step(b, from, n);
    for (uint32_t l = 0; l < (n < 128 ? (uint32_t)LAYERS : 1); l++) {
        const double start = now_s();
        need(!b->dev->attn->attend(b->stream, &b->d, b->pool[l], &b->q, &b->out, b->scratch),
             "attend");
        const double s = now_s() - start, gbs = read_gbs(b, b->pool[(l + LAYERS / 2) % LAYERS]);
        best = s < best ? s : best;
        *read = gbs > *read ? gbs : *read;
    }
    end(b);
    return best;
}

/* Bytes of keys and values that a row at the end of a context reads. */
static double kv_bytes(const struct bench *b, uint32_t format, uint32_t keys)
{
    const double head = format == BNP_KV_I8 ? b->d.head_dim + 4.0 : b->d.head_dim * 2.0;
    return 2.0 * head * b->d.n_head_kv * keys;
}

static void show(const struct bench *b)
{
    printf("read: %.1f GB/s from pools of f16, %.1f of int8\n"
           "| KV | depth | rows | us | GB/s of KV | of read | GFMA/s |\n"
           "|---|---|---|---|---|---|---|\n", b->read[0], b->read[1]);
    for (uint32_t f = 0; f < 2; f++) {
        for (uint32_t i = 0; i < N_SHAPE; i++) {
            const double s = b->best[f][i], n = shape[i].n_tok;
            const double keys = n < 128 ? shape[i].depth : shape[i].depth + n / 2;
            const double read = b->read[f], gbs = kv_bytes(b, kv_format[f], (uint32_t)keys) / s * 1e-9;
            printf("| %s | %u | %u | %.1f | %.1f | %.2f | %.1f |\n", f ? "int8" : "f16",
                   shape[i].depth, shape[i].n_tok, s * 1e6, gbs, gbs / read,
                   2 * n * keys * b->d.n_head * b->d.head_dim / s * 1e-9);
        }
    }
}

int main(int argc, char **argv)
{
    need(argc >= 3, "usage: attn_bench DIR ID [THREADS [ROUNDS]]");
    struct bench b = { .d = { .struct_size = sizeof b.d, .n_head = 20, .n_head_kv = 5,
                              .head_dim = 128, .page_tok = PAGE, .max_kv = MAX_CTX,
                              .max_tok = MAX_TOK, .scale = 0.08838835f } };
    const struct plug_opts o = { .dir = argv[1], .only = argv[2], .bind = true,
                                 .isa_mask = UINT64_MAX, .no_test = true,
                                 .n_threads = argc > 3 ? (uint32_t)atoi(argv[3]) : 0 };
    const int rounds = argc > 4 ? atoi(argv[4]) : 5;
    struct err e = { 0 };
    if (plug_open(&b.plug, &o, &e)) {
        fprintf(stderr, "attn_bench: %s\n", e.text);
        return 1;
    }
    for (unsigned i = 0; i < b.plug->n_dev && !b.dev; i++)
        if (!strcmp(b.plug->dev[i]->plugin->note.raw.id, argv[2]) && b.plug->dev[i]->attn)
            b.dev = b.plug->dev[i];
    for (unsigned i = 0; i < b.plug->n_entry && !b.dev; i++)
        fprintf(stderr, "%s: %s\n", b.plug->entry[i]->file, b.plug->entry[i]->reason);
    need(b.dev != NULL, "no such device");
    const bnp_limits lim = { .struct_size = sizeof lim, .max_tok = MAX_TOK, .max_seq = 1,
                             .max_pages = PAGES, .max_out = 1 };
    need(!b.dev->ops->stream_open(b.dev->d, &lim, &b.stream), "stream_open");
    b.q = rows(&b, 20 * 128);
    b.out = rows(&b, 20 * 128);
    b.k = rows(&b, 5 * 128);
    b.v = rows(&b, 5 * 128);
    workers_bind_caller(b.plug->workers);
    for (uint32_t i = 0; i < 2 * N_SHAPE; i++)
        b.best[i / N_SHAPE][i % N_SHAPE] = 1e9;
    for (int r = 0; r < rounds; r++) {
        for (uint32_t f = 0; f < 2; f++) {
            format_open(&b, kv_format[f]);
            for (uint32_t i = 0; i < N_SHAPE; i++) {
                const double s = call(&b, f, i);
                b.best[f][i] = s < b.best[f][i] ? s : b.best[f][i];
            }
            format_close(&b);
        }
    }
    show(&b);
    b.dev->ops->stream_close(b.stream);
    plug_mem_free(b.plug, b.q.mem.base);
    plug_mem_free(b.plug, b.out.mem.base);
    plug_mem_free(b.plug, b.k.mem.base);
    plug_mem_free(b.plug, b.v.mem.base);
    plug_close(b.plug);
    return 0;
}
