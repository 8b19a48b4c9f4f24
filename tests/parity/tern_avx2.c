/* tern_avx2.c - the ternary kernels of cpu-avx2 against plain C.
 *
 *   tern_avx2 2-bit|base-3|tl2|vnni
 *
 * Exits with 77, "skipped", where the processor lacks the instructions. */
#include <stdio.h>
#include <string.h>

#include "core/plug/isa.h"
#include "plugins/cpu-avx2/tern_pack.h"
#include "tests/parity/tern_check.h"

static const struct {
    const char *name;
    uint64_t isa;
    const struct tern *t;
} kernels[] = {
    { "2-bit", BNP_ISA(X86_AVX2), &tern_2bit },
    { "base-3", BNP_ISA(X86_AVX2), &tern_base3 },
    { "tl2", BNP_ISA(X86_AVX2), &tern_tl2 },
    { "vnni", BNP_ISA(X86_AVX2) | BNP_ISA(X86_AVXVNNI), &tern_vnni },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof kernels / sizeof *kernels; i++) {
        if (strcmp(argv[1], kernels[i].name))
            continue;
        if (kernels[i].isa & ~isa_probe()) {
            printf("%s: this processor lacks its instructions\n", argv[1]);
            return 77;
        }
        return !tern_check(kernels[i].t);
    }
    fprintf(stderr, "usage: tern_avx2 2-bit|base-3|tl2|vnni\n");
    return 2;
}
