/* devmem.h - scalar-ref behind a wall: two devices whose memory the host cannot
 * touch, and whose work is done later than it was submitted.
 *
 * Addresses that mem_alloc gives are no addresses: whoever uses one without the
 * device ends with a signal. Fresh memory holds NaN, and so does the target of
 * a copy_out until its ticket has been waited for. Calls are kept as records
 * and run when somebody waits. Options of [plugin:org.bitnetd.test.devmem]; "#1"
 * behind a number means device 1 only:
 *
 *   delay = wait|random    run records at waits only, or some of them earlier
 *   seed = N               of that choice
 *   busy-every = N         every Nth call of a stream, unless it begins or ends
 *                          a step, says BNP_E_BUSY, once
 *   fail-at = N            call N of a stream fails
 *   fail-with = device|numeric|internal|nomem
 *   fail-late = 1          it fails when it is run, so wait says so
 *   mem-max = N            bytes; mem_alloc says BNP_E_NOMEM beyond
 *   mem-size = N           bytes; what device_info says there is
 *   host-memory = 1        the wall is gone: it computes on the host's memory,
 *                          as late as ever */
#ifndef TESTS_PLUGINS_DEVMEM_H
#define TESTS_PLUGINS_DEVMEM_H

#include "plugins/scalar-ref/ref.h"

enum { N_DEVICE = 2, N_BLOCK = 4096, QUEUE = 48, N_BEGIN = 4, MAX_ITEM = 8 };

struct block {
    char *real;                 /* NULL: free                                */
    uint64_t size;
};

/* The host's bnp_device is the first member, and so is scalar-ref's. */
struct mem_device {
    bnp_device kit;
    struct block block[N_BLOCK];
    uint64_t used;              /* bytes                                     */
    uint32_t n_pending;         /* records of all streams that use memory    */
    bool lost, host_mem;
};

enum op {
    OP_BEGIN, OP_END, OP_COPY_IN, OP_COPY_OUT, OP_ACT, OP_MUL, OP_GATHER, OP_TOPK, OP_APPEND,
    OP_ATTEND, OP_COPY_PAGE, OP_NORM, OP_ROPE, OP_GLU, OP_ADD, OP_PICK
};

/* One call, its spans already real. */
struct record {
    enum op op;
    int fail;                   /* what running it says instead; 0: nothing  */
    union {
        bnp_step step;
        uint64_t ticket;
        struct { char *dst; const char *src; uint64_t size; } copy;
        struct { uint32_t kind; bnp_rows x; bnp_span act; } act;
        struct { bnp_span act, scratch; uint32_t n; bnp_linear_item item[MAX_ITEM]; } mul;
        struct { const bnp_weight *w; bnp_rows y; } gather;
        struct { bnp_span act, scratch; const bnp_weight *w; bnp_topk top; } topk;
        struct { bnp_attn_desc d; bnp_span pool, scratch; bnp_rows a, b; } attn;
        struct { bnp_attn_desc d; bnp_span pool; uint32_t dst, src, n_tok; } page;
        struct { bnp_norm norm; bnp_rope rope; uint32_t f; bnp_rows a, b, c; } point;
    } u;
};

struct mem_stream {
    struct mem_device *dev;
    bnp_stream *inner;          /* scalar-ref's                              */
    struct record rec[QUEUE];
    uint32_t first, n;          /* a ring                                    */
    uint32_t n_begin;           /* records of OP_BEGIN in it                 */
    uint64_t n_begun;           /* since open: which slot is next            */
    char *begin[N_BEGIN];       /* arrays of steps                           */
    char *stage;                /* sources of copy_in                        */
    uint64_t stage_size, stage_used;
    uint64_t ticket, done;
    uint64_t random;
    unsigned long n_call, busy_every, fail_at;
    int fail_with, trouble;     /* trouble: for the next wait                */
    bool fail_late, eager, was_busy, in_step;
};

static inline struct mem_device *mem_dev(bnp_device *d)
{
    return (struct mem_device *)(void *)d;
}

static inline struct mem_stream *mem_stream(bnp_stream *s)
{
    return (struct mem_stream *)(void *)s;
}

/* devmem_queue.c */
/* A record for a call, to be filled and pushed; BNP_OK, or what the call says.
 * room: places in the queue that must be free. */
int queue_take(struct mem_stream *, enum op, uint32_t room, struct record **out);
void queue_push(struct mem_stream *);
/* Runs records up to a ticket; what went wrong in them. */
int queue_run_to(struct mem_stream *, uint64_t ticket);
void queue_drop(struct mem_stream *);
/* Turns the device's span into a real one; an empty one stays empty. */
int queue_span(struct mem_stream *, const char *what, bnp_span *);
int queue_rows(struct mem_stream *, const char *what, bnp_rows *);
bool block_real(struct mem_device *, bnp_span *);
/* An option that is a number, 0 when it is for the other device. */
unsigned long queue_number(const struct mem_device *, const char *key);

extern const bnp_device_ops mem_device_ops;     /* devmem_queue.c */

#endif
