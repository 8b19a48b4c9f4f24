/* common.cl - what every kernel needs: the contract's float operations, the
 * step, and the word that a kernel leaves when it meets a NaN or Inf.
 *
 * The files of this folder are one program, this one first. Formulas are those
 * of bitnet_plugin.h. Nothing here may be contracted or approximated: fma is
 * written where the contract says fma, division and square root are DIV and
 * SQRT, native_ functions and the library's exp are not used. A span is a buffer
 * and an offset in bytes.
 *
 * No kernel that has a barrier returns early, not even all of a group: PoCL 3.1
 * then loses whole groups now and then when it has more than one thread. */
#pragma OPENCL FP_CONTRACT OFF

#define SPAN(name) __global uchar *name##_buf, const ulong name##_at
#define AT(type, name) ((__global type *)(name##_buf + name##_at))
#define ROW(type, name, row) \
    ((__global type *)(name##_buf + name##_at + (ulong)(row) * name##_stride))

/* The step's buffer begins with what went wrong first: one of WHAT, a row, a
 * column. Its arrays stand behind that, at word offsets given to each kernel. */
#define STEP __global int *step
enum what { WHAT_ACT = 1, WHAT_NORM = 2, WHAT_KEY = 3, WHAT_VALUE = 4, WHAT_SCORE = 5 };

void flag(STEP, int what, uint row, uint col)
{
    if (atomic_cmpxchg((volatile __global int *)step, 0, what) == 0) {
        step[1] = (int)row;
        step[2] = (int)col;
    }
}

bool not_finite(float x)
{
    return (as_uint(x) & 0x7f800000u) == 0x7f800000u;
}

#if defined(EXACT_DIV) && !defined(SOFT_DIV)    /* SOFT_DIV: for tests */
#define DIV(a, b) ((a) / (b))
#define SQRT(a) sqrt(a)
#else
/* For devices whose / and sqrt are only near: the same in integers.
 *
 * A float is m * 2^e with 2^23 <= m < 2^24 (denormals are shifted up). The
 * quotient of mantissas with 27 or 28 bits and a sticky bit below them, rounded
 * once by soft_pack, is the correctly rounded quotient. */
float soft_pack(uint sign, int e, ulong m)     /* m * 2^e, m below 2^40, its last bit sticky */
{
    if (!m)
        return as_float(sign);
    const int top = 63 - (int)clz(m);           /* the value is in [2^(top+e), 2^(top+e+1)) */
    int drop = top - 23;                        /* bits that go */
    if (top + e < -126)
        drop = -149 - e;                        /* a denormal keeps fewer */
    if (drop > 62)
        return as_float(sign);
    ulong keep = m;
    if (drop > 0) {
        const ulong rest = m & ((1ul << drop) - 1), half_way = 1ul << (drop - 1);
        keep = m >> drop;
        keep += rest > half_way || (rest == half_way && (keep & 1));
    } else {
        keep = m << -drop;
    }
    /* As an integer, keep carries into the exponent by itself. */
    const int biased = top + e < -126 ? 0 : top + e + 127;
    if (biased >= 255)
        return as_float(sign | 0x7f800000u);
    const ulong bits = biased ? ((ulong)(biased - 1) << 23) + keep : keep;
    return as_float(sign | (bits >= 0x7f800000ul ? 0x7f800000u : (uint)bits));
}

uint soft_split(uint u, int *e)                 /* of a finite number above 0 */
{
    const uint m = u & 0x7fffffu, biased = u >> 23 & 255;
    if (biased) {
        *e = (int)biased - 150;
        return m | 0x800000u;
    }
    const int up = (int)clz(m) - 8;
    *e = -149 - up;
    return m << up;
}

float DIV(float a, float b)
{
    const uint ua = as_uint(a), ub = as_uint(b), sign = (ua ^ ub) & 0x80000000u;
    const uint ma = ua & 0x7fffffffu, mb = ub & 0x7fffffffu;
    if (ma > 0x7f800000u || mb > 0x7f800000u || (ma == 0x7f800000u && mb == ma) || (!ma && !mb))
        return as_float(0x7fc00000u);
    if (ma == 0x7f800000u || !mb)
        return as_float(sign | 0x7f800000u);
    if (mb == 0x7f800000u || !ma)
        return as_float(sign);
    int ea, eb;
    const ulong n = (ulong)soft_split(ma, &ea) << 27;
    const ulong d = soft_split(mb, &eb), q = n / d;
    return soft_pack(sign, ea - eb - 28, q << 1 | (q * d != n));
}

/* Digit by digit: r is floor(sqrt(n)), the remainder is the sticky bit. */
float SQRT(float a)
{
    const uint u = as_uint(a);
    if (u == 0x80000000u || u == 0 || u == 0x7f800000u)
        return a;
    if (u > 0x7f800000u)
        return as_float(0x7fc00000u);
    int e;
    ulong n = (ulong)soft_split(u, &e) << 30;
    e -= 30;
    if (e & 1) {
        n <<= 1;
        e--;
    }
    ulong r = 0;
    for (int bit = 27; bit >= 0; bit--) {
        const ulong next = r | 1ul << bit;
        if (next * next <= n)
            r = next;
    }
    return soft_pack(0, e / 2 - 1, r << 1 | (r * r != n));
}
#endif

/* n comes out of the magic sum's low bits; adding 1.5 * 2^23 rounds to an
 * integer, nearest even. */
float exp32(float x)
{
    if (x < -87.0f)
        return 0.0f;
    if (x > 88.0f)
        x = 88.0f;
    const float magic = x * 1.44269502f + 12582912.0f, n = magic - 12582912.0f;
    float r = fma(n, -0.693147182f, x);
    r = fma(n, 1.90465421e-09f, r);
    float p = 0.00138058257f;
    p = fma(p, r, 0.00836790539f);
    p = fma(p, r, 0.0416682214f);
    p = fma(p, r, 0.166665226f);
    p = fma(p, r, 0.499999940f);
    p = fma(p, r, 1.0f);
    p = fma(p, r, 1.0f);
    return as_float(as_uint(p) + ((as_uint(magic) - as_uint(12582912.0f)) << 23));
}

/* The tree at the end of sum64, by a group of 64: lane[l] of item l goes in,
 * lane[0] is the sum, for all items, until the next barrier. */
float sum64_tree(__local float *lane, uint l)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint w = 32; w; w >>= 1) {
        if (l < w)
            lane[l] = lane[l] + lane[l + w];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return lane[0];
}

/* The largest value[l] of 64 items, likewise. */
uint max64(__local uint *value, uint l)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint w = 32; w; w >>= 1) {
        if (l < w)
            value[l] = max(value[l], value[l + w]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return value[0];
}
