/* plugin.c - the smallest plugin that loads. Copy this folder and fill it in.
 *
 * It has a name, finds no device and offers nothing; `bitnet-plugins list`
 * shows it all the same. docs/plugins.md tells how to build, install and test
 * a plugin; include/bitnet_plugin.h is the contract, and the only header you
 * need.
 *
 * What to do, in this order:
 *
 *   1. Change ID to a name of your own: "com.vendor.chip", lower case letters,
 *      digits, dots and dashes, the same for ever. Configurations, caches and
 *      receipts refer to it.
 *   2. Find your devices in device_count and open one in device_open.
 *   3. Write the device table: stream_open .. step_end, and memory and copies
 *      if your device does not compute on CPU addresses.
 *   4. Write one family. linear pays most. query answers "could you do this?"
 *      for one description at a time: say BNP_E_UNSUPPORTED to whatever you do
 *      not do yet and the host gives that work to somebody else.
 *   5. Compare with scalar-ref, bit for bit (docs/plugins.md, "Testing"). Then
 *      make it fast.
 *
 * What not to do: see "A plugin MUST NOT" in the header. Above all, no code
 * may run at load time: no constructors, no initialised C++ globals. The
 * machine may lack the instructions this file was compiled for, and the host
 * decides that from the note below, without running anything. */
#include "bitnet_plugin.h"

#define ID      "org.bitnetd.skeleton"
#define VERSION "1.0"

/* The card at the door, read from the file before it is loaded. What it says
 * must agree with the table at the end.
 *   instructions  BNP_ISA(X86_AVX2) | ... that everything in here needs; 0 for
 *                 a plugin that chooses by host->topo->isa at run time
 *   kind          BNP_DEV_CPU, BNP_DEV_GPU or BNP_DEV_OTHER
 *   families      BNP_FAM_* bits of the tables offered below: none here */
BNP_NOTE(ID, VERSION, 0, BNP_DEV_CPU, 0)

/* Yours to define; the host only passes pointers around. A device usually
 * keeps the host pointer (valid until the last device_close), a stream the
 * buffers that [submit] calls will need, since those must not allocate. */
struct bnp_device {
    const bnp_host *host;
};

/* [load] How many devices of yours are in this machine. None is no error: the
 * plugin is then listed as having nothing to offer. Do not keep anything open
 * here, and be quick. */
static int device_count(const bnp_host *host, uint32_t *n)
{
    (void)host;
    *n = 0;
    return BNP_OK;
}

/* [load] Opens device number index. Before any error but BNP_E_UNSUPPORTED,
 * one sentence to host->report: it is what the operator gets to read. Memory
 * comes from host->alloc, options of [plugin:ID] in the configuration from
 * host->option. */
static int device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    (void)index;
    *out = NULL;
    host->report(host->ctx, BNP_E_INVALID, "skeleton has no device to open");
    return BNP_E_INVALID;
}

/* [load] Everything that came from the device has been closed and released. */
static void device_close(bnp_device *d)
{
    d->host->release(d->host->ctx, d);
}

/* [setup] Fill only what the caller's struct_size covers: it may be older or
 * younger than your header. BNP_HAS tells for one field. */
static int device_info(bnp_device *d, bnp_device_info *info)
{
    (void)d;
    if (BNP_HAS(info, bnp_device_info, flags)) {
        info->kind = BNP_DEV_CPU;
        info->flags = BNP_DEV_HOST_MEM | BNP_DEV_SYNC;
    }
    return BNP_OK;
}

/* [setup] The stream is where work is queued. limits says how large a step can
 * get, so allocate for that here. Without a device nobody asks. */
static int stream_open(bnp_device *d, const bnp_limits *limits, bnp_stream **out)
{
    (void)limits;
    *out = NULL;
    d->host->report(d->host->ctx, BNP_E_INTERNAL, "skeleton has no streams");
    return BNP_E_INTERNAL;
}

static void stream_close(bnp_stream *s)
{
    (void)s;
}

/* [submit] begin copies what it needs of the step, since the arrays are gone
 * when it returns; end gives a ticket for the work in between. An asynchronous
 * device adds wait; one with memory of its own mem_alloc, mem_free, copy_in
 * and copy_out. */
static int step_begin(bnp_stream *s, const bnp_step *step)
{
    (void)s;
    (void)step;
    return BNP_E_UNSUPPORTED;
}

static int step_end(bnp_stream *s, uint64_t *ticket)
{
    (void)s;
    *ticket = 0;
    return BNP_E_UNSUPPORTED;
}

/* struct_size, here and in every table, is how a host of another minor version
 * knows where your table ends. Let sizeof say it. */
static const bnp_device_ops device = {
    .struct_size = sizeof(bnp_device_ops),
    .stream_open = stream_open,
    .stream_close = stream_close,
    .step_begin = step_begin,
    .step_end = step_end,
};

/* The one symbol that the host looks up: const data, no code. A family you
 * offer is a pointer to its table, and its BNP_FAM_ bit in the note:
 *
 *     .linear = &linear,
 */
const bnp_plugin bnp_plugin_v1 = {
    .struct_size = sizeof(bnp_plugin),
    .abi_major = BNP_ABI_MAJOR,
    .abi_minor = BNP_ABI_MINOR,
    .min_host_minor = BNP_MIN_HOST_MINOR,
    .isa_required = 0,
    .id = ID,
    .version = VERSION,
    .build = __VERSION__,
    .device_count = device_count,
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .device = &device,
};
