/* topk.c - topk [--wrong] PLUGIN.so [MODEL.gguf]: the k largest logits of a
 * head are those that mul and a sort give, bit for bit.
 *
 * Rows are chosen to be hard to tell apart: copies (the smaller id wins), one
 * unit in the last place between them, one huge weight each, none but
 * denormals, a row and its negative; and the embedding of a real model. They
 * lie before a page that nobody may read, and are offered in place every other
 * time. With --wrong the plugin must be caught. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/f16.h"
#include "core/model/model.h"
#include "tools/verify/gen.h"
#include "tools/verify/sut.h"

enum rows {
    ROWS_RANDOM, ROWS_COPIES, ROWS_ULP, ROWS_CLOSE, ROWS_OUTLIER, ROWS_DENORMAL, ROWS_ZERO,
    ROWS_OPPOSITE, ROWS_HUGE, N_ROWS
};
static const char *const rows_name[N_ROWS] = {
    "random", "copies", "one ulp", "close", "outlier", "denormal", "zero", "opposite", "huge"
};

enum acts { ACT_RANDOM, ACT_ROW, ACT_ZERO, ACT_HUGE, ACT_TINY, ACT_SPIKE, N_ACT };
static const char *const act_name[N_ACT] = { "random", "a row", "zero", "huge", "tiny", "spike" };

struct head {
    bnp_weight_desc desc;
    uint8_t *map, *rows;        /* rows end where the map's readable part does */
    size_t map_size, row_size;
};

static struct sut sut;
static unsigned n_case, n_wrong, n_adopted;
static uint64_t n_logit, n_computed;    /* of the cases with a screen and random rows */

static size_t element_size(uint32_t format)
{
    return format == BNP_FMT_F32 ? 4 : format == BNP_FMT_I8 ? 1 : 2;
}

static void head_new(struct head *h, uint32_t format, uint32_t rows, uint32_t cols)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    h->desc = (bnp_weight_desc){
        .struct_size = sizeof h->desc, .format = format, .role = BNP_ROLE_HEAD, .rows = rows,
        .scale_kind = format == BNP_FMT_I8 ? BNP_SCALE_BLOCK : BNP_SCALE_NONE, .block_cols = 16,
        .cols = cols, .max_tok = SUT_MAX_TOK, .name = "head",
        .flags = BNP_W_MUL | BNP_W_TOPK | BNP_W_GATHER };
    h->row_size = cols * element_size(format);
    const size_t size = h->row_size * rows, readable = (size + page - 1) / page * page;
    h->map_size = readable + page;
    h->map = mmap(NULL, h->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (h->map == MAP_FAILED || mprotect(h->map + readable, page, PROT_NONE)) {
        perror("topk: memory");
        exit(2);
    }
    h->rows = h->map + readable - size;
}

static void head_free(struct head *h)
{
    munmap(h->map, h->map_size);
}

/* Element i of row r as its bits, in the head's format, from a float. */
static void put(struct head *h, uint32_t r, uint32_t i, float v, int ulp)
{
    uint8_t *at = h->rows + r * h->row_size + i * element_size(h->desc.format);
    const uint32_t bits = f32_bits(v);
    const uint16_t half = h->desc.format == BNP_FMT_F16 ? f16_from_f32(v) : (uint16_t)(bits >> 16);
    const uint16_t moved = (uint16_t)(half + ulp);
    const uint32_t moved32 = bits + (uint32_t)ulp;
    const int8_t q = (int8_t)(v > 1 ? 127 : v < -1 ? -127 : v * 100);
    if (h->desc.format == BNP_FMT_F32)
        memcpy(at, &moved32, 4);
    else if (h->desc.format == BNP_FMT_I8)
        *at = (uint8_t)q;
    else
        memcpy(at, &moved, 2);
}

static void fill_rows(struct head *h, enum rows kind, uint64_t seed)
{
    const uint32_t rows = h->desc.rows, cols = h->desc.cols;
    for (uint32_t r = 0; r < rows; r++) {
        const uint32_t from = kind == ROWS_COPIES ? r % 7 : kind == ROWS_OPPOSITE ? r / 2
                            : kind == ROWS_ULP || kind == ROWS_CLOSE ? 0 : r;
        const uint32_t odd = (uint32_t)(gen_u64(seed, r) % cols);
        for (uint32_t i = 0; i < cols; i++) {
            float v = gen_unit(seed + from, i) + 0x1p-12f;
            int ulp = 0;
            if (kind == ROWS_ULP && i == odd)
                ulp = r % 3 == 0 ? 0 : 1;
            else if (kind == ROWS_CLOSE)
                v += gen_unit(~seed, (uint64_t)r * cols + i) * 0x1p-8f;
            else if (kind == ROWS_OUTLIER && i == odd)
                v = r % 2 ? 60000.0f : -60000.0f;
            else if (kind == ROWS_DENORMAL)
                v *= h->desc.format == BNP_FMT_F16 ? 0x1p-16f : 0x1p-130f;
            else if (kind == ROWS_ZERO && r % 3)
                v = 0;
            else if (kind == ROWS_OPPOSITE && r % 2)
                v = -v;
            else if (kind == ROWS_HUGE)
                v *= h->desc.format == BNP_FMT_F16 ? 60000.0f : 0x1p120f;
            put(h, r, i, v, ulp);
        }
    }
}

static float element(const struct head *h, uint32_t r, uint32_t i)
{
    const uint8_t *at = h->rows + r * h->row_size + i * element_size(h->desc.format);
    uint16_t half;
    float f;
    memcpy(&half, at, sizeof half);
    memcpy(&f, at, h->desc.format == BNP_FMT_F32 ? sizeof f : 1);
    return h->desc.format == BNP_FMT_F32 ? f : h->desc.format == BNP_FMT_F16 ? f16_to_f32(half)
         : h->desc.format == BNP_FMT_BF16 ? bf16_to_f32(half) : (float)(int8_t)*at;
}

static void fill_act(const struct head *h, enum acts kind, uint64_t seed, uint32_t t, float *x)
{
    const uint32_t cols = h->desc.cols;
    const uint32_t r = (uint32_t)(gen_u64(seed, 1000 + t) % h->desc.rows);
    for (uint32_t i = 0; i < cols; i++) {
        const float v = gen_unit(seed + 99 + t, i);
        switch (kind) {
        case ACT_ROW: x[i] = element(h, r, i); break;
        case ACT_ZERO: x[i] = t % 2 ? v : 0; break;
        case ACT_HUGE: x[i] = v * (t % 2 ? 0x1p126f : 0x1p59f); break;
        case ACT_TINY: x[i] = v * (t % 2 ? 0x1p-140f : 0x1p-39f); break;
        case ACT_SPIKE: x[i] = i == r % cols ? 1e4f : v * 1e-4f; break;
        default: x[i] = v; break;
        }
    }
}

/* ------------------------------------------------------------- the weight */

static int read_rows(void *ctx, uint32_t row, uint32_t n, void *dst, size_t stride)
{
    const struct head *h = ctx;
    for (uint32_t r = 0; r < n; r++)
        memcpy((char *)dst + r * stride, h->rows + (row + r) * h->row_size, h->row_size);
    return BNP_OK;
}

static int read_scales(void *ctx, uint64_t first, uint64_t n, float *dst)
{
    (void)ctx;
    for (uint64_t i = 0; i < n; i++)
        dst[i] = 0x1p-7f * (float)(1 + gen_u64(5, first + i) % 8);
    return BNP_OK;
}

struct run {
    bnp_span storage, act, scratch;
    bnp_weight_layout layout;
    bnp_weight *w;
};

static void die(const char *what, int rc)
{
    fprintf(stderr, "topk: %s: status %d: %s\n", what, rc, sut.why);
    exit(2);
}

static bnp_weight_src source(struct head *h)
{
    return (bnp_weight_src){ .struct_size = sizeof(bnp_weight_src), .ctx = h,
                             .read_rows = read_rows, .read_scales = read_scales,
                             .rows = h->desc.flags & BNP_W_IN_PLACE ? h->rows : NULL,
                             .row_stride = h->row_size };
}

/* What was kept of a weight in place is taken back, unless a byte of its screen is
 * wrong: what it is of, a number of the first panel, the end of the last one. */
static void adopt_again(struct run *r, struct head *h)
{
    const bnp_linear_ops *ops = sut.p->linear;
    const bnp_weight_src src = source(h);
    uint8_t *kept = r->storage.base;
    const uint64_t at[] = { BNP_ALIGN, 2 * BNP_ALIGN, r->layout.size - 1 };
    const bool screen = r->layout.size > 2 * BNP_ALIGN && h->desc.format != BNP_FMT_I8;
    bnp_weight *w;
    ops->release(r->w);
    for (unsigned i = 0; i < sizeof at / sizeof *at && screen; i++) {
        kept[at[i]] ^= 0x11;
        const int rc = ops->adopt_rows(sut.dev, &h->desc, &src, r->storage, &w);
        kept[at[i]] ^= 0x11;
        if (rc == BNP_E_DATA && !w)
            continue;
        printf("%u x %u: byte %llu of %llu is wrong, and adopt_rows says %d\n", h->desc.rows,
               h->desc.cols, (unsigned long long)at[i], (unsigned long long)r->layout.size, rc);
        n_wrong++;
        if (!rc)
            ops->release(w);
    }
    const int rc = ops->adopt_rows(sut.dev, &h->desc, &src, r->storage, &r->w);
    if (rc)
        die("adopt_rows", rc);
    n_adopted++;
}

static void run_open(struct run *r, struct head *h)
{
    const bnp_linear_ops *ops = sut.p->linear;
    const bnp_weight_src src = source(h);
    bnp_offer offer = { .struct_size = sizeof offer };
    uint64_t size = 0;
    int rc;
    *r = (struct run){ .layout = { .struct_size = sizeof r->layout } };
    if ((rc = ops->query(sut.dev, &h->desc, &offer)) ||
        (rc = ops->layout(sut.dev, &h->desc, &r->layout)) ||
        (rc = ops->act_size(sut.dev, r->layout.act_kind, h->desc.cols, SUT_MAX_TOK, &size)))
        die("query", rc);
    r->storage = span_new(r->layout.size);
    r->act = span_new(size);
    r->scratch = span_new(offer.scratch_size);
    if ((rc = ops->prepare(sut.dev, &h->desc, &src, r->storage, &r->w)))
        die("prepare", rc);
    if (r->layout.layout_id && (h->desc.flags & BNP_W_IN_PLACE) && ops->adopt_rows)
        adopt_again(r, h);
}

static void run_close(struct run *r)
{
    sut.p->linear->release(r->w);
    span_free(r->storage);
    span_free(r->act);
    span_free(r->scratch);
}

/* --------------------------------------------------------------- one case */

struct best {
    float v;
    int32_t id;
};

static int by_value(const void *a, const void *b)
{
    const struct best *x = a, *y = b;
    return x->v > y->v ? -1 : x->v < y->v ? 1 : (x->id > y->id) - (x->id < y->id);
}

/* Whether row t's answer is that of all logits. */
static bool right(const float *y, uint32_t rows, uint32_t k, const int32_t *id, const float *logit)
{
    struct best *b = calloc(rows, sizeof *b);
    bool nan = false, ok = true;
    for (uint32_t j = 0; j < rows; j++) {
        b[j] = (struct best){ y[j], (int32_t)j };
        nan |= y[j] != y[j];
    }
    qsort(b, rows, sizeof *b, by_value);
    for (uint32_t i = 0; i < k && ok; i++)
        ok = nan ? logit[i] != logit[i] : id[i] == b[i].id && !memcmp(&logit[i], &b[i].v, 4);
    free(b);
    return ok;
}

static void one_case(struct run *r, const struct head *h, const char *what, enum acts act,
                     uint32_t n_tok, uint32_t k, uint64_t seed)
{
    const bnp_linear_ops *ops = sut.p->linear;
    const bnp_rows x = rows_new(n_tok, h->desc.cols), y = rows_new(n_tok, h->desc.rows);
    const bnp_linear_item item = { .weight = r->w, .y = y };
    bnp_topk top = { .struct_size = sizeof top, .k = k, .n_tok = n_tok,
                     .id = span_new((uint64_t)n_tok * k * 4),
                     .logit = span_new((uint64_t)n_tok * k * 4), .n_exact = span_new(n_tok * 4) };
    for (uint32_t t = 0; t < n_tok; t++)
        fill_act(h, act, seed, t, row_of(&x, t));
    int rc = sut_step(&sut, n_tok, 0, seed, h->desc.rows);
    if (rc || (rc = ops->act_prepare(sut.stream, r->layout.act_kind, &x, r->act)) ||
        (rc = ops->mul(sut.stream, r->act, 1, &item, r->scratch)) ||
        (rc = ops->topk(sut.stream, r->act, r->w, &top, r->scratch)) || (rc = sut_step_end(&sut)))
        die(what, rc);
    for (uint32_t t = 0; t < n_tok; t++) {
        const uint32_t n = ((uint32_t *)top.n_exact.base)[t];
        const int32_t *id = (int32_t *)top.id.base + (size_t)t * k;
        const float *logit = (float *)top.logit.base + (size_t)t * k;
        if (right(row_of(&y, t), h->desc.rows, k, id, logit) && n >= k && n <= h->desc.rows) {
            n_logit += act == ACT_RANDOM ? h->desc.rows : 0;
            n_computed += act == ACT_RANDOM ? n : 0;
            continue;
        }
        if (!n_wrong++)
            printf("format %u, %u x %u, rows %s, x %s, seed %llu, token %u of %u, k %u: not the "
                   "largest logits (%u computed)\n", h->desc.format, h->desc.rows, h->desc.cols,
                   what, act_name[act], (unsigned long long)seed, t, n_tok, k, n);
    }
    n_case++;
    span_free(x.mem);
    span_free(y.mem);
    span_free(top.id);
    span_free(top.logit);
    span_free(top.n_exact);
}

static void made_rows(void)
{
    static const uint32_t format[] = { BNP_FMT_F16, BNP_FMT_BF16, BNP_FMT_F32, BNP_FMT_I8 };
    static const uint32_t cols[] = { 1, 7, 16, 33, 130, 257, 640 };
    static const uint32_t tok[] = { 1, 2, 3, 4, 5, 6, 7, 17, 40 };
    static const uint32_t ks[] = { 1, 2, 40, 64, 65 };
    for (uint64_t seed = 0; seed < 72; seed++) {
        const enum rows kind = (enum rows)(seed % N_ROWS);
        struct head h = { 0 };
        struct run r;
        head_new(&h, format[seed / 2 % 4], 65 + (uint32_t)(gen_u64(1, seed) % 1500),
                 cols[gen_u64(2, seed) % 7]);
        h.desc.flags |= seed % 2 ? BNP_W_IN_PLACE : 0;
        fill_rows(&h, kind, seed);
        run_open(&r, &h);
        for (uint32_t i = 0; i < 2 * N_ACT; i++) {
            const uint32_t k = ks[gen_u64(3, seed * 64 + i) % 5];
            one_case(&r, &h, rows_name[kind], (enum acts)(i % N_ACT),
                     tok[gen_u64(4, seed * 64 + i) % 9], k < h.desc.rows ? k : h.desc.rows, seed);
        }
        run_close(&r);
        head_free(&h);
    }
}

/* Large enough that a screen must spare most of the work. */
static void saves_work(void)
{
    struct head h = { 0 };
    struct run r;
    head_new(&h, BNP_FMT_F16, 12000, 512);
    fill_rows(&h, ROWS_RANDOM, 1);
    run_open(&r, &h);
    n_logit = n_computed = 0;
    one_case(&r, &h, "random", ACT_RANDOM, 3, 1, 7);
    one_case(&r, &h, "random", ACT_RANDOM, 1, 40, 8);
    printf("12000 random rows: %.2f %% computed exactly\n",
           100 * (double)n_computed / (double)n_logit);
    if (n_computed * 4 > n_logit) {
        printf("more than a quarter: the screen is of no use\n");
        n_wrong++;
    }
    run_close(&r);
    head_free(&h);
}

static void real_rows(const char *path)
{
    struct model *m;
    struct err e = { 0 };
    struct run r;
    if (model_open(&m, path, &(struct model_opts){ 0 }, &e)) {
        fprintf(stderr, "topk: %s\n", e.text);
        exit(2);
    }
    const struct wsrc *src = m->hp.tied_head ? &m->embd : &m->head;
    struct head h = { 0 };
    head_new(&h, BNP_FMT_F16, src->rows, src->cols);
    float *row = calloc(src->cols, sizeof *row);
    for (uint32_t i = 0; i < src->rows; i++) {
        if (!row || wsrc_read_f32(src, i, row))
            exit(2);
        for (uint32_t c = 0; c < src->cols; c++)
            put(&h, i, c, row[c], 0);
    }
    free(row);
    run_open(&r, &h);
    n_logit = n_computed = 0;
    for (uint32_t act = 0; act < N_ACT; act++)
        for (uint32_t k = 1; k <= 64; k = k * 3 + 1)
            one_case(&r, &h, "of the model", (enum acts)act, 1 + act * 3, k, act);
    printf("%s: %u x %u, %.2f %% computed exactly\n", m->name, src->rows, src->cols,
           100 * (double)n_computed / (double)n_logit);
    run_close(&r);
    head_free(&h);
    model_close(m);
}

int main(int argc, char **argv)
{
    const bool wrong = argc > 1 && !strcmp(argv[1], "--wrong");
    const int at = wrong ? 2 : 1;
    if (argc <= at) {
        fprintf(stderr, "usage: topk [--wrong] PLUGIN.so [MODEL.gguf]\n");
        return 2;
    }
    if (!sut_open_device(&sut, argv[at], NULL, UINT64_MAX, 0))
        return sut.absent ? 77 : 2;
    if (!sut.p->linear || !sut.p->linear->topk) {
        printf("%s: has no topk\n", argv[at]);
        return 77;
    }
    made_rows();
    saves_work();
    if (argc > at + 1)
        real_rows(argv[at + 1]);
    const bool closed = sut_close(&sut);
    printf("%u cases, %u weights adopted, %u tokens with a wrong answer\n", n_case, n_adopted,
           n_wrong);
    return wrong ? !n_wrong : n_wrong || !closed;
}
