/* plugin.c - who the OpenCL plugin is. */
#include "ocl.h"

#define OCL_ID      "org.bitnetd.opencl"
#define OCL_VERSION BITNET_VERSION

BNP_NOTE(OCL_ID, OCL_VERSION, 0, BNP_DEV_OTHER, BNP_FAM_LINEAR | BNP_FAM_ATTN | BNP_FAM_POINT)

static const bnp_device_ops device = {
    .struct_size = sizeof(bnp_device_ops),
    .mem_alloc = ocl_mem_alloc,
    .mem_free = ocl_mem_free,
    .stream_open = ocl_stream_open,
    .stream_close = ocl_stream_close,
    .copy_in = ocl_copy_in,
    .copy_out = ocl_copy_out,
    .step_begin = ocl_step_begin,
    .step_end = ocl_step_end,
    .wait = ocl_wait,
};

static const bnp_linear_ops linear = {
    .struct_size = sizeof(bnp_linear_ops),
    .query = ocl_linear_query,
    .layout = ocl_linear_layout,
    .prepare = ocl_linear_prepare,
    .adopt = ocl_linear_adopt,
    .release = ocl_linear_release,
    .act_size = ocl_linear_act_size,
    .act_prepare = ocl_linear_act_prepare,
    .mul = ocl_linear_mul,
    .gather = ocl_linear_gather,
    .topk = ocl_linear_topk,
};

static const bnp_attn_ops attn = {
    .struct_size = sizeof(bnp_attn_ops),
    .query = ocl_attn_query,
    .page_size = ocl_attn_page_size,
    .append = ocl_attn_append,
    .attend = ocl_attn_attend,
    .copy_page = ocl_attn_copy_page,
};

static const bnp_point_ops point = {
    .struct_size = sizeof(bnp_point_ops),
    .query = ocl_point_query,
    .rmsnorm = ocl_point_rmsnorm,
    .rope = ocl_point_rope,
    .glu = ocl_point_glu,
    .add = ocl_point_add,
    .pick = ocl_point_pick,
};

/* No self_test: the host's known answers go through the same calls. */
const bnp_plugin bnp_plugin_v1 = {
    .struct_size = sizeof(bnp_plugin),
    .abi_major = BNP_ABI_MAJOR,
    .abi_minor = BNP_ABI_MINOR,
    .min_host_minor = BNP_MIN_HOST_MINOR,
    .id = OCL_ID,
    .version = OCL_VERSION,
    .build = "OpenCL 1.2, " __VERSION__,
    .device_count = ocl_device_count,
    .device_open = ocl_device_open,
    .device_close = ocl_device_close,
    .device_info = ocl_device_info,
    .device = &device,
    .linear = &linear,
    .attn = &attn,
    .point = &point,
};
