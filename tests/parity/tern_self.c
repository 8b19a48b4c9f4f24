/* tern_self.c - the checker of ternary kernels, on kernels in plain C: a right
 * one passes, and each of those that are wrong in one way is caught.
 *
 * The packing is the canonical rows themselves, row after row. */
#include <stdio.h>
#include <string.h>

#include "tests/parity/tern_check.h"

enum fault {
    NONE, NARROW_SUM, LAST_COLUMN, READS_PADDING, IGNORES_FIRST, LAST_TOKEN, CODE_3, LONG_PACK,
    LONG_SUMS, N_FAULT
};
static const char *const fault_name[] = {
    "none", "narrow-sum", "last-column", "reads-padding", "ignores-first", "last-token", "code-3",
    "long-pack", "long-sums"
};
static enum fault fault;

enum { ROWS = 16 };

static size_t row_size(uint32_t cols)
{
    return (cols + 3) / 4;
}

static uint64_t panel_size(uint32_t cols)
{
    return (ROWS * row_size(cols) + 63) / 64 * 64;
}

static void pack(const uint8_t *rows, size_t stride, uint32_t cols, uint8_t *panel)
{
    memset(panel, 0x55, panel_size(cols) + (fault == LONG_PACK));
    for (size_t r = 0; r < ROWS; r++)
        memcpy(panel + r * row_size(cols), rows + r * stride, row_size(cols));
}

static int weight(const uint8_t *panel, uint32_t cols, uint32_t r, uint32_t i)
{
    const int code = panel[r * row_size(cols) + i / 4] >> 2 * (i % 4) & 3;
    return (fault == CODE_3 && code == 3 ? 0 : code) - 1;
}

static void unpack(const uint8_t *panel, uint32_t cols, uint32_t r, int8_t *w)
{
    for (uint32_t i = 0; i < cols; i++)
        w[i] = (int8_t)weight(panel, cols, r, i);
}

static int32_t one(const struct tern_call *c, uint32_t tok, uint32_t r)
{
    const int8_t *q = (const int8_t *)c->act + tok * c->act_stride;
    const uint32_t from = fault == IGNORES_FIRST ? 0 : c->first;
    uint32_t end = from + c->n_cols - (fault == LAST_COLUMN && c->n_cols % 4 == 1);
    int32_t acc = 0, part = 0;
    for (uint32_t i = from; i < end; i++) {
        part += (weight(c->panel, c->cols, r, i) + 1) * q[i];
        if (fault == NARROW_SUM && (i + 1) % 132 == 0) {  /* 129 * 254 fits 16 bits */
            acc += (int16_t)part;
            part = 0;
        }
    }
    if (fault == READS_PADDING && end % 64 == 0)
        part += q[end];
    return acc + part - c->sum[tok];
}

static void dot(const struct tern_call *c)
{
    for (uint32_t t = 0; t < c->n_tok; t++)
        for (uint32_t r = 0; r < ROWS; r++)
            c->acc[t * ROWS + r] = fault == LAST_TOKEN && t == 16 ? 0 : one(c, t, r);
    if (fault == LONG_SUMS)
        c->acc[c->n_tok * ROWS] = 0;
}

static const struct tern plain = {
    .name = "plain", .layout = 1, .panel_rows = ROWS, .step = 4, .plus2 = true,
    .panel_size = panel_size, .pack = pack, .unpack = unpack, .dot = dot
};

int main(void)
{
    int failed = 0;
    for (fault = NONE; fault < N_FAULT; fault++) {
        const bool ok = tern_check(&plain) == (fault == NONE);
        printf("%s: %s\n", fault_name[fault], ok ? "ok" : "NOT as expected");
        failed += !ok;
    }
    return failed != 0;
}
