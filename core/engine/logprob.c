/* logprob.c - one pass for the largest, one for the sum. */
#include "core/engine/logprob.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#include "core/base/exact.h"

/* Ids come in ascending order, so a newcomer stands behind its equals. */
static void keep_largest(struct token_logprob *t, uint32_t n_top, int32_t id, float logit)
{
    if (t->n_top == n_top && !(n_top && logit > t->top[n_top - 1].logprob))
        return;
    uint32_t i = t->n_top < n_top ? t->n_top++ : n_top - 1;
    for (; i && logit > t->top[i - 1].logprob; i--)
        t->top[i] = t->top[i - 1];
    t->top[i].id = id;
    t->top[i].logprob = logit;
}

static float narrow(double x)
{
    return x < -(double)FLT_MAX ? -FLT_MAX : (float)x;
}

bool logprob_of(const float *logits, uint32_t n_vocab, int32_t id, uint32_t n_top,
                struct token_logprob *out)
{
    assert(id >= 0 && (uint32_t)id < n_vocab && n_top <= LOGPROB_MAX_TOP);
    *out = (struct token_logprob){ .id = id };
    float largest = -INFINITY;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (isnan(logits[i]))
            return false;
        largest = logits[i] > largest ? logits[i] : largest;
        keep_largest(out, n_top, (int32_t)i, logits[i]);
    }
    if (!isfinite(largest))
        return false;
    const double max = (double)largest;
    double sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        sum += exact_exp((double)logits[i] - max);
    const double all = exact_log(sum);
    out->logprob = narrow(((double)logits[id] - max) - all);
    for (uint32_t i = 0; i < out->n_top; i++)
        out->top[i].logprob = narrow(((double)out->top[i].logprob - max) - all);
    return true;
}
