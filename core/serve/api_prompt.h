/* api_prompt.h - texts and lists of ids, one or several, as OpenAI takes them. */
#ifndef BITNET_SERVE_API_PROMPT_H
#define BITNET_SERVE_API_PROMPT_H

#include "core/serve/api_json.h"
#include "core/serve/gen.h"

struct api_prompt {
    bool is_token;
    struct str text;
    struct api_ids ids;
};

struct api_prompts {
    const struct api_prompt *p;   /* [n], in the arena                         */
    unsigned n;                   /* 0: not given                              */
};

/* Reader for tables: a string, an array of ids, or an array of up to
 * field.max of these; at least one. [any thread] */
int api_read_prompts(struct api_in *, const json_t *, const struct api_field *, void *to);

/* Adds them to the gen; flags as gen_add_text's. [http] */
int api_add_prompts(struct gen *, const struct api_prompts *, unsigned flags, struct api_error *);

#endif
