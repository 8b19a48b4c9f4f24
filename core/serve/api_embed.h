/* api_embed.h - reading POST /v1/embeddings and /v1/similarity. [any thread] */
#ifndef BITNET_SERVE_API_EMBED_H
#define BITNET_SERVE_API_EMBED_H

#include "core/serve/api_json.h"
#include "core/serve/api_prompt.h"

struct api_embed {
    const char *model;            /* NULL: not given                           */
    struct api_prompts input;     /* embeddings: all; similarity: sentences    */
    struct api_prompts source;    /* similarity: the one they are compared to  */
    bool base64;
    enum model_pooling pooling;   /* NONE: not given, so as the model has it   */
    uint32_t dimensions;          /* 0: all                                    */
    enum priority priority;
    uint32_t timeout_ms;
};

/* All of it in the arena. 0, or ERR_ARG (or ERR_NOMEM) with error filled. */
int api_parse_embeddings(const char *body, size_t n, struct arena *, struct api_embed *,
                         struct api_error *);
int api_parse_similarity(const char *body, size_t n, struct arena *, struct api_embed *,
                         struct api_error *);

/* to[0..n): from, scaled to length 1: the sum of squares in double, in order,
 * and one rounding per number. All zero stays so. */
void api_normalise(const float *from, uint32_t n, float *to);
/* Cosine of the angle between a[0..n) and b[0..n), in [-1, 1]; 0 if one is zero. */
double api_cosine(const float *a, const float *b, uint32_t n);

#endif
