/* rope.c - computed in double by exact.h's functions and rounded once, to f32:
 * the only trigonometry on the path to a logit. */
#include "core/engine/rope.h"

#include <float.h>

#include "core/base/exact.h"

#define MAX_ANGLE 0x1p30                    /* radians, what exact_sincos reduces */

int rope_fill(float *table, uint32_t n_pos, uint32_t n_rot, double base, const float *factor,
              struct err *err)
{
    if (!(base >= DBL_MIN && base <= DBL_MAX))
        return err_set(err, ERR_DATA, "rope: base frequency %g, expected a positive number", base);
    uint32_t half = n_rot / 2;
    double log_base = exact_log(base);
    for (uint32_t i = 0; i < half; i++) {
        double turn = exact_exp(-2.0 * i / n_rot * log_base);     /* radians per position */
        if (factor) {
            if (!(factor[i] > 0 && factor[i] <= FLT_MAX))
                return err_set(err, ERR_DATA, "rope_freqs.weight: factor %u is %g, expected a "
                               "positive number", i, (double)factor[i]);
            turn /= (double)factor[i];
        }
        if (!(turn * n_pos <= MAX_ANGLE))
            return err_set(err, ERR_DATA, "rope: pair %u turns by %g radians a position, too "
                           "fast for %u positions", i, turn, n_pos);
        for (uint32_t pos = 0; pos < n_pos; pos++) {
            double s, c;
            exact_sincos(pos * turn, &s, &c);
            table[(uint64_t)pos * n_rot + i] = (float)c;
            table[(uint64_t)pos * n_rot + half + i] = (float)s;
        }
    }
    return 0;
}
