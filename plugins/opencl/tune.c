/* tune.c - group sizes of the ternary kernels, by the clock. */
#include "ocl.h"

int ocl_tune(bnp_stream *s)
{
    struct ocl_device *o = ocl_of(s->dev);
    if (o->tuned)
        return BNP_OK;
    const struct ocl_shape cpu = { 32, 1 }, gpu = { 32, 4 };
    o->tune.one = o->f.type & CL_DEVICE_TYPE_CPU ? cpu : gpu;
    o->tune.tile = o->f.type & CL_DEVICE_TYPE_CPU ? cpu : gpu;
    o->tuned = true;
    ocl_cache_store(o);
    return BNP_OK;
}
