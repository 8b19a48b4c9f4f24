/* tern_avx512.c - the ternary kernels of cpu-avx512, without a plugin around them.
 *
 *   tern_avx512 KERNEL      77 when this processor cannot run it
 *
 * Built twice: of the plugin's own objects, and (EMULATED) of the same sources
 * with every instruction in portable form, see tests/emul/avx512.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/plug/isa.h"
#include "plugins/cpu-avx512/tern_pack.h"
#include "tests/parity/tern_check.h"

#define SKIPPED 77

static const struct {
    const char *name;
    const struct tern *tern;
    uint64_t isa;
} kernels[] = {
    { "bw-2bit", &tern_bw_2bit, BNP_ISA(X86_AVX512) },
    { "vnni-2bit", &tern_vnni_2bit, BNP_ISA(X86_AVX512) | BNP_ISA(X86_VNNI512) },
    { "vnni-base3", &tern_vnni_base3, BNP_ISA(X86_AVX512) | BNP_ISA(X86_VNNI512) },
    { "vbmi-base3", &tern_vbmi_base3,
      BNP_ISA(X86_AVX512) | BNP_ISA(X86_VNNI512) | BNP_ISA(X86_VBMI) },
};

static uint64_t isa_of(size_t i)
{
#ifdef EMULATED
    (void)i;
    return BNP_ISA(X86_AVX2);
#else
    return kernels[i].isa;
#endif
}

/* ------------------------------------------------------------- wide rows
 *
 * Sums are made in runs of 65536 columns, beyond what tern_check tries. The
 * last run here is short and its last step not whole. */

enum { WIDE_COLS = 2 * 65536 + 22, WIDE_TOK = 3, WIDE_Q = WIDE_COLS + 64 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* code 4: random ones. Column i of token t has activation q[t][i]. */
static bool wide_sums(const struct tern *t, unsigned code, const int8_t q[WIDE_TOK][WIDE_Q],
                      uint8_t *rows, uint8_t *panel, uint8_t *scratch, int32_t *acc)
{
    const uint32_t row_size = (WIDE_COLS + 3) / 4, n_rows = t->panel_rows;
    int32_t sum[WIDE_TOK] = { 0 };
    uint32_t state = code;
    memset(rows, 0x55, (size_t)n_rows * row_size);
    for (uint32_t r = 0; r < n_rows; r++)
        for (uint32_t i = 0; i < WIDE_COLS; i++) {
            const unsigned c = code < 4 ? code : next_random(&state) % (t->plus2 ? 4u : 3u);
            uint8_t *b = rows + r * row_size + i / 4;
            *b = (uint8_t)((*b & ~(3u << 2 * (i % 4))) | c << 2 * (i % 4));
        }
    t->pack(rows, row_size, WIDE_COLS, panel);
    for (uint32_t k = 0; k < WIDE_TOK; k++)
        for (uint32_t i = 0; i < WIDE_COLS; i++)
            sum[k] += q[k][i];
    t->dot(&(struct tern_call){ .panel = panel, .cols = WIDE_COLS, .n_cols = WIDE_COLS,
                                .plus2 = t->plus2, .n_tok = WIDE_TOK,
                                .act = (const uint8_t *)q[0], .act_stride = WIDE_Q, .sum = sum,
                                .acc = acc, .scratch = scratch });
    for (uint32_t k = 0; k < WIDE_TOK; k++)
        for (uint32_t r = 0; r < n_rows; r++) {
            int32_t want = -sum[k];
            for (uint32_t i = 0; i < WIDE_COLS; i++)
                want += (rows[r * row_size + i / 4] >> 2 * (i % 4) & 3) * q[k][i];
            if (acc[k * n_rows + r] != want) {
                printf("%s: %d columns, codes %u, token %u, row %u: %d, expected %d\n", t->name,
                       (int)WIDE_COLS, code, k, r, acc[k * n_rows + r], want);
                return false;
            }
        }
    return true;
}

static bool wide(const struct tern *t)
{
    static int8_t q[WIDE_TOK][WIDE_Q];
    static int32_t acc[WIDE_TOK * 128];
    uint8_t *rows = malloc((size_t)t->panel_rows * ((WIDE_COLS + 3) / 4));
    uint8_t *panel = aligned_alloc(64, t->panel_size(WIDE_COLS));
    uint8_t *scratch = aligned_alloc(64, t->scratch);
    bool ok = rows && panel && scratch;
    uint32_t state = 1;
    for (uint32_t i = 0; i < WIDE_COLS; i++) {
        q[0][i] = 127;
        q[1][i] = -127;
        q[2][i] = (int8_t)((int)(next_random(&state) % 255) - 127);
    }
    ok = ok && wide_sums(t, 0, q, rows, panel, scratch, acc) &&
         wide_sums(t, t->plus2 ? 3 : 2, q, rows, panel, scratch, acc) &&
         wide_sums(t, 4, q, rows, panel, scratch, acc);
    free(rows);
    free(panel);
    free(scratch);
    return ok;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof kernels / sizeof *kernels; i++) {
        if (strcmp(argv[1], kernels[i].name))
            continue;
        const uint64_t missing = isa_of(i) & ~isa_probe();
        if (missing) {
            char text[64];
            isa_format(missing, text, sizeof text);
            printf("skipped: this processor has no %s\n", text);
            return SKIPPED;
        }
        return !(tern_check(kernels[i].tern) && wide(kernels[i].tern));
    }
    fprintf(stderr, "usage: tern_avx512 KERNEL: bw-2bit, vnni-2bit, vnni-base3 or vbmi-base3\n");
    return 2;
}
