/* float_kern.h - all float kernels of one instruction set. A plugin has a file
 * per instruction set that is compiled with its flags and says no more than
 *
 *   #define FLOAT_KERN float_avx2
 *   #include "plugins/kit/float_kern.h" */
#include "plugins/kit/kern_point.h"
#include "plugins/kit/kern_row.h"

extern const struct float_kern FLOAT_KERN;
const struct float_kern FLOAT_KERN = {
    .row = &row_kern,
    .point = &point_kern,
};
