/* api_completions.h - reading POST /v1/completions. [any thread] */
#ifndef BITNET_SERVE_API_COMPLETIONS_H
#define BITNET_SERVE_API_COMPLETIONS_H

#include "core/serve/api_json.h"
#include "core/serve/api_params.h"
#include "core/serve/api_prompt.h"

enum { API_MAX_PROMPT = 16 };     /* prompts in one request                    */

struct api_completion {
    struct api_common common;
    struct api_prompts prompt;    /* at least one                              */
    bool echo;
};

/* Strings and ids live in the arena. 0, or ERR_ARG (or ERR_NOMEM) with error
 * filled. */
int api_parse_completion(const char *body, size_t n, struct arena *, struct api_completion *,
                         struct api_error *);

#endif
