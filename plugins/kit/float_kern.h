/* float_kern.h - all float kernels of one instruction set. A plugin has a file
 * per instruction set that is compiled with its flags and says no more than
 *
 *   #define FLOAT_KERN float_avx2
 *   #include "plugins/kit/float_kern.h" */
#include "plugins/kit/kern_attn.h"
#include "plugins/kit/kern_dense.h"
#include "plugins/kit/kern_point.h"
#include "plugins/kit/kern_row.h"
#include "plugins/kit/kern_screen.h"

extern const struct float_kern FLOAT_KERN;
const struct float_kern FLOAT_KERN = {
    .row = &row_kern,
    .dense = &dense_kern,
    .screen = &screen_kern,
    .attn = &attn_kern,
    .point = &point_kern,
};
