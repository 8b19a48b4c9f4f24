/* program.c - the kernels, compiled for a device.
 *
 * Flags are the contract's: nothing relaxed, division and square root rounded
 * right where the driver can promise that (elsewhere EXACT_DIV stays undefined
 * and the kernels bring their own). */
#include "ocl.h"

#include <stdio.h>
#include <string.h>

#include "cache.h"

/* `build_options` of the configuration go to the end. */
static void flags_of(const struct ocl_device *o, char *out, size_t size)
{
    const char *more = ocl_option(o->d.host, "build_options");
    snprintf(out, size, "-w -cl-std=CL1.2%s%s %.200s",
             o->f.exact_div ? " -cl-fp32-correctly-rounded-divide-sqrt -DEXACT_DIV" : "",
             o->f.int_dot ? " -DHAVE_DOT" : "", more ? more : "");
}

/* The compiler's log has many lines; the first that speaks of an error says most. */
static void first_error(struct ocl_device *o, char *out, size_t size)
{
    const bnp_host *host = o->d.host;
    size_t n = 0;
    out[0] = 0;
    if (cl.clGetProgramBuildInfo(o->program, o->f.id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n) || !n)
        return;
    char *log = host->alloc(host->ctx, n + 1, BNP_ALIGN, -1);
    if (log && !cl.clGetProgramBuildInfo(o->program, o->f.id, CL_PROGRAM_BUILD_LOG, n, log, NULL)) {
        log[n] = 0;
        const char *at = strstr(log, "error");
        while (at && at > log && at[-1] != '\n')
            at--;
        at = at ? at : log;
        snprintf(out, size, "%.*s", (int)strcspn(at, "\n"), at);
    }
    host->release(host->ctx, log);
}

static int build(struct ocl_device *o, const char *flags, bool quiet)
{
    char why[160];
    const cl_int err = cl.clBuildProgram(o->program, 1, &o->f.id, flags, NULL, NULL);
    if (!err)
        return BNP_OK;
    if (!quiet) {
        first_error(o, why, sizeof why);
        kit_fail(&o->d, BNP_E_INTERNAL, "the kernels do not compile (%d): %s", err,
                 why[0] ? why : "the driver does not say why");
    }
    cl.clReleaseProgram(o->program);
    o->program = NULL;
    return BNP_E_INTERNAL;
}

static bool from_binary(struct ocl_device *o, const char *flags)
{
    size_t size;
    cl_int state = CL_SUCCESS, err;
    unsigned char *binary = cache_read(o, flags, &size);
    if (!binary)
        return false;
    const unsigned char *const at = binary;
    o->program = cl.clCreateProgramWithBinary(o->ctx, 1, &o->f.id, &size,
                                              (const unsigned char **)&at, &state, &err);
    if (o->program && (err || state)) {
        cl.clReleaseProgram(o->program);
        o->program = NULL;
    }
    cache_free(o, binary);
    if (o->program && !build(o, flags, true))
        return true;
    o->tuned = false;
    o->d.host->log(o->d.host->ctx, BNP_LOG_WARN, "the driver refuses the kernels of its cache; "
                   "they are compiled again");
    return false;
}

static int from_source(struct ocl_device *o, const char *flags, bool quiet)
{
    const char *source = ocl_source;
    cl_int err;
    o->program = cl.clCreateProgramWithSource(o->ctx, 1, &source, NULL, &err);
    if (!o->program)
        return ocl_fail(&o->d, err, "clCreateProgramWithSource");
    return build(o, flags, quiet);
}

/* A driver may list the products of bytes and know them in younger dialects
 * only: then it goes without them. */
int ocl_program_open(struct ocl_device *o)
{
    char flags[512];
    flags_of(o, flags, sizeof flags);
    if (from_binary(o, flags) || (o->f.int_dot && !from_source(o, flags, true)))
        return BNP_OK;
    o->f.int_dot = false;
    flags_of(o, flags, sizeof flags);
    return from_source(o, flags, false);
}

/* PoCL keeps what it compiled itself, and to give a binary it compiles every
 * kernel once more for any group size: seconds, for nothing. */
static bool binary_wanted(const struct ocl_device *o)
{
    const char *use = ocl_option(o->d.host, "cache");
    return strcmp(o->f.platform_name, "Portable Computing Language") || (use && !strcmp(use, "on"));
}

void ocl_cache_store(struct ocl_device *o)
{
    const bnp_host *host = o->d.host;
    char flags[512];
    size_t size = 0;
    flags_of(o, flags, sizeof flags);
    if (!binary_wanted(o)) {
        cache_write(o, flags, NULL, 0);
        return;
    }
    if (cl.clGetProgramInfo(o->program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) || !size)
        return;
    unsigned char *binary = host->alloc(host->ctx, size, BNP_ALIGN, -1);
    if (binary &&
        !cl.clGetProgramInfo(o->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL))
        cache_write(o, flags, binary, size);
    host->release(host->ctx, binary);
}
