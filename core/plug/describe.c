/* describe.c - names for the ABI's numbers, for tables and messages. */
#include "core/plug/describe.h"

#include <stddef.h>
#include <stdint.h>

static const char *name_of(const char *const *name, size_t n, uint32_t i)
{
    return i < n && name[i] ? name[i] : "unknown";
}
#define NAME(table, i) name_of(table, sizeof(table) / sizeof(table)[0], i)

void describe_linear(const bnp_weight_desc *d, struct buf *out)
{
    static const char *const format[] = { NULL, "t2", "f32", "f16", "bf16", "i8" };
    static const char *const scale[] = { "none", "tensor", "row", "block" };
    static const char *const role[] = { NULL, "qkv", "o", "up", "down", "head", "embed" };
    buf_addf(out, "%ux%u %s/%s", d->rows, d->cols, NAME(format, d->format),
             NAME(scale, d->scale_kind));
    if (d->scale_kind == BNP_SCALE_BLOCK)
        buf_addf(out, " of %u", d->block_cols);
    if (d->flags & BNP_W_PLUS2)
        buf_addf(out, " +2");
    if (d->flags & BNP_W_GATHER)
        buf_addf(out, d->flags & BNP_W_MUL ? " gather+mul" : " gather");
    if (d->flags & BNP_W_TOPK)
        buf_addf(out, " topk");
    if (d->role != BNP_ROLE_OTHER)
        buf_addf(out, ", %s", NAME(role, d->role));
}

void describe_attn(const bnp_attn_desc *d, struct buf *out)
{
    static const char *const format[] = { [BNP_KV_F16] = "f16", [BNP_KV_I8] = "i8" };
    buf_addf(out, "%u heads on %u of %u, kv %s, pages of %u", d->n_head, d->n_head_kv, d->head_dim,
             NAME(format, d->kv_format), d->page_tok);
    if (d->window)
        buf_addf(out, ", window %u", d->window);
}

void describe_point(const bnp_point_desc *d, struct buf *out)
{
    static const char *const op[] = { "rmsnorm", "rope", "relu2", "silu", "add", "pick" };
    const char *gap = "";
    buf_addf(out, "%u wide: ", d->cols);
    for (uint32_t i = 0; i < sizeof op / sizeof op[0]; i++) {
        if (!(d->ops >> i & 1))
            continue;
        buf_addf(out, "%s%s", gap, op[i]);
        gap = " ";
    }
}
