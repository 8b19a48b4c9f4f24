/* sample.h - from logits to one token.
 *
 * Everything is computed on the host from exact logits, in a fixed order
 * (value descending, id ascending), with exact.h's functions, so equal logits
 * and equal (seed, position) give an equal token on every machine. Order of
 * application: bias, repetition penalty, frequency and presence penalties, then
 * greedy if temperature is 0; else temperature, top-k, typical-p, top-p, min-p,
 * draw. docs/numerics.md has the formulas. */
#ifndef BITNET_ENGINE_SAMPLE_H
#define BITNET_ENGINE_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum { SAMPLE_MAX_BIAS = 1024 };

struct sample_bias {              /* is added to the logit of token id         */
    int32_t id;
    float bias;                   /* [-100, 100]                               */
};

struct sample_params {
    float temperature;            /* 0: the largest logit; at most 100         */
    uint32_t top_k;               /* 0: all                                    */
    float top_p;                  /* (0, 1]; 1: all                            */
    float min_p;                  /* [0, 1); 0: all                            */
    float repeat_penalty;         /* (0, 10]; 1: none. l > 0 ? l / p : l * p   */
    uint32_t repeat_last_n;       /* tokens it looks back at, prompt included  */
    uint64_t seed;
    float typical_p;              /* (0, 1]; 1: all                            */
    float presence_penalty;       /* [-2, 2]; 0: none. Of generated tokens:    */
    float frequency_penalty;      /* [-2, 2]; l -= count * frequency + presence */
    const struct sample_bias *bias;   /* [n_bias], borrowed; what an id has    */
    uint32_t n_bias;                  /*   more than once adds up, in order    */
};

#define SAMPLE_DEFAULT { 0.8f, 40, 0.95f, 0.05f, 1.0f, 64, 0, 1.0f, 0, 0, NULL, 0 }
/* No draw and no penalty: the largest logit. */
#define SAMPLE_GREEDY { 0, 0, 1.0f, 0, 1.0f, 0, 0, 1.0f, 0, 0, NULL, 0 }

/* A sequence's tokens so far: id[0..n), the first n_prompt of them were not
 * generated. allow: bits of the ids that may be drawn, id % 32 of word id / 32;
 * the others are none of the candidates. NULL: all may. */
struct sample_past {
    const int32_t *id;
    uint32_t n, n_prompt;
    const uint32_t *allow;
};

struct sampler;                   /* work memory for n_vocab logits            */

int sampler_open(struct sampler **out, uint32_t n_vocab, struct err *);
void sampler_close(struct sampler *);

/* 0, or ERR_ARG naming the parameter and its range. */
int sample_check(const struct sample_params *, struct err *);
/* 0, or ERR_ARG: a bias is of no token of n_vocab. */
int sample_check_ids(const struct sample_params *, uint32_t n_vocab, struct err *);

/* logits[n_vocab], past.id < n_vocab. pos: the position the token will stand
 * at; with the seed it keys the draw. -1: a NaN among the logits, or none that
 * is allowed, or no finite largest one. No allocation. */
int32_t sample_token(struct sampler *, const struct sample_params *, const float *logits,
                     struct sample_past, uint32_t pos);

/* How many of the largest logits decide the token: sample_top then gives what
 * sample_token would. 0: all. What is only lowered can leave the largest, never
 * enter them: so many more are needed as tokens are lowered. */
uint32_t sample_needs(struct sampler *, const struct sample_params *, struct sample_past);
/* From the n largest, at least sample_needs of them after those whose ids the
 * sampler does not know (rows that pad a table), which are passed over. */
int32_t sample_top(struct sampler *, const struct sample_params *, const int32_t *id,
                   const float *logit, uint32_t n, struct sample_past, uint32_t pos);

/* The same from fewer than sample_needs, which is not 0: candidates that are not
 * there, at most `rest`, have logits of at most `bound`. SAMPLE_UNSURE: they
 * could matter. Any other answer is sample_token's. */
enum { SAMPLE_UNSURE = -2 };
int32_t sample_some(struct sampler *, const struct sample_params *, const int32_t *id,
                    const float *logit, uint32_t n, uint32_t rest, float bound,
                    struct sample_past, uint32_t pos);

#endif
