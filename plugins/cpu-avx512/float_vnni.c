/* float_vnni.c - the same with VNNI, which the screen of a head multiplies with. */
#define FLOAT_KERN float_vnni
#include "plugins/kit/float_kern.h"
