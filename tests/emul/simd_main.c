/* simd_main.c - simd_main ISA: simd_check.c where this processor has ISA; else 77. */
#include <stdio.h>

#include "core/plug/isa.h"

unsigned simd_check(void);

int main(int argc, char **argv)
{
    uint64_t need;
    char text[64];
    if (argc != 2 || isa_parse(argv[1], &need)) {
        fprintf(stderr, "usage: simd_main ISA, for instance avx2\n");
        return 2;
    }
    need &= ~isa_probe();
    if (need) {
        isa_format(need, text, sizeof text);
        printf("skipped: this processor has no %s\n", text);
        return 77;
    }
    const unsigned n_wrong = simd_check();
    printf("%u values differ from plain C\n", n_wrong);
    return n_wrong != 0;
}
