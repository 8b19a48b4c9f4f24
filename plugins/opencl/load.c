/* load.c - the loader library, and which of its devices will do.
 *
 * libOpenCL.so.1 is opened when devices are first counted and stays: drivers
 * start threads, and do not survive being unloaded. A device is left out, with
 * a line that says why, when its floats are not those of the contract. Division
 * and square root may be inexact: the kernels then bring their own. */
#include "ocl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY      "libOpenCL.so.1"
#define MAX_PLATFORM 16u
#define MAX_DEVICE   32u            /* of a platform                         */

struct ocl_functions cl;

static void *entry(void *lib, const char *name, bool *all)
{
    void *f = dlsym(lib, name);
    *all = *all && f;
    return f;
}

/* All or nothing. [load]: one thread. */
static bool load(void)
{
    static bool loaded;
    if (loaded)
        return true;
    void *lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    bool all = lib != NULL;
    if (!lib)
        return false;
#define X(f) { void *p = entry(lib, #f, &all); memcpy(&cl.f, &p, sizeof p); }
    OCL_FUNCTIONS(X)
#undef X
    loaded = all;
    return all;
}

const char *ocl_option(const bnp_host *host, const char *key)
{
    const char *v = host->option ? host->option(host->ctx, key) : NULL;
    return v && *v ? v : NULL;
}

__attribute__((format(printf, 2, 3)))
static void say(const bnp_host *host, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    host->log(host->ctx, BNP_LOG_WARN, line);
}

uint64_t ocl_option_number(const bnp_host *host, const char *key, uint64_t lo, uint64_t hi,
                           uint64_t standard)
{
    const char *v = ocl_option(host, key);
    char *end;
    if (!v)
        return standard;
    errno = 0;
    const unsigned long long n = strtoull(v, &end, 10);
    if (!errno && v[0] >= '0' && v[0] <= '9' && !*end && n >= lo && n <= hi)
        return n;
    say(host, "option %s = %.40s: expected a number from %llu to %llu; it is ignored", key, v,
        (unsigned long long)lo, (unsigned long long)hi);
    return standard;
}

static void text(cl_device_id d, cl_device_info what, char *out, size_t size)
{
    if (cl.clGetDeviceInfo(d, what, size - 1, out, NULL) != CL_SUCCESS)
        out[0] = 0;
    out[size - 1] = 0;
}

static void platform_text(cl_platform_id p, cl_platform_info what, char *out, size_t size)
{
    if (cl.clGetPlatformInfo(p, what, size - 1, out, NULL) != CL_SUCCESS)
        out[0] = 0;
    out[size - 1] = 0;
}

static uint64_t number(cl_device_id d, cl_device_info what)
{
    uint64_t v = 0;                     /* little-endian: a smaller one fits too */
    return cl.clGetDeviceInfo(d, what, sizeof v, &v, NULL) == CL_SUCCESS ? v : 0;
}

/* Why this device cannot be EXACT or cannot run kernels at all; NULL: it can. */
static const char *lacks(cl_device_id d)
{
    const uint64_t fp = number(d, CL_DEVICE_SINGLE_FP_CONFIG);
    char version[64];
    text(d, CL_DEVICE_VERSION, version, sizeof version);
    if (!number(d, CL_DEVICE_AVAILABLE) || !number(d, CL_DEVICE_COMPILER_AVAILABLE))
        return "it is not available or has no compiler";
    if (!strncmp(version, "OpenCL 1.0", 10) || !strncmp(version, "OpenCL 1.1", 10))
        return "its OpenCL is older than 1.2";
    if (!number(d, CL_DEVICE_ENDIAN_LITTLE))
        return "it is big-endian";
    if (!(fp & CL_FP_FMA))
        return "its fma does not round once (CL_FP_FMA)";
    if (!(fp & CL_FP_DENORM))
        return "it flushes denormals to zero (CL_FP_DENORM)";
    if (!(fp & CL_FP_ROUND_TO_NEAREST) || !(fp & CL_FP_INF_NAN))
        return "it does not round to nearest, or knows no Inf and NaN";
    if (number(d, CL_DEVICE_MAX_WORK_GROUP_SIZE) < 256)
        return "its work groups hold fewer than 256 items";
    return NULL;
}

static bool has_extension(cl_device_id d, const char *name)
{
    char list[8192];
    const size_t n = strlen(name);
    if (cl.clGetDeviceInfo(d, CL_DEVICE_EXTENSIONS, sizeof list - 1, list, NULL) != CL_SUCCESS)
        return false;
    list[sizeof list - 1] = 0;
    for (const char *at = strstr(list, name); at; at = strstr(at + 1, name))
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

static void describe(struct ocl_found *f)
{
    text(f->id, CL_DEVICE_NAME, f->name, sizeof f->name);
    text(f->id, CL_DRIVER_VERSION, f->driver, sizeof f->driver);
    platform_text(f->platform, CL_PLATFORM_NAME, f->platform_name, sizeof f->platform_name);
    platform_text(f->platform, CL_PLATFORM_VERSION, f->platform_version,
                  sizeof f->platform_version);
    f->type = (cl_device_type)number(f->id, CL_DEVICE_TYPE);
    f->exact_div = number(f->id, CL_DEVICE_SINGLE_FP_CONFIG) &
                   CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
    f->int_dot = has_extension(f->id, "cl_khr_integer_dot_product");
    f->mem_size = number(f->id, CL_DEVICE_GLOBAL_MEM_SIZE);
    f->max_alloc = number(f->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    f->local_size = number(f->id, CL_DEVICE_LOCAL_MEM_SIZE);
    f->max_group = (size_t)number(f->id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
}

struct search {
    const bnp_host *host;
    uint32_t index, n;
    struct ocl_found *out;          /* NULL: only count                      */
    char *why;
    size_t n_why;
};

/* One device of a platform, as often as `contexts` says. */
static void look_at(struct search *s, cl_platform_id p, cl_device_id d)
{
    struct ocl_found f = { .platform = p, .id = d };
    const char *only = ocl_option(s->host, "devices");
    describe(&f);
    if (only && !strstr(f.name, only) && !strstr(f.platform_name, only)) {
        snprintf(s->why, s->n_why, "no device's name holds \"%.40s\" (option devices)", only);
        return;
    }
    const char *missing = lacks(d);
    if (missing) {
        snprintf(s->why, s->n_why, "%.80s (%.80s) is not offered: %s", f.name, f.platform_name,
                 missing);
        if (!s->out)
            say(s->host, "%s", s->why);
        return;
    }
    const uint32_t n = (uint32_t)ocl_option_number(s->host, "contexts", 1, 8, 1);
    for (f.context = 0; f.context < n; f.context++, s->n++)
        if (s->out && s->n == s->index)
            *s->out = f;
}

uint32_t ocl_find(const bnp_host *host, uint32_t index, struct ocl_found *out, char *why,
                  size_t n_why)
{
    struct search s = { .host = host, .index = index, .out = out, .why = why, .n_why = n_why };
    cl_platform_id platform[MAX_PLATFORM];
    cl_uint n_platform = 0;
    if (!load()) {
        snprintf(why, n_why, LIBRARY " cannot be opened: install an OpenCL loader (ocl-icd) and "
                 "a driver to use OpenCL devices");
        return 0;
    }
    const cl_int err = cl.clGetPlatformIDs(MAX_PLATFORM, platform, &n_platform);
    if (err || !n_platform) {
        snprintf(why, n_why, "the OpenCL loader finds no driver (clGetPlatformIDs: %d): expected "
                 "one that works in /etc/OpenCL/vendors", err);
        return 0;
    }
    snprintf(why, n_why, "none of %u OpenCL drivers has a device", n_platform);
    for (cl_uint i = 0; i < n_platform && i < MAX_PLATFORM; i++) {
        cl_device_id device[MAX_DEVICE];
        cl_uint n = 0;
        if (cl.clGetDeviceIDs(platform[i], CL_DEVICE_TYPE_ALL, MAX_DEVICE, device, &n))
            continue;
        for (cl_uint k = 0; k < n && k < MAX_DEVICE; k++)
            look_at(&s, platform[i], device[k]);
    }
    return s.n;
}
