/* devmem_queue.c - private memory, and calls that wait their turn. */
#include "devmem.h"

#include <stdlib.h>
#include <string.h>

#define BASE UINT64_C(0x5a5a000000000000)     /* no address of any process    */
#define STEP 64                               /* from block to block          */
#define STAGE (UINT64_C(1) << 18)             /* bytes                        */

static const char *option(const struct mem_device *d, const char *key)
{
    const char *v = d->kit.host->option(d->kit.host->ctx, key);
    return v ? v : "";
}

unsigned long queue_number(const struct mem_device *d, const char *key)
{
    char *end;
    const unsigned long n = strtoul(option(d, key), &end, 10);
    return *end == '#' && strtoul(end + 1, NULL, 10) != d->kit.index ? 0 : n;
}

/* ------------------------------------------------------------------ memory */

static bnp_span handle(const struct mem_device *d, uint32_t i)
{
    const uint64_t at = BASE + ((uint64_t)d->kit.index * N_BLOCK + i) * STEP;
    return (bnp_span){ .base = (void *)(uintptr_t)at, .size = d->block[i].size };
}

bool block_real(struct mem_device *d, bnp_span *s)
{
    if (!s->base || d->host_mem)
        return s->base || !s->size;
    const uint64_t at = ((uint64_t)(uintptr_t)s->base - BASE) / STEP -
                        (uint64_t)d->kit.index * N_BLOCK;
    if (at >= N_BLOCK || s->base != handle(d, (uint32_t)at).base || !d->block[at].real ||
        s->offset > d->block[at].size || s->size > d->block[at].size - s->offset)
        return false;
    s->base = d->block[at].real;
    return true;
}

static int mem_alloc(bnp_device *dev, uint32_t kind, uint64_t size, uint64_t align, bnp_span *out)
{
    struct mem_device *d = mem_dev(dev);
    const uint64_t max = queue_number(d, "mem-max");
    uint32_t i = 0;
    (void)kind;
    *out = (bnp_span){ 0 };
    if (d->lost)
        return kit_fail(dev, BNP_E_DEVICE, "mem_alloc: the device is lost");
    while (i < N_BLOCK && d->block[i].real)
        i++;
    if (i == N_BLOCK || size > UINT64_MAX - d->used || (max && d->used + size > max))
        return kit_fail(dev, BNP_E_NOMEM, "mem_alloc: %llu bytes are in use, no room for %llu",
                        (unsigned long long)d->used, (unsigned long long)size);
    d->block[i].real = dev->host->alloc(dev->host->ctx, size, align, -1);
    if (!d->block[i].real)
        return kit_fail(dev, BNP_E_NOMEM, "mem_alloc: the host has no %llu bytes",
                        (unsigned long long)size);
    memset(d->block[i].real, 0xff, size);         /* NaN, and no id or count  */
    d->block[i].size = size;
    d->used += size;
    *out = handle(d, i);
    return BNP_OK;
}

static void mem_free(bnp_device *dev, bnp_span s)
{
    struct mem_device *d = mem_dev(dev);
    bnp_span real = s;
    if (!block_real(d, &real) || s.offset || d->n_pending) {
        dev->host->log(dev->host->ctx, BNP_LOG_ERROR, "mem_free: of memory that is in use, or is "
                       "not this device's");
        d->lost = true;
        return;
    }
    for (uint32_t i = 0; i < N_BLOCK; i++)
        if (d->block[i].real == real.base) {
            d->used -= d->block[i].size;
            memset(d->block[i].real, 0xff, d->block[i].size);
            dev->host->release(dev->host->ctx, d->block[i].real);
            d->block[i] = (struct block){ 0 };
        }
}

int queue_span(struct mem_stream *s, const char *what, bnp_span *span)
{
    if (block_real(s->dev, span))
        return BNP_OK;
    return kit_fail(&s->dev->kit, BNP_E_INVALID, "%s: a span that is not this device's memory",
                    what);
}

int queue_rows(struct mem_stream *s, const char *what, bnp_rows *r)
{
    return queue_span(s, what, &r->mem);
}

/* ----------------------------------------------------------------- running */

static int run_family(bnp_stream *in, struct record *r)
{
    switch (r->op) {
    case OP_ACT: return ref_act_prepare(in, r->u.act.kind, &r->u.act.x, r->u.act.act);
    case OP_MUL:
        return ref_linear_mul(in, r->u.mul.act, r->u.mul.n, r->u.mul.item, r->u.mul.scratch);
    case OP_GATHER: return ref_linear_gather(in, r->u.gather.w, &r->u.gather.y);
    case OP_TOPK:
        return ref_linear_topk(in, r->u.topk.act, r->u.topk.w, &r->u.topk.top, r->u.topk.scratch);
    case OP_APPEND:
        return ref_attn_append(in, &r->u.attn.d, r->u.attn.pool, &r->u.attn.a, &r->u.attn.b);
    case OP_ATTEND:
        return ref_attn_attend(in, &r->u.attn.d, r->u.attn.pool, &r->u.attn.a, &r->u.attn.b,
                               r->u.attn.scratch);
    case OP_COPY_PAGE:
        return ref_attn_copy_page(in, &r->u.page.d, r->u.page.pool, r->u.page.dst, r->u.page.src,
                                  r->u.page.n_tok);
    case OP_NORM: return ref_point_rmsnorm(in, &r->u.point.norm, &r->u.point.a, &r->u.point.b);
    case OP_ROPE: return ref_point_rope(in, &r->u.point.rope, &r->u.point.a);
    case OP_GLU:
        return ref_point_glu(in, r->u.point.f, &r->u.point.a, &r->u.point.b, &r->u.point.c);
    case OP_ADD: return ref_point_add(in, &r->u.point.a, &r->u.point.b);
    case OP_PICK: return ref_point_pick(in, &r->u.point.a, &r->u.point.b);
    default: return BNP_E_INTERNAL;
    }
}

static int run(struct mem_stream *s, struct record *r)
{
    uint64_t ticket;
    switch (r->op) {
    case OP_BEGIN:
        s->n_begin--;
        return kit_device_ops.step_begin(s->inner, &r->u.step);
    case OP_END:
        s->done = r->u.ticket;
        return kit_device_ops.step_end(s->inner, &ticket);
    case OP_COPY_IN:
    case OP_COPY_OUT:
        memcpy(r->u.copy.dst, r->u.copy.src, r->u.copy.size);
        return BNP_OK;
    default:
        return run_family(s->inner, r);
    }
}

/* After trouble only steps still begin and end, until a wait has told it. */
static void run_first(struct mem_stream *s)
{
    struct record *r = &s->rec[s->first];
    const bool step = r->op == OP_BEGIN || r->op == OP_END;
    int rc = BNP_OK;
    if (!s->trouble || step)
        rc = run(s, r);
    if (!s->trouble && r->fail)
        rc = kit_fail(&s->dev->kit, r->fail, "fail-at %lu: as told, late", s->fail_at);
    if (!s->trouble)
        s->trouble = rc;
    s->dev->lost |= rc == BNP_E_DEVICE;
    s->first = (s->first + 1) % QUEUE;
    s->dev->n_pending -= !step;
    if (!--s->n)
        s->stage_used = 0;
}

int queue_run_to(struct mem_stream *s, uint64_t ticket)
{
    while (s->n && s->done < ticket)
        run_first(s);
    const int rc = s->trouble;
    s->trouble = 0;
    return rc;
}

void queue_drop(struct mem_stream *s)
{
    for (; s->n; s->n--) {
        const enum op op = s->rec[(s->first + s->n - 1) % QUEUE].op;
        s->dev->n_pending -= op != OP_BEGIN && op != OP_END;
    }
}

static int busy(struct mem_stream *s)
{
    s->was_busy = true;
    if (s->trouble)               /* its report is still to be read */
        return BNP_E_BUSY;
    return kit_fail(&s->dev->kit, BNP_E_BUSY, "the queue is full: wait for a ticket");
}

int queue_take(struct mem_stream *s, enum op op, uint32_t room, struct record **out)
{
    if (s->dev->lost)
        return kit_fail(&s->dev->kit, BNP_E_DEVICE, "the device is lost");
    if (s->n + room > QUEUE)
        return busy(s);
    const bool step = op == OP_BEGIN || op == OP_END;
    if (!step && !s->was_busy && s->busy_every && (s->n_call + 1) % s->busy_every == 0)
        return busy(s);
    s->was_busy = s->was_busy && step;
    const bool fails = ++s->n_call == s->fail_at;
    if (fails && !s->fail_late) {
        s->dev->lost |= s->fail_with == BNP_E_DEVICE;
        return kit_fail(&s->dev->kit, s->fail_with, "fail-at %lu: as told", s->fail_at);
    }
    s->random = s->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    for (uint64_t n = s->random >> 61; s->eager && n > 3 && s->n; n--)
        run_first(s);
    struct record *r = &s->rec[(s->first + s->n) % QUEUE];
    r->op = op;
    r->fail = fails ? s->fail_with : 0;
    *out = r;
    return BNP_OK;
}

void queue_push(struct mem_stream *s)
{
    const enum op op = s->rec[(s->first + s->n++) % QUEUE].op;
    s->dev->n_pending += op != OP_BEGIN && op != OP_END;
}

/* ----------------------------------------------------------- device table */

static int status_named(const char *name)
{
    return !strcmp(name, "numeric") ? BNP_E_NUMERIC : !strcmp(name, "internal") ? BNP_E_INTERNAL :
           !strcmp(name, "nomem") ? BNP_E_NOMEM : BNP_E_DEVICE;
}

static uint64_t array_size(const bnp_limits *l)
{
    return align_up(((uint64_t)l->max_tok * 2 + l->max_out + 2 * (uint64_t)l->max_seq + 1 +
                     (uint64_t)l->max_seq * l->max_pages) * sizeof(int32_t), BNP_ALIGN);
}

static int stream_open(bnp_device *dev, const bnp_limits *limits, bnp_stream **out)
{
    struct mem_device *d = mem_dev(dev);
    const uint64_t arrays = array_size(limits), head = align_up(sizeof(struct mem_stream), 64);
    *out = NULL;
    if (d->lost)
        return kit_fail(dev, BNP_E_DEVICE, "stream_open: the device is lost");
    struct mem_stream *s = dev->host->alloc(dev->host->ctx, head + N_BEGIN * arrays + STAGE,
                                            BNP_ALIGN, -1);
    if (!s)
        return kit_fail(dev, BNP_E_NOMEM, "stream_open: no memory for its queue");
    const int rc = kit_device_ops.stream_open(dev, limits, &s->inner);
    if (rc) {
        dev->host->release(dev->host->ctx, s);
        return rc;
    }
    s->dev = d;
    for (uint32_t i = 0; i < N_BEGIN; i++)
        s->begin[i] = (char *)s + head + i * arrays;
    s->stage = s->begin[0] + N_BEGIN * arrays;
    s->stage_size = STAGE;
    s->busy_every = queue_number(d, "busy-every");
    s->fail_at = queue_number(d, "fail-at");
    s->fail_with = status_named(option(d, "fail-with"));
    s->fail_late = option(d, "fail-late")[0] == '1';
    s->eager = !strcmp(option(d, "delay"), "random");
    s->random = queue_number(d, "seed");
    *out = (bnp_stream *)(void *)s;
    return BNP_OK;
}

static void stream_close(bnp_stream *stream)
{
    struct mem_stream *s = mem_stream(stream);
    if (!s)
        return;
    const bnp_host *host = s->dev->kit.host;
    queue_drop(s);
    kit_device_ops.stream_close(s->inner);
    host->release(host->ctx, s);
}

static int copy_in(bnp_stream *stream, bnp_span dst, const void *src)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    int rc = queue_span(s, "copy_in", &dst);
    if (rc || (rc = queue_take(s, OP_COPY_IN, 3, &r)))
        return rc;
    const uint64_t size = align_up(dst.size, BNP_ALIGN);
    if (s->n && size <= s->stage_size && size > s->stage_size - s->stage_used)
        return busy(s);
    if (size > s->stage_size) {                   /* too large to be kept      */
        while (s->n)
            run_first(s);
        memcpy(span_at(dst), src, dst.size);
        return BNP_OK;
    }
    r = &s->rec[(s->first + s->n) % QUEUE];
    r->u.copy.dst = span_at(dst);
    r->u.copy.src = memcpy(s->stage + s->stage_used, src, dst.size);
    r->u.copy.size = dst.size;
    s->stage_used += size;
    queue_push(s);
    return BNP_OK;
}

static int copy_out(bnp_stream *stream, void *dst, bnp_span src)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    int rc = queue_span(s, "copy_out", &src);
    if (rc || (rc = queue_take(s, OP_COPY_OUT, 3, &r)))
        return rc;
    r->u.copy.dst = memset(dst, 0xff, src.size);
    r->u.copy.src = span_at(src);
    r->u.copy.size = src.size;
    queue_push(s);
    return BNP_OK;
}

static const int32_t *keep(char **at, const int32_t *src, uint64_t n)
{
    int32_t *to = (int32_t *)(void *)*at;
    if (n)
        memcpy(to, src, n * sizeof *to);
    *at += n * sizeof *to;
    return to;
}

static int step_begin(bnp_stream *stream, const bnp_step *st)
{
    struct mem_stream *s = mem_stream(stream);
    const bnp_limits *l = &s->inner->lim;
    struct record *r;
    if (s->in_step || st->n_tok > l->max_tok || st->n_seq > l->max_seq || st->n_out > l->max_out ||
        (st->n_seq && st->max_pages > l->max_pages))
        return kit_fail(&s->dev->kit, BNP_E_INVALID, "step_begin: within a step, or over limits");
    if (s->n_begin == N_BEGIN && !s->dev->lost)
        return busy(s);
    const int rc = queue_take(s, OP_BEGIN, 2, &r);
    if (rc)
        return rc;
    char *at = s->begin[s->n_begun++ % N_BEGIN];
    r->u.step = *st;
    r->u.step.id = keep(&at, st->id, st->n_tok);
    r->u.step.pos = keep(&at, st->pos, st->n_tok);
    r->u.step.seq_start = keep(&at, st->seq_start, st->n_seq ? st->n_seq + 1u : 0);
    r->u.step.kv_len = keep(&at, st->kv_len, st->n_seq);
    r->u.step.page = keep(&at, st->page, (uint64_t)st->n_seq * st->max_pages);
    r->u.step.out_row = keep(&at, st->out_row, st->n_out);
    s->n_begin++;
    s->in_step = true;
    queue_push(s);
    return BNP_OK;
}

static int step_end(bnp_stream *stream, uint64_t *ticket)
{
    struct mem_stream *s = mem_stream(stream);
    struct record *r;
    if (!s->in_step)
        return kit_fail(&s->dev->kit, BNP_E_INVALID, "step_end: outside a step");
    const int rc = queue_take(s, OP_END, 1, &r);
    if (rc)
        return rc;
    r->u.ticket = *ticket = ++s->ticket;
    s->in_step = false;
    queue_push(s);
    return BNP_OK;
}

static int wait(bnp_stream *stream, uint64_t ticket, uint64_t timeout_ns)
{
    struct mem_stream *s = mem_stream(stream);
    (void)timeout_ns;
    if (!ticket || ticket > s->ticket)
        return kit_fail(&s->dev->kit, BNP_E_INVALID, "wait: ticket %llu was never given",
                        (unsigned long long)ticket);
    const bool lost = s->dev->lost;
    const int rc = queue_run_to(s, ticket);
    return rc || !lost ? rc : kit_fail(&s->dev->kit, BNP_E_DEVICE, "the device is lost");
}

const bnp_device_ops mem_device_ops = {
    .struct_size = sizeof(bnp_device_ops), .mem_alloc = mem_alloc, .mem_free = mem_free,
    .stream_open = stream_open, .stream_close = stream_close, .copy_in = copy_in,
    .copy_out = copy_out, .step_begin = step_begin, .step_end = step_end, .wait = wait,
};
