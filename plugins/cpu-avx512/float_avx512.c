/* float_avx512.c - the kit's float kernels over vectors of 16, without VNNI. */
#define FLOAT_KERN float_avx512
#include "plugins/kit/float_kern.h"
