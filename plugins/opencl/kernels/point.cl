/* point.cl - small work on rows: norm, rope, gate, add, pick. */

/* A group of 64 items is one group of n columns: item l is lane l of sum64. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void rmsnorm(STEP, SPAN(x), const ulong x_stride, SPAN(w), SPAN(y), const ulong y_stride,
             const uint n, const float eps)
{
    __local float lane[64];
    const uint l = get_local_id(0), t = get_group_id(2), at = get_group_id(1) * n;
    __global const float *x = ROW(const float, x, t) + at;
    __global const float *w = AT(const float, w);
    __global float *y = ROW(float, y, t) + at;
    float sum = 0.0f;
    for (uint i = l; i < n; i += 64) {
        const float v = x[i];
        if (not_finite(v))
            flag(step, WHAT_NORM, t, at + i);
        sum = fma(v, v, sum);
    }
    lane[l] = sum;
    const float ss = sum64_tree(lane, l);
    const float r = DIV(1.0f, SQRT(DIV(ss, (float)n) + eps));
    for (uint i = l; i < n; i += 64) {
        const float gain = r * w[i];
        y[i] = x[i] * gain;
    }
}

/* Item i of a head turns its i-th pair. */
__kernel void rope(STEP, const uint pos_at, SPAN(x), const ulong x_stride, SPAN(table),
                   const uint cols, const uint head_dim, const uint n_rot, const uint pairs)
{
    const uint half_rot = n_rot / 2, k = get_global_id(0), t = get_global_id(1);
    if (k >= cols / head_dim * half_rot)
        return;
    const uint head = k / half_rot, i = k % half_rot;
    __global float *x = ROW(float, x, t) + head * head_dim;
    __global const float *turn = AT(const float, table) + (ulong)step[pos_at + t] * n_rot;
    const uint a = pairs ? 2 * i : i, b = pairs ? 2 * i + 1 : i + half_rot;
    const float c = turn[i], s = turn[half_rot + i], x0 = x[a], x1 = x[b];
    const float x1s = x1 * s, x0s = x0 * s;
    x[a] = fma(x0, c, -x1s);
    x[b] = fma(x1, c, x0s);
}

enum glu { GLU_RELU2 = 1, GLU_SILU = 2, GLU_GELU = 3 };      /* BNP_GLU_* */
#define GELU_A 1.59576917f
#define GELU_B 0.0713548139f

__kernel void glu(SPAN(g), const ulong g_stride, SPAN(u), const ulong u_stride, SPAN(y),
                  const ulong y_stride, const uint cols, const uint f)
{
    const uint i = get_global_id(0), t = get_global_id(1);
    if (i >= cols)
        return;
    const float g = ROW(const float, g, t)[i], u = ROW(const float, u, t)[i];
    float v;
    if (f == GLU_SILU) {
        v = DIV(g, 1.0f + exp32(-g));
    } else if (f == GLU_GELU) {
        const float square = g * g, z = g * fma(square, GELU_B, GELU_A);
        v = DIV(g, 1.0f + exp32(-z));
    } else {
        const float r = g > 0.0f ? g : 0.0f;
        v = r * r;
    }
    ROW(float, y, t)[i] = v * u;
}

__kernel void add(SPAN(x), const ulong x_stride, SPAN(y), const ulong y_stride, const uint cols)
{
    const uint i = get_global_id(0), t = get_global_id(1);
    if (i < cols)
        ROW(float, y, t)[i] = ROW(const float, x, t)[i] + ROW(const float, y, t)[i];
}

__kernel void pick(STEP, const uint out_at, SPAN(x), const ulong x_stride, SPAN(y),
                   const ulong y_stride, const uint cols)
{
    const uint i = get_global_id(0), t = get_global_id(1);
    if (i < cols)
        ROW(float, y, t)[i] = ROW(const float, x, step[out_at + t])[i];
}
