/* wtype.c - the encodings this program reads, and the names of some it only
 * recognises, so that a refusal can say what a file holds.
 *
 * Rows of one number stand in the order in which their sizes are tried. */
#include "core/model/wtype.h"

#include <inttypes.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/model/tl_tiles.h"

/* Rows of ik_llama.cpp before they had scales of their own. */
#define BARE "without scales, before October 2024"
#define BARE_IQ1_BN(number, who) \
    { .id = number, .name = "IQ1_BN", .whose = who, .block = 64, .block_size = 13, \
      .format = BNP_FMT_T2, .needs_scale = true, .open = iq1_bn_open, .check = iq1_bn_check, \
      .row = iq1_bn_row }
#define BARE_IQ2_BN(number, who) \
    { .id = number, .name = "IQ2_BN", .whose = who, .block = 64, .block_size = 16, \
      .format = BNP_FMT_T2, .needs_scale = true, .open = iq2_bn_open, .check = iq2_bn_check, \
      .row = iq2_bn_row }
#define TL2(number, who) \
    { .id = number, .name = "TL2", .whose = who, .size = tl2_size, .flat = true, \
      .format = BNP_FMT_T2, .open = tl2_open, .row = tl2_row }
/* Rows of other orders that llama.cpp wrote in 2024, and reads no more. */
#define REPACKED(number, what) \
    { .id = number, .name = what, .whose = "llama.cpp in 2024", .block = 32, .block_size = 18 }

static const struct wtype table[] = {
    { .id = 0, .name = "F32", .block = 1, .block_size = 4, .format = BNP_FMT_F32,
      .open = float_open, .check = float_check, .row = float_row },
    { .id = 1, .name = "F16", .block = 1, .block_size = 2, .format = BNP_FMT_F16,
      .open = float_open, .check = float_check, .row = float_row },
    { .id = 30, .name = "BF16", .block = 1, .block_size = 2, .format = BNP_FMT_BF16,
      .open = float_open, .check = float_check, .row = float_row },
    { .id = 2, .name = "Q4_0", .block = 32, .block_size = 18, .format = BNP_FMT_I8,
      .scale_cols = 32, .open = int8_open, .row = q4_0_row, .scales = wtype_d_scales },
    { .id = 3, .name = "Q4_1", .block = 32, .block_size = 20, .format = BNP_FMT_F32,
      .open = quant_affine_open, .row = q4_1_row },
    { .id = 6, .name = "Q5_0", .block = 32, .block_size = 22, .format = BNP_FMT_I8,
      .scale_cols = 32, .open = int8_open, .row = q5_0_row, .scales = wtype_d_scales },
    { .id = 7, .name = "Q5_1", .block = 32, .block_size = 24, .format = BNP_FMT_F32,
      .open = quant_affine_open, .row = q5_1_row },
    { .id = 8, .name = "Q8_0", .block = 32, .block_size = 34, .format = BNP_FMT_I8,
      .scale_cols = 32, .open = int8_open, .row = q8_0_row, .scales = wtype_d_scales },
    { .id = 10, .name = "Q2_K", .block = 256, .block_size = 84, .format = BNP_FMT_F32,
      .open = q2_k_open, .row = q2_k_row },
    { .id = 11, .name = "Q3_K", .block = 256, .block_size = 110, .format = BNP_FMT_I8,
      .scale_cols = 16, .open = int8_open, .row = q3_k_row, .scales = q3_k_scales },
    { .id = 12, .name = "Q4_K", .block = 256, .block_size = 144, .format = BNP_FMT_F32,
      .open = quant_affine_open, .row = q4_k_row },
    { .id = 13, .name = "Q5_K", .block = 256, .block_size = 176, .format = BNP_FMT_F32,
      .open = quant_affine_open, .row = q5_k_row },
    { .id = 14, .name = "Q6_K", .block = 256, .block_size = 210, .format = BNP_FMT_I8,
      .scale_cols = 16, .open = int8_open, .row = q6_k_row, .scales = q6_k_scales },
    { .id = 17, .name = "IQ2_XS", .block = 256, .block_size = 74, .format = BNP_FMT_I8,
      .scale_cols = 16, .open = int8_open, .row = iq2_xs_row, .scales = iq2_scales },
    { .id = 20, .name = "IQ4_NL", .block = 32, .block_size = 18, .format = BNP_FMT_I8,
      .scale_cols = 32, .open = int8_open, .row = iq4_nl_row, .scales = wtype_d_scales },
    { .id = 22, .name = "IQ2_S", .block = 256, .block_size = 82, .format = BNP_FMT_I8,
      .scale_cols = 16, .open = int8_open, .row = iq2_s_row, .scales = iq2_scales },
    { .id = 41, .name = "Q1_0", .block = 128, .block_size = 18, .format = BNP_FMT_T2,
      .scale_cols = 128, .open = q1_0_open, .row = q1_0_row, .scales = wtype_d_scales },
    { .id = 42, .name = "Q2_0", .block = 64, .block_size = 18, .format = BNP_FMT_T2,
      .scale_cols = 64, .open = q2_0_open, .row = q2_0_row, .scales = wtype_d_scales },
    { .id = 42, .name = "Q2_0", .whose = "PrismML, groups of 128", .block = 128, .block_size = 34,
      .format = BNP_FMT_T2, .scale_cols = 128, .open = q2_0_open, .row = q2_0_row,
      .scales = wtype_d_scales },
    { .id = 34, .name = "TQ1_0", .block = 256, .block_size = 54, .format = BNP_FMT_T2,
      .scale_cols = 256, .open = tq1_open, .row = tq1_row, .scales = tq1_scales },
    BARE_IQ1_BN(34, "ik_llama.cpp in August 2024"),
    { .id = 35, .name = "TQ2_0", .block = 256, .block_size = 66, .format = BNP_FMT_T2,
      .scale_cols = 256, .open = tq2_open, .row = tq2_row, .scales = tq2_scales },
    BARE_IQ2_BN(35, "ik_llama.cpp in August 2024"),
    { .id = 36, .name = "I2_S", .block = 4, .block_size = 1, .tail_size = 32, .flat = true,
      .format = BNP_FMT_T2, .open = i2s_open, .check = i2s_check, .row = i2s_row },
    { .id = 36, .name = "rs-inline32", .whose = "BitNet.rs", .block = 32, .block_size = 10,
      .format = BNP_FMT_T2, .scale_cols = 32, .layout = I2S_RS_INLINE32, .open = rs_inline_open,
      .row = rs_inline_row, .scales = rs_inline_scales },
    { .id = 36, .name = "rs-qk256", .whose = "BitNet.rs", .size = rs_qk256_size,
      .format = BNP_FMT_I8, .layout = I2S_RS_QK256, .open = rs_qk256_open, .row = rs_qk256_row },
    REPACKED(36, "IQ4_NL_4_4"),
    { .id = 38, .name = "TL1", .block = 4, .block_size = 1, .tail_size = 32, .flat = true,
      .format = BNP_FMT_T2, .open = tl1_open, .row = tl1_row },
    REPACKED(38, "IQ4_NL_8_8"),
    TL2(39, "bitnet.cpp before July 2026"),
    { .id = 39, .name = "MXFP4", .block = 32, .block_size = 17 },
    TL2(42, "bitnet.cpp since July 2026"),
    { .id = 134, .name = "IQ1_BN", .head_size = 2, .block = 64, .block_size = 13,
      .format = BNP_FMT_T2, .open = iq1_bn_open, .check = iq1_bn_check,
      .row = iq1_bn_row, .scales = iq1_bn_scales },
    BARE_IQ1_BN(134, BARE),
    { .id = 135, .name = "IQ2_BN", .head_size = 4, .block = 64, .block_size = 16,
      .format = BNP_FMT_T2, .open = iq2_bn_open, .check = iq2_bn_check,
      .row = iq2_bn_row, .scales = iq2_bn_scales },
    BARE_IQ2_BN(135, BARE),
    { .id = 335, .name = "IQ2_BN_R4", .size = iq2_bn_r4_size, .flat = true, .format = BNP_FMT_T2,
      .open = iq2_bn_r4_open, .check = iq2_bn_r4_check, .row = iq2_bn_r4_row,
      .scales = iq2_bn_r4_scales },
    BARE_IQ1_BN(31, "ik_llama.cpp in June 2024"), REPACKED(31, "Q4_0_4_4"),
    BARE_IQ2_BN(32, "ik_llama.cpp in June 2024"), REPACKED(32, "Q4_0_4_8"),
    { .id = HF_U8, .name = "HF-U8", .block = 4, .block_size = 1, .flat = true,
      .format = BNP_FMT_T2, .needs_scale = true, .open = hf_u8_open, .check = hf_u8_check,
      .row = hf_u8_row },
    { .id = HF_LATENT_BF16, .name = "HF-BF16", .block = 1, .block_size = 2,
      .format = BNP_FMT_T2, .open = hf_latent_open, .row = hf_latent_row },
    { .id = HF_LATENT_F16, .name = "HF-F16", .block = 1, .block_size = 2,
      .format = BNP_FMT_T2, .open = hf_latent_open, .row = hf_latent_row },
    { .id = HF_LATENT_F32, .name = "HF-F32", .block = 1, .block_size = 4,
      .format = BNP_FMT_T2, .open = hf_latent_open, .row = hf_latent_row },
};
enum { N_TABLE = sizeof table / sizeof table[0] };

/* Numbers that mean the same in every program. */
static const char *const other_name[] = {
    [9] = "Q8_1", [15] = "Q8_K", [16] = "IQ2_XXS", [18] = "IQ3_XXS", [19] = "IQ1_S",
    [21] = "IQ3_S", [23] = "IQ4_XS", [24] = "I8", [25] = "I16", [26] = "I32", [27] = "I64",
    [28] = "F64", [29] = "IQ1_M"
};

const struct wtype *wtype_find(uint32_t id)
{
    for (size_t i = 0; i < N_TABLE; i++)
        if (table[i].id == id)
            return &table[i];
    return NULL;
}

bool wtype_is_shared(uint32_t id)
{
    unsigned n = 0;
    for (size_t i = 0; i < N_TABLE; i++)
        n += table[i].id == id;
    return n > 1;
}

static bool fits(const struct wtype *type, uint64_t rows, uint64_t cols, uint64_t bytes,
                 uint64_t align)
{
    uint64_t size;
    return wtype_bytes(type, rows, cols, &size) && size <= bytes && bytes - size < align;
}

const struct wtype *wtype_pick(uint32_t id, uint64_t rows, uint64_t cols, uint64_t bytes,
                               uint64_t align)
{
    for (size_t i = 0; i < N_TABLE; i++)
        if (table[i].id == id && !table[i].layout && fits(&table[i], rows, cols, bytes, align))
            return &table[i];
    return NULL;
}

const struct wtype *wtype_asked(uint32_t id, enum i2s_layout layout)
{
    for (size_t i = 0; i < N_TABLE; i++)
        if (table[i].id == id && table[i].layout && table[i].layout == (uint32_t)layout)
            return &table[i];
    return NULL;
}

bool wtype_bytes(const struct wtype *type, uint64_t rows, uint64_t cols, uint64_t *size)
{
    uint64_t n, bytes, heads;
    if (__builtin_mul_overflow(rows, cols, &n))
        return false;
    if (type->size)
        return type->size(rows, cols, size);
    return (type->flat ? n : cols) % type->block == 0 &&
           !__builtin_mul_overflow(n / type->block, (uint64_t)type->block_size, &bytes) &&
           !__builtin_mul_overflow(rows, (uint64_t)type->head_size, &heads) &&
           !__builtin_add_overflow(bytes, heads, &bytes) &&
           !__builtin_add_overflow(bytes, (uint64_t)type->tail_size, size);
}

void wtype_put_readings(struct buf *b, uint32_t id, uint64_t rows, uint64_t cols, uint64_t bytes,
                        uint64_t align)
{
    const char *comma = "";
    for (size_t i = 0; i < N_TABLE; i++) {
        const struct wtype *type = &table[i];
        uint64_t size;
        if (type->id != id || (type->layout && !fits(type, rows, cols, bytes, align)))
            continue;
        buf_addf(b, "%s%s", comma, type->name);
        if (type->whose)
            buf_addf(b, " (%s)", type->whose);
        if (type->layout)
            buf_addf(b, " fits, and must be asked for by model.i2s_layout");
        else if (wtype_bytes(type, rows, cols, &size))
            buf_addf(b, " takes %" PRIu64, size);
        else
            buf_addf(b, " does not hold this shape");
        comma = ", ";
    }
}

void wtype_put_names(struct buf *b)
{
    const char *comma = "";
    for (size_t i = 0; i < N_TABLE; i++) {
        bool before = !table[i].open || table[i].layout || table[i].id >= WTYPE_INTERNAL;
        for (size_t k = 0; k < i && !before; k++)
            before = table[k].open && !strcmp(table[k].name, table[i].name);
        if (before)
            continue;
        buf_addf(b, "%s%s", comma, table[i].name);
        comma = ", ";
    }
}

const char *wtype_name(uint32_t id)
{
    const struct wtype *type = wtype_find(id);
    if (type)
        return type->name;
    return id < sizeof other_name / sizeof other_name[0] ? other_name[id] : NULL;
}

const char *wtype_name_of(const struct gguf_tensor *t)
{
    const struct wtype *type = wtype_pick(t->type, t->ne[1] * t->ne[2] * t->ne[3], t->ne[0],
                                          t->size, 1);
    return type ? type->name : wtype_is_shared(t->type) ? NULL : wtype_name(t->type);
}

size_t wtype_row_size(uint32_t format, uint32_t cols)
{
    switch (format) {
    case BNP_FMT_T2:  return ((size_t)cols + 3) / 4;
    case BNP_FMT_I8:  return cols;
    case BNP_FMT_F32: return (size_t)cols * 4;
    default:          return (size_t)cols * 2;      /* F16, BF16 */
    }
}
