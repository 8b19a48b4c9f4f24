/* correlation.h - Pearson's, of two rows of logits: what golden tests of other
 * programs' numbers judge by. */
#ifndef BITNET_TESTS_GOLDEN_CORRELATION_H
#define BITNET_TESTS_GOLDEN_CORRELATION_H

#include <math.h>
#include <stdint.h>

static inline double correlation(const float *a, const float *b, uint32_t n)
{
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < n; i++) {
        ma += (double)a[i] / n;
        mb += (double)b[i] / n;
    }
    for (uint32_t i = 0; i < n; i++) {
        const double x = (double)a[i] - ma, y = (double)b[i] - mb;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return ab / sqrt(aa * bb);
}

#endif
