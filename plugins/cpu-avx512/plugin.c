/* plugin.c - who cpu-avx512 is, and its variants. Compiled for the baseline, as
 * the kit is; only the files of kernels have AVX-512 in them. */
#include "plugins/cpu-avx512/tern_pack.h"
#include "plugins/kit/cpu.h"

extern const struct float_kern float_avx512, float_vnni;

const struct variant cpu_variants[] = {
    { "avx512 vbmi base-3", BNP_ISA(X86_VNNI512) | BNP_ISA(X86_VBMI), &float_vnni,
      &tern_vbmi_base3 },
    { "avx512 vnni 2-bit", BNP_ISA(X86_VNNI512), &float_vnni, &tern_vnni_2bit },
    { "avx512 vnni base-3", BNP_ISA(X86_VNNI512), &float_vnni, &tern_vnni_base3 },
    { "avx512 bw 2-bit", 0, &float_avx512, &tern_bw_2bit },
};
const unsigned cpu_n_variants = sizeof cpu_variants / sizeof *cpu_variants;

CPU_PLUGIN("org.bitnetd.cpu-avx512", BNP_ISA(X86_AVX512), "-O3 -mavx512f,bw,dq,vl,cd,vnni,vbmi");
