/* kern_avx2.c - the ternary kernels of cpu-avx2, for the benchmark. */
#include "plugins/cpu-avx2/tern_pack.h"
#include "tests/bench/kern_bench.h"

const struct tern *const kern_bench_list[] = { &tern_2bit, &tern_base3, &tern_tl2, NULL };
