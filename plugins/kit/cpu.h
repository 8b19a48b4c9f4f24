/* cpu.h - a CPU plugin: everything but the arithmetic.
 *
 * A plugin is its table of variants and CPU_PLUGIN(...). Usable variants are
 * its devices, in the table's order. Every device multiplies ternary weights;
 * the first one serves dense weights, attention and pointwise work as well, so
 * that nothing is measured twice. The option "variant" of the plugin's section
 * leaves only the variant of that name.
 *
 * Worker w of n has panels w*P/n .. (w+1)*P/n of a matrix, in prepare as in
 * mul, so what it touched first is near it. In mul, whoever is done with its
 * own takes panels that a later one has not begun: who computes a panel may
 * depend on timing, what it holds never does. */
#ifndef BITNET_KIT_CPU_H
#define BITNET_KIT_CPU_H

#include <stdatomic.h>

#include "plugins/kit/check.h"
#include "plugins/kit/kern.h"

/* The variants of this plugin, the best first; defined by the plugin. */
extern const struct variant cpu_variants[];
extern const unsigned cpu_n_variants;

struct cpu_screen;              /* topk.h: the int8 screen of a head         */

struct bnp_weight {
    struct kit_weight k;
    const struct tern *tern;    /* NULL: dense                               */
    uint32_t n_panel;
    uint64_t panel_size;        /* bytes                                     */
    const uint8_t *data;        /* ternary: panels. dense: canonical rows,   */
    uint64_t row_size;          /* row_size apart, in storage or the host's  */
    const float *scale;         /* ternary: TENSOR and NONE [1], ROW         */
                                /* [n_panel * panel_rows], BLOCK [n_panel]   */
                                /* [n_block][panel_rows]; dense I8: [rows]   */
                                /* [n_block], or [1]                         */
    uint32_t scale_step;        /* dense: scales from row to row; 0: one     */
    const struct cpu_screen *screen;    /* BNP_W_TOPK; NULL: none            */
};

static inline bool cpu_first(const bnp_device *d)       /* serves all families */
{
    return d->index == 0;
}

static inline const struct float_kern *cpu_float(const bnp_device *d)
{
    return d->variant->f;
}

/* Worker w's share of n things: first .. end - 1. */
static inline uint32_t cpu_share(uint32_t n, uint32_t w, uint32_t n_workers)
{
    return (uint32_t)((uint64_t)n * w / n_workers);
}

/* fn for every worker, or for worker 0 alone when the work is too small to be
 * worth waking the others. fn gets (arg, worker, n_workers). */
typedef void cpu_part_fn(void *arg, uint32_t worker, uint32_t n_workers);
void cpu_run(bnp_device *, bool all, cpu_part_fn *, void *arg);

/* fn for parts of which there are more than workers, each by whoever is free:
 * for work that needs nothing of a worker's own. */
typedef void cpu_deal_fn(void *arg, uint32_t part, uint32_t n_parts);
void cpu_deal(bnp_device *, bool all, cpu_deal_fn *, void *arg);

/* In pieces: fn for every piece < n[k] of every list k < n_list. A
 * worker goes through its share of each list in order, then helps others with
 * theirs. cursor: one for each worker, from the caller's scratch. */
struct cpu_cursor {
    _Alignas(BNP_ALIGN) _Atomic(uint32_t) next;
};
typedef void cpu_piece_fn(void *arg, uint32_t list, uint32_t piece, uint32_t worker);
void cpu_run_pieces(bnp_device *, bool all, uint32_t n_list, const uint32_t *n,
                    struct cpu_cursor *cursor, cpu_piece_fn *, void *arg);

/* cpu.c */
int cpu_device_count(const bnp_host *, uint32_t *n);
int cpu_device_open(const bnp_host *, uint32_t index, bnp_device **out);
int cpu_device_info(bnp_device *, bnp_device_info *);

/* cpu_weight.c */
int cpu_query(bnp_device *, const bnp_weight_desc *, bnp_offer *);
int cpu_layout(bnp_device *, const bnp_weight_desc *, bnp_weight_layout *);
int cpu_prepare(bnp_device *, const bnp_weight_desc *, const bnp_weight_src *, bnp_span,
                bnp_weight **out);
int cpu_adopt(bnp_device *, const bnp_weight_desc *, bnp_span, bnp_weight **out);
int cpu_adopt_rows(bnp_device *, const bnp_weight_desc *, const bnp_weight_src *, bnp_span,
                   bnp_weight **out);
void cpu_release(bnp_weight *);

/* cpu_linear.c */
int cpu_act_size(bnp_device *, uint32_t kind, uint32_t cols, uint32_t n_tok, uint64_t *size);
int cpu_act_prepare(bnp_stream *, uint32_t kind, const bnp_rows *x, bnp_span act);
int cpu_mul(bnp_stream *, bnp_span act, uint32_t n_items, const bnp_linear_item *,
            bnp_span scratch);
int cpu_gather(bnp_stream *, const bnp_weight *, const bnp_rows *y);
uint32_t cpu_act_kind(bnp_device *, const bnp_weight_desc *);
/* Bytes of scratch that mul needs in all. */
uint64_t cpu_mul_scratch(bnp_device *, const bnp_weight_desc *);
/* One item, from row first of act on; its caller has checked all of it. */
void cpu_mul_some(bnp_device *, const struct kit_act *, uint32_t first, const bnp_linear_item *,
                  uint8_t *scratch);

/* cpu_topk.c */
int cpu_topk(bnp_stream *, bnp_span act, const bnp_weight *, const bnp_topk *, bnp_span scratch);

/* cpu_attn.c */
int cpu_attn_query(bnp_device *, const bnp_attn_desc *, bnp_offer *);
int cpu_attn_page_size(bnp_device *, const bnp_attn_desc *, uint64_t *size);
int cpu_attn_append(bnp_stream *, const bnp_attn_desc *, bnp_span pool, const bnp_rows *k,
                    const bnp_rows *v);
int cpu_attn_attend(bnp_stream *, const bnp_attn_desc *, bnp_span pool, const bnp_rows *q,
                    const bnp_rows *out, bnp_span scratch);
int cpu_attn_copy_page(bnp_stream *, const bnp_attn_desc *, bnp_span pool, uint32_t dst,
                       uint32_t src, uint32_t n_tok);

/* cpu_point.c */
int cpu_point_query(bnp_device *, const bnp_point_desc *, bnp_offer *);
int cpu_point_rmsnorm(bnp_stream *, const bnp_norm *, const bnp_rows *x, const bnp_rows *y);
int cpu_point_rope(bnp_stream *, const bnp_rope *, const bnp_rows *x);
int cpu_point_glu(bnp_stream *, uint32_t f, const bnp_rows *gate, const bnp_rows *up,
                  const bnp_rows *y);
int cpu_point_add(bnp_stream *, const bnp_rows *x, const bnp_rows *y);
int cpu_point_pick(bnp_stream *, const bnp_rows *x, const bnp_rows *y);

extern const bnp_linear_ops cpu_linear_ops;
extern const bnp_attn_ops cpu_attn_ops;
extern const bnp_point_ops cpu_point_ops;

/* The plugin's two ways of saying who it is; once, in its plugin.c. */
#define CPU_PLUGIN(id_, isa_, build_)                                          \
    BNP_NOTE(id_, BITNET_VERSION, isa_, BNP_DEV_CPU,                           \
             BNP_FAM_LINEAR | BNP_FAM_ATTN | BNP_FAM_POINT)                    \
    const bnp_plugin bnp_plugin_v1 = {                                         \
        .struct_size = sizeof(bnp_plugin),                                     \
        .abi_major = BNP_ABI_MAJOR,                                            \
        .abi_minor = BNP_ABI_MINOR,                                            \
        .min_host_minor = BNP_MIN_HOST_MINOR,                                  \
        .isa_required = (isa_),                                                \
        .id = id_,                                                             \
        .version = BITNET_VERSION,                                             \
        .build = build_ ", " __VERSION__,                                      \
        .device_count = cpu_device_count,                                      \
        .device_open = cpu_device_open,                                        \
        .device_close = kit_device_close,                                      \
        .device_info = cpu_device_info,                                        \
        .device = &kit_device_ops,                                             \
        .linear = &cpu_linear_ops,                                             \
        .attn = &cpu_attn_ops,                                                 \
        .point = &cpu_point_ops,                                               \
    }

#endif
