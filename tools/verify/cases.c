/* cases.c - see cases.h. */
#include "tools/verify/cases.h"

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const struct { uint32_t format, scale_kind, block_cols, flags; } variant[] = {
    { BNP_FMT_T2, BNP_SCALE_NONE, 0, 0 },
    { BNP_FMT_T2, BNP_SCALE_TENSOR, 0, BNP_W_GATHER },
    { BNP_FMT_T2, BNP_SCALE_TENSOR, 0, BNP_W_PLUS2 },
    { BNP_FMT_T2, BNP_SCALE_ROW, 0, BNP_W_GATHER | BNP_W_TOPK },
    { BNP_FMT_T2, BNP_SCALE_BLOCK, 32, 0 },
    { BNP_FMT_T2, BNP_SCALE_BLOCK, 256, BNP_W_GATHER },
    { BNP_FMT_T2, BNP_SCALE_BLOCK, 64, BNP_W_PLUS2 | BNP_W_TOPK },
    { BNP_FMT_F32, BNP_SCALE_NONE, 0, BNP_W_GATHER | BNP_W_TOPK },
    { BNP_FMT_F16, BNP_SCALE_NONE, 0, BNP_W_GATHER | BNP_W_TOPK },
    { BNP_FMT_BF16, BNP_SCALE_NONE, 0, BNP_W_GATHER | BNP_W_TOPK },
    { BNP_FMT_I8, BNP_SCALE_NONE, 0, BNP_W_TOPK },
    { BNP_FMT_I8, BNP_SCALE_TENSOR, 0, BNP_W_GATHER },
    { BNP_FMT_I8, BNP_SCALE_ROW, 0, BNP_W_GATHER | BNP_W_TOPK },
    { BNP_FMT_I8, BNP_SCALE_BLOCK, 16, BNP_W_GATHER | BNP_W_TOPK },
    { BNP_FMT_I8, BNP_SCALE_BLOCK, 32, BNP_W_GATHER | BNP_W_TOPK },
};

static const uint32_t width[] = { 1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 95, 96, 97,
                                  127, 128, 129, 159, 191, 192, 193, 255, 256, 257, 383, 511, 512,
                                  513 };
static const uint32_t height[] = { 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65 };

static const struct { enum fill act, weight; } pair[] = {
    { FILL_RANDOM, FILL_RANDOM }, { FILL_ZERO, FILL_RANDOM }, { FILL_MAX, FILL_MAX },
    { FILL_MIN, FILL_MAX }, { FILL_MAX, FILL_MIN }, { FILL_MIN, FILL_MIN },
    { FILL_SPIKE, FILL_RANDOM }, { FILL_DENORMAL, FILL_RANDOM }, { FILL_ALTERNATE, FILL_ALTERNATE },
    { FILL_ALTERNATE, FILL_MAX }, { FILL_MIXED, FILL_RANDOM }, { FILL_MIXED, FILL_MIXED },
    { FILL_RANDOM, FILL_SPIKE }, { FILL_RANDOM, FILL_DENORMAL }, { FILL_RANDOM, FILL_ZERO },
    { FILL_DENORMAL, FILL_DENORMAL },
};

/* Projections and heads of published ternary models, [rows] cut down. */
static const uint32_t published[] = { 320, 640, 960, 1536, 2048, 2560, 3200, 4096, 6912, 8640 };

/* Up to 16, and now and then more than 32: kernels may have other ways for many. */
static uint32_t n_tok_of(uint64_t seed)
{
    return (uint32_t)(seed % 17 < 16 ? seed % 17 + 1 : 33 + seed % 32);
}

static struct linear_case linear_case(size_t v, uint32_t rows, uint32_t cols, uint32_t n_tok,
                                      size_t p, uint64_t seed)
{
    return (struct linear_case){
        .w = { .desc = { .struct_size = sizeof(bnp_weight_desc), .format = variant[v].format,
                         .scale_kind = variant[v].scale_kind,
                         .flags = variant[v].flags | BNP_W_MUL, .rows = rows, .cols = cols,
                         .block_cols = variant[v].block_cols, .max_tok = SUT_MAX_TOK,
                         .name = "case" },
               .fill = pair[p].weight, .seed = seed },
        /* Dense sums must stay finite; a factor of int8 rows may be anything. */
        .act = pair[p].act,
        .act_max = variant[v].format == BNP_FMT_T2 && seed % 3 == 0 ? 1e30f : 50,
        .n_tok = n_tok, .seed = seed,
    };
}

bool cases_linear(bool full, linear_case_fn *fn, void *arg)
{
    uint64_t seed = 0;
    for (size_t v = 0; v < COUNT(variant); v++) {
        for (size_t w = 0; w < COUNT(width); w++) {
            for (size_t p = 0; p < COUNT(pair); p++, seed++) {
                const struct linear_case c = linear_case(v, height[seed % COUNT(height)], width[w],
                                                         n_tok_of(seed), p, seed);
                if (!fn(arg, &c))
                    return false;
            }
        }
        for (size_t w = 0; w < (full ? COUNT(published) : 0); w++) {
            for (size_t p = 0; p < COUNT(pair); p++, seed++) {
                const struct linear_case c = linear_case(v, 32 + (uint32_t)(seed % 3), published[w],
                                                         p % 4 ? 4 : 64, p, seed);
                if (!fn(arg, &c))
                    return false;
            }
        }
    }
    return true;
}

bool cases_attn(bool full, attn_case_fn *fn, void *arg)
{
    static const struct { uint32_t n_head, n_head_kv, head_dim; } heads[] = {
        { 1, 1, 16 }, { 4, 2, 32 }, { 4, 1, 64 }, { 3, 3, 20 }, { 2, 1, 100 }, { 8, 2, 128 },
        { 5, 1, 37 }, { 14, 2, 24 }, { 80, 80, 4 }, { 40, 1, 9 }, { 2, 1, BNP_KV_I8_DIM },
    };
    static const uint32_t len[] = { 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 200, 257, 300 };
    static const uint32_t window[] = { 0, 1, 50, 128 };
    uint64_t seed = 0;
    for (size_t h = 0; h < COUNT(heads); h++) {
        for (size_t n = 0; n < COUNT(len); n++) {
            if (!full && ((len[n] > 17 && (h + n) % 4) || (len[n] > 129 && h > 3)))
                continue;
            for (uint32_t f = 0; f < 2 * N_FILL; f++, seed++) {
                const struct attn_case c = {
                    .desc = { .struct_size = sizeof c.desc, .n_head = heads[h].n_head,
                              .n_head_kv = heads[h].n_head_kv, .head_dim = heads[h].head_dim,
                              .page_tok = 16u << seed / (2 * N_FILL) % 3,
                              .kv_format = f < N_FILL ? BNP_KV_F16 : BNP_KV_I8,
                              .window = window[(seed + seed / (2 * N_FILL) + h) % COUNT(window)],
                              .max_kv = 512, .max_tok = SUT_MAX_TOK, .scale = 0.125f },
                    .kv_len = len[n], .chunk = 1 + (uint32_t)(seed * 7 % 32), .fill = f % N_FILL,
                    .max = seed % 5 ? 4.0f : 200.0f, .seed = seed,
                };
                if (!fn(arg, &c))
                    return false;
            }
        }
    }
    return true;
}

bool cases_point(bool full, point_case_fn *fn, void *arg)
{
    static const struct { uint32_t cols, group, rot; } shape[] = {
        { 2, 2, 2 }, { 16, 16, 16 }, { 30, 10, 8 }, { 32, 32, 16 }, { 34, 34, 34 }, { 62, 62, 30 },
        { 64, 32, 32 }, { 66, 22, 22 }, { 126, 42, 40 }, { 128, 64, 64 }, { 130, 26, 26 },
        { 192, 96, 96 }, { 254, 254, 128 }, { 256, 128, 128 }, { 258, 86, 86 }, { 320, 64, 64 },
        { 514, 514, 514 }, { 640, 128, 64 },
    };
    static const float max[] = { 1.0f, 30.0f, 1e4f, 1e-3f, 1e25f, 3e-20f };
    uint64_t seed = 0;
    for (size_t s = 0; s < COUNT(shape); s++) {
        for (enum fill f = 0; f < N_FILL; f++) {
            for (size_t m = 0; m < (full ? COUNT(max) * 4 : COUNT(max)); m++, seed++) {
                const struct point_case c = {
                    .cols = shape[s].cols, .group_cols = shape[s].group, .n_rot = shape[s].rot,
                    .n_tok = (uint32_t)(seed % 17) + 1, .pos = (uint32_t)(seed % 40), .eps = 1e-5f,
                    .fill = f, .max = max[m % COUNT(max)], .seed = seed,
                };
                if (!fn(arg, &c))
                    return false;
            }
        }
    }
    return true;
}

static const char *format_name(uint32_t format)
{
    static const char *const name[] = { "?", "T2", "F32", "F16", "BF16", "I8" };
    return name[format < COUNT(name) ? format : 0];
}

static const char *scale_name(uint32_t kind)
{
    static const char *const name[] = { "no scale", "tensor scale", "row scales", "block scales" };
    return name[kind % COUNT(name)];
}

void linear_case_print(const struct linear_case *c, char *out, size_t n)
{
    const bnp_weight_desc *d = &c->w.desc;
    snprintf(out, n, "linear %s%s %s (%u), %u x %u, %u rows, input %s to %g, weights %s, seed %llu",
             format_name(d->format), d->flags & BNP_W_PLUS2 ? " plus2" : "",
             scale_name(d->scale_kind), d->block_cols, d->rows, d->cols, c->n_tok,
             fill_name(c->act), (double)c->act_max, fill_name(c->w.fill),
             (unsigned long long)c->seed);
}

void attn_case_print(const struct attn_case *c, char *out, size_t n)
{
    const bnp_attn_desc *d = &c->desc;
    snprintf(out, n, "attn %u heads over %u of %u, %s pages of %u, window %u, %u keys, steps to "
             "%u, input %s to %g, seed %llu", d->n_head, d->n_head_kv, d->head_dim,
             d->kv_format == BNP_KV_I8 ? "int8" : "f16", d->page_tok, d->window, c->kv_len,
             c->chunk, fill_name(c->fill), (double)c->max, (unsigned long long)c->seed);
}

void point_case_print(const struct point_case *c, char *out, size_t n)
{
    snprintf(out, n, "point %u rows of %u columns, groups of %u, %u turned, position %u, input %s "
             "to %g, seed %llu", c->n_tok, c->cols, c->group_cols, c->n_rot, c->pos,
             fill_name(c->fill), (double)c->max, (unsigned long long)c->seed);
}
