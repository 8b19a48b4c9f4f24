/* copy.c - bytes in and out.
 *
 * copy_in has taken src when it returns: the bytes go to the device through
 * pieces of staging memory that it reads itself. When all pieces are under way
 * the oldest is waited for; it ends without anybody's help. copy_out reads into
 * dst, which stays the host's until the ticket. Both may be called outside a
 * step: the queue keeps the order. */
#include "ocl.h"

#include <string.h>

static char *piece_at(const struct ocl_stream *o, uint32_t i)
{
    return o->pin_at + OCL_SLOTS * (o->step_size + OCL_STATUS) + i * (uint64_t)OCL_PIECE;
}

static cl_int piece_free(struct ocl_stream *o, uint32_t i)
{
    if (!o->piece[i])
        return CL_SUCCESS;
    const cl_int err = cl.clWaitForEvents(1, &o->piece[i]);
    cl.clReleaseEvent(o->piece[i]);
    o->piece[i] = NULL;
    return err;
}

void ocl_copy_close(struct ocl_stream *o)
{
    for (uint32_t i = 0; i < OCL_PIECES; i++)
        (void)piece_free(o, i);
}

static cl_int send(struct ocl_stream *o, struct ocl_ref to, const char *src, size_t n)
{
    const uint32_t i = o->next_piece++ % OCL_PIECES;
    const cl_int err = piece_free(o, i);
    if (err)
        return err;
    memcpy(piece_at(o, i), src, n);
    return cl.clEnqueueWriteBuffer(o->queue, to.mem, CL_FALSE, (size_t)to.at, n, piece_at(o, i), 0,
                                   NULL, &o->piece[i]);
}

int ocl_copy_in(bnp_stream *s, bnp_span dst, const void *src)
{
    struct ocl_ref to;
    const char *from = src;
    const int rc = ocl_ref(s->dev, "copy_in", dst, dst.size, &to);
    cl_int err = CL_SUCCESS;
    for (uint64_t at = 0; !rc && !err && at < dst.size;) {
        const uint64_t left = dst.size - at, n = left < OCL_PIECE ? left : OCL_PIECE;
        err = send(ocl_own(s), to, from + at, (size_t)n);
        at += n;
        to.at += n;
    }
    return err ? ocl_fail(s->dev, err, "copy_in") : rc;
}

int ocl_copy_out(bnp_stream *s, void *dst, bnp_span src)
{
    struct ocl_ref from;
    const int rc = ocl_ref(s->dev, "copy_out", src, src.size, &from);
    if (rc || !src.size)
        return rc;
    const cl_int err = cl.clEnqueueReadBuffer(ocl_own(s)->queue, from.mem, CL_FALSE,
                                              (size_t)from.at, (size_t)src.size, dst, 0, NULL,
                                              NULL);
    return err ? ocl_fail(s->dev, err, "copy_out") : BNP_OK;
}
