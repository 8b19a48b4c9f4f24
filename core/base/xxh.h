/* xxh.h - xxHash, with the widest vectors that the processor has.
 *
 * The library chooses them at run time where it was built to, and then has the
 * header that says so. The sums are the same. */
#ifndef BITNET_BASE_XXH_H
#define BITNET_BASE_XXH_H

#include <xxhash.h>

#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

#endif
