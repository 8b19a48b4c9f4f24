/* bitnet_stat.c - see bitnet_stat.h. */
#include "tools/bitnet_stat.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/exact.h"

bool stat_norm(const float *logits, uint32_t n_vocab, double *largest, double *all)
{
    float most = -INFINITY;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (isnan(logits[i]))
            return false;
        most = logits[i] > most ? logits[i] : most;
    }
    if (!isfinite(most))
        return false;
    double sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        sum += exact_exp((double)logits[i] - (double)most);
    *largest = (double)most;
    *all = exact_log(sum);
    return true;
}

double stat_lse(const float *logits, uint32_t n_vocab)
{
    double largest, all;
    return stat_norm(logits, n_vocab, &largest, &all) ? largest + all : NAN;
}

double stat_nll(const float *logits, uint32_t n_vocab, int32_t id)
{
    double largest, all;
    return stat_norm(logits, n_vocab, &largest, &all) ? all - ((double)logits[id] - largest) : NAN;
}

bool stat_log_softmax(double *x, uint32_t n_vocab)
{
    const double largest = x[stat_argmax_d(x, n_vocab)];
    double sum = 0;
    if (!isfinite(largest))
        return false;
    for (uint32_t i = 0; i < n_vocab; i++) {
        x[i] -= largest;
        sum += exact_exp(x[i]);
    }
    const double all = exact_log(sum);
    for (uint32_t i = 0; i < n_vocab; i++)
        x[i] -= all;
    return isfinite(all);
}

uint32_t stat_argmax(const float *logits, uint32_t n_vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

uint32_t stat_argmax_d(const double *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

double stat_kld(const double *ln_p, const double *ln_q, uint32_t n, double floor)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        if (ln_p[i] > floor)
            sum += exact_exp(ln_p[i]) * (ln_p[i] - ln_q[i]);
    return sum;
}

/* ------------------------------------------------------------------- means */

void stat_add(struct stat_sum *s, double x)
{
    s->max = !s->n || x > s->max ? x : s->max;
    s->n++;
    s->sum += x;
    s->sum2 += x * x;
}

double stat_mean(const struct stat_sum *s)
{
    return s->n ? s->sum / (double)s->n : 0;
}

double stat_error(const struct stat_sum *s)
{
    if (s->n < 2)
        return 0;
    const double mean = stat_mean(s), var = s->sum2 / (double)s->n - mean * mean;
    return var > 0 ? sqrt(var / (double)(s->n - 1)) : 0;
}

double stat_share_error(double p, uint64_t n)
{
    return n < 2 ? 0 : sqrt(p * (1 - p) / (double)(n - 1));
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void stat_sort(double *x, size_t n)
{
    if (n)
        qsort(x, n, sizeof *x, ascending);
}

double stat_percentile(const double *sorted, size_t n, double share)
{
    if (!n)
        return 0;
    const double at = share * (double)(n - 1);
    const size_t i = (size_t)at;
    const double rest = at - (double)i;
    return i + 1 < n ? (1 - rest) * sorted[i] + rest * sorted[i + 1] : sorted[n - 1];
}

/* ------------------------------------------------------------------- pairs */

struct stat_pair stat_pair_of(const double *a, const double *b, uint32_t n)
{
    struct stat_pair p = { .n = n };
    for (uint32_t i = 0; i < n; i++) {
        p.mean_a += a[i] / n;
        p.mean_b += b[i] / n;
    }
    for (uint32_t i = 0; i < n; i++) {
        const double x = a[i] - p.mean_a, y = b[i] - p.mean_b, d = fabs(a[i] - b[i]);
        p.aa += x * x;
        p.bb += y * y;
        p.ab += x * y;
        p.sq += d * d;
        p.worst = d > p.worst ? d : p.worst;
    }
    return p;
}

/* Chan's rule for moments of a union. */
void stat_pair_add(struct stat_pair *to, const struct stat_pair *p)
{
    if (!p->n)
        return;
    const double n = (double)(to->n + p->n), part = (double)p->n / n;
    const double da = p->mean_a - to->mean_a, db = p->mean_b - to->mean_b;
    const double both = (double)to->n * part;
    to->aa += p->aa + da * da * both;
    to->bb += p->bb + db * db * both;
    to->ab += p->ab + da * db * both;
    to->mean_a += da * part;
    to->mean_b += db * part;
    to->n += p->n;
    to->sq += p->sq;
    to->worst = p->worst > to->worst ? p->worst : to->worst;
}

double stat_correlation(const struct stat_pair *p)
{
    if (!(p->aa > 0) || !(p->bb > 0))
        return p->sq > 0 ? 0 : 1;
    return p->ab / (sqrt(p->aa) * sqrt(p->bb));
}
