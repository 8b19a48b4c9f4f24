/* float_avx2.c - the kit's float kernels over vectors of eight. */
#define FLOAT_KERN float_avx2
#include "plugins/kit/float_kern.h"
