/* absmean.c - see absmean.h. */
#include "core/model/absmean.h"

#include <math.h>

void absmean_add(struct absmean *m, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        m->sum[(m->n + i) % ABSMEAN_LANES] += (double)(x[i] < 0 ? -x[i] : x[i]);
    m->n += n;
}

float absmean_scale(const struct absmean *m)
{
    double all = 0;
    for (unsigned i = 0; i < ABSMEAN_LANES; i++)
        all += m->sum[i];
    if (!isfinite(all))
        return (float)all;
    const float mean = (float)(all / (double)m->n);
    return mean > 1e-5f ? mean : 1e-5f;
}

void absmean_codes(const float *x, size_t n, float scale, int8_t *w)
{
    const float limit = absmean_limit(scale);
    for (size_t i = 0; i < n; i++)
        w[i] = (int8_t)((x[i] > limit) - (x[i] < -limit));
}
