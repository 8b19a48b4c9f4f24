/* tern_neon.c - the ternary kernels of cpu-neon, without a plugin around them.
 *
 *   tern_neon KERNEL        77 when this processor cannot run it */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/isa.h"
#include "plugins/cpu-neon/tern.h"
#include "tests/parity/tern_check.h"

#define SKIPPED 77

static const struct {
    const char *name;
    uint64_t isa;
    const struct tern *tern;
} kernels[] = {
    { "neon-2bit", 0, &tern_neon_2bit },
    { "neon-tl1", 0, &tern_neon_tl1 },
    { "dot-2bit", BNP_ISA(ARM_DOTPROD), &tern_dot_2bit },
    { "dot-base3", BNP_ISA(ARM_DOTPROD), &tern_dot_base3 },
    { "i8mm-2bit", BNP_ISA(ARM_DOTPROD) | BNP_ISA(ARM_I8MM), &tern_i8mm_2bit },
};

/* ------------------------------------------------------------- wide rows
 *
 * Sums of bytes with fields on top of each other wrap here several times, and
 * those of weights must not show it: 64 * 127 * 2^20 is almost 2^33. Every row
 * repeats four codes of its own and every token four activations, so that a
 * sum can be had without adding up a million products. */

enum { WIDE_COLS = (1 << 20) + 22, WIDE_Q = (WIDE_COLS + 63) / 64 * 64, WIDE_TOK = 3 };

static const int8_t wide_q[WIDE_TOK][4] = {
    { 127, 127, 127, 127 }, { -127, -127, -127, -127 }, { 127, -127, 3, 90 }
};

/* All rows of the same codes, then rows of all kinds. */
static uint8_t wide_codes(const struct tern *t, unsigned fill, uint32_t r)
{
    uint8_t b = 0;
    for (unsigned j = 0; j < 4; j++) {
        const unsigned code = fill < 4 ? fill : (r * 7 + j * (r / 3 + 1)) % (t->plus2 ? 4 : 3);
        b |= (uint8_t)(code << 2 * j);
    }
    return b;
}

static int64_t wide_sum(uint8_t codes, const int8_t q[4])
{
    int64_t four = 0, rest = 0;
    for (unsigned j = 0; j < 4; j++) {
        const int product = ((codes >> 2 * j & 3) - 1) * q[j];
        four += product;
        rest += j < WIDE_COLS % 4 ? product : 0;
    }
    return four * (WIDE_COLS / 4) + rest;
}

struct wide {
    uint8_t *rows, *panel, *act;
    size_t act_stride;
    int32_t acc[WIDE_TOK * 128], sum[WIDE_TOK];
};

static bool wide_fill(struct wide *w, const struct tern *t, unsigned fill)
{
    const uint32_t row_size = (WIDE_COLS + 3) / 4;
    for (uint32_t r = 0; r < t->panel_rows; r++) {
        uint8_t *row = w->rows + (size_t)r * row_size;
        memset(row, wide_codes(t, fill, r), row_size);
        for (unsigned j = WIDE_COLS % 4; j < 4; j++)    /* the tail is code 1 */
            row[row_size - 1] = (uint8_t)((row[row_size - 1] & ~(3u << 2 * j)) | 1u << 2 * j);
    }
    t->pack(w->rows, row_size, WIDE_COLS, w->panel);
    t->dot(&(struct tern_call){ .panel = w->panel, .cols = WIDE_COLS, .n_cols = WIDE_COLS,
                                .plus2 = t->plus2 && fill > 2, .n_tok = WIDE_TOK, .act = w->act,
                                .act_stride = w->act_stride, .sum = w->sum, .acc = w->acc });
    for (uint32_t k = 0; k < WIDE_TOK; k++)
        for (uint32_t r = 0; r < t->panel_rows; r++) {
            const int64_t want = wide_sum(wide_codes(t, fill, r), wide_q[k]);
            const int32_t got = w->acc[k * t->panel_rows + r];
            if (got == want)
                continue;
            printf("%s: %d columns, fill %u, token %u, row %u: %d, expected %lld\n", t->name,
                   (int)WIDE_COLS, fill, k, r, got, (long long)want);
            return false;
        }
    return true;
}

static void wide_acts(struct wide *w, const struct tern *t, int8_t *q)
{
    for (uint32_t k = 0; k < WIDE_TOK; k++) {
        memset(q, 0, WIDE_Q);
        w->sum[k] = 0;
        for (uint32_t i = 0; i < WIDE_COLS; i++) {
            q[i] = wide_q[k][i % 4];
            w->sum[k] += q[i];
        }
        if (t->build)
            t->build(q, WIDE_COLS, w->act + k * w->act_stride);
        else
            memcpy(w->act + k * w->act_stride, q, WIDE_Q);
    }
}

static bool wide(const struct tern *t)
{
    static struct wide w;
    w.act_stride = t->act_size ? t->act_size(WIDE_COLS) : WIDE_Q;
    w.rows = malloc((size_t)t->panel_rows * ((WIDE_COLS + 3) / 4));
    w.panel = aligned_alloc(64, t->panel_size(WIDE_COLS) + 64);
    w.act = aligned_alloc(64, WIDE_TOK * w.act_stride + 64);
    int8_t *q = malloc(WIDE_Q);
    bool ok = w.rows && w.panel && w.act && q;
    if (ok)
        wide_acts(&w, t, q);
    for (unsigned fill = 0; ok && fill <= 4; fill++)
        ok = (fill == 3 && !t->plus2) || wide_fill(&w, t, fill);
    free(w.rows);
    free(w.panel);
    free(w.act);
    free(q);
    return ok;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof kernels / sizeof *kernels; i++) {
        if (strcmp(argv[1], kernels[i].name))
            continue;
        const uint64_t missing = kernels[i].isa & ~isa_probe();
        if (missing) {
            char text[64];
            isa_format(missing, text, sizeof text);
            printf("skipped: this processor has no %s\n", text);
            return SKIPPED;
        }
        return !(tern_check(kernels[i].tern) && wide(kernels[i].tern));
    }
    fprintf(stderr, "usage: tern_neon KERNEL: neon-2bit, neon-tl1, dot-2bit, dot-base3, i8mm-2bit\n");
    return 2;
}
