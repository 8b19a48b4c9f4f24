/* isa.c - asking the processor, and the names of what it answers.
 *
 * An instruction set counts when the instructions exist and the system saves
 * the registers they use: XCR0 says that on x86, the kernel's auxiliary vector
 * on ARM. Bits are named once, in the table below. */
#include "core/plug/isa.h"

#include <stdio.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"

static const struct {
    unsigned bit;
    const char *name;
} isa_table[] = {
    { BNP_ISA_X86_AVX2, "avx2" },       { BNP_ISA_X86_AVXVNNI, "avxvnni" },
    { BNP_ISA_X86_AVX512, "avx512" },   { BNP_ISA_X86_VNNI512, "vnni512" },
    { BNP_ISA_X86_VBMI, "vbmi" },       { BNP_ISA_X86_AMX_I8, "amx-i8" },
    { BNP_ISA_ARM_NEON, "neon" },       { BNP_ISA_ARM_DOTPROD, "dotprod" },
    { BNP_ISA_ARM_I8MM, "i8mm" },       { BNP_ISA_ARM_SVE2, "sve2" },
};
#define ISA_TABLE_N (sizeof isa_table / sizeof isa_table[0])

#if defined(__x86_64__)
#include <cpuid.h>

struct cpuid_regs {
    unsigned a, b, c, d;
};

static struct cpuid_regs cpuid(unsigned leaf, unsigned sub)
{
    struct cpuid_regs r = { 0 };
    (void)__get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d);   /* unknown leaf: all 0 */
    return r;
}

static uint64_t xgetbv0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static int has(uint64_t word, uint64_t bits)
{
    return (word & bits) == bits;
}

/* Bit numbers: Intel SDM volume 2, CPUID; volume 1, 13.3 for XCR0. */
#define B(n) (UINT64_C(1) << (n))
#define XCR0_AVX    (B(1) | B(2))
#define XCR0_AVX512 (XCR0_AVX | B(5) | B(6) | B(7))
#define XCR0_TILE   (B(17) | B(18))

uint64_t isa_probe(void)
{
    const struct cpuid_regs one = cpuid(1, 0), seven = cpuid(7, 0), seven1 = cpuid(7, 1);
    uint64_t isa = 0;
    if (!has(one.c, B(27)))                                     /* OSXSAVE */
        return 0;
    const uint64_t xcr0 = xgetbv0();
    if (has(xcr0, XCR0_AVX) && has(one.c, B(12) | B(28) | B(29)) && has(seven.b, B(5) | B(8)))
        isa |= BNP_ISA(X86_AVX2);                               /* FMA AVX F16C, AVX2 BMI2 */
    if ((isa & BNP_ISA(X86_AVX2)) && has(seven1.a, B(4)))
        isa |= BNP_ISA(X86_AVXVNNI);
    if ((isa & BNP_ISA(X86_AVX2)) && has(xcr0, XCR0_AVX512) &&
        has(seven.b, B(16) | B(17) | B(28) | B(30) | B(31))) {  /* F DQ CD BW VL */
        isa |= BNP_ISA(X86_AVX512);
        if (has(seven.c, B(11)))
            isa |= BNP_ISA(X86_VNNI512);
        if (has(seven.c, B(1)))
            isa |= BNP_ISA(X86_VBMI);
    }
    if (has(xcr0, XCR0_TILE) && has(seven.d, B(24) | B(25)))    /* AMX-TILE, AMX-INT8 */
        isa |= BNP_ISA(X86_AMX_I8);
    return isa;
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

/* Linux, arch/arm64/include/uapi/asm/hwcap.h */
#define CAP_ASIMD   (1ul << 1)
#define CAP_ASIMDDP (1ul << 20)
#define CAP2_SVE2   (1ul << 1)
#define CAP2_I8MM   (1ul << 13)

uint64_t isa_probe(void)
{
    const unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    uint64_t isa = 0;
    if (cap & CAP_ASIMD)
        isa |= BNP_ISA(ARM_NEON);
    if (cap & CAP_ASIMDDP)
        isa |= BNP_ISA(ARM_DOTPROD);
    if (cap2 & CAP2_I8MM)
        isa |= BNP_ISA(ARM_I8MM);
    if (cap2 & CAP2_SVE2)
        isa |= BNP_ISA(ARM_SVE2);
    return isa;
}

#else
uint64_t isa_probe(void)
{
    return 0;
}
#endif

const char *isa_name(unsigned bit, char tmp[16])
{
    for (size_t i = 0; i < ISA_TABLE_N; i++)
        if (isa_table[i].bit == bit)
            return isa_table[i].name;
    snprintf(tmp, 16, "bit %u", bit);
    return tmp;
}

void isa_format(uint64_t mask, char *out, size_t n)
{
    char tmp[16];
    size_t at = 0;
    if (!n)
        return;
    snprintf(out, n, "%s", mask ? "" : "baseline");
    for (unsigned bit = 0; bit < 64 && at < n; bit++) {
        if (!(mask >> bit & 1))
            continue;
        int len = snprintf(out + at, n - at, "%s%s", at ? " " : "", isa_name(bit, tmp));
        if (len < 0)
            return;
        at += (size_t)len;
    }
}

/* The bits that one word of the list stands for. */
static int parse_word(const char *p, size_t n, uint64_t *bits)
{
    if (n == strlen("all") && !memcmp(p, "all", n)) {
        *bits = UINT64_MAX;
        return 0;
    }
    *bits = 0;
    if (n == strlen("baseline") && !memcmp(p, "baseline", n))
        return 0;
    for (size_t i = 0; i < ISA_TABLE_N; i++) {
        if (strlen(isa_table[i].name) == n && !memcmp(isa_table[i].name, p, n)) {
            *bits = UINT64_C(1) << isa_table[i].bit;
            return 0;
        }
    }
    return ERR_ARG;
}

int isa_parse(const char *text, uint64_t *mask)
{
    uint64_t all = 0, bits;
    unsigned words = 0;
    while (*text) {
        const size_t gap = strspn(text, " ,\t");
        text += gap;
        const size_t n = strcspn(text, " ,\t");
        if (!n)
            break;
        if (parse_word(text, n, &bits))
            return ERR_ARG;
        all |= bits;
        words++;
        text += n;
    }
    if (!words)
        return ERR_ARG;
    *mask = all;
    return 0;
}
