/* plugin_1_0.c - the source of plugin-1.0-x86-64.so, a plugin built once, with
 * the header of ABI 1.0, and never again: hosts of every later minor must load
 * it. Made with
 *
 *   gcc -std=c11 -Os -fPIC -fvisibility=hidden -ffreestanding -fno-stack-protector
 *       -fno-asynchronous-unwind-tables -fcf-protection=none -Iinclude -shared -nostdlib -s
 *       -Wl,--build-id=none -Wl,-z,now,-z,relro,-z,noexecstack -Wl,-z,noseparate-code
 *       -Wl,--hash-style=gnu tests/abi/plugin_1_0.c -o tests/abi/plugin-1.0-x86-64.so
 *
 * It has one device and one op, the pointwise add, and says a plain no to the
 * rest. */
#include "bitnet_plugin.h"

#define ID "org.bitnetd.test.plugin-1.0"

BNP_NOTE(ID, "1.0", 0, BNP_DEV_CPU, BNP_FAM_POINT)

struct bnp_device {
    const bnp_host *host;
};

struct bnp_stream {
    bnp_device *dev;
    uint64_t ticket;
};

static int device_count(const bnp_host *host, uint32_t *n)
{
    *n = host->abi_major == BNP_ABI_MAJOR;
    return BNP_OK;
}

static int device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    bnp_device *d = index ? NULL : host->alloc(host->ctx, sizeof *d, BNP_ALIGN, -1);
    *out = d;
    if (!d) {
        host->report(host->ctx, BNP_E_NOMEM, "no memory for the device");
        return BNP_E_NOMEM;
    }
    d->host = host;
    return BNP_OK;
}

static void device_close(bnp_device *d)
{
    d->host->release(d->host->ctx, d);
}

static int device_info(bnp_device *d, bnp_device_info *info)
{
    static const char name[] = "built with 1.0";
    (void)d;
    if (!BNP_HAS(info, bnp_device_info, mem_size))
        return BNP_OK;
    info->kind = BNP_DEV_CPU;
    info->flags = BNP_DEV_HOST_MEM | BNP_DEV_SYNC;
    for (size_t i = 0; i < sizeof name; i++)
        info->name[i] = name[i];
    info->mem_size = 0;
    return BNP_OK;
}

static int stream_open(bnp_device *d, const bnp_limits *limits, bnp_stream **out)
{
    (void)limits;
    bnp_stream *s = d->host->alloc(d->host->ctx, sizeof *s, BNP_ALIGN, -1);
    *out = s;
    if (!s) {
        d->host->report(d->host->ctx, BNP_E_NOMEM, "no memory for the stream");
        return BNP_E_NOMEM;
    }
    s->dev = d;
    s->ticket = 0;
    return BNP_OK;
}

static void stream_close(bnp_stream *s)
{
    s->dev->host->release(s->dev->host->ctx, s);
}

static int step_begin(bnp_stream *s, const bnp_step *step)
{
    (void)s;
    (void)step;
    return BNP_OK;
}

static int step_end(bnp_stream *s, uint64_t *ticket)
{
    *ticket = ++s->ticket;
    return BNP_OK;
}

static int query(bnp_device *d, const bnp_point_desc *desc, bnp_offer *offer)
{
    (void)d;
    if (desc->ops & ~(uint32_t)BNP_POINT_ADD)
        return BNP_E_UNSUPPORTED;
    offer->det = BNP_DET_EXACT;
    offer->abs_err = offer->rel_err = 0;
    offer->scratch_size = 0;
    return BNP_OK;
}

static int rmsnorm(bnp_stream *s, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y)
{
    (void)s, (void)norm, (void)x, (void)y;
    return BNP_E_UNSUPPORTED;
}

static int rope(bnp_stream *s, const bnp_rope *r, const bnp_rows *x)
{
    (void)s, (void)r, (void)x;
    return BNP_E_UNSUPPORTED;
}

static int glu(bnp_stream *s, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
               const bnp_rows *y)
{
    (void)s, (void)f, (void)gate, (void)up, (void)y;
    return BNP_E_UNSUPPORTED;
}

static float *row(const bnp_rows *r, uint32_t t)
{
    return (float *)((char *)r->mem.base + r->mem.offset + t * r->stride);
}

static int add(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    (void)s;
    for (uint32_t t = 0; t < y->n_tok; t++)
        for (uint32_t i = 0; i < y->cols; i++)
            row(y, t)[i] = row(x, t)[i] + row(y, t)[i];
    return BNP_OK;
}

static int pick(bnp_stream *s, const bnp_rows *x, const bnp_rows *y)
{
    (void)s, (void)x, (void)y;
    return BNP_E_UNSUPPORTED;
}

static const bnp_device_ops device = {
    .struct_size = sizeof(bnp_device_ops), .stream_open = stream_open,
    .stream_close = stream_close, .step_begin = step_begin, .step_end = step_end,
};

static const bnp_point_ops point = {
    .struct_size = sizeof(bnp_point_ops), .query = query, .rmsnorm = rmsnorm, .rope = rope,
    .glu = glu, .add = add, .pick = pick,
};

const bnp_plugin bnp_plugin_v1 = {
    .struct_size = sizeof(bnp_plugin), .abi_major = BNP_ABI_MAJOR, .abi_minor = BNP_ABI_MINOR,
    .min_host_minor = BNP_MIN_HOST_MINOR, .id = ID, .version = "1.0", .build = "ABI 1.0",
    .device_count = device_count, .device_open = device_open, .device_close = device_close,
    .device_info = device_info, .device = &device, .point = &point,
};
