/* bitnet_stat.h - figures about rows of logits, and their means.
 *
 * Log-softmax in double with exact.h's functions, sums in the order of ids: the
 * same bits on every machine. Values that are summed over rows come from here
 * row by row, and are added by one thread in the rows' order.
 * [any thread] unless said otherwise. */
#ifndef BITNET_TOOLS_STAT_H
#define BITNET_TOOLS_STAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The largest of a row, and ln of the sum of exp over what the others are under
 * it: ln p = (logit - largest) - all, as logprob.h has it. False: a NaN among the
 * logits, or no finite largest one. */
bool stat_norm(const float *logits, uint32_t n_vocab, double *largest, double *all);
/* ln sum exp of a row: the sum of these two. NaN where stat_norm is false. */
double stat_lse(const float *logits, uint32_t n_vocab);
/* -ln p of id; NaN as above. */
double stat_nll(const float *logits, uint32_t n_vocab, int32_t id);
/* Log-probabilities instead of logits, in place. False: as where stat_lse gives
 * NaN. */
bool stat_log_softmax(double *x, uint32_t n_vocab);
/* The first of the largest. */
uint32_t stat_argmax(const float *logits, uint32_t n_vocab);
uint32_t stat_argmax_d(const double *x, uint32_t n);

/* sum p (ln p - ln q) over log-probabilities, of those with ln p > floor
 * (-INFINITY: of all that are possible). */
double stat_kld(const double *ln_p, const double *ln_q, uint32_t n, double floor);

struct stat_sum {                 /* zero-initialise; one thread               */
    uint64_t n;
    double sum, sum2, max;
};
void stat_add(struct stat_sum *, double x);
double stat_mean(const struct stat_sum *);
/* Of the mean: sqrt((mean of squares - square of mean) / (n - 1)); 0 for n < 2. */
double stat_error(const struct stat_sum *);
/* Of a share p of n. */
double stat_share_error(double p, uint64_t n);
/* Sorts x. */
void stat_sort(double *x, size_t n);
/* share 0 .. 1 of sorted x, between neighbours where it falls between; the
 * median is 0.5. */
double stat_percentile(const double *sorted, size_t n, double share);

struct stat_pair {                /* two runs of numbers, one beside the other */
    uint64_t n;
    double mean_a, mean_b;
    double aa, bb, ab;            /* sums of products of deviations            */
    double sq;                    /* sum of (a - b)^2                          */
    double worst;                 /* largest |a - b|                           */
};
struct stat_pair stat_pair_of(const double *a, const double *b, uint32_t n);
void stat_pair_add(struct stat_pair *to, const struct stat_pair *);
/* Pearson's; when one run or both do not vary: 1 if they are equal, else 0. */
double stat_correlation(const struct stat_pair *);

#endif
