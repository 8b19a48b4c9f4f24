/* probe.c - what probes put in, and how their results are compared.
 *
 * Inputs come from a counter-based generator by integer and bit operations
 * only, so every machine makes the same ones. */
#include "core/plug/probe.h"

#include <string.h>

#include "core/base/f16.h"
#include "core/plug/probe_run.h"

/* splitmix64's finalizer over a Weyl sequence. */
uint64_t probe_number(uint64_t seed, uint64_t i)
{
    uint64_t z = seed * UINT64_C(0xd1342543de82ef95) + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

const char *probe_fill_name(enum probe_fill fill)
{
    static const char *const name[] = {
        "random", "zero", "max", "min", "spike", "denormal", "alternate", "mixed",
    };
    return fill < PROBE_N_FILL ? name[fill] : "unknown";
}

/* In [-2, 2), a multiple of 2^-22: exact in f32. */
static float small_number(uint64_t h)
{
    return (float)((int32_t)(h >> 40) - (1 << 23)) * 0x1p-22f;
}

/* Every value and every sum that the contract forms of them is finite, and f16
 * can hold each: 4096 at most in magnitude. */
float probe_value(enum probe_fill fill, uint64_t seed, uint64_t i)
{
    const uint64_t h = probe_number(seed, i);
    const uint32_t sign = (uint32_t)(h >> 63) << 31, frac = (uint32_t)h & 0x7fffff;
    switch (fill) {
    case PROBE_ZERO:
        return 0.0f;
    case PROBE_MAX:
        return 1000.0f;
    case PROBE_MIN:
        return -1000.0f;
    case PROBE_SPIKE:
        return i % 97 == 41 ? 3000.0f : small_number(h) * 0x1p-6f;
    case PROBE_DENORMAL:            /* denormal in f32, then denormal in f16 only */
        return f32_from_bits(sign | frac | (i % 2 ? (127u - 18) << 23 : 0));
    case PROBE_ALTERNATE:
        return i % 2 ? -500.0f - (float)(h % 16) : 500.0f + (float)(h % 16);
    case PROBE_MIXED:               /* 2^-12 to 2^12: sums lose bits if reordered */
        return f32_from_bits(sign | (uint32_t)(127 - 12 + (h >> 32) % 24) << 23 | frac);
    default:
        return small_number(h);
    }
}

static float value_at(const struct buf *b, size_t i)
{
    float f;
    memcpy(&f, b->p + i * sizeof f, sizeof f);
    return f;
}

static double magnitude(double x)
{
    return x < 0 ? -x : x;
}

/* How far got may be from row `want[at .. at+len)`. */
static double row_bound(const struct buf *want, size_t at, size_t len, const struct bnp_offer *o)
{
    double m = 0;
    for (size_t i = 0; i < len; i++) {
        const double a = magnitude((double)value_at(want, at + i));
        m = a > m ? a : m;
    }
    return (double)o->abs_err + (double)o->rel_err * m;
}

int64_t probe_diff(const struct buf *want, const struct buf *got, const struct bnp_offer *o,
                   uint32_t row_len)
{
    const size_t n = (want->n < got->n ? want->n : got->n) / sizeof(float);
    const bool exact = o->det == BNP_DET_EXACT || !row_len;
    double bound = 0;
    for (size_t i = 0; i < n; i++) {
        if (!exact && i % row_len == 0)
            bound = row_bound(want, i, n - i < row_len ? n - i : row_len, o);
        if (!memcmp(want->p + i * 4, got->p + i * 4, 4))
            continue;
        /* Written so that a NaN differs. */
        if (exact || !(magnitude((double)value_at(want, i) - (double)value_at(got, i)) <= bound))
            return (int64_t)i;
    }
    return want->n == got->n ? -1 : (int64_t)n;
}

static int say_difference(const struct probe_part *part, size_t at, const struct buf *want,
                          const struct buf *got, struct err *e)
{
    const size_t row = part->cols ? at / part->cols : 0, col = part->cols ? at % part->cols : 0;
    return err_set(e, ERR_PLUGIN, "%s: row %zu, column %zu: got %.9g (%08x), expected %.9g (%08x)",
                   part->op, row, col, (double)value_at(got, at), f32_bits(value_at(got, at)),
                   (double)value_at(want, at), f32_bits(value_at(want, at)));
}

int probe_agree(const struct probe *p, const struct buf *want, const struct buf *got,
                const struct bnp_offer *o, struct err *e)
{
    size_t at = 0;
    if (want->n != got->n)
        return err_set(e, ERR_PLUGIN, "%zu bytes of results, expected %zu", got->n, want->n);
    for (uint32_t i = 0; i < p->n_part; i++) {
        const struct probe_part *part = &p->part[i];
        const size_t size = (size_t)part->n_row * part->cols * 4;
        if (size > want->n - at)
            return err_set(e, ERR_INTERNAL, "%s: the result is shorter than its parts", part->op);
        const struct buf a = { .p = want->p + at, .n = size }, b = { .p = got->p + at, .n = size };
        /* Near ties may be ordered differently by those that are not exact. */
        const bool skip = o->det != BNP_DET_EXACT && !strcmp(part->op, "topk id");
        const int64_t diff = skip ? -1 : probe_diff(&a, &b, o, part->cols);
        if (diff >= 0)
            return say_difference(part, (size_t)diff, &a, &b, e);
        at += size;
    }
    return 0;
}
