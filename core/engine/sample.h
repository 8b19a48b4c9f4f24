/* sample.h - from logits to one token.
 *
 * Everything is computed on the host from exact logits, in a fixed order
 * (value descending, id ascending), with exact.h's functions, so equal logits
 * and equal (seed, position) give an equal token on every machine. Order of
 * application: repetition penalty, then greedy if temperature is 0; else
 * temperature, top-k, top-p, min-p, draw. */
#ifndef BITNET_ENGINE_SAMPLE_H
#define BITNET_ENGINE_SAMPLE_H

#include <stdint.h>

#include "core/base/err.h"

struct sample_params {
    float temperature;            /* 0: the largest logit; at most 100         */
    uint32_t top_k;               /* 0: all                                    */
    float top_p;                  /* (0, 1]; 1: all                            */
    float min_p;                  /* [0, 1); 0: all                            */
    float repeat_penalty;         /* (0, 10]; 1: none. l > 0 ? l / p : l * p   */
    uint32_t repeat_last_n;       /* tokens it looks back at                   */
    uint64_t seed;
};

#define SAMPLE_DEFAULT { 0.8f, 40, 0.95f, 0.05f, 1.0f, 64, 0 }

struct sampler;                   /* work memory for n_vocab logits            */

int sampler_open(struct sampler **out, uint32_t n_vocab, struct err *);
void sampler_close(struct sampler *);

/* 0, or ERR_ARG naming the parameter and its range. */
int sample_check(const struct sample_params *, struct err *);

/* recent[0..n_recent): the sequence's tokens so far, newest last (prompt
 * included). pos: the position the token will stand at; with the seed it
 * keys the draw. -1: a NaN among the logits, or no finite largest one. No
 * allocation. */
int32_t sample_token(struct sampler *, const struct sample_params *, const float *logits,
                     const int32_t *recent, uint32_t n_recent, uint32_t pos);

/* How many of the largest logits decide the token: sample_top then gives what
 * sample_token would. 0: all. */
uint32_t sample_needs(const struct sample_params *);
/* From the n largest, at least sample_needs of them after those whose ids the
 * sampler does not know (rows that pad a table), which are passed over. */
int32_t sample_top(struct sampler *, const struct sample_params *, const int32_t *id,
                   const float *logit, uint32_t n, uint32_t pos);

#endif
