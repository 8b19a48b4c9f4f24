/* layer.c - see layer.h. One thread calls. */
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#include <CL/cl.h>
#include <CL/cl_icd.h>
#include <CL/cl_layer.h>
#include <string.h>

#include "tests/opencl/layer.h"

static cl_icd_dispatch mine;
static const cl_icd_dispatch *next;
static struct layer state;

struct layer *layer_state(void);
struct layer *layer_state(void)
{
    return &state;
}

static void CL_CALLBACK ignore(const char *why, const void *p, size_t n, void *user)
{
    (void)why, (void)p, (void)n, (void)user;
}

static cl_context CL_API_CALL create_context(const cl_context_properties *p, cl_uint n,
                                             const cl_device_id *d,
                                             void(CL_CALLBACK *tell)(const char *, const void *,
                                                                     size_t, void *),
                                             void *user, cl_int *err)
{
    const cl_context c = next->clCreateContext(p, n, d, tell ? tell : ignore, user, err);
    state.context += c != NULL;
    return c;
}

static cl_command_queue CL_API_CALL create_queue(cl_context c, cl_device_id d,
                                                 cl_command_queue_properties p, cl_int *err)
{
    const cl_command_queue q = next->clCreateCommandQueue(c, d, p, err);
    state.queue += q != NULL;
    return q;
}

static cl_mem CL_API_CALL create_buffer(cl_context c, cl_mem_flags flags, size_t n, void *p,
                                        cl_int *err)
{
    if (state.buffer_error) {
        *err = state.buffer_error;
        state.buffer_error = 0;
        return NULL;
    }
    const cl_mem m = next->clCreateBuffer(c, flags, n, p, err);
    state.buffer += m != NULL;
    return m;
}

static cl_program CL_API_CALL create_source(cl_context c, cl_uint n, const char **s,
                                            const size_t *len, cl_int *err)
{
    const cl_program p = next->clCreateProgramWithSource(c, n, s, len, err);
    state.program += p != NULL;
    return p;
}

static cl_program CL_API_CALL create_binary(cl_context c, cl_uint n, const cl_device_id *d,
                                            const size_t *len, const unsigned char **b,
                                            cl_int *st, cl_int *err)
{
    const cl_program p = next->clCreateProgramWithBinary(c, n, d, len, b, st, err);
    state.program += p != NULL;
    return p;
}

static cl_kernel CL_API_CALL create_kernel(cl_program p, const char *name, cl_int *err)
{
    const cl_kernel k = next->clCreateKernel(p, name, err);
    state.kernel += k != NULL;
    return k;
}

#define RELEASE(fn, name, type, count)                      \
    static cl_int CL_API_CALL fn(type x)                    \
    {                                                       \
        const cl_int err = next->name(x);                   \
        state.count -= !err;                                \
        return err;                                         \
    }
RELEASE(release_context, clReleaseContext, cl_context, context)
RELEASE(release_queue, clReleaseCommandQueue, cl_command_queue, queue)
RELEASE(release_buffer, clReleaseMemObject, cl_mem, buffer)
RELEASE(release_program, clReleaseProgram, cl_program, program)
RELEASE(release_kernel, clReleaseKernel, cl_kernel, kernel)
RELEASE(release_event, clReleaseEvent, cl_event, event)

static cl_int count_event(cl_int err, const cl_event *e)
{
    state.event += e && !err;
    return err;
}

static cl_int CL_API_CALL enqueue(cl_command_queue q, cl_kernel k, cl_uint dim, const size_t *at,
                                  const size_t *all, const size_t *group, cl_uint n,
                                  const cl_event *list, cl_event *e)
{
    const cl_int err = state.enqueue_error;
    state.enqueue_error = 0;
    state.enqueued++;
    return err ? err : count_event(next->clEnqueueNDRangeKernel(q, k, dim, at, all, group, n, list,
                                                                e), e);
}

static cl_int CL_API_CALL enqueue_write(cl_command_queue q, cl_mem m, cl_bool wait, size_t at,
                                        size_t size, const void *p, cl_uint n,
                                        const cl_event *list, cl_event *e)
{
    return count_event(next->clEnqueueWriteBuffer(q, m, wait, at, size, p, n, list, e), e);
}

static cl_int CL_API_CALL enqueue_read(cl_command_queue q, cl_mem m, cl_bool wait, size_t at,
                                       size_t size, void *p, cl_uint n, const cl_event *list,
                                       cl_event *e)
{
    return count_event(next->clEnqueueReadBuffer(q, m, wait, at, size, p, n, list, e), e);
}

static cl_int CL_API_CALL event_info(cl_event e, cl_event_info what, size_t size, void *p,
                                     size_t *n)
{
    const cl_int err = next->clGetEventInfo(e, what, size, p, n);
    if (!err && what == CL_EVENT_COMMAND_EXECUTION_STATUS && state.hold)
        *(cl_int *)p = CL_RUNNING;
    else if (!err && what == CL_EVENT_COMMAND_EXECUTION_STATUS && state.event_state)
        *(cl_int *)p = state.event_state;
    return err;
}

cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *p, size_t *n)
{
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (what != CL_LAYER_API_VERSION || (p && size < sizeof version))
        return CL_INVALID_VALUE;
    if (p)
        memcpy(p, &version, sizeof version);
    if (n)
        *n = sizeof version;
    return CL_SUCCESS;
}

cl_int CL_API_CALL clInitLayer(cl_uint n, const cl_icd_dispatch *target, cl_uint *n_out,
                               const cl_icd_dispatch **out)
{
    if (n < sizeof mine / sizeof mine.clGetPlatformIDs)
        return CL_INVALID_VALUE;
    next = target;
    mine = *target;
    mine.clCreateContext = create_context;
    mine.clCreateCommandQueue = create_queue;
    mine.clCreateBuffer = create_buffer;
    mine.clCreateProgramWithSource = create_source;
    mine.clCreateProgramWithBinary = create_binary;
    mine.clCreateKernel = create_kernel;
    mine.clReleaseContext = release_context;
    mine.clReleaseCommandQueue = release_queue;
    mine.clReleaseMemObject = release_buffer;
    mine.clReleaseProgram = release_program;
    mine.clReleaseKernel = release_kernel;
    mine.clReleaseEvent = release_event;
    mine.clEnqueueNDRangeKernel = enqueue;
    mine.clEnqueueWriteBuffer = enqueue_write;
    mine.clEnqueueReadBuffer = enqueue_read;
    mine.clGetEventInfo = event_info;
    *n_out = sizeof mine / sizeof mine.clGetPlatformIDs;
    *out = &mine;
    return CL_SUCCESS;
}
