/* plugin.c - who cpu-neon is, and its variants. Compiled for any AArch64, as the
 * kit and the float kernels are; only the files of ternary kernels that use more
 * have flags for it. */
#include "plugins/cpu-neon/tern.h"
#include "plugins/kit/cpu.h"

extern const struct float_kern float_neon;

const struct variant cpu_variants[] = {
    { "i8mm 2-bit", BNP_ISA(ARM_DOTPROD) | BNP_ISA(ARM_I8MM), &float_neon, &tern_i8mm_2bit },
    { "dotprod 2-bit", BNP_ISA(ARM_DOTPROD), &float_neon, &tern_dot_2bit },
    { "dotprod base-3", BNP_ISA(ARM_DOTPROD), &float_neon, &tern_dot_base3 },
    { "neon 2-bit", 0, &float_neon, &tern_neon_2bit },
    { "neon tl1", 0, &float_neon, &tern_neon_tl1 },
};
const unsigned cpu_n_variants = sizeof cpu_variants / sizeof *cpu_variants;

CPU_PLUGIN("org.bitnetd.cpu-neon", BNP_ISA(ARM_NEON), "-O3, dotprod, i8mm");
