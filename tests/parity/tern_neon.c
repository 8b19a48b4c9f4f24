/* tern_neon.c - the ternary kernels of cpu-neon against plain C; those that the
 * processor cannot run are named and left out. */
#include <stdio.h>

#include "core/plug/isa.h"
#include "plugins/cpu-neon/tern.h"
#include "tests/parity/tern_check.h"

static const struct {
    const char *name;
    uint64_t isa;
    const struct tern *t;
} kernel[] = {
    { "neon 2-bit", 0, &tern_neon_2bit },
    { "neon tl1", 0, &tern_neon_tl1 },
    { "dotprod 2-bit", BNP_ISA(ARM_DOTPROD), &tern_dot_2bit },
    { "dotprod base-3", BNP_ISA(ARM_DOTPROD), &tern_dot_base3 },
    { "i8mm 2-bit", BNP_ISA(ARM_DOTPROD) | BNP_ISA(ARM_I8MM), &tern_i8mm_2bit },
};

int main(void)
{
    const uint64_t isa = isa_probe();
    unsigned failed = 0, left_out = 0;
    for (size_t i = 0; i < sizeof kernel / sizeof *kernel; i++) {
        if ((isa & kernel[i].isa) != kernel[i].isa) {
            printf("%s: this processor lacks its instructions: not tested\n", kernel[i].name);
            left_out++;
            continue;
        }
        const bool ok = tern_check(kernel[i].t);
        printf("%s: %s\n", kernel[i].name, ok ? "ok" : "WRONG");
        failed += !ok;
    }
    return failed ? 1 : left_out ? 77 : 0;
}
