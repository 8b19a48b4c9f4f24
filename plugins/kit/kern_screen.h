/* kern_screen.h - the int8 screen of a head: struct screen_kern of topk.h.
 *
 *   quantize   s = max|w| / 127, q = rint(w / s), and how far s q is from w
 *   dot        acc[r] = sum over pairs of columns of q[r][2p] x[2p] + q[r][2p+1] x[2p+1]
 *   range      mid[r] = acc[r] s[r], bound[r] = err[r] a + norm[r] c
 *
 * A panel holds, pair of columns after pair, two int8 of each of SCREEN_ROWS
 * rows: widened to int16 they are the operand of the instructions that
 * multiply pairs of int16 and add the two products. |q| <= 127 and topk.h's
 * bound on x keep every sum in 31 bits.
 *
 * Norms are rounded upwards by being made larger than all that could have been
 * lost. A sum of n squares in VL chains, of terms rounded twice, misses at most
 * (n + 64) 2^-23 of itself, and 2^-148 for each square that underflows; the
 * root of the latter is under TINY for n <= SCREEN_COLS. */
#ifndef BITNET_KIT_KERN_SCREEN_H
#define BITNET_KIT_KERN_SCREEN_H

#include "plugins/kit/kern.h"
#include "plugins/kit/kern_math.h"
#include "plugins/kit/topk.h"

#define SCREEN_TINY 0x1p-60
#define SCREEN_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define SCREEN_UNROLL _Pragma("unroll")
#else
#define SCREEN_UNROLL _Pragma("GCC unroll 16")
#endif

/* --------------------------------------------------------------- quantize */

static float screen_lanes(vf v)                         /* their sum, any order */
{
    float lane[VL], sum = 0;
    vf_store(lane, v);
    for (int i = 0; i < VL; i++)
        sum += lane[i];
    return sum;
}

/* At least the root of n squares that add up to sum, give or take rounding. */
static float screen_norm(float sum, uint32_t n)
{
    const double all = (double)sum * (1.0 + (double)(n + 64) * 0x1p-23);
    return (float)((__builtin_sqrt(all) + SCREEN_TINY) * (1.0 + 0x1p-20));
}

static struct screen_row screen_quantize(const float *w, uint32_t cols, int8_t *q)
{
    vf most = vf_zero(), ww = vf_zero(), dd = vf_zero();
    for (uint32_t i = 0; i < cols; i += VL) {
        const vf v = vf_load(w + i);
        most = vf_max(most, vf_abs(v));
        ww = vf_fma(v, v, ww);
    }
    const float max = vf_max_lane(most);
    const bool some = max > 0x1p-100f, fits = max < 0x1p60f;
    const vf to = vf_set1(some && fits ? 127.0f / max : 0.0f);
    struct screen_row row = { .scale = some && fits ? max / 127.0f : 0.0f };
    for (uint32_t i = 0; i < cols; i += VL) {
        const vf v = vf_load(w + i);
        vi_store_i8(q + i, vf_rint(vf_mul(v, to)));     /* at most 127 and two roundings */
        const vf d = vf_fms(vf_set1(row.scale), vf_load_i8(q + i), v);
        dd = vf_fma(d, d, dd);
    }
    row.err = screen_norm(screen_lanes(dd), cols);
    row.norm = fits ? screen_norm(screen_lanes(ww), cols) + row.err : __builtin_inff();
    row.norm *= 1.0f + 0x1p-20f;                        /* the sum above was rounded */
    return row;
}

/* -------------------------------------------------------------------- dot
 *
 * ISA by ISA: SCREEN_VEC bytes of a panel are one vector of pairs, the sums of
 * n_vec of them and n_tok tokens stay in registers. */

static inline int32_t screen_pair(const int16_t *x)
{
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    return pair;
}

#if defined(__AVX512F__) && defined(__AVX512BW__)

#define SCREEN_VEC 32u                                  /* 16 rows           */
#define SCREEN_TOK 6u
#define SCREEN_VECS(n_tok) 4u
typedef __m512i screen_acc;

SCREEN_INLINE screen_acc screen_none(void)
{
    return _mm512_setzero_si512();
}

SCREEN_INLINE screen_acc screen_add(screen_acc acc, const int8_t *w, const int16_t *x)
{
    const __m512i w16 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)w));
    const __m512i x16 = _mm512_set1_epi32(screen_pair(x));
#ifdef __AVX512VNNI__
    return _mm512_dpwssd_epi32(acc, w16, x16);
#else
    return _mm512_add_epi32(acc, _mm512_madd_epi16(w16, x16));
#endif
}

SCREEN_INLINE void screen_put(int32_t *acc, screen_acc v)
{
    _mm512_storeu_si512(acc, v);
}

#elif defined(__AVX2__)

#define SCREEN_VEC 16u                                  /* 8 rows            */
#define SCREEN_TOK 6u
#define SCREEN_VECS(n_tok) ((n_tok) == 1 ? 8u : (n_tok) == 2 ? 4u : 2u)
typedef __m256i screen_acc;

SCREEN_INLINE screen_acc screen_none(void)
{
    return _mm256_setzero_si256();
}

SCREEN_INLINE screen_acc screen_add(screen_acc acc, const int8_t *w, const int16_t *x)
{
    const __m256i w16 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(w16, _mm256_set1_epi32(screen_pair(x))));
}

SCREEN_INLINE void screen_put(int32_t *acc, screen_acc v)
{
    _mm256_storeu_si256((void *)acc, v);
}

#elif defined(__aarch64__)

#define SCREEN_VEC 16u                                  /* 8 rows            */
#define SCREEN_TOK 3u
#define SCREEN_VECS(n_tok) ((n_tok) == 1 ? 4u : 2u)
typedef int32x4x4_t screen_acc;                         /* a sum for each of a pair */

SCREEN_INLINE screen_acc screen_none(void)
{
    const int32x4_t zero = vdupq_n_s32(0);
    return (screen_acc){ { zero, zero, zero, zero } };
}

SCREEN_INLINE screen_acc screen_add(screen_acc acc, const int8_t *w, const int16_t *x)
{
    const int8x16_t w8 = vld1q_s8(w);
    const int16x8_t lo = vmovl_s8(vget_low_s8(w8)), hi = vmovl_s8(vget_high_s8(w8));
    const int16x8_t x16 = vreinterpretq_s16_s32(vdupq_n_s32(screen_pair(x)));
    acc.val[0] = vmlal_s16(acc.val[0], vget_low_s16(lo), vget_low_s16(x16));
    acc.val[1] = vmlal_high_s16(acc.val[1], lo, x16);
    acc.val[2] = vmlal_s16(acc.val[2], vget_low_s16(hi), vget_low_s16(x16));
    acc.val[3] = vmlal_high_s16(acc.val[3], hi, x16);
    return acc;
}

SCREEN_INLINE void screen_put(int32_t *acc, screen_acc v)
{
    vst1q_s32(acc, vpaddq_s32(v.val[0], v.val[1]));
    vst1q_s32(acc + 4, vpaddq_s32(v.val[2], v.val[3]));
}

#endif

#define SCREEN_AHEAD 2048       /* bytes of a panel, fetched early           */

SCREEN_INLINE void screen_tile(const struct screen_call *c, uint32_t first_vec, uint32_t first_tok,
                               const uint32_t n_vec, const uint32_t n_tok)
{
    screen_acc acc[8][SCREEN_TOK];
    const int8_t *w = c->panel + first_vec * SCREEN_VEC;
    const int16_t *x = c->x + first_tok * c->x_stride;
    SCREEN_UNROLL
    for (uint32_t v = 0; v < n_vec; v++)
        SCREEN_UNROLL
        for (uint32_t t = 0; t < n_tok; t++)
            acc[v][t] = screen_none();
    for (uint32_t p = 0; p < c->n_pair; p++, w += SCREEN_ROWS * 2) {
        if (!first_tok)
            for (uint32_t at = 0; at < n_vec * SCREEN_VEC; at += 64)
                __builtin_prefetch((const void *)((uintptr_t)w + SCREEN_AHEAD + at));
        SCREEN_UNROLL
        for (uint32_t t = 0; t < n_tok; t++)
            SCREEN_UNROLL
            for (uint32_t v = 0; v < n_vec; v++)
                acc[v][t] = screen_add(acc[v][t], w + v * SCREEN_VEC,
                                       x + t * c->x_stride + 2 * (size_t)p);
    }
    SCREEN_UNROLL
    for (uint32_t v = 0; v < n_vec; v++)
        SCREEN_UNROLL
        for (uint32_t t = 0; t < n_tok; t++)
            screen_put(c->acc + (size_t)(first_tok + t) * SCREEN_ROWS +
                           (first_vec + v) * (SCREEN_VEC / 2), acc[v][t]);
}

/* n_tok is a constant wherever this is called. */
SCREEN_INLINE void screen_tokens(const struct screen_call *c, uint32_t first, const uint32_t n_tok)
{
    const uint32_t n_vec = SCREEN_VECS(n_tok);
    for (uint32_t v = 0; v < SCREEN_ROWS * 2 / SCREEN_VEC; v += n_vec)
        screen_tile(c, v, first, n_vec, n_tok);
}

static void screen_dot(const struct screen_call *c)
{
    uint32_t t = 0;
    for (; c->n_tok - t >= SCREEN_TOK; t += SCREEN_TOK)
        screen_tokens(c, t, SCREEN_TOK);
    switch (c->n_tok - t) {
#if SCREEN_TOK > 3
    case 5: screen_tokens(c, t, 5); break;
    case 4: screen_tokens(c, t, 4); break;
    case 3: screen_tokens(c, t, 3); break;
#endif
    case 2: screen_tokens(c, t, 2); break;
    case 1: screen_tokens(c, t, 1); break;
    default: break;
    }
}

/* ------------------------------------------------------------------ range */

static float screen_bounds(const struct screen_range *s)
{
    const vf a = vf_set1(s->a), c = vf_set1(s->c);
    vf most = vf_set1(-__builtin_inff());
    for (uint32_t r = 0; r < SCREEN_ROWS; r += VL) {
        const vf mid = vf_mul(vf_load_i32(s->acc + r), vf_load(s->scale + r));
        const vf bound = vf_fma(vf_load(s->err + r), a, vf_mul(vf_load(s->norm + r), c));
        vf_store(s->mid + r, mid);
        vf_store(s->bound + r, bound);
        most = vf_max(most, vf_add(mid, bound));
    }
    return vf_max_lane(most);
}

static const struct screen_kern screen_kern = {
    .quantize = screen_quantize,
    .dot = screen_dot,
    .range = screen_bounds,
};

#endif
