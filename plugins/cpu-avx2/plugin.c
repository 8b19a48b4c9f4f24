/* plugin.c - who cpu-avx2 is, and its variants. Compiled for any x86-64, as the
 * kit is: the host looks at what the processor has before it calls a kernel. */
#include "plugins/cpu-avx2/tern_pack.h"
#include "plugins/kit/cpu.h"

extern const struct float_kern float_avx2;

const struct variant cpu_variants[] = {
    { "avx-vnni 2-bit", BNP_ISA(X86_AVXVNNI), &float_avx2, &tern_vnni },
    { "avx2 2-bit", 0, &float_avx2, &tern_2bit },
    { "avx2 base-3", 0, &float_avx2, &tern_base3 },
    { "avx2 tl2", 0, &float_avx2, &tern_tl2 },
};
const unsigned cpu_n_variants = sizeof cpu_variants / sizeof *cpu_variants;

CPU_PLUGIN("org.bitnetd.cpu-avx2", BNP_ISA(X86_AVX2), "-O3 -mavx2 -mfma -mf16c -mbmi2");
