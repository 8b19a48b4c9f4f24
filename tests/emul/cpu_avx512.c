/* cpu_avx512.c - cpu-avx512 as a plugin for any machine with AVX2, its kernels in
 * portable form (avx512.h). Slow, and for tests alone.
 *
 * Two plugins, since the first device of one serves more than ternary weights:
 * EMULATED_VNNI has the kernels of processors with VNNI, the other those of
 * processors without. */
#include "plugins/cpu-avx512/tern_pack.h"
#include "plugins/kit/cpu.h"

extern const struct float_kern float_avx512, float_vnni;

const struct variant cpu_variants[] = {
#ifdef EMULATED_VNNI
    { "emulated vbmi base-3", 0, &float_vnni, &tern_vbmi_base3 },
    { "emulated vnni 2-bit", 0, &float_vnni, &tern_vnni_2bit },
    { "emulated vnni base-3", 0, &float_vnni, &tern_vnni_base3 },
#else
    { "emulated bw 2-bit", 0, &float_avx512, &tern_bw_2bit },
#endif
};
const unsigned cpu_n_variants = sizeof cpu_variants / sizeof *cpu_variants;

CPU_PLUGIN("org.bitnetd.test.avx512-emulated", BNP_ISA(X86_AVX2), "-O2 -mavx2, emulated");
