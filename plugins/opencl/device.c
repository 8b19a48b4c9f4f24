/* device.c - one OpenCL device: a context, its program, a queue for [setup]. */
#include "ocl.h"

#include <stdio.h>
#include <string.h>

static const char *error_name(cl_int err)
{
    static const struct { cl_int err; const char *name; } known[] = {
        { CL_DEVICE_NOT_AVAILABLE, "CL_DEVICE_NOT_AVAILABLE" },
        { CL_MEM_OBJECT_ALLOCATION_FAILURE, "CL_MEM_OBJECT_ALLOCATION_FAILURE" },
        { CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES" },
        { CL_OUT_OF_HOST_MEMORY, "CL_OUT_OF_HOST_MEMORY" },
        { CL_BUILD_PROGRAM_FAILURE, "CL_BUILD_PROGRAM_FAILURE" },
        { CL_INVALID_VALUE, "CL_INVALID_VALUE" },
        { CL_INVALID_COMMAND_QUEUE, "CL_INVALID_COMMAND_QUEUE" },
        { CL_INVALID_BINARY, "CL_INVALID_BINARY" },
        { CL_INVALID_KERNEL_ARGS, "CL_INVALID_KERNEL_ARGS" },
        { CL_INVALID_WORK_GROUP_SIZE, "CL_INVALID_WORK_GROUP_SIZE" },
        { CL_INVALID_BUFFER_SIZE, "CL_INVALID_BUFFER_SIZE" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].err == err)
            return known[i].name;
    return "an error of OpenCL";
}

/* What a call did wrong is ours, memory is the host's to shed; for all else the
 * device is not to be trusted any more. */
int ocl_fail(bnp_device *d, cl_int err, const char *what)
{
    const bool memory = err == CL_MEM_OBJECT_ALLOCATION_FAILURE || err == CL_OUT_OF_HOST_MEMORY ||
                        err == CL_INVALID_BUFFER_SIZE;
    const bool ours = err <= CL_INVALID_VALUE && err != CL_INVALID_COMMAND_QUEUE &&
                      err != CL_INVALID_CONTEXT && err != CL_INVALID_DEVICE;
    return kit_fail(d, memory ? BNP_E_NOMEM : ours ? BNP_E_INTERNAL : BNP_E_DEVICE,
                    "%s on %.64s: %s (%d)", what, ocl_of(d)->f.name, error_name(err), err);
}

int ocl_device_count(const bnp_host *host, uint32_t *n)
{
    char why[256];
    *n = ocl_find(host, 0, NULL, why, sizeof why);
    if (!*n)
        host->report(host->ctx, BNP_OK, why);       /* not an error, but worth a word */
    return BNP_OK;
}

static int open_queue(struct ocl_device *o)
{
    const cl_context_properties properties[] = {
        CL_CONTEXT_PLATFORM, (cl_context_properties)o->f.platform, 0 };
    cl_int err;
    o->ctx = cl.clCreateContext(properties, 1, &o->f.id, NULL, NULL, &err);
    if (!o->ctx)
        return ocl_fail(&o->d, err, "clCreateContext");
    o->setup = cl.clCreateCommandQueue(o->ctx, o->f.id, 0, &err);
    if (!o->setup)
        return ocl_fail(&o->d, err, "clCreateCommandQueue");
    return BNP_OK;
}

int ocl_device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    char why[256];
    struct ocl_found f = { 0 };
    *out = NULL;
    if (ocl_find(host, index, &f, why, sizeof why) <= index) {
        host->report(host->ctx, BNP_E_INVALID, "device index beyond what device_count found");
        return BNP_E_INVALID;
    }
    struct ocl_device *o = host->alloc(host->ctx, sizeof *o, BNP_ALIGN, -1);
    if (!o) {
        host->report(host->ctx, BNP_E_NOMEM, "no memory for the device");
        return BNP_E_NOMEM;
    }
    o->d.host = host;
    o->d.index = index;
    o->f = f;
    o->mem_limit = ocl_option_number(host, "mem_mib", 1, f.mem_size >> 20, f.mem_size >> 20) << 20;
    int rc = open_queue(o);
    if (!rc)
        rc = ocl_program_open(o);
    if (rc) {
        ocl_device_close(&o->d);
        return rc;
    }
    *out = &o->d;
    return BNP_OK;
}

void ocl_device_close(bnp_device *d)
{
    if (!d)
        return;
    struct ocl_device *o = ocl_of(d);
    if (o->program)
        cl.clReleaseProgram(o->program);
    if (o->setup)
        cl.clReleaseCommandQueue(o->setup);
    if (o->ctx)
        cl.clReleaseContext(o->ctx);
    d->host->release(d->host->ctx, o);
}

/* Neither BNP_DEV_HOST_MEM nor BNP_DEV_SYNC, whatever the driver computes on. */
int ocl_device_info(bnp_device *d, bnp_device_info *info)
{
    const struct ocl_device *o = ocl_of(d);
    bnp_device_info mine = { .kind = BNP_DEV_OTHER, .mem_size = o->mem_limit };
    if (ocl_option(d->host, "contexts"))
        snprintf(mine.name, sizeof mine.name, "%.40s, context %u", o->f.name, o->f.context);
    else
        snprintf(mine.name, sizeof mine.name, "%.63s", o->f.name);
    sized_fill(info, &mine, sizeof mine);
    return BNP_OK;
}
