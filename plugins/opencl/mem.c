/* mem.c - the device's memory, counted.
 *
 * Drivers hand out memory when it is first touched, and fail then. So every
 * piece is filled with zeros here: what mem_alloc gave is really there. */
#include "ocl.h"

cl_mem ocl_buffer(struct ocl_device *o, cl_mem_flags flags, uint64_t size, const char *what)
{
    const uint64_t left = o->mem_limit - o->mem_used;
    if (size > left || size > o->f.max_alloc) {
        kit_fail(&o->d, BNP_E_NOMEM, "%s: %llu bytes; %.64s has %llu left of %llu and gives %llu "
                 "at a time", what, (unsigned long long)size, o->f.name, (unsigned long long)left,
                 (unsigned long long)o->mem_limit, (unsigned long long)o->f.max_alloc);
        return NULL;
    }
    cl_int err;
    cl_mem m = cl.clCreateBuffer(o->ctx, flags | CL_MEM_READ_WRITE, (size_t)size, NULL, &err);
    const cl_uint zero = 0;
    if (m && !(err = cl.clEnqueueFillBuffer(o->setup, m, &zero, sizeof zero, 0, (size_t)size, 0,
                                            NULL, NULL)))
        err = cl.clFinish(o->setup);
    if (m && !err) {
        o->mem_used += size;
        return m;
    }
    if (m)
        cl.clReleaseMemObject(m);
    (void)ocl_fail(&o->d, err, what);
    return NULL;
}

void ocl_buffer_free(struct ocl_device *o, cl_mem m, uint64_t size)
{
    if (!m)
        return;
    cl.clReleaseMemObject(m);
    o->mem_used -= size;
}

static uint64_t real_size(uint64_t size)            /* with the slack, whole words */
{
    return align_up(size, BNP_ALIGN) + BNP_SLACK;
}

/* Offsets are from the buffer's start, which every driver puts on at least 64
 * bytes; nothing of ours asks for more. */
int ocl_mem_alloc(bnp_device *d, uint32_t kind, uint64_t size, uint64_t align, bnp_span *out)
{
    (void)kind;
    struct ocl_device *o = ocl_of(d);
    *out = (bnp_span){ 0 };
    if (!size || size > UINT64_MAX / 2 || !align || align & (align - 1))
        return kit_fail(d, BNP_E_INVALID, "mem_alloc: %llu bytes on a boundary of %llu, expected "
                        "some, and a power of two", (unsigned long long)size,
                        (unsigned long long)align);
    struct ocl_mem *m = d->host->alloc(d->host->ctx, sizeof *m, BNP_ALIGN, -1);
    if (!m)
        return kit_fail(d, BNP_E_NOMEM, "mem_alloc: no host memory for a handle");
    m->mem = ocl_buffer(o, 0, real_size(size), "mem_alloc");
    if (!m->mem) {
        d->host->release(d->host->ctx, m);
        return BNP_E_NOMEM;
    }
    m->magic = OCL_MEM_MAGIC;
    m->dev = o;
    m->size = size;
    *out = (bnp_span){ .base = m, .size = size };
    return BNP_OK;
}

void ocl_mem_free(bnp_device *d, bnp_span s)
{
    struct ocl_mem *m = s.base;
    if (!m || m->magic != OCL_MEM_MAGIC || m->dev != ocl_of(d))
        return;
    m->magic = 0;
    ocl_buffer_free(m->dev, m->mem, real_size(m->size));
    d->host->release(d->host->ctx, m);
}

int ocl_ref(bnp_device *d, const char *what, bnp_span s, uint64_t size, struct ocl_ref *out)
{
    const struct ocl_mem *m = s.base;
    if (!m || m->magic != OCL_MEM_MAGIC || m->dev != ocl_of(d) || s.offset > m->size ||
        size > m->size - s.offset)
        return kit_fail(d, BNP_E_INVALID, "%s: %llu bytes at %llu, expected to lie in memory of "
                        "this device's mem_alloc", what, (unsigned long long)size,
                        (unsigned long long)s.offset);
    *out = (struct ocl_ref){ m->mem, s.offset };
    return BNP_OK;
}

int ocl_rows_ref(bnp_device *d, const char *what, const bnp_rows *r, struct ocl_ref *out)
{
    const uint64_t size = r->n_tok ? (r->n_tok - 1) * r->stride + rows_width(r) : 0;
    return ocl_ref(d, what, r->mem, size, out);
}
