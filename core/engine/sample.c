/* sample.c - candidates in one total order, and one draw among them.
 *
 * The order is value descending, id ascending. Sums run in that order. The
 * largest candidate has weight exp(0) = 1, so a weight below 2^-53 neither
 * changes a running sum (it is under half a unit in its last place) nor can
 * be drawn: such candidates are left out before anything is sorted, with the
 * same result as if all had been. */
#include "core/engine/sample.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/base/exact.h"

#define NEGLIGIBLE (-37.0)        /* exp(-37) < 2^-53 */

struct sampler {
    uint32_t n_vocab;
    double *value;                /* [n_vocab] penalised logit, then weight */
    int32_t *cand;                /* [n_vocab] candidate ids                */
};

int sampler_open(struct sampler **out, uint32_t n_vocab, struct err *e)
{
    *out = NULL;
    if (!n_vocab || n_vocab > INT32_MAX)
        return err_set(e, ERR_ARG, "sampler: %u tokens, expected 1 to 2147483647", n_vocab);
    struct sampler *s = calloc(1, sizeof *s);
    if (s) {
        s->n_vocab = n_vocab;
        s->value = calloc(n_vocab, sizeof *s->value);
        s->cand = calloc(n_vocab, sizeof *s->cand);
    }
    if (!s || !s->value || !s->cand) {
        sampler_close(s);
        return err_set(e, ERR_NOMEM, "sampler: no memory for %u logits", n_vocab);
    }
    *out = s;
    return 0;
}

void sampler_close(struct sampler *s)
{
    if (!s)
        return;
    free(s->value);
    free(s->cand);
    free(s);
}

/* Comparisons are written so that a NaN fails them. */
int sample_check(const struct sample_params *p, struct err *e)
{
    if (!(p->temperature >= 0 && p->temperature <= 100))
        return err_set(e, ERR_ARG, "temperature: %g is out of range, expected 0 to 100",
                       (double)p->temperature);
    if (!(p->top_p > 0 && p->top_p <= 1))
        return err_set(e, ERR_ARG, "top_p: %g is out of range, expected above 0, at most 1",
                       (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p < 1))
        return err_set(e, ERR_ARG, "min_p: %g is out of range, expected at least 0, below 1",
                       (double)p->min_p);
    if (!(p->repeat_penalty > 0 && p->repeat_penalty <= 10))
        return err_set(e, ERR_ARG,
                       "repeat_penalty: %g is out of range, expected above 0, at most 10",
                       (double)p->repeat_penalty);
    return 0;
}

/* Fills value[] and returns the id of the first in order, or -1: a NaN, or no
 * finite largest logit. Doubles, so that no penalty can overflow. A token is
 * penalised once, from its logit, however often it occurs. */
static int32_t load(struct sampler *s, const struct sample_params *p, const float *logits,
                    const int32_t *recent, uint32_t n_recent)
{
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        if (isnan(logits[i]))
            return -1;
        s->value[i] = (double)logits[i];
    }
    uint32_t look = n_recent < p->repeat_last_n ? n_recent : p->repeat_last_n;
    double penalty = (double)p->repeat_penalty;
    for (uint32_t i = n_recent - look; i < n_recent; i++) {
        assert(recent[i] >= 0 && (uint32_t)recent[i] < s->n_vocab);
        double l = (double)logits[recent[i]];
        s->value[recent[i]] = l > 0 ? l / penalty : l * penalty;
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < s->n_vocab; i++)
        if (s->value[i] > s->value[best])
            best = i;
    return isfinite(s->value[best]) ? (int32_t)best : -1;
}

/* Whether id a stands after id b in the order. */
static bool after(const struct sampler *s, int32_t a, int32_t b)
{
    double x = s->value[a], y = s->value[b];
    return x < y || (x == y && a > b);
}

/* cand[0..n) is a heap whose root stands last in the order; puts id where the
 * hole at i sinks to. */
static void sink(struct sampler *s, uint32_t i, uint32_t n, int32_t id)
{
    for (;;) {
        uint32_t c = 2 * i + 1;
        if (c >= n)
            break;
        if (c + 1 < n && after(s, s->cand[c + 1], s->cand[c]))
            c++;
        if (!after(s, s->cand[c], id))
            break;
        s->cand[i] = s->cand[c];
        i = c;
    }
    s->cand[i] = id;
}

/* Leaves the first k of cand[0..n) in cand[0..k), in order. */
static void select_first(struct sampler *s, uint32_t n, uint32_t k)
{
    for (uint32_t i = k / 2; i-- > 0;)
        sink(s, i, k, s->cand[i]);
    for (uint32_t i = k; i < n; i++)
        if (after(s, s->cand[0], s->cand[i]))
            sink(s, 0, k, s->cand[i]);
    for (uint32_t left = k; left > 1; left--) {
        int32_t last = s->cand[0];
        sink(s, 0, left - 1, s->cand[left - 1]);
        s->cand[left - 1] = last;
    }
}

static void to_weights(struct sampler *s, uint32_t n, double max, double temperature)
{
    for (uint32_t i = 0; i < n; i++) {
        double *v = &s->value[s->cand[i]];
        *v = exact_exp((*v - max) / temperature);
    }
}

/* Gathers the candidates that matter, in order; value[] of each becomes its
 * weight exp((l - max) / temperature). Returns how many. */
static uint32_t weigh(struct sampler *s, const struct sample_params *p, int32_t best)
{
    double max = s->value[best], t = (double)p->temperature;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++)
        if ((s->value[i] - max) / t >= NEGLIGIBLE)
            s->cand[n++] = (int32_t)i;
    uint32_t k = p->top_k && p->top_k < n ? p->top_k : n;
    select_first(s, n, k);
    to_weights(s, k, max, t);
    return k;
}

/* The shortest prefix of cand[0..n) that holds top_p of the weight. */
static uint32_t cut_top_p(const struct sampler *s, uint32_t n, double top_p)
{
    double all = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        all += s->value[s->cand[i]];
    for (uint32_t i = 0; i < n; i++) {
        sum += s->value[s->cand[i]];
        if (sum >= top_p * all)
            return i + 1;
    }
    return n;
}

/* One of cand[0..n), which are in order and have their weights. */
static int32_t draw(const struct sampler *s, const struct sample_params *p, uint32_t n,
                    uint32_t pos)
{
    if (p->top_p < 1)
        n = cut_top_p(s, n, (double)p->top_p);
    while (n > 1 && s->value[s->cand[n - 1]] < (double)p->min_p)
        n--;                      /* the largest weight is 1 */
    double all = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        all += s->value[s->cand[i]];
    double target = exact_uniform(p->seed, pos) * all;
    for (uint32_t i = 0; i < n; i++) {
        sum += s->value[s->cand[i]];
        if (sum > target)
            return s->cand[i];
    }
    return s->cand[n - 1];
}

int32_t sample_token(struct sampler *s, const struct sample_params *p, const float *logits,
                     const int32_t *recent, uint32_t n_recent, uint32_t pos)
{
    int32_t best = load(s, p, logits, recent, n_recent);
    if (best < 0 || p->temperature == 0)
        return best;
    return draw(s, p, weigh(s, p, best), pos);
}

/* A penalty may let any token sink behind any other. */
uint32_t sample_needs(const struct sample_params *p)
{
    if (p->repeat_penalty != 1 && p->repeat_last_n)
        return 0;
    return p->temperature == 0 ? 1 : p->top_k;
}

int32_t sample_top(struct sampler *s, const struct sample_params *p, const int32_t *id,
                   const float *logit, uint32_t n_top, uint32_t pos)
{
    uint32_t n = 0, k = 0;
    for (uint32_t i = 0; i < n_top && n < s->n_vocab; i++) {
        if (id[i] < 0 || (uint32_t)id[i] >= s->n_vocab)
            continue;
        s->value[id[i]] = (double)logit[i];
        s->cand[n++] = id[i];
    }
    const double max = n ? s->value[s->cand[0]] : 0, t = (double)p->temperature;
    if (!n || !isfinite(max))
        return -1;
    if (p->temperature == 0)
        return s->cand[0];
    n = p->top_k && p->top_k < n ? p->top_k : n;
    while (k < n && (s->value[s->cand[k]] - max) / t >= NEGLIGIBLE)
        k++;
    to_weights(s, k, max, t);
    return draw(s, p, k, pos);
}
