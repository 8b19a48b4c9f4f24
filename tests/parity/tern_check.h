/* tern_check.h - is a struct tern what plugins/kit/kern.h says?
 *
 * Packs, reads back and multiplies made-up panels, and compares every sum with
 * one in plain C: column counts around every likely boundary, token counts,
 * ranges of columns, codes and activations that reach the ends of 16-bit
 * sums. All memory is as large as the contract says and no larger; what lies
 * in slack and padding is hostile, and what lies behind outputs must stay. */
#ifndef TESTS_TERN_CHECK_H
#define TESTS_TERN_CHECK_H

#include "plugins/kit/kern.h"

/* True when all is well. Otherwise the first difference has been printed, with
 * the shape, the fills, the token and the row. */
bool tern_check(const struct tern *);

#endif
