/* hf_rows.c - the weights of Hugging Face checkpoints to canonical two-bit rows.
 *
 * Packed: byte [p][k] of R rows holds column k of rows p, p + R, p + 2R and
 * p + 3R, low bits first, as weight + 1. Latent: floats, made ternary as their
 * training did it (absmean.h). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "bitnet_plugin.h"
#include "core/base/f16.h"
#include "core/model/absmean.h"
#include "core/model/wtype.h"

/* Four codes, each in a byte of v, to one byte, the first lowest. */
static inline uint8_t join4(uint32_t v)
{
    return (uint8_t)(v | v >> 6 | v >> 12 | v >> 18);
}

/* ----------------------------------------------------------------- packed */

int hf_u8_open(struct wsrc *w, struct err *e)
{
    (void)e;
    w->scale_kind = BNP_SCALE_TENSOR;
    w->scale = 1;                       /* weight_scale is the extra scale */
    return 0;
}

int hf_u8_check(const struct wsrc *w, struct err *e)
{
    uint64_t threes = ternary_count_threes(w->t->data, w->t->size);
    if (threes)
        return err_set(e, ERR_DATA, "tensor %s: %" PRIu64 " codes are 3, expected 0 to 2: packed "
                       "otherwise, or a corrupt file", w->name, threes);
    return 0;
}

void hf_u8_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const uint32_t quarter = w->rows / 4, whole = w->cols / 4;
    const unsigned shift = 2 * (row / quarter);
    const uint8_t *in = w->t->data + (uint64_t)(row % quarter) * w->cols;
    uint8_t *out = dst;
    for (uint32_t i = 0; i < whole; i++) {
        uint32_t v;
        memcpy(&v, in + 4 * (size_t)i, sizeof v);
        out[i] = join4(v >> shift & 0x03030303);
    }
    if (w->cols % 4) {
        uint32_t v = 0x01010101;        /* tail codes are 1 */
        for (uint32_t i = 0; i < w->cols % 4; i++)
            v = (v & ~((uint32_t)3 << 8 * i)) |
                (uint32_t)(in[4 * (size_t)whole + i] >> shift & 3) << 8 * i;
        out[whole] = join4(v);
    }
}

/* ----------------------------------------------------------------- latent */

enum { LANES = ABSMEAN_LANES };

static unsigned latent_size(const struct wsrc *w)     /* bytes of an element */
{
    return w->type->id == HF_LATENT_F32 ? 4 : 2;
}

/* |w| of LANES elements. */
static void magnitudes(const struct wsrc *w, const uint8_t *p, float out[LANES])
{
    uint16_t h[LANES];
    uint32_t f[LANES];
    if (w->type->id == HF_LATENT_F32) {
        memcpy(f, p, sizeof f);
        for (unsigned i = 0; i < LANES; i++)
            f[i] &= 0x7fffffff;
        memcpy(out, f, sizeof f);
        return;
    }
    memcpy(h, p, sizeof h);
    if (w->type->id == HF_LATENT_BF16) {
        for (unsigned i = 0; i < LANES; i++)
            f[i] = (uint32_t)(h[i] & 0x7fff) << 16;
        memcpy(out, f, sizeof f);
        return;
    }
    /* A half's bits at an f32's place are the number by 2^-112, subnormals too;
     * what is no number has to stay none. */
    for (unsigned i = 0; i < LANES; i++)
        f[i] = (uint32_t)(h[i] & 0x7fff) << 13;
    memcpy(out, f, sizeof f);
    for (unsigned i = 0; i < LANES; i++)
        out[i] *= 0x1p112f;
    memcpy(f, out, sizeof f);
    for (unsigned i = 0; i < LANES; i++)
        f[i] |= (h[i] & 0x7fff) >= 0x7c00 ? 0x7f800000 : 0;
    memcpy(out, f, sizeof f);
}

static float latent_scale(const struct wsrc *w)
{
    const uint64_t n = (uint64_t)w->rows * w->cols;
    const unsigned size = latent_size(w);
    struct absmean m = { .n = 0 };
    uint8_t last[LANES * 4] = { 0 };
    float a[LANES];
    uint64_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        magnitudes(w, w->t->data + i * size, a);
        absmean_add_lanes(&m, a);
    }
    memcpy(last, w->t->data + i * size, (size_t)(n - i) * size);
    magnitudes(w, last, a);
    absmean_add(&m, a, (size_t)(n - i));
    return absmean_scale(&m);
}

int hf_latent_open(struct wsrc *w, struct err *e)
{
    w->scale_kind = BNP_SCALE_TENSOR;
    w->scale = latent_scale(w);
    return isfinite(w->scale) ? 0 : err_set(e, ERR_DATA, "tensor %s: a value is NaN or infinite, "
                                            "expected numbers", w->name);
}

/* Magnitudes are compared by their bits, which are in the numbers' order. */
static uint32_t limit_bits(const struct wsrc *w)
{
    return f32_bits(absmean_limit(w->scale));
}

/* The largest half that is not above the f32 with these bits. */
static uint16_t half_f16(uint32_t bits)
{
    uint16_t lo = 0, hi = 0x7bff;
    while (lo < hi) {
        const uint16_t mid = (uint16_t)((lo + hi + 1) / 2);
        if (f32_bits(f16_to_f32(mid)) <= bits)
            lo = mid;
        else
            hi = (uint16_t)(mid - 1);
    }
    return lo;
}

/* n <= 64 codes of 16-bit elements: not 1 where the magnitude is above most. */
static void codes_16(const uint8_t *p, unsigned n, uint16_t most, uint8_t code[64])
{
    uint16_t h[64] = { 0 };
    memcpy(h, p, (size_t)n * sizeof *h);
    for (unsigned i = 0; i < 64; i++) {
        const uint16_t big = (h[i] & 0x7fff) > most, down = (uint16_t)(h[i] >> 15);
        code[i] = (uint8_t)(1 + big - 2 * (big & down));
    }
}

static void codes_32(const uint8_t *p, unsigned n, uint32_t most, uint8_t code[64])
{
    uint32_t f[64] = { 0 };
    memcpy(f, p, (size_t)n * sizeof *f);
    for (unsigned i = 0; i < 64; i++) {
        const uint32_t big = (f[i] & 0x7fffffff) > most, down = f[i] >> 31;
        code[i] = (uint8_t)(1 + big - 2 * (big & down));
    }
}

void hf_latent_row(const struct wsrc *w, uint32_t row, void *dst)
{
    const unsigned size = latent_size(w);
    const uint32_t limit = limit_bits(w);
    const uint16_t most = w->type->id == HF_LATENT_F16 ? half_f16(limit) : (uint16_t)(limit >> 16);
    const uint8_t *in = w->t->data + (uint64_t)row * w->cols * size;
    uint8_t *out = dst, code[64];
    for (uint32_t at = 0; at < w->cols; at += 64, in += (size_t)64 * size) {
        const unsigned n = w->cols - at < 64 ? w->cols - at : 64;
        if (size == 4)
            codes_32(in, n, limit, code);
        else
            codes_16(in, n, most, code);
        for (unsigned i = 0; i < (n + 3) / 4; i++) {
            uint32_t v;
            memcpy(&v, code + 4 * (size_t)i, sizeof v);
            *out++ = join4(v);
        }
    }
}
