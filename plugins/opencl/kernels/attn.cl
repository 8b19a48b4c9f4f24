/* attn.cl - keys and values in pages, and attention over them.
 *
 * A page, for head_dim values a head and page_tok tokens:
 *
 *   keys     [kv head][d][token]     a group reads one d of neighbouring tokens
 *   values   [kv head][token][d]     ... one token's neighbouring d
 *   int8 only: their steps, f32 [kv head][token], first of keys, then of values
 *
 * so neighbouring items always read neighbouring elements. A group of 64 items
 * is one chunk of one head of one row: item l scores keys l and l + 64, is lane
 * l of sum64 and then sums values d = l, l + 64, ... The chunks' m, l and o go
 * to scratch, and attend_join adds them up. */

/* The parts of a page, in bytes from its start. */
ulong page_values(uint n_kv, uint dim, uint page_tok, uint size)
{
    return (ulong)n_kv * dim * page_tok * size;
}

float kv_f16(__global const uchar *at, ulong i)
{
    return vload_half(i, (__global const half *)at);
}

int kv_i8(__global const uchar *at, ulong i)
{
    return as_char(at[i]);
}

/* A group of 64 stores one head of one token, its key or its value. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void append(STEP, const uint pos_at, const uint seq_at, const uint page_at, const uint max_pages,
            SPAN(pool), const ulong page_size, SPAN(x), const ulong x_stride, const uint n_kv,
            const uint dim, const uint page_tok, const uint i8, const uint value)
{
    __local uint part[64];
    const uint l = get_local_id(0), h = get_group_id(1), r = get_group_id(2);
    const uint pos = (uint)step[pos_at + r], slot = pos % page_tok;
    const uint page = (uint)step[page_at + (uint)step[seq_at + r] * max_pages + pos / page_tok];
    __global uchar *to = AT(uchar, pool) + page * page_size;
    const ulong part_size = page_values(n_kv, dim, page_tok, i8 ? 1 : 2);
    __global uchar *elems = to + value * part_size;
    __global const float *x = ROW(const float, x, r) + h * dim;
    const ulong first = value ? ((ulong)h * page_tok + slot) * dim
                              : (ulong)h * dim * page_tok + slot;
    const uint stride = value ? 1 : page_tok, what = value ? WHAT_VALUE : WHAT_KEY;
    uint most = 0;
    for (uint d = l; d < dim; d += 64) {
        const float v = x[d];
        const uint a = as_uint(v) & 0x7fffffffu;
        if (i8 ? a >= 0x7f800000u : !(fabs(v) < 65520.0f))      /* half way from 65504 to 2^16 */
            flag(step, what, r, h * dim + d);
        if (!i8)
            vstore_half_rte(v, first + (ulong)d * stride, (__global half *)elems);
        most = max(most, a);
    }
    part[l] = most;
    const float m = max(as_float(max64(part, l)), 1e-30f), inverse = DIV(127.0f, m);
    for (uint d = l; d < dim && i8; d += 64)
        elems[first + (ulong)d * stride] =
            (uchar)((int)clamp(rint(x[d] * inverse), -127.0f, 127.0f) & 255);
    if (!l && i8)
        ((__global float *)(to + 2 * part_size))[(value * n_kv + h) * page_tok + slot] =
            DIV(m, 127.0f);
}

struct seen {                       /* what one head of one row sees           */
    __global const uchar *pool;
    __global const int *page;       /* of its sequence                         */
    ulong page_size, part_size;     /* bytes                                   */
    uint kv_head, n_kv, dim, page_tok, i8;
};

__global const uchar *seen_page(const struct seen *s, uint j)
{
    return s->pool + (ulong)(uint)s->page[j / s->page_tok] * s->page_size;
}

float seen_step(const struct seen *s, uint j, uint value)
{
    return ((__global const float *)(seen_page(s, j) + 2 * s->part_size))
        [(value * s->n_kv + s->kv_head) * s->page_tok + j % s->page_tok];
}

float score_f16(const struct seen *s, __global const float *q, uint j, float scale)
{
    __global const uchar *keys = seen_page(s, j);
    const ulong first = (ulong)s->kv_head * s->dim * s->page_tok + j % s->page_tok;
    float dot = 0.0f;
    for (uint d = 0; d < s->dim; d++)
        dot = fma(q[d], kv_f16(keys, first + (ulong)d * s->page_tok), dot);
    return dot * scale;
}

float score_i8(const struct seen *s, __local const int *q, uint j, float by)
{
    __global const uchar *keys = seen_page(s, j);
    const ulong first = (ulong)s->kv_head * s->dim * s->page_tok + j % s->page_tok;
    int dot = 0;
    for (uint d = 0; d < s->dim; d++)
        dot += q[d] * kv_i8(keys, first + (ulong)d * s->page_tok);
    const float x = (float)dot * seen_step(s, j, 0);
    return x * by;
}

/* Value d of keys from..to, from + (p - its chunk's start) on. */
float value_f16(const struct seen *s, __local const float *p, uint from, uint to, uint d)
{
    float o = 0.0f;
    for (uint j = from; j <= to; j++, p++)
        o = fma(*p, kv_f16(seen_page(s, j) + s->part_size,
                           ((ulong)s->kv_head * s->page_tok + j % s->page_tok) * s->dim + d), o);
    return o;
}

int value_i8(const struct seen *s, __local const float *p, uint from, uint to, uint d)
{
    int o = 0;
    for (uint j = from; j <= to; j++, p++)
        o += (int)*p * kv_i8(seen_page(s, j) + s->part_size,
                             ((ulong)s->kv_head * s->page_tok + j % s->page_tok) * s->dim + d);
    return o;
}

/* q of a head as integers of at most 32767, for all items; gives what one of them
 * is, and flags a NaN or Inf. */
float q_i16(__global int *step, uint r, uint h, __global const float *q, uint dim,
            __local uint *part, __local int *to, uint l)
{
    uint most = 0;
    for (uint d = l; d < dim; d += 64)
        most = max(most, as_uint(q[d]) & 0x7fffffffu);
    part[l] = most;
    most = max64(part, l);
    if (most >= 0x7f800000u) {
        flag(step, WHAT_SCORE, r, h);
        most = 0;
    }
    const float m = max(as_float(most), 1e-30f), inverse = DIV(32767.0f, m);
    for (uint d = l; d < dim; d += 64)
        to[d] = (int)rint(q[d] * inverse);
    barrier(CLK_LOCAL_MEM_FENCE);
    return DIV(m, 32767.0f);
}

/* Floats as unsigned integers of the same order, and back. */
uint up_of(float x)
{
    const uint u = as_uint(x);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

float of_up(uint u)
{
    return as_float(u & 0x80000000u ? u & 0x7fffffffu : ~u);
}

#define OLDEST(window, pos) ((window) && (pos) >= (window) ? (pos) - (window) + 1 : 0)

/* Scratch: for row, chunk and head m, l, o[dim]. Heads of int8 have at most 512
 * dimensions. */
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void attend_chunk(STEP, const uint pos_at, const uint seq_at, const uint page_at,
                  const uint max_pages, SPAN(pool), const ulong page_size, SPAN(q),
                  const ulong q_stride, SPAN(scratch), const uint row0, const uint n_chunk,
                  const uint n_head, const uint n_kv, const uint dim, const uint page_tok,
                  const uint window, const float scale, const uint i8)
{
    __local float e[128], p[128], lane[64];
    __local int whole[512];
    const uint l = get_local_id(0), h = get_group_id(1), z = get_group_id(2);
    const uint r = row0 + z / n_chunk, pos = (uint)step[pos_at + r];
    const uint oldest = OLDEST(window, pos), start = (oldest / 128 + z % n_chunk) * 128;
    const uint from = max(start, oldest), to = min(start + 127, pos);
    const struct seen s = { .pool = AT(const uchar, pool),
        .page = step + page_at + (uint)step[seq_at + r] * max_pages, .page_size = page_size,
        .part_size = page_values(n_kv, dim, page_tok, i8 ? 1 : 2), .kv_head = h / (n_head / n_kv),
        .n_kv = n_kv, .dim = dim, .page_tok = page_tok, .i8 = i8 };
    __global const float *q = ROW(const float, q, r) + h * dim;
    const float by = i8 ? q_i16(step, r, h, q, dim, (__local uint *)lane, whole, l) * scale : 0.0f;
    uint most = 0;
    for (uint k = l; k < 128; k += 64) {
        const uint j = start + k;
        e[k] = 0.0f;
        if (j < from || j > to)
            continue;
        const float score = i8 ? score_i8(&s, whole, j, by) : score_f16(&s, q, j, scale);
        if (not_finite(score))
            flag(step, WHAT_SCORE, r, h);
        e[k] = score;
        most = max(most, up_of(score));
    }
    ((__local uint *)lane)[l] = most;
    const float m = of_up(max64((__local uint *)lane, l));
    barrier(CLK_LOCAL_MEM_FENCE);
    float sum = 0.0f;
    most = 0;
    for (uint k = l; k < 128; k += 64) {
        const uint j = start + k;
        if (j < from || j > to)
            continue;
        const float v = exp32(e[k] - m);
        sum = sum + v;
        p[k] = i8 ? v * seen_step(&s, j, 1) : v;
        most = max(most, as_uint(p[k]));
    }
    lane[l] = sum;
    const float all = sum64_tree(lane, l);
    __global float *out = AT(float, scratch) + ((ulong)z * n_head + h) * (dim + 2);
    if (!l && start <= pos) {
        out[0] = m;
        out[1] = all;
    }
    float w = 1.0f;
    if (i8) {
        barrier(CLK_LOCAL_MEM_FENCE);
        ((__local uint *)lane)[l] = most;
        const float top = as_float(max64((__local uint *)lane, l)), inverse = DIV(32767.0f, top);
        for (uint k = l; k < 128; k += 64)
            p[k] = rint(p[k] * inverse);
        w = DIV(top, 32767.0f);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (uint d = l; d < dim && start <= pos; d += 64)
        out[2 + d] = i8 ? (float)value_i8(&s, p + (from - start), from, to, d) * w
                        : value_f16(&s, p + (from - start), from, to, d);
}

__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void attend_join(STEP, const uint pos_at, SPAN(scratch), SPAN(y), const ulong y_stride,
                 const uint row0, const uint n_chunk, const uint n_head, const uint dim,
                 const uint window)
{
    const uint l = get_local_id(0), h = get_group_id(1), z = get_group_id(2), r = row0 + z;
    const uint pos = (uint)step[pos_at + r];
    const uint n = pos / 128 - OLDEST(window, pos) / 128 + 1;
    const ulong next = (ulong)n_head * (dim + 2);
    __global const float *part = AT(const float, scratch) + ((ulong)z * n_chunk * n_head + h) *
                                 (dim + 2);
    float most = part[0], sum = 0.0f;
    for (uint c = 1; c < n; c++)
        most = max(most, part[c * next]);
    for (uint c = 0; c < n; c++)
        sum = fma(exp32(part[c * next] - most), part[c * next + 1], sum);
    const float inverse = DIV(1.0f, sum);
    for (uint d = l; d < dim; d += 64) {
        float o = 0.0f;
        for (uint c = 0; c < n; c++)
            o = fma(exp32(part[c * next] - most), part[c * next + 2 + d], o);
        (ROW(float, y, r) + h * dim)[d] = o * inverse;
    }
}
