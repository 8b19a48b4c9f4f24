/* act.cl - activations as the matrices want them.
 *
 * int8: a row is 64 bytes that begin with the factor s and the sum of all q,
 * then the values, zeros up to a multiple of 64. Within every 64 columns byte
 * 16*f + 4*w + b holds column 16*w + 4*b + f, because shifting 16 bytes of codes
 * (four words w of four bytes b) right by 2*f leaves just those columns' codes in
 * them: ready for a product of bytes, in words or in vectors of 16.
 * f32: the rows as they are. */

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void act_int8(STEP, SPAN(x), const ulong x_stride, SPAN(act), const ulong act_stride,
              const uint cols)
{
    __local uint part[64];
    const uint l = get_local_id(0), t = get_group_id(1), padded = (cols + 63) / 64 * 64;
    __global const float *x = ROW(const float, x, t);
    __global uchar *row = ROW(uchar, act, t);
    uint most = 0;
    for (uint i = l; i < cols; i += 64) {
        const uint a = as_uint(x[i]) & 0x7fffffffu;     /* magnitudes order as integers do */
        if (a >= 0x7f800000u)
            flag(step, WHAT_ACT, t, i);
        most = max(most, a);
    }
    part[l] = most;
    const float m = max(as_float(max64(part, l)), 1e-5f), s = DIV(127.0f, m);
    barrier(CLK_LOCAL_MEM_FENCE);
    int sum = 0;
    for (uint p = l; p < padded; p += 64) {
        const uint col = (p & ~63u) + 16 * (p >> 2 & 3) + 4 * (p & 3) + (p >> 4 & 3);
        const float v = col < cols ? rint(x[col] * s) : 0.0f;
        const int q = (int)clamp(v, -128.0f, 127.0f);
        row[64 + p] = (uchar)(q & 255);
        sum += q;
    }
    part[l] = (uint)sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (!l) {
        int all = 0;
        for (uint i = 0; i < 64; i++)
            all += (int)part[i];
        *(__global float *)row = s;
        ((__global int *)row)[1] = all;
    }
}

__kernel void act_f32(STEP, SPAN(x), const ulong x_stride, SPAN(act), const ulong act_stride,
                      const uint cols)
{
    const uint i = get_global_id(0), t = get_global_id(1);
    if (i >= cols)
        return;
    const float v = ROW(const float, x, t)[i];
    if (not_finite(v))
        flag(step, WHAT_ACT, t, i);
    ROW(float, act, t)[i] = v;
}
