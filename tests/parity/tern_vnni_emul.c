/* tern_vnni_emul.c - the AVX-VNNI kernel of cpu-avx2, with its one instruction in
 * plain C, for processors that lack it. Needs AVX2. */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>

/* Each 32-bit lane: sum + the four products of unsigned and signed bytes. */
static inline __m256i dpbusd(__m256i sum, __m256i w, __m256i v)
{
    union { __m256i v; uint8_t u[32]; int8_t s[32]; uint32_t d[8]; } a = { w }, b = { v },
        c = { sum };
    for (unsigned i = 0; i < 32; i++)
        c.d[i / 4] += (uint32_t)(a.u[i] * b.s[i]);
    return c.v;
}

#define TERN_DPBUSD dpbusd
#include "plugins/cpu-avx2/tern_vnni.c"
#include "core/plug/isa.h"
#include "tests/parity/tern_check.h"

int main(void)
{
    if (!(isa_probe() & BNP_ISA(X86_AVX2))) {
        printf("this processor has no AVX2\n");
        return 77;
    }
    return !tern_check(&tern_vnni);
}
