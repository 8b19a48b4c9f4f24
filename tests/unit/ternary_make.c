/* ternary_make.c - see the header. */
#include "ternary_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/f16.h"

struct shape {
    uint32_t rows, cols;
    struct ternary_tiles t;
    const int8_t *w;
};

static int at(const struct shape *s, uint32_t m, uint32_t k)
{
    return s->w[(uint64_t)m * s->cols + k];
}

/* Rows 8 to 15 and 16 to 23 of 32 change places. */
static uint32_t place_of(uint32_t r)
{
    return r / 8 == 1 ? r + 8 : r / 8 == 2 ? r - 8 : r;
}

static void put_scale(struct buf *out, size_t to, float scale)
{
    while (out->n < to)
        buf_add(out, "", 1);
    buf_add(out, &scale, sizeof scale);
    while (out->n < to + 32)
        buf_add(out, "", 1);
}

static uint8_t *room(struct buf *out, size_t n)
{
    const size_t from = out->n;
    uint8_t *zero = calloc(n, 1);
    if (!zero)
        abort();
    buf_add(out, zero, n);
    free(zero);
    return (uint8_t *)out->p + from;
}

static void make_tl1(const struct shape *s, float scale, struct buf *out)
{
    const uint32_t BM = s->t.rows, BY = s->t.cols, bm = s->t.step, by = 256 / bm;
    const size_t from = out->n, size = (size_t)s->rows * s->cols / 4;
    uint8_t *p = room(out, size);
    for (uint32_t m = 0; m < s->rows; m++)
        for (uint32_t t = 0; t < s->cols / 2; t++) {
            const uint32_t mo = m / BM, mi = m % BM / bm, g = m % bm / 16, lane = m % 16;
            const uint32_t ko = t / (BY / 2), u = t % (BY / 2), ki = u / (by / 2);
            const uint32_t q = u % (by / 2) / 2;
            size_t byte = (size_t)mo * (s->cols / BY) + ko;
            byte = ((byte * (BM / bm) + mi) * (BY / by) + ki) * (bm / 16) + g;
            byte = (byte * (by / 4) + q) * 16 + lane;
            const int v = 3 * at(s, m, 2 * t) + at(s, m, 2 * t + 1) + 4;
            p[byte] |= (uint8_t)(u % 2 ? v : v << 4);
        }
    put_scale(out, from + size, scale);
}

static void make_tl2(const struct shape *s, float scale, struct buf *out)
{
    const uint32_t BM = s->t.rows, BY = s->t.cols, K2 = s->cols % BY, K3 = s->cols - K2;
    const size_t from = out->n, n3 = (size_t)s->rows * K3, n2 = (size_t)s->rows * K2;
    const size_t bytes = ((size_t)(s->cols - 256) * s->rows / 3 * 5 / 8 +
                          (size_t)256 * s->rows / 2 * 4 / 8);
    uint8_t *index = room(out, bytes), *sign = index + n3 / 6, *pair = sign + n3 / 24;
    if (n3 / 6 + n3 / 24 + n2 / 4 > bytes)
        abort();
    for (uint32_t m = 0; m < s->rows; m++) {
        const uint32_t mo = m / BM, mi = m % BM / 32, r = m % 32;
        for (uint32_t t = 0; t < K3 / 3; t++) {
            const uint32_t ko = t / (BY / 3), u = t % (BY / 3);
            const size_t tile = ((size_t)mo * (K3 / BY) + ko) * (BM / 32) + mi;
            const size_t word = (tile * (BY / 24) + u / 8) * 16 + r % 16;
            const unsigned bit = 15 - (2 * (u % 8) + r / 16);
            const int v = 9 * at(s, m, 3 * t) + 3 * at(s, m, 3 * t + 1) + at(s, m, 3 * t + 2);
            index[(tile * (BY / 6) + u / 2) * 32 + place_of(r)] |=
                (uint8_t)(abs(v) << (u % 2 ? 0 : 4));
            sign[2 * word + bit / 8] |= (uint8_t)((v < 0) << bit % 8);
        }
        for (uint32_t t = 0; t < K2 / 2; t++) {
            const uint32_t ko = t / 16, u = t % 16;
            const size_t tile = ((size_t)mo * (K2 / 32) + ko) * (BM / 32) + mi;
            const int v = 3 * at(s, m, K3 + 2 * t) + at(s, m, K3 + 2 * t + 1) + 4;
            pair[(tile * 8 + u / 2) * 32 + place_of(r)] |= (uint8_t)(v << (u % 2 ? 0 : 4));
        }
    }
    put_scale(out, from + (bytes + 31) / 32 * 32, scale);
}

/* Five digits, the first least significant, scaled up to a byte. */
static void make_iq1_bn(const struct shape *s, const float *scale, bool bare, struct buf *out)
{
    static const unsigned power[5] = { 1, 3, 9, 27, 81 };
    for (uint32_t m = 0; m < s->rows; m++) {
        const uint16_t d = f16_from_f32(bare ? 0 : scale[m]);
        if (!bare)
            buf_add(out, &d, sizeof d);
        for (uint32_t b = 0; b < s->cols; b += 64) {
            unsigned n[13] = { 0 };
            for (uint32_t e = 0; e < 64; e++) {
                const unsigned code = (unsigned)(at(s, m, b + e) + 1), g = e / 16, i = e % 16;
                if (i == 15)
                    n[12] += code * power[g];
                else
                    n[3 * g + i / 5] += code * power[i % 5];
            }
            for (unsigned i = 0; i < 13; i++) {
                const uint8_t byte = (uint8_t)((256 * n[i] + 242) / 243);
                buf_add(out, &byte, 1);
            }
        }
    }
}

static void make_iq2_bn(const struct shape *s, const float *scale, bool bare, struct buf *out)
{
    for (uint32_t m = 0; m < s->rows; m++) {
        if (!bare)
            buf_add(out, &scale[m], sizeof *scale);
        uint8_t *p = room(out, s->cols / 4);
        for (uint32_t k = 0; k < s->cols; k++)
            p[k / 64 * 16 + k % 16] |= (uint8_t)((at(s, m, k) + 1) << 2 * (k % 64 / 16));
    }
}

static void make_iq2_bn_r4(const struct shape *s, const float *scale, struct buf *out)
{
    for (uint32_t m = 0; m < s->rows; m += 4) {
        buf_add(out, scale + m, 4 * sizeof *scale);
        uint8_t *p = room(out, s->cols);
        for (uint32_t r = 0; r < 4; r++)
            for (uint32_t k = 0; k < s->cols; k++) {
                const uint32_t l = k % 64 / 16, mm = k % 16 / 4, i = k % 4;
                p[k / 64 * 64 + 16 * l + 4 * r + i] |= (uint8_t)((at(s, m + r, k) + 1) << 2 * mm);
            }
    }
}

static void make_rs_inline32(const struct shape *s, const float *scale, struct buf *out)
{
    for (size_t b = 0; b < (size_t)s->rows * s->cols / 32; b++) {
        const uint16_t d = f16_from_f32(scale[b]);
        uint8_t q[8] = { 0 };
        for (unsigned j = 0; j < 32; j++)
            q[j / 4] |= (uint8_t)((s->w[32 * b + j] + 2) << 2 * (j % 4));
        buf_add(out, q, sizeof q);
        buf_add(out, &d, sizeof d);
    }
}

static void make_rs_qk256(const struct shape *s, struct buf *out)
{
    for (uint32_t m = 0; m < s->rows; m++) {
        uint8_t *p = room(out, (s->cols + 255) / 256 * 64);
        for (uint32_t k = 0; k < s->cols; k++) {
            const int v = at(s, m, k);
            p[k / 4] |= (uint8_t)((v < 0 ? v + 2 : v + 1) << 2 * (k % 4));
        }
    }
}

void ternary_make(enum ternary_make kind, uint32_t rows, uint32_t cols,
                  const struct ternary_tiles *tiles, const int8_t *w, const float *scale,
                  struct buf *out)
{
    const struct shape s = { rows, cols, tiles ? *tiles : (struct ternary_tiles){ 0 }, w };
    switch (kind) {
    case MAKE_TL1:         make_tl1(&s, *scale, out); break;
    case MAKE_TL2:         make_tl2(&s, *scale, out); break;
    case MAKE_IQ1_BN:      make_iq1_bn(&s, scale, false, out); break;
    case MAKE_IQ2_BN:      make_iq2_bn(&s, scale, false, out); break;
    case MAKE_IQ2_BN_R4:   make_iq2_bn_r4(&s, scale, out); break;
    case MAKE_BARE_IQ1_BN: make_iq1_bn(&s, NULL, true, out); break;
    case MAKE_BARE_IQ2_BN: make_iq2_bn(&s, NULL, true, out); break;
    case MAKE_RS_INLINE32: make_rs_inline32(&s, scale, out); break;
    case MAKE_RS_QK256:    make_rs_qk256(&s, out); break;
    }
    if (out->failed)
        abort();
}

/* ----------------------------------------------------------------- vectors */

int8_t ternary_weight(uint64_t m, uint64_t k)
{
    return (int8_t)((int)((31 * m + 17 * k + m * k / 3) % 3) - 1);
}

const char *ternary_preset(const struct ternary_vector *v, char out[64])
{
    if (!v->tiles.rows)
        return NULL;
    snprintf(out, 64, "%ux%u:%u/%u/%u", v->rows, v->cols, v->tiles.rows, v->tiles.cols,
             v->tiles.step);
    return out;
}

const struct ternary_vector ternary_vector[] = {
    { "i2_s", 36, 0, 0, 4, 256, { 0 }, 288, 0x1962c609,
      "\x18\x86\x61\x18\x86\x61\x18\x86\x61\x18\x86\x61\x18\x86\x61\x18" },
    { "i2_s-b", 36, 1, 0, 4, 256, { 0 }, 288, 0x6a32c00d,
      "\x24\x92\x49\x24\x92\x49\x24\x92\x49\x24\x92\x49\x24\x92\x49\x24" },
    { "i2_s-c", 36, 2, 0, 4, 256, { 0 }, 288, 0xf98f4c25,
      "\x18\x84\x64\x24\x90\x40\x00\xa8\x58\x18\x84\x64\x24\x90\x40\x00" },
    { "tl1", 38, 0, 0, 1536, 1536, { 128, 64, 64 }, 589824, 0xcc196b7e,
      "\x23\x38\x74\x00\x45\x81\x16\x52\x67\x23\x38\x74\x00\x45\x81\x16" },
    { "tl1", 38, 0, 0, 512, 256, { 256, 128, 32 }, 32768, 0x19caf28c,
      "\x23\x38\x74\x00\x45\x81\x16\x52\x67\x23\x38\x74\x00\x45\x81\x16" },
    { "tl2", 39, 0, 0, 1536, 4096, { 256, 96, 32 }, 1327104, 0xf42452b7,
      "\x66\x28\x94\xdd\x0d\xb1\x88\x26\x26\x73\x66\x28\x94\xdd\x0d\xb1" },
    { "tl2", 39, 0, 0, 512, 512, { 256, 96, 32 }, 60074, 0xa0cfebba,
      "\x66\x28\x94\xdd\x0d\xb1\x88\x26\x26\x73\x66\x28\x94\xdd\x0d\xb1" },
    { "tq2_0", 35, 0, 1, 1, 256, { 0 }, 66, 0xde6225a0,
      "\x01\xa0\x6a\x56\x05\x80\xa8\x5a\x15\x01\xa0\x6a\x56\x05\x80\xa8" },
    { "tq1_0", 34, 0, 1, 1, 256, { 0 }, 54, 0x7e61941f,
      "\x58\x1c\xfb\xd4\x72\x09\x54\xf2\x7c\x58\x1c\xfb\xd4\x72\x09\x54" },
    { "iq2_bn", 135, 0, 1, 1, 256, { 0 }, 68, 0x810184f8,
      "\x00\x00\x00\x3f\x89\x44\x26\x12\x99\x48\x64\x22\x91\x89\x44\x26" },
    { "iq1_bn", 134, 0, 1, 1, 256, { 0 }, 54, 0x2cf6eab8,
      "\x00\x38\xa3\x85\x36\xba\xb0\xe8\x85\x36\x2d\xb0\xe8\x90\x33\x36" },
    { "iq2_bn_r4", 335, 0, 0, 4, 256, { 0 }, 272, 0x659154eb,
      "\x00\x00\x00\x3f\x00\x00\x00\x3f\x00\x00\x00\x3f\x00\x00\x00\x3f" },
};
const unsigned n_ternary_vector = sizeof ternary_vector / sizeof *ternary_vector;
