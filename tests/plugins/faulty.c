/* faulty.c - scalar-ref that goes wrong on command, to prove that somebody
 * notices.
 *
 * The option "fault" of [plugin:org.bitnetd.test.faulty] names what goes wrong;
 * without it every result is scalar-ref's, unless FAULTY_ALWAYS names a fault.
 *
 *   ternary-bit, dense-bit    mul: the last bit of the last output of a row
 *   shape                     mul of 512 rows, which no known answer has: the last
 *                             output of a row is 1000 more
 *   topk-id                   topk: the first two ids change places
 *   attend-bit, norm-bit      the last bit of the last output of attend, rmsnorm
 *   nan                       mul: the first output is NaN
 *   open-fails                device_open says BNP_E_DEVICE
 *   device-lost-at-step-N     step N, from 1, and everything after it says
 *                             BNP_E_DEVICE
 *   stall-at-step-N           step N, from 1, takes two seconds
 *   scribble                  mul writes one float behind the last row of y
 *   crash, hang               rmsnorm does not come back */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "plugins/scalar-ref/ref.h"

#define FAULTY_ID      "org.bitnetd.test.faulty"
#define FAULTY_VERSION "1"
#ifndef FAULTY_ALWAYS
#define FAULTY_ALWAYS ""
#endif

BNP_NOTE(FAULTY_ID, FAULTY_VERSION, 0, BNP_DEV_CPU, BNP_FAM_LINEAR | BNP_FAM_ATTN | BNP_FAM_POINT)

/* One host opens one device at a time in every test; nothing else is shared. */
static const char *fault = "";
static unsigned long lose_at, stall_at, n_step;

static bool is(const char *name)
{
    return !strcmp(fault, name);
}

static void flip_last_bit(const bnp_rows *y)
{
    if (!y->n_tok)
        return;
    uint32_t u;
    float *at = rows_at(y, y->n_tok - 1) + y->cols - 1;
    memcpy(&u, at, sizeof u);
    u ^= 1;
    memcpy(at, &u, sizeof u);
}

/* The N of a fault that begins like that; 0: it is another. */
static unsigned long step_of(const char *mark)
{
    const size_t n = strlen(mark);
    return strncmp(fault, mark, n) ? 0 : strtoul(fault + n, NULL, 10);
}

static int device_open(const bnp_host *host, uint32_t index, bnp_device **out)
{
    const char *option = host->option(host->ctx, "fault");
    fault = option ? option : FAULTY_ALWAYS;
    n_step = 0;
    lose_at = step_of("device-lost-at-step-");
    stall_at = step_of("stall-at-step-");
    if (is("open-fails")) {
        *out = NULL;
        host->report(host->ctx, BNP_E_DEVICE, "fault open-fails: no device today");
        return BNP_E_DEVICE;
    }
    return ref_device_open(host, index, out);
}

static int device_info(bnp_device *d, bnp_device_info *info)
{
    const int rc = ref_device_info(d, info);
    if (!rc && BNP_HAS(info, bnp_device_info, name))
        memcpy(info->name, "faulty on command", sizeof "faulty on command");
    return rc;
}

static int stream_open(bnp_device *d, const bnp_limits *limits, bnp_stream **out)
{
    return kit_device_ops.stream_open(d, limits, out);
}

static void stream_close(bnp_stream *s)
{
    kit_device_ops.stream_close(s);
}

static int step_begin(bnp_stream *s, const bnp_step *step)
{
    n_step++;
    if (stall_at && n_step == stall_at)
        nanosleep(&(struct timespec){ .tv_sec = 2 }, NULL);
    if (lose_at && n_step >= lose_at)
        return kit_fail(s->dev, BNP_E_DEVICE, "fault %s: the device is gone", fault);
    return kit_device_ops.step_begin(s, step);
}

static int step_end(bnp_stream *s, uint64_t *ticket)
{
    return kit_device_ops.step_end(s, ticket);
}

static int mul(bnp_stream *s, bnp_span act, uint32_t n, const bnp_linear_item *item,
               bnp_span scratch)
{
    const int rc = ref_linear_mul(s, act, n, item, scratch);
    for (uint32_t i = 0; i < n && !rc; i++) {
        const bool ternary = item[i].weight->k.format == BNP_FMT_T2;
        const bnp_rows *y = &item[i].y;
        if (ternary ? is("ternary-bit") : is("dense-bit"))
            flip_last_bit(y);
        if (is("shape") && y->cols == 512 && y->n_tok)
            rows_at(y, y->n_tok - 1)[511] += 1000.0f;
        const uint32_t nan = 0x7fc00000;
        if (is("nan") && y->n_tok)
            memcpy(rows_at(y, 0), &nan, sizeof nan);
        if (is("scribble") && y->n_tok)
            rows_at(y, y->n_tok - 1)[y->stride / sizeof(float)] = 1.0f;
    }
    return rc;
}

static int topk(bnp_stream *s, bnp_span act, const bnp_weight *w, const bnp_topk *top,
                bnp_span scratch)
{
    const int rc = ref_linear_topk(s, act, w, top, scratch);
    if (!rc && is("topk-id") && top->n_tok && top->k > 1) {
        int32_t *id = span_at(top->id), first = id[0];
        id[0] = id[1];
        id[1] = first;
    }
    return rc;
}

static int attend(bnp_stream *s, const bnp_attn_desc *d, bnp_span pool, const bnp_rows *q,
                  const bnp_rows *out, bnp_span scratch)
{
    const int rc = ref_attn_attend(s, d, pool, q, out, scratch);
    if (!rc && is("attend-bit"))
        flip_last_bit(out);
    return rc;
}

static int rmsnorm(bnp_stream *s, const bnp_norm *norm, const bnp_rows *x, const bnp_rows *y)
{
    if (is("crash"))
        __builtin_trap();
    if (is("hang"))
        for (;;)
            continue;
    const int rc = ref_point_rmsnorm(s, norm, x, y);
    if (!rc && is("norm-bit"))
        flip_last_bit(y);
    return rc;
}

static const bnp_device_ops device = {
    .struct_size = sizeof(bnp_device_ops), .stream_open = stream_open,
    .stream_close = stream_close, .step_begin = step_begin, .step_end = step_end,
};

static const bnp_linear_ops linear = {
    .struct_size = sizeof(bnp_linear_ops), .query = ref_linear_query, .layout = ref_linear_layout,
    .prepare = ref_linear_prepare, .adopt = ref_linear_adopt, .release = ref_linear_release,
    .act_size = ref_act_size, .act_prepare = ref_act_prepare, .mul = mul,
    .gather = ref_linear_gather, .topk = topk,
};

static const bnp_attn_ops attn = {
    .struct_size = sizeof(bnp_attn_ops), .query = ref_attn_query, .page_size = ref_attn_page_size,
    .append = ref_attn_append, .attend = attend, .copy_page = ref_attn_copy_page,
};

static const bnp_point_ops point = {
    .struct_size = sizeof(bnp_point_ops), .query = ref_point_query, .rmsnorm = rmsnorm,
    .rope = ref_point_rope, .glu = ref_point_glu, .add = ref_point_add, .pick = ref_point_pick,
};

const bnp_plugin bnp_plugin_v1 = {
    .struct_size = sizeof(bnp_plugin), .abi_major = BNP_ABI_MAJOR, .abi_minor = BNP_ABI_MINOR,
    .min_host_minor = BNP_MIN_HOST_MINOR, .id = FAULTY_ID, .version = FAULTY_VERSION,
    .build = "test", .device_count = ref_device_count, .device_open = device_open,
    .device_close = kit_device_close, .device_info = device_info, .device = &device,
    .linear = &linear, .attn = &attn, .point = &point,
};
