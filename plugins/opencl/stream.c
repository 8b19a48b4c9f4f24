/* stream.c - an in-order queue, the steps that go through it, and tickets.
 *
 * A step's arrays travel as one block: 64 bytes of zeros, where kernels leave
 * what they object to, then the arrays. step_end sends those 64 bytes back and
 * its event is the ticket. Both ends of the trip are slots of memory that the
 * device reads itself, OCL_SLOTS of them; a slot is used again once its ticket
 * has been settled, which means: the event is complete, and trouble noted.
 * Nothing is made or sized in a step but the events that OpenCL itself makes. */
#include "ocl.h"

#include <string.h>
#include <time.h>

static const char *const kernel_name[OCL_N_KERNEL] = {
#define X(k) #k,
    OCL_KERNELS(X)
#undef X
};

struct ocl_call ocl_call(bnp_stream *s, enum ocl_kernel k)
{
    return (struct ocl_call){ .s = s, .k = ocl_own(s)->kernel[k], .name = kernel_name[k] };
}

void ocl_arg(struct ocl_call *c, const void *value, size_t size)
{
    const cl_int err = cl.clSetKernelArg(c->k, c->n++, size, value);
    c->err = c->err ? c->err : err;
}

int ocl_run(struct ocl_call *c, struct ocl_range r)
{
    for (int i = 0; i < 3; i++)
        r.all[i] = (r.all[i] + r.group[i] - 1) / r.group[i] * r.group[i];
    if (!c->err)
        c->err = cl.clEnqueueNDRangeKernel(ocl_own(c->s)->queue, c->k, 3, NULL, r.all, r.group, 0,
                                           NULL, NULL);
    return c->err ? ocl_fail(c->s->dev, c->err, c->name) : BNP_OK;
}

/* ---------------------------------------------------------- open and close */

static char *pin_step(const struct ocl_stream *o, uint32_t slot)
{
    return o->pin_at + slot * o->step_size;
}

static char *pin_status(const struct ocl_stream *o, uint32_t slot)
{
    return o->pin_at + OCL_SLOTS * o->step_size + slot * OCL_STATUS;
}

static void give_back(bnp_stream *s)
{
    struct ocl_stream *o = s->own;
    struct ocl_device *d = ocl_of(s->dev);
    if (o->queue)
        (void)cl.clFinish(o->queue);
    ocl_copy_close(o);
    for (uint32_t i = 0; i < OCL_SLOTS; i++)
        if (o->slot[i].done)
            cl.clReleaseEvent(o->slot[i].done);
    for (unsigned k = 0; k < OCL_N_KERNEL; k++)
        if (o->kernel[k])
            cl.clReleaseKernel(o->kernel[k]);
    if (o->pin_at) {
        (void)cl.clEnqueueUnmapMemObject(o->queue, o->pin, o->pin_at, 0, NULL, NULL);
        (void)cl.clFinish(o->queue);
    }
    ocl_buffer_free(d, o->pin, o->pin_size);
    ocl_buffer_free(d, o->step, o->step_size);
    if (o->queue)
        cl.clReleaseCommandQueue(o->queue);
    s->dev->host->release(s->dev->host->ctx, o);
}

void ocl_stream_close(bnp_stream *s)
{
    if (!s)
        return;
    if (s->own)
        give_back(s);
    kit_device_ops.stream_close(s);
}

static int open_memory(bnp_stream *s)
{
    struct ocl_stream *o = s->own;
    struct ocl_device *d = ocl_of(s->dev);
    const bnp_limits *lim = &s->lim;
    const uint64_t words = 3 * (uint64_t)lim->max_tok + lim->max_out +
                           (uint64_t)lim->max_seq * lim->max_pages;
    if (words > UINT32_MAX / 2)             /* kernels count the words of a step in 32 bits */
        return kit_fail(s->dev, BNP_E_NOMEM, "stream_open: %llu numbers in a step are too many",
                        (unsigned long long)words);
    o->step_size = align_up(OCL_STATUS + words * sizeof(int32_t), BNP_ALIGN);
    o->step = ocl_buffer(d, 0, o->step_size, "stream_open: a step");
    if (!o->step)
        return BNP_E_NOMEM;
    o->pin_size = OCL_SLOTS * (o->step_size + OCL_STATUS) + OCL_PIECES * (uint64_t)OCL_PIECE;
    o->pin = ocl_buffer(d, CL_MEM_ALLOC_HOST_PTR, o->pin_size, "stream_open: staging");
    if (!o->pin)
        return BNP_E_NOMEM;
    cl_int err;
    o->pin_at = cl.clEnqueueMapBuffer(o->queue, o->pin, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0,
                                      (size_t)o->pin_size, 0, NULL, NULL, &err);
    return o->pin_at ? BNP_OK : ocl_fail(s->dev, err, "clEnqueueMapBuffer of the staging");
}

static int open_own(bnp_stream *s)
{
    struct ocl_stream *o = s->own;
    struct ocl_device *d = ocl_of(s->dev);
    cl_int err;
    o->queue = cl.clCreateCommandQueue(d->ctx, d->f.id, 0, &err);
    if (!o->queue)
        return ocl_fail(s->dev, err, "clCreateCommandQueue");
    for (unsigned k = 0; k < OCL_N_KERNEL; k++) {
        o->kernel[k] = cl.clCreateKernel(d->program, kernel_name[k], &err);
        if (!o->kernel[k])
            return ocl_fail(s->dev, err, kernel_name[k]);
    }
    return open_memory(s);
}

int ocl_stream_open(bnp_device *d, const bnp_limits *lim, bnp_stream **out)
{
    bnp_stream *s;
    *out = NULL;
    int rc = kit_device_ops.stream_open(d, lim, &s);
    if (rc)
        return rc;
    s->own = d->host->alloc(d->host->ctx, sizeof(struct ocl_stream), BNP_ALIGN, -1);
    rc = s->own ? open_own(s) : kit_fail(d, BNP_E_NOMEM, "stream_open: no memory for a stream");
    if (!rc)
        rc = ocl_tune(s);
    if (rc) {
        ocl_stream_close(s);
        return rc;
    }
    *out = s;
    return BNP_OK;
}

/* --------------------------------------------------------------- settling */

/* CL_COMPLETE, something above it, or an error below. */
static cl_int state_of(cl_event e)
{
    cl_int state;
    const cl_int err = cl.clGetEventInfo(e, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state,
                                         &state, NULL);
    return err ? err : state;
}

static void note_trouble(struct ocl_stream *o, uint64_t ticket, int status, const int32_t *what)
{
    if (o->bad_ticket)
        return;
    o->bad_ticket = ticket;
    o->bad_status = status;
    memcpy(o->bad, what, sizeof o->bad);
}

/* The slot's event is complete or failed: looks at what came back, frees it. */
static void settle(struct ocl_stream *o, uint32_t slot, cl_int state)
{
    struct ocl_slot *at = &o->slot[slot];
    int32_t what[3] = { state, 0, 0 };
    if (state < 0) {
        note_trouble(o, at->ticket, BNP_E_DEVICE, what);
    } else {
        memcpy(what, pin_status(o, slot), sizeof what);
        if (what[0])
            note_trouble(o, at->ticket, BNP_E_NUMERIC, what);
    }
    cl.clReleaseEvent(at->done);
    at->done = NULL;
    o->settled = at->ticket;
}

/* Settles tickets, in order, as far as they are complete. False: not all of
 * them up to `last` are. */
static bool settle_to(struct ocl_stream *o, uint64_t last)
{
    while (o->settled < last) {
        const uint32_t slot = (uint32_t)((o->settled + 1) % OCL_SLOTS);
        const cl_int state = state_of(o->slot[slot].done);
        if (state > CL_COMPLETE)
            return false;
        settle(o, slot, state);
    }
    return true;
}

static int tell_trouble(bnp_stream *s)
{
    static const char *const what[] = { "a kernel", "act_prepare", "rmsnorm", "append: k",
                                        "append: v", "attend: score" };
    struct ocl_stream *o = s->own;
    const unsigned op = (unsigned)o->bad[0] < sizeof what / sizeof *what ? (unsigned)o->bad[0] : 0;
    o->bad_ticket = 0;
    if (o->bad_status != BNP_E_NUMERIC)
        return ocl_fail(s->dev, o->bad[0], "work submitted earlier");
    return kit_fail(s->dev, BNP_E_NUMERIC, "%s: row %d %s %d is NaN or Inf, or too large for the "
                    "format, expected finite input", what[op], o->bad[1],
                    op == 5 ? "head" : "column", o->bad[2]);
}

/* ------------------------------------------------------------------- steps */

/* Writes the block of the step that s->step now holds; gives its bytes. */
static uint64_t lay_out(bnp_stream *s, char *at)
{
    struct ocl_stream *o = s->own;
    const bnp_step *st = &s->step;
    const cl_uint n_page = st->n_seq * st->max_pages;
    const struct { cl_uint *at; const int32_t *from; cl_uint n; } array[] = {
        { &o->id_at, s->id, st->n_tok }, { &o->pos_at, s->pos, st->n_tok },
        { &o->seq_at, s->seq_of, st->n_tok }, { &o->out_at, s->out_row, st->n_out },
        { &o->page_at, s->page, n_page } };
    cl_uint word = OCL_STATUS / sizeof(int32_t);
    memset(at, 0, OCL_STATUS);
    for (size_t i = 0; i < sizeof array / sizeof *array; i++) {
        *array[i].at = word;
        if (array[i].n)
            memcpy(at + word * sizeof(int32_t), array[i].from, array[i].n * sizeof(int32_t));
        word += array[i].n;
    }
    return word * sizeof(int32_t);
}

int ocl_step_begin(bnp_stream *s, const bnp_step *st)
{
    struct ocl_stream *o = s->own;
    const uint64_t next = s->ticket + 1;
    const uint32_t slot = (uint32_t)(next % OCL_SLOTS);
    if (next > OCL_SLOTS && !settle_to(o, next - OCL_SLOTS))
        return kit_fail(s->dev, BNP_E_BUSY, "step_begin: %u steps are under way, expected a wait "
                        "for one of them", OCL_SLOTS);
    const int rc = kit_device_ops.step_begin(s, st);
    if (rc)
        return rc;
    const uint64_t size = lay_out(s, pin_step(o, slot));
    const cl_int err = cl.clEnqueueWriteBuffer(o->queue, o->step, CL_FALSE, 0, (size_t)size,
                                               pin_step(o, slot), 0, NULL, NULL);
    if (!err)
        return BNP_OK;
    s->in_step = false;
    return ocl_fail(s->dev, err, "step_begin");
}

int ocl_step_end(bnp_stream *s, uint64_t *ticket)
{
    struct ocl_stream *o = s->own;
    const int rc = kit_need_step(s, "step_end");
    if (rc)
        return rc;
    const uint64_t next = s->ticket + 1;
    struct ocl_slot *slot = &o->slot[next % OCL_SLOTS];
    s->in_step = false;
    cl_int err = cl.clEnqueueReadBuffer(o->queue, o->step, CL_FALSE, 0, OCL_STATUS,
                                        pin_status(o, (uint32_t)(next % OCL_SLOTS)), 0, NULL,
                                        &slot->done);
    if (err) {
        slot->done = NULL;
        return ocl_fail(s->dev, err, "step_end");
    }
    slot->ticket = *ticket = s->ticket = next;
    err = cl.clFlush(o->queue);
    return err ? ocl_fail(s->dev, err, "step_end: clFlush") : BNP_OK;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* OpenCL has no wait with an end, so this looks and naps: a sixteenth of what
 * has passed already, which is what the answer may come late by. */
int ocl_wait(bnp_stream *s, uint64_t ticket, uint64_t timeout_ns)
{
    struct ocl_stream *o = s->own;
    if (ticket > s->ticket)
        return kit_fail(s->dev, BNP_E_INVALID, "wait: ticket %llu, the last is %llu",
                        (unsigned long long)ticket, (unsigned long long)s->ticket);
    const uint64_t start = now_ns();
    while (!settle_to(o, ticket)) {
        const uint64_t past = now_ns() - start;
        if (past >= timeout_ns)
            return kit_fail(s->dev, BNP_E_BUSY, "wait: ticket %llu is not done after %llu ms",
                            (unsigned long long)ticket, (unsigned long long)(past / 1000000));
        uint64_t nap = past / 16 < 5000 ? 5000 : past / 16 > 500000 ? 500000 : past / 16;
        nap = nap < timeout_ns - past ? nap : timeout_ns - past;
        (void)nanosleep(&(struct timespec){ .tv_nsec = (long)nap }, NULL);
    }
    return o->bad_ticket && o->bad_ticket <= ticket ? tell_trouble(s) : BNP_OK;
}
