/* sample.c - candidates in one total order, and one draw among them.
 *
 * The order is value descending, id ascending. Sums run in that order. The
 * largest candidate has weight exp(0) = 1, and what weighs below 2^-53 of it is
 * no candidate: it could not change a running sum (it is under half a unit in
 * its last place) nor be drawn, so top-k, top-p and min-p leave what they would
 * have left, and far less has to be sorted. */
#include "core/engine/sample.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/exact.h"

#define NEGLIGIBLE (-37.0)        /* exp(-37) < 2^-53 */

struct sampler {
    uint32_t n_vocab;
    double *value;                /* [n_vocab] adjusted logit, then weight  */
    int32_t *cand;                /* [n_vocab] candidate ids                */
    uint32_t *count;              /* [n_vocab] 0 between calls              */
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
        s->count = calloc(n_vocab, sizeof *s->count);
    }
    if (!s || !s->value || !s->cand || !s->count) {
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
    free(s->count);
    free(s);
}

/* Comparisons are written so that a NaN fails them. */
static int check_biases(const struct sample_params *p, struct err *e)
{
    if (p->n_bias > SAMPLE_MAX_BIAS)
        return err_set(e, ERR_ARG, "logit_bias: %u entries, expected at most %d", p->n_bias,
                       SAMPLE_MAX_BIAS);
    for (uint32_t i = 0; i < p->n_bias; i++) {
        const struct sample_bias *b = &p->bias[i];
        if (!(b->bias >= -100 && b->bias <= 100))
            return err_set(e, ERR_ARG, "logit_bias: %g for token %" PRId32 " is out of range, "
                           "expected -100 to 100", (double)b->bias, b->id);
    }
    return 0;
}

static int check_penalty(const char *name, float v, struct err *e)
{
    return v >= -2 && v <= 2 ? 0 : err_set(e, ERR_ARG, "%s: %g is out of range, expected -2 to 2",
                                           name, (double)v);
}

int sample_check(const struct sample_params *p, struct err *e)
{
    int rc;
    if (!(p->temperature >= 0 && p->temperature <= 100))
        return err_set(e, ERR_ARG, "temperature: %g is out of range, expected 0 to 100",
                       (double)p->temperature);
    if (!(p->top_p > 0 && p->top_p <= 1))
        return err_set(e, ERR_ARG, "top_p: %g is out of range, expected above 0, at most 1",
                       (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p < 1))
        return err_set(e, ERR_ARG, "min_p: %g is out of range, expected at least 0, below 1",
                       (double)p->min_p);
    if (!(p->typical_p > 0 && p->typical_p <= 1))
        return err_set(e, ERR_ARG, "typical_p: %g is out of range, expected above 0, at most 1",
                       (double)p->typical_p);
    if (!(p->repeat_penalty > 0 && p->repeat_penalty <= 10))
        return err_set(e, ERR_ARG,
                       "repeat_penalty: %g is out of range, expected above 0, at most 10",
                       (double)p->repeat_penalty);
    if ((rc = check_penalty("presence_penalty", p->presence_penalty, e)) ||
        (rc = check_penalty("frequency_penalty", p->frequency_penalty, e)))
        return rc;
    return check_biases(p, e);
}

int sample_check_ids(const struct sample_params *p, uint32_t n_vocab, struct err *e)
{
    for (uint32_t i = 0; i < p->n_bias; i++)
        if (p->bias[i].id < 0 || (uint32_t)p->bias[i].id >= n_vocab)
            return err_set(e, ERR_ARG, "logit_bias: token %" PRId32 " does not exist, expected 0 "
                           "to %u", p->bias[i].id, n_vocab - 1);
    return 0;
}

/* ---------------------------------------------------- bias and penalties */

/* The last repeat_last_n tokens. */
static struct sample_past window(const struct sample_params *p, struct sample_past past)
{
    const uint32_t n = past.n < p->repeat_last_n ? past.n : p->repeat_last_n;
    return (struct sample_past){ past.id + (past.n - n), n, 0, NULL };
}

static struct sample_past generated(struct sample_past past)
{
    return (struct sample_past){ past.id + past.n_prompt, past.n - past.n_prompt, 0, NULL };
}

static bool repeats(const struct sample_params *p)
{
    return p->repeat_penalty != 1 && p->repeat_last_n;
}

static bool counts(const struct sample_params *p)
{
    return p->presence_penalty != 0 || p->frequency_penalty != 0;
}

static void count_up(struct sampler *s, struct sample_past past)
{
    for (uint32_t i = 0; i < past.n; i++) {
        assert(past.id[i] >= 0 && (uint32_t)past.id[i] < s->n_vocab);
        s->count[past.id[i]]++;
    }
}

static void forget(struct sampler *s, struct sample_past past)
{
    for (uint32_t i = 0; i < past.n; i++)
        s->count[past.id[i]] = 0;
}

/* Each token once, however often it stands there. */
static void repeat(struct sampler *s, double penalty, struct sample_past past)
{
    count_up(s, past);
    for (uint32_t i = 0; i < past.n; i++) {
        double *l = &s->value[past.id[i]];
        if (s->count[past.id[i]])
            *l = *l > 0 ? *l / penalty : *l * penalty;
        s->count[past.id[i]] = 0;
    }
}

static void presence(struct sampler *s, const struct sample_params *p, struct sample_past past)
{
    count_up(s, past);
    for (uint32_t i = 0; i < past.n; i++) {
        const int32_t id = past.id[i];
        if (s->count[id])
            s->value[id] -= (double)s->count[id] * (double)p->frequency_penalty +
                            (double)p->presence_penalty;
        s->count[id] = 0;
    }
}

/* In value[]: doubles, so that nothing overflows. Values of ids that are no
 * candidates may be anything. */
static void adjust(struct sampler *s, const struct sample_params *p, struct sample_past past)
{
    for (uint32_t i = 0; i < p->n_bias; i++) {
        assert(p->bias[i].id >= 0 && (uint32_t)p->bias[i].id < s->n_vocab);
        s->value[p->bias[i].id] += (double)p->bias[i].bias;
    }
    if (repeats(p))
        repeat(s, (double)p->repeat_penalty, window(p, past));
    if (counts(p))
        presence(s, p, generated(past));
}

/* ------------------------------------------------------------- the order */

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

/* Leaves those of cand[0..n) that matter in cand, in order. Returns how many. */
static uint32_t narrow(struct sampler *s, const struct sample_params *p, uint32_t n, double max)
{
    const double t = (double)p->temperature;
    uint32_t left = 0;
    for (uint32_t i = 0; i < n; i++)
        if ((s->value[s->cand[i]] - max) / t >= NEGLIGIBLE)
            s->cand[left++] = s->cand[i];
    const uint32_t k = p->top_k && p->top_k < left ? p->top_k : left;
    select_first(s, left, k);
    return k;
}

/* ------------------------------------------------------------------- cuts */

/* Locally typical: u = (max - l) / t is what a token is less likely than the
 * first one, in nats, and |-log p - entropy| = |u - mean of u|. Along the order
 * u grows, so those nearest the mean are a run of candidates. Taken one after
 * the other, of two equally near the likelier first, until they hold typical_p
 * of the weight. */
static uint32_t cut_typical(struct sampler *s, const struct sample_params *p, uint32_t n,
                            double max)
{
    const double t = (double)p->temperature;
    double all = 0, mean = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        const double u = (max - s->value[s->cand[i]]) / t, w = exact_exp(-u);
        all += w;
        mean += w * u;
    }
    mean /= all;
    uint32_t from = 0;
    while (from < n && (max - s->value[s->cand[from]]) / t < mean)
        from++;
    uint32_t to = from;
    while (sum < (double)p->typical_p * all && to - from < n) {
        const double before = from ? (max - s->value[s->cand[from - 1]]) / t : 0;
        const double behind = to < n ? (max - s->value[s->cand[to]]) / t : 0;
        const bool left = to == n || (from && mean - before <= behind - mean);
        sum += exact_exp(-(left ? before : behind));
        from -= left;
        to += !left;
    }
    memmove(s->cand, s->cand + from, (to - from) * sizeof *s->cand);
    return to - from;
}

/* value[] of cand[0..n) becomes the weight exp((l - max) / temperature). */
static void to_weights(struct sampler *s, uint32_t n, double max, double temperature)
{
    for (uint32_t i = 0; i < n; i++) {
        double *v = &s->value[s->cand[i]];
        *v = exact_exp((*v - max) / temperature);
    }
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
    const double least = (double)p->min_p * s->value[s->cand[0]];
    while (n > 1 && s->value[s->cand[n - 1]] < least)
        n--;
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

/* The shortest prefix of cand[0..n) that holds so much; UINT32_MAX: none. */
static uint32_t prefix_of(const struct sampler *s, uint32_t n, double weight)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += s->value[s->cand[i]];
        if (sum >= weight)
            return i + 1;
    }
    return UINT32_MAX;
}

/* cand[0..n) are surely the first in order, of weight `all`; at most `more`
 * follow, of weight at most `most` each. How many of the n are left by top-p and
 * min-p; 0: that depends on those who follow. Margins cover sums in another
 * order. */
static uint32_t surely_left(const struct sampler *s, const struct sample_params *p, uint32_t n,
                            uint32_t more, double most)
{
    const double min_p = (double)p->min_p, top_p = (double)p->top_p;
    double all = 0;
    uint32_t low = UINT32_MAX, high = UINT32_MAX, m = 0;
    for (uint32_t i = 0; i < n; i++)
        all += s->value[s->cand[i]];
    if (p->top_p < 1) {
        low = prefix_of(s, n, top_p * all * (1 - 1e-9));
        high = prefix_of(s, n, top_p * (all + more * most) * (1 + 1e-9));
    }
    while (m < n && s->value[s->cand[m]] >= min_p)
        m++;                      /* the first weighs 1 */
    low = low < m ? low : m;
    if (m < n || most * (1 + 1e-9) < min_p)
        high = high < m ? high : m;
    return low == high ? low : 0;
}

/* ------------------------------------------------------------------ doors */

/* What is not among the candidates: at most n of them, logits at most bound. */
struct unseen {
    uint32_t n;
    double bound;
};

/* cand[0..n) are in order; some may be missing behind the first, and among the
 * others. */
static int32_t choose_some(struct sampler *s, const struct sample_params *p, uint32_t n,
                           struct unseen u, double max, uint32_t pos)
{
    const double t = (double)p->temperature;
    uint32_t sure = 0, more = n + u.n;
    while (sure < n && s->value[s->cand[sure]] > u.bound)
        sure++;
    if (!sure || p->typical_p < 1)
        return SAMPLE_UNSURE;
    more = p->top_k && p->top_k < more ? p->top_k - sure : more - sure;
    to_weights(s, sure, max, t);
    const uint32_t left = surely_left(s, p, sure, more, exact_exp((u.bound - max) / t));
    return left ? draw(s, p, left, pos) : SAMPLE_UNSURE;
}

/* Among cand[0..n), which have their logits in value[], and the unseen. */
static int32_t choose(struct sampler *s, const struct sample_params *p, uint32_t n,
                      struct unseen u, struct sample_past past, uint32_t pos)
{
    adjust(s, p, past);
    int32_t best = n ? s->cand[0] : -1;
    for (uint32_t i = 1; i < n; i++)
        if (after(s, best, s->cand[i]))
            best = s->cand[i];
    if (u.n && (best < 0 || !(s->value[best] > u.bound)))
        return SAMPLE_UNSURE;
    if (best < 0 || !isfinite(s->value[best]))
        return -1;
    if (p->temperature == 0)
        return best;
    const double max = s->value[best];
    n = narrow(s, p, n, max);
    if (u.n && !(n == p->top_k && s->value[s->cand[n - 1]] > u.bound))
        return choose_some(s, p, n, u, max, pos);
    if (p->typical_p < 1)
        n = cut_typical(s, p, n, max);
    to_weights(s, n, max, (double)p->temperature);
    if (p->top_p < 1)
        n = cut_top_p(s, n, (double)p->top_p);
    return draw(s, p, n, pos);
}

static bool allowed(struct sample_past past, uint32_t id)
{
    return !past.allow || (past.allow[id / 32] >> id % 32 & 1);
}

int32_t sample_token(struct sampler *s, const struct sample_params *p, const float *logits,
                     struct sample_past past, uint32_t pos)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        if (isnan(logits[i]))
            return -1;
        s->value[i] = (double)logits[i];
        if (allowed(past, i))
            s->cand[n++] = (int32_t)i;
    }
    return choose(s, p, n, (struct unseen){ 0 }, past, pos);
}

/* Of the largest k + m logits at least k are not lowered when m tokens are, and
 * whatever stands behind these k before the lowering stands behind them after
 * it: the k largest are among those k + m. */
uint32_t sample_needs(struct sampler *s, const struct sample_params *p, struct sample_past past)
{
    const uint32_t k = p->temperature == 0 ? 1 : p->top_k;
    struct sample_past part[2] = { { 0 }, { 0 } };
    uint32_t lowered = 0;
    if (p->repeat_penalty < 1 || p->presence_penalty < 0 || p->frequency_penalty < 0 || !k)
        return 0;
    for (uint32_t i = 0; i < p->n_bias; i++)
        if (p->bias[i].bias > 0)
            return 0;
    if (repeats(p))
        part[0] = window(p, past);
    if (counts(p))
        part[1] = generated(past);
    for (uint32_t i = 0; i < p->n_bias; i++)
        lowered += !s->count[p->bias[i].id]++;
    for (unsigned j = 0; j < 2; j++)
        for (uint32_t i = 0; i < part[j].n; i++)
            lowered += !s->count[part[j].id[i]]++;
    forget(s, part[0]);
    forget(s, part[1]);
    for (uint32_t i = 0; i < p->n_bias; i++)
        s->count[p->bias[i].id] = 0;
    return k <= UINT32_MAX - lowered ? k + lowered : 0;
}

static int32_t choose_top(struct sampler *s, const struct sample_params *p, const int32_t *id,
                          const float *logit, uint32_t n_top, struct unseen u,
                          struct sample_past past, uint32_t pos)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_top && n < s->n_vocab; i++) {
        if (id[i] < 0 || (uint32_t)id[i] >= s->n_vocab)
            continue;
        if (isnan(logit[i]))
            return -1;
        s->value[id[i]] = (double)logit[i];
        if (allowed(past, (uint32_t)id[i]))
            s->cand[n++] = id[i];
    }
    return choose(s, p, n, u, past, pos);
}

int32_t sample_top(struct sampler *s, const struct sample_params *p, const int32_t *id,
                   const float *logit, uint32_t n_top, struct sample_past past, uint32_t pos)
{
    return choose_top(s, p, id, logit, n_top, (struct unseen){ 0 }, past, pos);
}

int32_t sample_some(struct sampler *s, const struct sample_params *p, const int32_t *id,
                    const float *logit, uint32_t n_top, uint32_t rest, float bound,
                    struct sample_past past, uint32_t pos)
{
    return choose_top(s, p, id, logit, n_top, (struct unseen){ rest, (double)bound }, past, pos);
}
