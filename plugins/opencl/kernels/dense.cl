/* dense.cl - f32, f16, bf16 and int8 weights times f32 activations, and the rows
 * of any weight.
 *
 *   y = +0; for i ascending: y = fma(w[i], x[i], y)
 *
 * An output is one chain, an item is an output (and a tile of tokens, so that a
 * weight is loaded and widened once for all). The panels are those of ternary.cl:
 * 16 bytes hold 4, 8 or 16 columns. */
enum format { T2 = 1, F32 = 2, F16 = 3, BF16 = 4, I8 = 5 };
enum scales { BY_NONE = 0, BY_TENSOR = 1, BY_ROW = 2, BY_BLOCK = 3 };

/* Column k of the 16 bytes at w. */
float dense_f32(__global const uchar *w, uint k) { return ((__global const float *)w)[k]; }
float dense_f16(__global const uchar *w, uint k) { return vload_half(k, (__global const half *)w); }
float dense_bf16(__global const uchar *w, uint k)
{
    return as_float((uint)((__global const ushort *)w)[k] << 16);
}
float dense_i8(__global const uchar *w, uint k) { return (float)as_char(w[k]); }

/* The scale of column i: 1 stands in storage for NONE. */
float scale_of(__global const uchar *w_buf, ulong scale_at, uint kind, uint row, uint i,
               uint block_cols, uint n_block)
{
    if (kind == BY_BLOCK)
        return block_scale(w_buf, scale_at, row, i / block_cols, n_block);
    return ((__global const float *)(w_buf + scale_at))[kind == BY_ROW ? row : 0];
}

#define MUL_DENSE(name, get, N, T, SCALE)                                                  \
__kernel void name(SPAN(w), const uint n_chunk, const uint rows, const ulong scale_at,     \
                   const uint scale_kind, const uint cols, const uint block_cols,          \
                   const uint n_block, SPAN(act), const ulong act_stride,                  \
                   const uint n_tok, SPAN(y), const ulong y_stride, const uint add_old)    \
{                                                                                          \
    const uint row = get_global_id(0), t0 = get_group_id(1) * T;                           \
    if (row >= rows)                                                                       \
        return;                                                                            \
    __global const uint4 *w = panel_row(AT(const uchar, w), row, n_chunk);                 \
    float v[T];                                                                            \
    for (uint t = 0; t < T; t++)                                                           \
        v[t] = 0.0f;                                                                       \
    for (uint i = 0; i < cols; i += N) {                                                   \
        __global const uchar *chunk = (__global const uchar *)(w + (ulong)(i / N) * PANEL); \
        const uint n = min(cols - i, (uint)N);                                             \
        for (uint k = 0; k < n; k++) {                                                     \
            float e = get(chunk, k);                                                       \
            if (SCALE)                                                                     \
                e = e * scale_of(w_buf, scale_at, scale_kind, row, i + k, block_cols,      \
                                 n_block);                                                 \
            for (uint t = 0; t < T; t++)                                                   \
                v[t] = fma(e, ROW(const float, act, min(t0 + t, n_tok - 1))[i + k], v[t]); \
        }                                                                                  \
    }                                                                                      \
    for (uint t = 0; t < T && t0 + t < n_tok; t++) {                                       \
        __global float *out = ROW(float, y, t0 + t) + row;                                 \
        *out = add_old ? *out + v[t] : v[t];                                               \
    }                                                                                      \
}
MUL_DENSE(mul_f32_1, dense_f32, 4, 1, 0)
MUL_DENSE(mul_f32_4, dense_f32, 4, 4, 0)
MUL_DENSE(mul_f16_1, dense_f16, 8, 1, 0)
MUL_DENSE(mul_f16_4, dense_f16, 8, 4, 0)
MUL_DENSE(mul_bf16_1, dense_bf16, 8, 1, 0)
MUL_DENSE(mul_bf16_4, dense_bf16, 8, 4, 0)
MUL_DENSE(mul_i8_1, dense_i8, 16, 1, 1)
MUL_DENSE(mul_i8_4, dense_i8, 16, 4, 1)

/* Row id[t] of the step, as f32, into row t. */
__kernel void gather(STEP, const uint id_at, SPAN(w), const uint n_chunk, const ulong scale_at,
                     const uint scale_kind, const uint format, const uint cols,
                     const uint block_cols, const uint n_block, SPAN(y), const ulong y_stride)
{
    const uint i = get_global_id(0), t = get_global_id(1);
    if (i >= cols)
        return;
    const uint row = (uint)step[id_at + t];
    const uint n = format == T2 ? 64 : format == F32 ? 4 : format == I8 ? 16 : 8;
    __global const uchar *w = (__global const uchar *)
        (panel_row(AT(const uchar, w), row, n_chunk) + (ulong)(i / n) * PANEL);
    const uint k = i % n;
    float v;
    switch (format) {
    case F32: v = dense_f32(w, k); break;
    case F16: v = dense_f16(w, k); break;
    case BF16: v = dense_bf16(w, k); break;
    case I8: v = dense_i8(w, k); break;
    default: v = (float)((int)(w[k / 4] >> 2 * (k % 4) & 3) - 1); break;
    }
    if (format == T2 || format == I8)
        v = v * scale_of(w_buf, scale_at, scale_kind, row, i, block_cols, n_block);
    ROW(float, y, t)[i] = v;
}
