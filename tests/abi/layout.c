/* layout.c - the ABI as numbers: a table of every size, offset and constant, on
 * a 64-bit machine.
 *
 * A line that fails to compile means that plugins built before would break.
 * Within a major version only these changes are allowed here: a SIZE line of a
 * struct that begins with struct_size may grow, and new lines may come. Also
 * compiled as C++11. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "bitnet_plugin.h"

#ifdef __cplusplus
#define PIN(what, text) static_assert(what, text)
#else
#define PIN(what, text) _Static_assert(what, text)
#endif
#define SIZE(type, size)       PIN(sizeof(type) == (size), "size of " #type)
#define AT(type, field, where) PIN(offsetof(type, field) == (where), #type "." #field)
#define IS(name, value)        PIN((name) == (value), #name)

PIN(sizeof(void *) == 8, "these numbers are those of 64-bit machines");

SIZE(bnp_span, 24);
AT(bnp_span, base, 0);
AT(bnp_span, offset, 8);
AT(bnp_span, size, 16);

SIZE(bnp_rows, 40);
AT(bnp_rows, mem, 0);
AT(bnp_rows, stride, 24);
AT(bnp_rows, n_tok, 32);
AT(bnp_rows, cols, 36);

SIZE(bnp_topo, 48);
AT(bnp_topo, struct_size, 0);
AT(bnp_topo, n_workers, 4);
AT(bnp_topo, n_numa, 8);
AT(bnp_topo, cache_line, 12);
AT(bnp_topo, l1d_size, 16);
AT(bnp_topo, l2_size, 20);
AT(bnp_topo, l3_size, 24);
AT(bnp_topo, isa, 32);
AT(bnp_topo, worker_numa, 40);

SIZE(bnp_host, 72);
AT(bnp_host, struct_size, 0);
AT(bnp_host, abi_major, 4);
AT(bnp_host, abi_minor, 6);
AT(bnp_host, ctx, 8);
AT(bnp_host, topo, 16);
AT(bnp_host, log, 24);
AT(bnp_host, report, 32);
AT(bnp_host, alloc, 40);
AT(bnp_host, release, 48);
AT(bnp_host, option, 56);
AT(bnp_host, parallel, 64);

SIZE(bnp_device_info, 96);
AT(bnp_device_info, struct_size, 0);
AT(bnp_device_info, kind, 4);
AT(bnp_device_info, flags, 8);
AT(bnp_device_info, reserved, 12);
AT(bnp_device_info, name, 16);
AT(bnp_device_info, mem_size, 80);
AT(bnp_device_info, pci_domain, 88);
AT(bnp_device_info, pci_bdf, 92);

SIZE(bnp_limits, 20);
AT(bnp_limits, struct_size, 0);
AT(bnp_limits, max_tok, 4);
AT(bnp_limits, max_seq, 8);
AT(bnp_limits, max_pages, 12);
AT(bnp_limits, max_out, 16);

SIZE(bnp_step, 80);
AT(bnp_step, struct_size, 0);
AT(bnp_step, n_tok, 4);
AT(bnp_step, n_seq, 8);
AT(bnp_step, max_pages, 12);
AT(bnp_step, n_out, 16);
AT(bnp_step, reserved, 20);
AT(bnp_step, id, 24);
AT(bnp_step, pos, 32);
AT(bnp_step, seq_start, 40);
AT(bnp_step, kv_len, 48);
AT(bnp_step, page, 56);
AT(bnp_step, out_row, 64);
AT(bnp_step, shape_key, 72);

SIZE(bnp_device_ops, 80);
AT(bnp_device_ops, struct_size, 0);
AT(bnp_device_ops, reserved, 4);
AT(bnp_device_ops, mem_alloc, 8);
AT(bnp_device_ops, mem_free, 16);
AT(bnp_device_ops, stream_open, 24);
AT(bnp_device_ops, stream_close, 32);
AT(bnp_device_ops, copy_in, 40);
AT(bnp_device_ops, copy_out, 48);
AT(bnp_device_ops, step_begin, 56);
AT(bnp_device_ops, step_end, 64);
AT(bnp_device_ops, wait, 72);

SIZE(bnp_offer, 40);
AT(bnp_offer, struct_size, 0);
AT(bnp_offer, det, 4);
AT(bnp_offer, abs_err, 8);
AT(bnp_offer, rel_err, 12);
AT(bnp_offer, us, 16);
AT(bnp_offer, scratch_size, 32);

SIZE(bnp_weight_desc, 48);
AT(bnp_weight_desc, struct_size, 0);
AT(bnp_weight_desc, format, 4);
AT(bnp_weight_desc, scale_kind, 8);
AT(bnp_weight_desc, role, 12);
AT(bnp_weight_desc, flags, 16);
AT(bnp_weight_desc, rows, 20);
AT(bnp_weight_desc, cols, 24);
AT(bnp_weight_desc, block_cols, 28);
AT(bnp_weight_desc, max_tok, 32);
AT(bnp_weight_desc, reserved, 36);
AT(bnp_weight_desc, name, 40);

SIZE(bnp_weight_src, 48);
AT(bnp_weight_src, struct_size, 0);
AT(bnp_weight_src, reserved, 4);
AT(bnp_weight_src, ctx, 8);
AT(bnp_weight_src, read_rows, 16);
AT(bnp_weight_src, read_scales, 24);
AT(bnp_weight_src, rows, 32);
AT(bnp_weight_src, row_stride, 40);

SIZE(bnp_weight_layout, 32);
AT(bnp_weight_layout, struct_size, 0);
AT(bnp_weight_layout, act_kind, 4);
AT(bnp_weight_layout, size, 8);
AT(bnp_weight_layout, align, 16);
AT(bnp_weight_layout, layout_id, 24);

SIZE(bnp_linear_item, 56);
AT(bnp_linear_item, weight, 0);
AT(bnp_linear_item, y, 8);
AT(bnp_linear_item, flags, 48);
AT(bnp_linear_item, reserved, 52);

SIZE(bnp_topk, 88);
AT(bnp_topk, struct_size, 0);
AT(bnp_topk, k, 4);
AT(bnp_topk, n_tok, 8);
AT(bnp_topk, reserved, 12);
AT(bnp_topk, id, 16);
AT(bnp_topk, logit, 40);
AT(bnp_topk, n_exact, 64);

SIZE(bnp_linear_ops, 96);
AT(bnp_linear_ops, struct_size, 0);
AT(bnp_linear_ops, reserved, 4);
AT(bnp_linear_ops, query, 8);
AT(bnp_linear_ops, layout, 16);
AT(bnp_linear_ops, prepare, 24);
AT(bnp_linear_ops, adopt, 32);
AT(bnp_linear_ops, release, 40);
AT(bnp_linear_ops, act_size, 48);
AT(bnp_linear_ops, act_prepare, 56);
AT(bnp_linear_ops, mul, 64);
AT(bnp_linear_ops, gather, 72);
AT(bnp_linear_ops, topk, 80);
AT(bnp_linear_ops, adopt_rows, 88);

SIZE(bnp_attn_desc, 40);
AT(bnp_attn_desc, struct_size, 0);
AT(bnp_attn_desc, n_head, 4);
AT(bnp_attn_desc, n_head_kv, 8);
AT(bnp_attn_desc, head_dim, 12);
AT(bnp_attn_desc, page_tok, 16);
AT(bnp_attn_desc, kv_format, 20);
AT(bnp_attn_desc, window, 24);
AT(bnp_attn_desc, max_kv, 28);
AT(bnp_attn_desc, max_tok, 32);
AT(bnp_attn_desc, scale, 36);

SIZE(bnp_attn_ops, 48);
AT(bnp_attn_ops, struct_size, 0);
AT(bnp_attn_ops, reserved, 4);
AT(bnp_attn_ops, query, 8);
AT(bnp_attn_ops, page_size, 16);
AT(bnp_attn_ops, append, 24);
AT(bnp_attn_ops, attend, 32);
AT(bnp_attn_ops, copy_page, 40);

SIZE(bnp_point_desc, 16);
AT(bnp_point_desc, struct_size, 0);
AT(bnp_point_desc, ops, 4);
AT(bnp_point_desc, cols, 8);
AT(bnp_point_desc, max_tok, 12);

SIZE(bnp_norm, 40);
AT(bnp_norm, struct_size, 0);
AT(bnp_norm, group_cols, 4);
AT(bnp_norm, eps, 8);
AT(bnp_norm, reserved, 12);
AT(bnp_norm, weight, 16);

SIZE(bnp_rope, 48);
AT(bnp_rope, struct_size, 0);
AT(bnp_rope, style, 4);
AT(bnp_rope, head_dim, 8);
AT(bnp_rope, n_rot, 12);
AT(bnp_rope, n_pos, 16);
AT(bnp_rope, reserved, 20);
AT(bnp_rope, table, 24);

SIZE(bnp_point_ops, 56);
AT(bnp_point_ops, struct_size, 0);
AT(bnp_point_ops, reserved, 4);
AT(bnp_point_ops, query, 8);
AT(bnp_point_ops, rmsnorm, 16);
AT(bnp_point_ops, rope, 24);
AT(bnp_point_ops, glu, 32);
AT(bnp_point_ops, add, 40);
AT(bnp_point_ops, pick, 48);

SIZE(bnp_plugin, 128);
AT(bnp_plugin, struct_size, 0);
AT(bnp_plugin, abi_major, 4);
AT(bnp_plugin, abi_minor, 6);
AT(bnp_plugin, min_host_minor, 8);
AT(bnp_plugin, reserved, 10);
AT(bnp_plugin, isa_required, 16);
AT(bnp_plugin, id, 24);
AT(bnp_plugin, version, 32);
AT(bnp_plugin, build, 40);
AT(bnp_plugin, device_count, 48);
AT(bnp_plugin, device_open, 56);
AT(bnp_plugin, device_close, 64);
AT(bnp_plugin, device_info, 72);
AT(bnp_plugin, self_test, 80);
AT(bnp_plugin, device, 88);
AT(bnp_plugin, linear, 96);
AT(bnp_plugin, attn, 104);
AT(bnp_plugin, point, 112);
AT(bnp_plugin, extension, 120);

SIZE(bnp_note, 140);
AT(bnp_note, name_size, 0);
AT(bnp_note, desc_size, 4);
AT(bnp_note, type, 8);
AT(bnp_note, name, 12);
AT(bnp_note, abi_major, 20);
AT(bnp_note, abi_minor, 22);
AT(bnp_note, min_host_minor, 24);
AT(bnp_note, reserved, 26);
AT(bnp_note, device_kind, 28);
AT(bnp_note, families, 32);
AT(bnp_note, isa_lo, 36);
AT(bnp_note, isa_hi, 40);
AT(bnp_note, id, 44);
AT(bnp_note, version, 108);

IS(BNP_ABI_MAJOR, 1);
IS(BNP_ABI_MINOR, 4);
IS(BNP_MUST, 0xffff0000u);
IS(BNP_OK, 0);
IS(BNP_E_UNSUPPORTED, -1);
IS(BNP_E_INVALID, -2);
IS(BNP_E_NOMEM, -3);
IS(BNP_E_DATA, -4);
IS(BNP_E_NUMERIC, -5);
IS(BNP_E_BUSY, -6);
IS(BNP_E_DEVICE, -7);
IS(BNP_E_INTERNAL, -8);
IS(BNP_ALIGN, 64);
IS(BNP_SLACK, 64);
IS(BNP_ISA_X86_AVX2, 0);
IS(BNP_ISA_X86_AVXVNNI, 1);
IS(BNP_ISA_X86_AVX512, 2);
IS(BNP_ISA_X86_VNNI512, 3);
IS(BNP_ISA_X86_VBMI, 4);
IS(BNP_ISA_X86_AMX_I8, 5);
IS(BNP_ISA_ARM_NEON, 16);
IS(BNP_ISA_ARM_DOTPROD, 17);
IS(BNP_ISA_ARM_I8MM, 18);
IS(BNP_ISA_ARM_SVE2, 19);
IS(BNP_LOG_ERROR, 1);
IS(BNP_LOG_WARN, 2);
IS(BNP_LOG_INFO, 3);
IS(BNP_LOG_DEBUG, 4);
IS(BNP_PAR_STATIC, 1);
IS(BNP_DEV_CPU, 1);
IS(BNP_DEV_GPU, 2);
IS(BNP_DEV_OTHER, 3);
IS(BNP_DEV_HOST_MEM, 1);
IS(BNP_DEV_SYNC, 2);
IS(BNP_MEM_WEIGHT, 1);
IS(BNP_MEM_KV, 2);
IS(BNP_MEM_WORK, 3);
IS(BNP_DET_EXACT, 1);
IS(BNP_DET_STABLE, 2);
IS(BNP_DET_BOUNDED, 3);
IS(BNP_FMT_T2, 1);
IS(BNP_FMT_F32, 2);
IS(BNP_FMT_F16, 3);
IS(BNP_FMT_BF16, 4);
IS(BNP_FMT_I8, 5);
IS(BNP_SCALE_NONE, 0);
IS(BNP_SCALE_TENSOR, 1);
IS(BNP_SCALE_ROW, 2);
IS(BNP_SCALE_BLOCK, 3);
IS(BNP_ROLE_OTHER, 0);
IS(BNP_ROLE_QKV, 1);
IS(BNP_ROLE_O, 2);
IS(BNP_ROLE_UP, 3);
IS(BNP_ROLE_DOWN, 4);
IS(BNP_ROLE_HEAD, 5);
IS(BNP_ROLE_EMBED, 6);
IS(BNP_W_PLUS2, 65536);
IS(BNP_W_MUL, 1);
IS(BNP_W_GATHER, 2);
IS(BNP_W_TOPK, 4);
IS(BNP_W_IN_PLACE, 8);
IS(BNP_ADD, 65536);
IS(BNP_KV_F16, 1);
IS(BNP_KV_I8, 3);
IS(BNP_KV_I8_DIM, 512);
IS(BNP_ATTN_CHUNK, 128);
IS(BNP_POINT_RMSNORM, 1);
IS(BNP_POINT_ROPE, 2);
IS(BNP_POINT_RELU2, 4);
IS(BNP_POINT_SILU, 8);
IS(BNP_POINT_ADD, 16);
IS(BNP_POINT_PICK, 32);
IS(BNP_POINT_GELU, 64);
IS(BNP_GLU_RELU2, 1);
IS(BNP_GLU_SILU, 2);
IS(BNP_GLU_GELU, 3);
IS(BNP_ROPE_HALVES, 1);
IS(BNP_ROPE_PAIRS, 2);
IS(BNP_FAM_LINEAR, 1);
IS(BNP_FAM_ATTN, 2);
IS(BNP_FAM_POINT, 4);
IS(BNP_TEST_QUICK, 1);
IS(BNP_TEST_FULL, 2);
IS(BNP_NOTE_TYPE, 1);

/* Decimal digits that must name one float each. */
static const struct { const char *name; float value; uint32_t bits; } constant[] = {
    { "BNP_EXP_LOG2E", BNP_EXP_LOG2E, 0x3fb8aa3bu },
    { "BNP_EXP_LN2_HI", BNP_EXP_LN2_HI, 0x3f317218u },
    { "BNP_EXP_LN2_LO", BNP_EXP_LN2_LO, 0xb102e308u },
    { "BNP_EXP_C0", BNP_EXP_C0, 0x3f800000u },
    { "BNP_EXP_C1", BNP_EXP_C1, 0x3f800000u },
    { "BNP_EXP_C2", BNP_EXP_C2, 0x3efffffeu },
    { "BNP_EXP_C3", BNP_EXP_C3, 0x3e2aaa4au },
    { "BNP_EXP_C4", BNP_EXP_C4, 0x3d2aac4cu },
    { "BNP_EXP_C5", BNP_EXP_C5, 0x3c09198au },
    { "BNP_EXP_C6", BNP_EXP_C6, 0x3ab4f4aau },
};

int main(void)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof constant / sizeof *constant; i++) {
        uint32_t bits;
        memcpy(&bits, &constant[i].value, sizeof bits);
        if (bits != constant[i].bits) {
            printf("%s is %08x, expected %08x\n", constant[i].name, (unsigned)bits,
                   (unsigned)constant[i].bits);
            rc = 1;
        }
    }
    printf("sizes, offsets and constants are those of ABI %d.%d\n", BNP_ABI_MAJOR, BNP_ABI_MINOR);
    return rc;
}
