/* topk.c - the linear family of the kit alone, for tests of the certified head.
 *
 * With TOPK_LOOSE its bounds are a fiftieth of what they must be, which is
 * wrong now and then: the test of the head has to see it. */
#define FLOAT_KERN topk_float
#include "plugins/kit/cpu.h"
#include "plugins/kit/float_kern.h"

#ifdef __x86_64__
#define ISA BNP_ISA(X86_AVX2)
#else
#define ISA BNP_ISA(ARM_NEON)
#endif

#ifdef TOPK_LOOSE
#define ID "org.bitnetd.test.topk-loose"
static float loose(const struct screen_range *s)
{
    struct screen_range less = *s;
    less.a *= 0.02f;
    less.c *= 0.02f;
    return screen_bounds(&less);
}
#else
#define ID "org.bitnetd.test.topk"
#define loose screen_bounds
#endif

static const struct screen_kern screen = {
    .quantize = screen_quantize, .dot = screen_dot, .range = loose,
};
static const struct float_kern kern = { .row = &row_kern, .dense = &dense_kern, .screen = &screen };

const struct variant cpu_variants[] = { { .name = "dense", .f = &kern } };
const unsigned cpu_n_variants = 1;

BNP_NOTE(ID, "1", ISA, BNP_DEV_CPU, BNP_FAM_LINEAR)

const bnp_plugin bnp_plugin_v1 = {
    .struct_size = sizeof(bnp_plugin), .abi_major = BNP_ABI_MAJOR, .abi_minor = BNP_ABI_MINOR,
    .min_host_minor = BNP_MIN_HOST_MINOR, .isa_required = ISA, .id = ID, .version = "1",
    .build = "test", .device_count = cpu_device_count, .device_open = cpu_device_open,
    .device_close = kit_device_close, .device_info = cpu_device_info, .device = &kit_device_ops,
    .linear = &cpu_linear_ops,
};
