/* absmean.h - how training makes weights ternary: scale = mean |w| over the
 * tensor, 1e-5 at least, and each weight w / scale rounded to the nearest of -1,
 * 0 and 1; a tie goes to 0, which is even.
 *
 * Whoever reads latent weights and whoever converts them go through here, so
 * equal numbers in one order give one scale: element i of the tensor is added
 * to partial sum i % ABSMEAN_LANES, and the partial sums at last, in order. */
#ifndef BITNET_MODEL_ABSMEAN_H
#define BITNET_MODEL_ABSMEAN_H

#include <stddef.h>
#include <stdint.h>

enum { ABSMEAN_LANES = 16 };

struct absmean {                 /* zero-initialise                           */
    double sum[ABSMEAN_LANES];
    uint64_t n;                  /* elements                                  */
};

/* The next n elements. */
void absmean_add(struct absmean *, const float *x, size_t n);

/* The next ABSMEAN_LANES, as magnitudes; n is a multiple of that so far. */
static inline void absmean_add_lanes(struct absmean *m, const float magnitude[ABSMEAN_LANES])
{
    for (unsigned i = 0; i < ABSMEAN_LANES; i++)
        m->sum[i] += (double)magnitude[i];
    m->n += ABSMEAN_LANES;
}

/* NaN or infinite when an element is: a double holds any sum of finite ones. */
float absmean_scale(const struct absmean *);

/* A weight is not 0 just where its magnitude is above half the scale: half a
 * scale is exact, and the next float above divides to more than half a unit in
 * the last place above 0.5. */
static inline float absmean_limit(float scale)
{
    return scale / 2;
}

void absmean_codes(const float *x, size_t n, float scale, int8_t *w);

#endif
