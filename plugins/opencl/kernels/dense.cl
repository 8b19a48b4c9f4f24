/* dense.cl - f32, f16, bf16 and int8 weights times f32 activations, and the rows
 * of any weight.
 *
 *   y = +0; for i ascending: y = fma(w[i], x[i], y)
 *
 * An output is one chain, so lanes are rows: a panel is one column of its 32
 * rows after the other, and an item takes eight neighbouring rows, and a tile of
 * tokens, for which a weight is loaded and widened once.
 *
 *   panel p:   | column 0: rows 0..31 | column 1: rows 0..31 | ... */
enum format { T2 = 1, F32 = 2, F16 = 3, BF16 = 4, I8 = 5 };
enum scales { BY_NONE = 0, BY_TENSOR = 1, BY_ROW = 2, BY_BLOCK = 3 };

/* Elements i..i+7. */
float8 dense_f32(__global const uchar *w, ulong i)
{
    return vload8(0, (__global const float *)w + i);
}
float8 dense_f16(__global const uchar *w, ulong i)
{
    return vload_half8(0, (__global const half *)w + i);
}
float8 dense_bf16(__global const uchar *w, ulong i)
{
    return as_float8(convert_uint8(vload8(0, (__global const ushort *)w + i)) << 16);
}
float8 dense_i8(__global const uchar *w, ulong i)
{
    return convert_float8(vload8(0, (__global const char *)w + i));
}

/* The scale of column i: 1 stands in storage for NONE. */
float scale_of(__global const uchar *w_buf, ulong scale_at, uint kind, uint row, uint i,
               uint block_cols, uint n_block)
{
    if (kind == BY_BLOCK)
        return block_scale(w_buf, scale_at, row, i / block_cols, n_block);
    return ((__global const float *)(w_buf + scale_at))[kind == BY_ROW ? row : 0];
}

/* Of rows row..row+7; storage has them for whole panels. */
float8 scales_of(__global const uchar *w_buf, ulong scale_at, uint kind, uint row, uint i,
                 uint block_cols, uint n_block)
{
    __global const float *s = (__global const float *)(w_buf + scale_at);
    if (kind == BY_BLOCK)
        return vload8(0, s + ((ulong)(row / PANEL) * n_block + i / block_cols) * PANEL +
                         row % PANEL);
    return kind == BY_ROW ? vload8(0, s + row) : (float8)(s[0]);
}

#define MUL_DENSE(name, get, T, SCALE)                                                     \
__kernel void name(SPAN(w), const uint n_chunk, const uint rows, const ulong scale_at,     \
                   const uint scale_kind, const uint cols, const uint block_cols,          \
                   const uint n_block, SPAN(act), const ulong act_stride,                  \
                   const uint n_tok, SPAN(y), const ulong y_stride, const uint add_old)    \
{                                                                                          \
    const uint row = get_global_id(0) * 8, t0 = get_global_id(1) * T;                      \
    if (row >= rows)                                                                       \
        return;                                                                            \
    const ulong first = (ulong)(row / PANEL) * cols * PANEL + row % PANEL;                 \
    float8 v[T], scale = 1.0f;                                                             \
    for (uint t = 0; t < T; t++)                                                           \
        v[t] = 0.0f;                                                                       \
    for (uint i = 0; i < cols; i++) {                                                      \
        float8 e = get(AT(const uchar, w), first + (ulong)i * PANEL);                      \
        if (SCALE && i % block_cols == 0)                                                  \
            scale = scales_of(w_buf, scale_at, scale_kind, row, i, block_cols, n_block);   \
        if (SCALE)                                                                         \
            e = e * scale;                                                                 \
        for (uint t = 0; t < T; t++)                                                       \
            v[t] = fma(e, (float8)(ROW(const float, act, min(t0 + t, n_tok - 1))[i]), v[t]); \
    }                                                                                      \
    for (uint t = 0; t < T && t0 + t < n_tok; t++) {                                       \
        __global float *out = ROW(float, y, t0 + t) + row;                                 \
        float8 keep = v[t];                                                                \
        for (uint k = 0; k < 8 && row + k < rows; k++) {                                   \
            out[k] = add_old ? out[k] + keep.s0 : keep.s0;                                 \
            keep = keep.s12345670;                                                         \
        }                                                                                  \
    }                                                                                      \
}
MUL_DENSE(mul_f32_1, dense_f32, 1, 0)
MUL_DENSE(mul_f32_4, dense_f32, 4, 0)
MUL_DENSE(mul_f16_1, dense_f16, 1, 0)
MUL_DENSE(mul_f16_4, dense_f16, 4, 0)
MUL_DENSE(mul_bf16_1, dense_bf16, 1, 0)
MUL_DENSE(mul_bf16_4, dense_bf16, 4, 0)
MUL_DENSE(mul_i8_1, dense_i8, 1, 1)
MUL_DENSE(mul_i8_4, dense_i8, 4, 1)

/* Row id[t] of the step, as f32, into row t. */
__kernel void gather(STEP, const uint id_at, SPAN(w), const uint n_chunk, const ulong scale_at,
                     const uint scale_kind, const uint format, const uint cols,
                     const uint block_cols, const uint n_block, SPAN(y), const ulong y_stride)
{
    const uint i = get_global_id(0), t = get_global_id(1);
    if (i >= cols)
        return;
    const uint row = (uint)step[id_at + t];
    __global const uchar *w = AT(const uchar, w);
    const ulong at = ((ulong)(row / PANEL) * cols + i) * PANEL + row % PANEL;
    float v;
    switch (format) {
    case F32: v = ((__global const float *)w)[at]; break;
    case F16: v = vload_half(at, (__global const half *)w); break;
    case BF16: v = as_float((uint)((__global const ushort *)w)[at] << 16); break;
    case I8: v = (float)as_char(w[at]); break;
    default:
        w = (__global const uchar *)(panel_row(w, row, n_chunk) + (ulong)(i / 64) * PANEL);
        v = (float)((int)(w[i % 64 / 4] >> 2 * (i % 4) & 3) - 1);
        break;
    }
    if (format == T2 || format == I8)
        v = v * scale_of(w_buf, scale_at, scale_kind, row, i, block_cols, n_block);
    ROW(float, y, t)[i] = v;
}
