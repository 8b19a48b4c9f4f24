/* logprob.h - what the model says about a token.
 *
 * Log-softmax of the logits as the model gave them: before bias, penalties,
 * temperature and cuts, whatever was drawn. Sums run in the order of ids, in
 * double, with exact.h's functions: equal on every machine. */
#ifndef BITNET_ENGINE_LOGPROB_H
#define BITNET_ENGINE_LOGPROB_H

#include <stdbool.h>
#include <stdint.h>

enum { LOGPROB_MAX_TOP = 20 };

struct token_logprob {
    int32_t id;
    float logprob;                /* natural; at least -FLT_MAX                */
    uint32_t n_top;               /* the largest, by value, then by id         */
    struct { int32_t id; float logprob; } top[LOGPROB_MAX_TOP];
};

/* Of token id < n_vocab, and the n_top <= LOGPROB_MAX_TOP largest (all, when
 * there are fewer tokens). False: a NaN among the logits, or no finite largest
 * one. Costs one exponential for each token of the vocabulary. */
bool logprob_of(const float *logits, uint32_t n_vocab, int32_t id, uint32_t n_top,
                struct token_logprob *out);

#endif
