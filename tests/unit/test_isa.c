/* Promises of core/plug/isa.h. */
#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/err.h"
#include "core/plug/isa.h"

static const unsigned bits[] = {
    BNP_ISA_X86_AVX2, BNP_ISA_X86_AVXVNNI, BNP_ISA_X86_AVX512, BNP_ISA_X86_VNNI512,
    BNP_ISA_X86_VBMI, BNP_ISA_X86_AMX_I8, BNP_ISA_ARM_NEON, BNP_ISA_ARM_DOTPROD,
    BNP_ISA_ARM_I8MM, BNP_ISA_ARM_SVE2,
};
#define N_BITS (sizeof bits / sizeof bits[0])

START_TEST(isa_every_bit_of_the_abi_has_a_name_of_its_own)
{
    for (size_t i = 0; i < N_BITS; i++) {
        char tmp[16] = { 0 };
        uint64_t back = 0;
        const char *name = isa_name(bits[i], tmp);
        ck_assert_ptr_ne(name, tmp);
        ck_assert_int_eq(isa_parse(name, &back), 0);
        ck_assert_uint_eq(back, UINT64_C(1) << bits[i]);
    }
}
END_TEST

START_TEST(isa_a_list_reads_back_as_the_same_mask)
{
    uint64_t all = 0, back = 0;
    char text[256];
    for (size_t i = 0; i < N_BITS; i++)
        all |= UINT64_C(1) << bits[i];
    isa_format(all, text, sizeof text);
    ck_assert_int_eq(isa_parse(text, &back), 0);
    ck_assert_uint_eq(back, all);
    isa_format(0, text, sizeof text);
    ck_assert_str_eq(text, "baseline");
    ck_assert_int_eq(isa_parse(text, &back), 0);
    ck_assert_uint_eq(back, 0);
}
END_TEST

START_TEST(isa_lists_take_commas_spaces_and_all)
{
    uint64_t m = 0;
    ck_assert_int_eq(isa_parse(" avx2,avxvnni ,  vbmi", &m), 0);
    ck_assert_uint_eq(m, BNP_ISA(X86_AVX2) | BNP_ISA(X86_AVXVNNI) | BNP_ISA(X86_VBMI));
    ck_assert_int_eq(isa_parse("all", &m), 0);
    ck_assert_uint_eq(m, UINT64_MAX);
    ck_assert_int_eq(isa_parse("baseline sve2", &m), 0);
    ck_assert_uint_eq(m, BNP_ISA(ARM_SVE2));
}
END_TEST

START_TEST(isa_unknown_words_are_refused_and_change_nothing)
{
    static const char *const bad[] = { "", "  ", "avx", "avx22", "AVX2", "avx2;neon", "avx2 x" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t m = 77;
        ck_assert_int_eq(isa_parse(bad[i], &m), ERR_ARG);
        ck_assert_uint_eq(m, 77);
    }
}
END_TEST

START_TEST(isa_nameless_bits_are_numbered_and_text_is_cut)
{
    char text[64], little[6];
    isa_format(UINT64_C(1) << 40 | BNP_ISA(X86_AVX2), text, sizeof text);
    ck_assert_str_eq(text, "avx2 bit 40");
    memset(little, 'x', sizeof little);
    isa_format(BNP_ISA(X86_AVX2) | BNP_ISA(X86_AVXVNNI), little, sizeof little);
    ck_assert_str_eq(little, "avx2 ");
    isa_format(0, little, 0);
}
END_TEST

/* The kernel's own list is another witness of the same processor. */
static bool cpuinfo_has(const char *flags, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = flags; (p = strstr(p, word)); p += n)
        if ((p == flags || p[-1] == ' ' || p[-1] == '\t') && (p[n] == ' ' || p[n] == '\n' || !p[n]))
            return true;
    return false;
}

START_TEST(isa_agrees_with_the_kernel_about_this_processor)
{
#if defined(__x86_64__)
    static char line[16384];
    FILE *f = fopen("/proc/cpuinfo", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) && strncmp(line, "flags", 5) != 0) {
    }
    fclose(f);
    ck_assert_int_eq(strncmp(line, "flags", 5), 0);
    const uint64_t isa = isa_probe();
    const bool avx2 = cpuinfo_has(line, "avx2") && cpuinfo_has(line, "fma") &&
                      cpuinfo_has(line, "f16c") && cpuinfo_has(line, "bmi2");
    const bool avx512 = avx2 && cpuinfo_has(line, "avx512f") && cpuinfo_has(line, "avx512bw") &&
                        cpuinfo_has(line, "avx512dq") && cpuinfo_has(line, "avx512vl") &&
                        cpuinfo_has(line, "avx512cd");
    ck_assert_int_eq((isa & BNP_ISA(X86_AVX2)) != 0, avx2);
    ck_assert_int_eq((isa & BNP_ISA(X86_AVX512)) != 0, avx512);
    ck_assert_int_eq((isa & BNP_ISA(X86_VNNI512)) != 0,
                     avx512 && cpuinfo_has(line, "avx512_vnni"));
    ck_assert_int_eq((isa & BNP_ISA(X86_AVXVNNI)) != 0, avx2 && cpuinfo_has(line, "avx_vnni"));
    ck_assert_uint_eq(isa >> 16, 0);
#elif defined(__aarch64__)
    (void)cpuinfo_has;
    ck_assert_uint_ne(isa_probe() & BNP_ISA(ARM_NEON), 0);       /* ARMv8-A always has it */
    ck_assert_uint_eq(isa_probe() & 0xffff, 0);
#endif
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("isa");
    TCase *c = tcase_create("isa");
    tcase_add_test(c, isa_every_bit_of_the_abi_has_a_name_of_its_own);
    tcase_add_test(c, isa_a_list_reads_back_as_the_same_mask);
    tcase_add_test(c, isa_lists_take_commas_spaces_and_all);
    tcase_add_test(c, isa_unknown_words_are_refused_and_change_nothing);
    tcase_add_test(c, isa_nameless_bits_are_numbered_and_text_is_cut);
    tcase_add_test(c, isa_agrees_with_the_kernel_about_this_processor);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
