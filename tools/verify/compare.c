/* compare.c - see compare.h. */
#include "tools/verify/compare.h"

#include <stdio.h>
#include <string.h>

#include "core/base/f16.h"

static const uint32_t unwritten = UINT32_MAX;

static bool is_nan(uint32_t u)
{
    return (u & 0x7fffffffu) > 0x7f800000u;
}

/* Which NaN is not part of the contract; an element never written is no NaN. */
static bool same(uint32_t a, uint32_t b)
{
    return a != unwritten && b != unwritten && (a == b || (is_nan(a) && is_nan(b)));
}

static double magnitude(uint32_t u)
{
    const double x = (double)f32_from_bits(u);
    return x < 0 ? -x : x;
}

static double row_bound(const struct plane *p, size_t row, const bnp_offer *o)
{
    double m = 0;
    for (size_t i = 0; i < p->cols; i++) {
        const double a = magnitude(p->bits[row * p->cols + i]);
        m = a > m ? a : m;
    }
    return (double)o->abs_err + (double)o->rel_err * m;
}

/* Written so that a NaN is outside. */
static bool within(uint32_t want, uint32_t got, double bound)
{
    const double d = (double)f32_from_bits(want) - (double)f32_from_bits(got);
    return got != unwritten && (d < 0 ? -d : d) <= bound;
}

bool compare_plane(const struct result *want, const struct result *got, unsigned i,
                   struct difference *d)
{
    const struct plane *a = &want->plane[i], *b = i < got->n ? &got->plane[i] : NULL;
    *d = (struct difference){ .op = a->op };
    if (!b || strcmp(a->op, b->op)) {
        d->missing = true;
        return strncmp(a->op, "topk", 4) != 0 && strcmp(a->op, "glu gelu") != 0;
    }
    const bool exact = got->offer.det == BNP_DET_EXACT;
    if (!exact && !strcmp(a->op, "topk ids"))
        return false;
    for (size_t k = 0; k < (size_t)a->rows * a->cols; k++) {
        if (same(a->bits[k], b->bits[k]))
            continue;
        if (!exact && within(a->bits[k], b->bits[k], row_bound(a, k / a->cols, &got->offer)))
            continue;
        d->row = k / a->cols;
        d->col = k % a->cols;
        d->want = a->bits[k];
        d->got = b->bits[k];
        d->unwritten = b->bits[k] == unwritten;
        return true;
    }
    return false;
}

void compare_print(const struct difference *d, char *out, size_t n)
{
    if (d->missing)
        snprintf(out, n, "%s: no result", d->op);
    else if (!strcmp(d->op, "topk ids"))
        snprintf(out, n, "%s: row %zu column %zu: %u, reference %u", d->op, d->row, d->col, d->got,
                 d->want);
    else
        snprintf(out, n, "%s: row %zu column %zu:%s %08x (%.9g), reference %08x (%.9g)", d->op,
                 d->row, d->col, d->unwritten ? " not written," : "", d->got,
                 (double)f32_from_bits(d->got), d->want, (double)f32_from_bits(d->want));
}
