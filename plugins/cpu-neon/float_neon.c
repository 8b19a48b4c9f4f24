/* float_neon.c - the kit's float kernels over vectors of four. */
#define FLOAT_KERN float_neon
#include "plugins/kit/float_kern.h"
