/* isa.h - what this processor can run, as BNP_ISA bits.
 *
 * A bit is set only when the instructions exist and the operating system
 * saves their registers (CPUID with XCR0; auxv on ARM). */
#ifndef BITNET_PLUG_ISA_H
#define BITNET_PLUG_ISA_H

#include <stddef.h>
#include <stdint.h>

uint64_t isa_probe(void);

/* "avx2", "avx512"...; "bit 40" for one without a name (into tmp). */
const char *isa_name(unsigned bit, char tmp[16]);
/* "avx2 avxvnni", "baseline" for 0; cut at n. */
void isa_format(uint64_t mask, char *out, size_t n);
/* Parses such a list, separated by spaces or commas, "baseline" and "all"
 * too. 0 or ERR_ARG. */
int isa_parse(const char *text, uint64_t *mask);

#endif
