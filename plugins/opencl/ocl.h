/* ocl.h - the OpenCL plugin inside: its device, stream, memory and calls.
 *
 * Signatures and promises of what stands behind the tables are those of
 * bitnet_plugin.h. Nothing of OpenCL is linked: the loader library is opened at
 * run time and its functions stand in `cl`. A device's memory is private: the
 * base of a span is a struct ocl_mem, and its offset goes to the kernels. */
#ifndef OPENCL_OCL_H
#define OPENCL_OCL_H

#include <stdbool.h>
#include <stdint.h>

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "bitnet_plugin.h"
#include "plugins/kit/check.h"

/* ------------------------------------------------------- load.c: the driver */

#define OCL_FUNCTIONS(X)                                                                \
    X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo)       \
    X(clCreateContext) X(clReleaseContext) X(clCreateCommandQueue)                      \
    X(clReleaseCommandQueue) X(clCreateBuffer) X(clReleaseMemObject)                    \
    X(clCreateProgramWithSource) X(clCreateProgramWithBinary) X(clBuildProgram)         \
    X(clGetProgramBuildInfo) X(clGetProgramInfo) X(clReleaseProgram) X(clCreateKernel)  \
    X(clReleaseKernel) X(clSetKernelArg) X(clEnqueueNDRangeKernel)                      \
    X(clEnqueueWriteBuffer) X(clEnqueueReadBuffer) X(clEnqueueCopyBuffer)               \
    X(clEnqueueFillBuffer) X(clEnqueueMapBuffer) X(clEnqueueUnmapMemObject)             \
    X(clGetEventInfo) X(clReleaseEvent) X(clWaitForEvents) X(clFlush) X(clFinish)

struct ocl_functions {
#define X(f) __typeof__(&f) f;
    OCL_FUNCTIONS(X)
#undef X
};
extern struct ocl_functions cl;

struct ocl_found {              /* a device that can do what we need         */
    cl_platform_id platform;
    cl_device_id id;
    uint32_t context;           /* which of its contexts: `contexts = N`     */
    cl_device_type type;
    bool exact_div;             /* / and sqrt round right                    */
    bool int_dot;               /* cl_khr_integer_dot_product                */
    uint64_t mem_size, max_alloc, local_size;       /* bytes                 */
    size_t max_group;           /* items                                     */
    char name[128], platform_name[128], platform_version[128], driver[128];
};

/* How many devices there are, and the index-th of them (NULL: only count).
 * Why others are left out goes to host->log; with none found *why says it. */
uint32_t ocl_find(const bnp_host *, uint32_t index, struct ocl_found *, char *why, size_t n_why);
const char *ocl_option(const bnp_host *, const char *key);
/* A number in lo..hi of the configuration, or otherwise `standard` and a line. */
uint64_t ocl_option_number(const bnp_host *, const char *key, uint64_t lo, uint64_t hi,
                           uint64_t standard);

/* -------------------------------------------------------- device.c, mem.c */

#define OCL_KERNELS(X)                                                                  \
    X(rmsnorm) X(rope) X(glu) X(add) X(pick) X(act_int8) X(act_f32)                     \
    X(mul_tern_1) X(mul_tern_2) X(mul_tern_4) X(mul_tern_8) X(mul_tern_block)           \
    X(mul_f32_1) X(mul_f32_4) X(mul_f16_1) X(mul_f16_4) X(mul_bf16_1) X(mul_bf16_4)     \
    X(mul_i8_1) X(mul_i8_4) X(gather) X(topk) X(append) X(attend_chunk) X(attend_join)

enum ocl_kernel {
#define X(k) OCL_##k,
    OCL_KERNELS(X)
#undef X
    OCL_N_KERNEL
};

struct ocl_shape {              /* items of a group: over rows, over columns */
    uint32_t rows, parts;
};

struct ocl_tune {               /* of the ternary kernels, by measurement    */
    struct ocl_shape one, tile; /* one token; a tile of several              */
};

struct ocl_device {
    bnp_device d;               /* first: the kit's functions take it        */
    struct ocl_found f;
    cl_context ctx;
    cl_program program;
    cl_command_queue setup;     /* blocking work of [setup] calls            */
    uint64_t mem_limit, mem_used;                   /* bytes                 */
    struct ocl_tune tune;
    bool tuned;                 /* tune came from the cache                  */
};

#define OCL_MEM_MAGIC UINT64_C(0x6f636c2d6d656d31)

struct ocl_mem {                /* on 64 bytes, so that a span's offset alone */
    uint64_t magic;             /* says what the kit wants to know           */
    struct ocl_device *dev;
    cl_mem mem;
    uint64_t size;              /* bytes asked for; BNP_SLACK more are there */
};

struct ocl_ref { cl_mem mem; cl_ulong at; };        /* what a kernel takes   */

static inline struct ocl_device *ocl_of(bnp_device *d)
{
    return (struct ocl_device *)d;
}

int ocl_device_count(const bnp_host *, uint32_t *n);
int ocl_device_open(const bnp_host *, uint32_t index, bnp_device **out);
void ocl_device_close(bnp_device *);
int ocl_device_info(bnp_device *, bnp_device_info *);
/* The status for an error of OpenCL, reported: "what: clFunction: CL_NAME". */
int ocl_fail(bnp_device *, cl_int err, const char *what);

int ocl_mem_alloc(bnp_device *, uint32_t kind, uint64_t size, uint64_t align, bnp_span *out);
void ocl_mem_free(bnp_device *, bnp_span);
/* A buffer of ours that counts against the limit: NULL after a report. */
cl_mem ocl_buffer(struct ocl_device *, cl_mem_flags, uint64_t size, const char *what);
void ocl_buffer_free(struct ocl_device *, cl_mem, uint64_t size);
/* size bytes of a span of this device; reported when it is none. The kit has
 * looked at its offset and size before. */
int ocl_ref(bnp_device *, const char *what, bnp_span, uint64_t size, struct ocl_ref *);
int ocl_rows_ref(bnp_device *, const char *what, const bnp_rows *, struct ocl_ref *);

/* ------------------------------------- cache.c: programs on disk; tune.c */

/* Builds the device's program or takes it from the cache. */
int ocl_program_open(struct ocl_device *);
/* Puts program and tune into the cache, when one is in use. */
void ocl_cache_store(struct ocl_device *);
/* Chooses group sizes by the clock, unless they are known. */
int ocl_tune(bnp_stream *);

extern const char ocl_source[];                     /* the kernels folder */

/* ------------------------------------------------------ stream.c, copy.c */

#define OCL_SLOTS   16u         /* steps under way, at most                  */
#define OCL_PIECES  32u         /* pieces of copies under way                */
#define OCL_PIECE   (256u << 10)    /* bytes                                 */
#define OCL_STATUS  64u         /* bytes at the start of a step's buffer     */

struct ocl_slot {               /* of a step: ticket % OCL_SLOTS             */
    cl_event done;              /* NULL: free                                */
    uint64_t ticket;
};

struct ocl_stream {             /* bnp_stream.own                            */
    cl_command_queue queue;     /* in order                                  */
    cl_kernel kernel[OCL_N_KERNEL];
    cl_mem step;                /* status, then the step's arrays            */
    uint64_t step_size;         /* bytes, of the largest step                */
    cl_mem pin;                 /* host memory that the device reads itself: */
    uint64_t pin_size;
    char *pin_at;               /* steps, then their statuses, then pieces   */
    cl_event piece[OCL_PIECES]; /* NULL: free                                */
    uint32_t next_piece;
    struct ocl_slot slot[OCL_SLOTS];
    uint64_t settled;           /* tickets up to here are done and looked at */
    uint64_t bad_ticket;        /* 0: none; the first with trouble, and what */
    int bad_status;
    int32_t bad[3];             /* what, row, column                         */
    cl_uint id_at, pos_at, seq_at, out_at, page_at;     /* words in step     */
};

static inline struct ocl_stream *ocl_own(bnp_stream *s)
{
    return s->own;
}

int ocl_stream_open(bnp_device *, const bnp_limits *, bnp_stream **);
void ocl_stream_close(bnp_stream *);
int ocl_step_begin(bnp_stream *, const bnp_step *);
int ocl_step_end(bnp_stream *, uint64_t *ticket);
int ocl_wait(bnp_stream *, uint64_t ticket, uint64_t timeout_ns);
int ocl_copy_in(bnp_stream *, bnp_span dst, const void *src);
int ocl_copy_out(bnp_stream *, void *dst, bnp_span src);
/* Waits for the pieces under way and gives them back. */
void ocl_copy_close(struct ocl_stream *);

/* A call of a kernel: its arguments in order, then the range. */
struct ocl_call {
    bnp_stream *s;
    cl_kernel k;
    const char *name;
    cl_uint n;
    cl_int err;
};

struct ocl_range { size_t all[3], group[3]; };      /* items                 */

struct ocl_call ocl_call(bnp_stream *, enum ocl_kernel);
void ocl_arg(struct ocl_call *, const void *value, size_t size);
static inline void ocl_arg_u32(struct ocl_call *c, uint32_t v) { ocl_arg(c, &v, sizeof v); }
static inline void ocl_arg_u64(struct ocl_call *c, uint64_t v) { ocl_arg(c, &v, sizeof v); }
static inline void ocl_arg_f32(struct ocl_call *c, float v) { ocl_arg(c, &v, sizeof v); }
static inline void ocl_arg_ref(struct ocl_call *c, struct ocl_ref r)
{
    ocl_arg(c, &r.mem, sizeof r.mem);
    ocl_arg(c, &r.at, sizeof r.at);
}
static inline void ocl_arg_rows(struct ocl_call *c, struct ocl_ref r, const bnp_rows *rows)
{
    ocl_arg_ref(c, r);
    ocl_arg_u64(c, rows->stride);
}
static inline void ocl_arg_step(struct ocl_call *c)
{
    ocl_arg(c, &ocl_own(c->s)->step, sizeof(cl_mem));
}
/* Enqueues it; all is rounded up to whole groups. */
int ocl_run(struct ocl_call *, struct ocl_range);
/* Groups of 64 items over n elements of each of n_tok rows; of one row each
 * over n groups. */
static inline struct ocl_range ocl_over(uint32_t n, uint32_t n_tok)
{
    return (struct ocl_range){ { n, n_tok, 1 }, { 64, 1, 1 } };
}
static inline struct ocl_range ocl_groups(uint32_t n, uint32_t n_tok)
{
    return (struct ocl_range){ { 64, n, n_tok }, { 64, 1, 1 } };
}

/* -------------------------------------------------- weight.c and linear.c */

#define OCL_PANEL 32u           /* rows in a panel, as in ternary.cl         */

struct bnp_weight {
    struct kit_weight k;
    struct ocl_ref data;        /* panels                                    */
    uint64_t scale_at;          /* bytes into the buffer                     */
    uint32_t n_chunk;           /* pieces of 16 bytes in a row               */
};

enum { OCL_ACT_INT8 = 1, OCL_ACT_F32 = 2 };

int ocl_linear_query(bnp_device *, const bnp_weight_desc *, bnp_offer *);
int ocl_linear_layout(bnp_device *, const bnp_weight_desc *, bnp_weight_layout *);
int ocl_linear_prepare(bnp_device *, const bnp_weight_desc *, const bnp_weight_src *, bnp_span,
                       bnp_weight **);
int ocl_linear_adopt(bnp_device *, const bnp_weight_desc *, bnp_span, bnp_weight **);
void ocl_linear_release(bnp_weight *);
/* The handle of a weight whose storage is filled, or need not be. */
int ocl_weight_fill(bnp_device *, const bnp_weight_desc *, bnp_span storage, bnp_weight *);
/* The product of a ternary weight and n_tok rows, y's tightly packed. */
int ocl_linear_try(bnp_stream *, const bnp_weight *, struct ocl_ref act, struct ocl_ref y,
                   uint32_t n_tok);

uint64_t ocl_topk_scratch(const bnp_weight_desc *);
int ocl_linear_act_size(bnp_device *, uint32_t kind, uint32_t cols, uint32_t n_tok, uint64_t *);
int ocl_linear_act_prepare(bnp_stream *, uint32_t kind, const bnp_rows *x, bnp_span act);
int ocl_linear_mul(bnp_stream *, bnp_span act, uint32_t n_items, const bnp_linear_item *, bnp_span);
int ocl_linear_gather(bnp_stream *, const bnp_weight *, const bnp_rows *y);
int ocl_linear_topk(bnp_stream *, bnp_span act, const bnp_weight *, const bnp_topk *, bnp_span);

/* --------------------------------------------------------- attn.c, point.c */

int ocl_attn_query(bnp_device *, const bnp_attn_desc *, bnp_offer *);
int ocl_attn_page_size(bnp_device *, const bnp_attn_desc *, uint64_t *size);
int ocl_attn_append(bnp_stream *, const bnp_attn_desc *, bnp_span pool, const bnp_rows *k,
                    const bnp_rows *v);
int ocl_attn_attend(bnp_stream *, const bnp_attn_desc *, bnp_span pool, const bnp_rows *q,
                    const bnp_rows *out, bnp_span scratch);
int ocl_attn_copy_page(bnp_stream *, const bnp_attn_desc *, bnp_span pool, uint32_t dst,
                       uint32_t src, uint32_t n_tok);

int ocl_point_query(bnp_device *, const bnp_point_desc *, bnp_offer *);
int ocl_point_rmsnorm(bnp_stream *, const bnp_norm *, const bnp_rows *x, const bnp_rows *y);
int ocl_point_rope(bnp_stream *, const bnp_rope *, const bnp_rows *x);
int ocl_point_glu(bnp_stream *, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y);
int ocl_point_add(bnp_stream *, const bnp_rows *x, const bnp_rows *y);
int ocl_point_pick(bnp_stream *, const bnp_rows *x, const bnp_rows *y);

#endif
