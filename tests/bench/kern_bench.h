/* kern_bench.h - the ternary kernels that a benchmark is about. */
#ifndef TESTS_KERN_BENCH_H
#define TESTS_KERN_BENCH_H

#include "plugins/kit/kern.h"

/* What this processor can run, up to a NULL; defined once per instruction set. */
extern const struct tern *const kern_bench_list[];

#endif
