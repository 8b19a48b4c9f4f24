/* plugin.c - who scalar-ref is.
 *
 * The executable form of docs/numerics.md: every family, every op, in the
 * plainest C that says what the page says. No SIMD, no threads, no libm; slow,
 * and right by definition. Every other plugin is held against it. */
#include "ref.h"

#define REF_ID      "org.bitnetd.scalar-ref"
#define REF_VERSION BITNET_VERSION

BNP_NOTE(REF_ID, REF_VERSION, 0, BNP_DEV_CPU, BNP_FAM_LINEAR | BNP_FAM_ATTN | BNP_FAM_POINT)

static const bnp_linear_ops linear = {
    .struct_size = sizeof(bnp_linear_ops),
    .query = ref_linear_query,
    .layout = ref_linear_layout,
    .prepare = ref_linear_prepare,
    .adopt = ref_linear_adopt,
    .release = ref_linear_release,
    .act_size = ref_act_size,
    .act_prepare = ref_act_prepare,
    .mul = ref_linear_mul,
    .gather = ref_linear_gather,
    .topk = ref_linear_topk,
};

static const bnp_attn_ops attn = {
    .struct_size = sizeof(bnp_attn_ops),
    .query = ref_attn_query,
    .page_size = ref_attn_page_size,
    .append = ref_attn_append,
    .attend = ref_attn_attend,
    .copy_page = ref_attn_copy_page,
};

static const bnp_point_ops point = {
    .struct_size = sizeof(bnp_point_ops),
    .query = ref_point_query,
    .rmsnorm = ref_point_rmsnorm,
    .rope = ref_point_rope,
    .glu = ref_point_glu,
    .add = ref_point_add,
    .pick = ref_point_pick,
};

/* No self_test: there is nothing to hold the definition against but the
 * digests of known answers, and those are the host's. */
const bnp_plugin bnp_plugin_v1 = {
    .struct_size = sizeof(bnp_plugin),
    .abi_major = BNP_ABI_MAJOR,
    .abi_minor = BNP_ABI_MINOR,
    .min_host_minor = BNP_MIN_HOST_MINOR,
    .id = REF_ID,
    .version = REF_VERSION,
    .build = "-O2 -ffp-contract=off, " __VERSION__,
    .device_count = ref_device_count,
    .device_open = ref_device_open,
    .device_close = kit_device_close,
    .device_info = ref_device_info,
    .device = &kit_device_ops,
    .linear = &linear,
    .attn = &attn,
    .point = &point,
};
