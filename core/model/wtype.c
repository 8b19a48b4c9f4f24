/* wtype.c - the encodings this program reads, and the names of some it only
 * recognises, so that a refusal can say what a file holds. */
#include "core/model/wtype.h"

#include "bitnet_plugin.h"

static const struct wtype table[] = {
    { .id = 0, .name = "F32", .block = 1, .block_size = 4, .format = BNP_FMT_F32,
      .open = float_open, .row = float_row },
    { .id = 1, .name = "F16", .block = 1, .block_size = 2, .format = BNP_FMT_F16,
      .open = float_open, .row = float_row },
    { .id = 30, .name = "BF16", .block = 1, .block_size = 2, .format = BNP_FMT_BF16,
      .open = float_open, .row = float_row },
    { .id = 8, .name = "Q8_0", .block = 32, .block_size = 34, .format = BNP_FMT_I8,
      .scale_cols = 32, .open = int8_open, .row = q8_0_row, .scales = q8_0_scales },
    { .id = 14, .name = "Q6_K", .block = 256, .block_size = 210, .format = BNP_FMT_I8,
      .scale_cols = 16, .open = int8_open, .row = q6_k_row, .scales = q6_k_scales },
    { .id = 34, .name = "TQ1_0", .block = 256, .block_size = 54, .format = BNP_FMT_T2,
      .scale_cols = 256, .shared = "IQ1_BN of ik_llama.cpp in August 2024",
      .open = tq1_open, .row = tq1_row, .scales = tq1_scales },
    { .id = 35, .name = "TQ2_0", .block = 256, .block_size = 66, .format = BNP_FMT_T2,
      .scale_cols = 256, .shared = "IQ2_BN of ik_llama.cpp in August 2024",
      .open = tq2_open, .row = tq2_row, .scales = tq2_scales },
    { .id = 36, .name = "I2_S", .block = 4, .block_size = 1, .tail_size = 32, .flat = true,
      .format = BNP_FMT_T2, .shared = "IQ4_NL_4_4 of llama.cpp in 2024, and the flavours of "
      "BitNet.rs", .open = i2s_open, .row = i2s_row },
};

/* Numbers that mean the same in every program. */
static const char *const other_name[] = {
    [2] = "Q4_0", [3] = "Q4_1", [6] = "Q5_0", [7] = "Q5_1", [9] = "Q8_1", [10] = "Q2_K",
    [11] = "Q3_K", [12] = "Q4_K", [13] = "Q5_K", [15] = "Q8_K", [16] = "IQ2_XXS", [17] = "IQ2_XS",
    [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S",
    [23] = "IQ4_XS", [24] = "I8", [25] = "I16", [26] = "I32", [27] = "I64", [28] = "F64",
    [29] = "IQ1_M"
};

const struct wtype *wtype_find(uint32_t id)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].id == id)
            return &table[i];
    return NULL;
}

const char *wtype_name(uint32_t id)
{
    const struct wtype *type = wtype_find(id);
    if (type)
        return type->name;
    return id < sizeof other_name / sizeof other_name[0] ? other_name[id] : NULL;
}

bool wtype_size(uint32_t id, uint64_t rows, uint64_t cols, uint64_t *size)
{
    const struct wtype *type = wtype_find(id);
    uint64_t n, bytes;
    if (!type || __builtin_mul_overflow(rows, cols, &n) ||
        (type->flat ? n : cols) % type->block ||
        __builtin_mul_overflow(n / type->block, (uint64_t)type->block_size, &bytes) ||
        __builtin_add_overflow(bytes, (uint64_t)type->tail_size, size))
        return false;
    return true;
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
