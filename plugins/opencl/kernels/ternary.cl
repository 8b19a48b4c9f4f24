/* ternary.cl - ternary weights times int8 activations.
 *
 *   acc = sum of (code - 1) * q = sum of code * q - sum of q, exact in 32 bits:
 *         code * q summed is at most 3 * 127 * 2^23 in the worst case of codes
 *         that the host refuses; additions wrap and the wrap cancels in acc
 *   one scale:     y = (float)acc * (scale / s)
 *   block scales:  y = fma((float)acc[g], d[g], y) for g ascending, then
 *                  y * (1 / s)
 *
 * Weights: panels of 32 rows; in a panel 16 bytes (64 columns) of each row, one
 * row after the other, then the next 64 columns:
 *
 *   panel p:   | row 0: c 0..63 | row 1: c 0..63 | ... row 31 | row 0: c 64..127 | ...
 *
 * so items that run over rows read 16 bytes each, side by side. A sum of
 * integers has no order, so the columns may be split over the second dimension
 * of a group. */
#define PANEL 32u

#if defined(HAVE_DOT) && defined(cl_khr_integer_dot_product)
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
#endif
#ifdef SOFT_DOT             /* for tests: what HAVE_DOT does, on any device */
int dot_4x8packed_us_int(uint a, uint b)
{
    const int4 c = convert_int4(as_uchar4(a)) * convert_int4(as_char4(b));
    return c.s0 + c.s1 + c.s2 + c.s3;
}
#endif

#ifdef HAVE_DOT
#define DOT4(codes, q, acc) ((acc) + dot_4x8packed_us_int(codes, q))
#else
#define DOT4(codes, q, acc)                                                          \
    ((acc) + (int)((codes) & 255u) * (int)as_char4(q).s0 +                           \
     (int)((codes) >> 8 & 255u) * (int)as_char4(q).s1 +                              \
     (int)((codes) >> 16 & 255u) * (int)as_char4(q).s2 +                             \
     (int)((codes) >> 24) * (int)as_char4(q).s3)
#endif

/* 16 columns: one word of codes and its four words of q. */
int dot16(uint w, uint4 q, int acc)
{
    acc = DOT4(w & 0x03030303u, q.s0, acc);
    acc = DOT4(w >> 2 & 0x03030303u, q.s1, acc);
    acc = DOT4(w >> 4 & 0x03030303u, q.s2, acc);
    return DOT4(w >> 6 & 0x03030303u, q.s3, acc);
}

/* 64 columns of a row, opened once for all tokens of a tile, and their sum with
 * q in as many parts as suit the device: sums are whole numbers in any order. */
#ifdef HAVE_DOT
typedef uint16 opened;
typedef int partial;
#define PARTIAL_SUM(v) (v)

opened open64(uint4 w)
{
    return (uint16)(w, w >> 2, w >> 4, w >> 6) & 0x03030303u;
}

int dot64(opened w, __global const uint4 *q, int acc)
{
    const uint4 q0 = q[0], q1 = q[1], q2 = q[2], q3 = q[3];
    acc = DOT4(w.s0, q0.s0, DOT4(w.s1, q0.s1, DOT4(w.s2, q0.s2, DOT4(w.s3, q0.s3, acc))));
    acc = DOT4(w.s4, q1.s0, DOT4(w.s5, q1.s1, DOT4(w.s6, q1.s2, DOT4(w.s7, q1.s3, acc))));
    acc = DOT4(w.s8, q2.s0, DOT4(w.s9, q2.s1, DOT4(w.sa, q2.s2, DOT4(w.sb, q2.s3, acc))));
    return DOT4(w.sc, q3.s0, DOT4(w.sd, q3.s1, DOT4(w.se, q3.s2, DOT4(w.sf, q3.s3, acc))));
}
#else
/* In vectors of 16 bits: four products of at most 3 * 128 fit many times over. */
typedef struct { short16 f0, f1, f2, f3; } opened;
typedef int8 partial;
#define PARTIAL_SUM(v)                                                               \
    ((v).s0 + (v).s1 + (v).s2 + (v).s3 + (v).s4 + (v).s5 + (v).s6 + (v).s7)

opened open64(uint4 w)
{
    opened o;
    o.f0 = convert_short16(as_uchar16(w & 0x03030303u));
    o.f1 = convert_short16(as_uchar16(w >> 2 & 0x03030303u));
    o.f2 = convert_short16(as_uchar16(w >> 4 & 0x03030303u));
    o.f3 = convert_short16(as_uchar16(w >> 6 & 0x03030303u));
    return o;
}

int8 dot64(opened w, __global const uint4 *at, int8 acc)
{
    __global const char16 *q = (__global const char16 *)at;
    const short16 s = w.f0 * convert_short16(q[0]) + w.f1 * convert_short16(q[1]) +
                      w.f2 * convert_short16(q[2]) + w.f3 * convert_short16(q[3]);
    return acc + convert_int8(s.lo) + convert_int8(s.hi);
}
#endif

__global const uint4 *panel_row(__global const uchar *w, uint row, uint n_chunk)
{
    return (__global const uint4 *)w + (ulong)(row / PANEL) * n_chunk * PANEL + row % PANEL;
}

/* scale[0] or scale[row], by scale_step 0 or 1; NONE comes as a 1 in the
 * weight's storage. T tokens of a tile share each load of weights; tile is the
 * group's third dimension. part holds T * the group's items. */
#define MUL_TERN(name, T)                                                                  \
__kernel void name(SPAN(w), const uint n_chunk, const uint rows, const ulong scale_at,     \
                   const uint scale_step, SPAN(act), const ulong act_stride,               \
                   const uint n_tok, SPAN(y), const ulong y_stride, const uint add_old,    \
                   __local int *part)                                                      \
{                                                                                          \
    const uint row = get_global_id(0), k = get_local_id(1), n_k = get_local_size(1);       \
    const uint t0 = get_group_id(2) * T, lr = get_local_id(0), n_r = get_local_size(0);    \
    __global const uint4 *w = panel_row(AT(const uchar, w), min(row, rows - 1), n_chunk);  \
    partial sum[T];                                                                        \
    int acc[T];                                                                            \
    for (uint t = 0; t < T; t++)                                                           \
        sum[t] = 0;                                                                        \
    for (uint c = k; c < n_chunk; c += n_k) {                                              \
        const opened codes = open64(w[(ulong)c * PANEL]);                                  \
        for (uint t = 0; t < T; t++) {                                                     \
            __global const uchar *a = ROW(const uchar, act, min(t0 + t, n_tok - 1));       \
            sum[t] = dot64(codes, (__global const uint4 *)(a + 64) + 4 * c, sum[t]);       \
        }                                                                                  \
    }                                                                                      \
    for (uint t = 0; t < T; t++)                                                           \
        acc[t] = PARTIAL_SUM(sum[t]);                                                      \
    if (n_k > 1) {                                                                         \
        for (uint t = 0; t < T; t++)                                                       \
            part[(t * n_k + k) * n_r + lr] = acc[t];                                       \
        barrier(CLK_LOCAL_MEM_FENCE);                                                      \
        for (uint t = 0; t < T && !k; t++)                                                 \
            for (uint o = 1; o < n_k; o++)                                                 \
                acc[t] += part[(t * n_k + o) * n_r + lr];                                  \
    }                                                                                      \
    const bool mine = row < rows && !k;                                                    \
    const float scale = ((__global const float *)(w_buf + scale_at))                       \
        [mine ? row * scale_step : 0];                                                     \
    for (uint t = 0; t < T && t0 + t < n_tok && mine; t++) {                                       \
        __global const uchar *a = ROW(const uchar, act, t0 + t);                           \
        const float s = *(__global const float *)a;                                        \
        const int all = ((__global const int *)a)[1];                                      \
        const float v = (float)(acc[t] - all) * DIV(scale, s);                             \
        __global float *out = ROW(float, y, t0 + t) + row;                                 \
        *out = add_old ? *out + v : v;                                                     \
    }                                                                                      \
}
MUL_TERN(mul_tern_1, 1)
MUL_TERN(mul_tern_2, 2)
MUL_TERN(mul_tern_4, 4)
MUL_TERN(mul_tern_8, 8)

/* The sum of columns from..to-1: by 64, by words of 16 columns, and one by one
 * where blocks cut through a word. */
int block_sum(__global const uchar *w, uint row, uint n_chunk, __global const uchar *q, uint from,
              uint to)
{
    __global const uint *words = (__global const uint *)panel_row(w, row, n_chunk);
    int acc = 0;
    uint i = from;
    while (i < to) {
        const uint in_chunk = i / 16 % 4, word = words[(ulong)(i / 64) * PANEL * 4 + in_chunk];
        __global const uchar *chunk = q + (i & ~63u);
        if (i % 64 == 0 && to - i >= 64) {
            __global const uint4 *all = (__global const uint4 *)chunk;
            const partial none = 0;
            const uint4 codes = ((__global const uint4 *)words)[(ulong)(i / 64) * PANEL];
            acc += PARTIAL_SUM(dot64(open64(codes), all, none) -
                               dot64(open64((uint4)(0x55555555u)), all, none));
            i += 64;
        } else if (i % 16 == 0 && to - i >= 16) {
            __global const uint *v = (__global const uint *)chunk + in_chunk;
            const uint4 four = (uint4)(v[0], v[4], v[8], v[12]);
            acc = dot16(word, four, acc) - dot16(0x55555555u, four, 0);
            i += 16;
        } else {
            const char v = as_char(chunk[16 * (i & 3) + 4 * in_chunk + (i >> 2 & 3)]);
            acc += ((int)(word >> 2 * (i % 16) & 3) - 1) * (int)v;
            i++;
        }
    }
    return acc;
}

/* Scales stand by panel: 32 rows' first blocks, then their second ones. */
float block_scale(__global const uchar *w_buf, ulong scale_at, uint row, uint g, uint n_block)
{
    return ((__global const float *)(w_buf + scale_at))
        [((ulong)(row / PANEL) * n_block + g) * PANEL + row % PANEL];
}

__kernel void mul_tern_block(SPAN(w), const uint n_chunk, const uint rows, const ulong scale_at,
                             const uint cols, const uint block_cols, const uint n_block, SPAN(act),
                             const ulong act_stride, SPAN(y), const ulong y_stride,
                             const uint add_old)
{
    const uint row = get_global_id(0), t = get_global_id(1);
    if (row >= rows)
        return;
    __global const uchar *a = ROW(const uchar, act, t);
    float v = 0.0f;
    for (uint g = 0; g < n_block; g++) {
        const uint from = g * block_cols, to = min(cols - from, block_cols) + from;
        const int acc = block_sum(AT(const uchar, w), row, n_chunk, a + 64, from, to);
        v = fma((float)acc, block_scale(w_buf, scale_at, row, g, n_block), v);
    }
    v = v * DIV(1.0f, *(__global const float *)a);
    __global float *out = ROW(float, y, t) + row;
    *out = add_old ? *out + v : v;
}
