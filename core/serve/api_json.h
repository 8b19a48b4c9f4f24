/* api_json.h - OpenAI's JSON, read into a struct and written from one.
 *
 * Reading checks everything that can be checked without the model, and names
 * the field at fault. Writing puts U+FFFD for every byte that is not UTF-8:
 * the one place where text stops being bytes. [any thread] */
#ifndef BITNET_SERVE_API_JSON_H
#define BITNET_SERVE_API_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/engine/reply.h"
#include "core/engine/sample.h"

enum {
    API_MAX_PROMPT = 16,          /* prompts in one request                    */
    API_MAX_NEW = 1 << 20,        /* max_tokens, at most                       */
    API_MAX_DEPTH = 16,           /* JSON inside JSON                          */
    API_MAX_CONTAINER = 4096      /* arrays and objects in one body            */
};

struct api_error {
    unsigned status;              /* HTTP; 0: no error                         */
    const char *code;             /* for programs, or NULL                     */
    const char *param;            /* the field at fault, or NULL               */
    char message[512];
};

struct api_prompt {
    bool is_token;
    struct str text;
    const int32_t *id;            /* [n_id]; at least 0, otherwise unchecked   */
    uint32_t n_id;
};

struct api_completion {           /* POST /v1/completions                      */
    const char *model;            /* NULL: not given                           */
    struct api_prompt prompt[API_MAX_PROMPT];
    unsigned n_prompt;            /* at least one                              */
    uint32_t max_tokens;          /* 0: not given                              */
    struct sample_params sample;  /* passes sample_check                       */
    bool has_seed;                /* sample.seed is the request's own          */
    struct str stop[REPLY_MAX_STOP];
    unsigned n_stop;
    bool stream, include_usage, echo;
};

/* Strings and ids live in the arena. 0, or ERR_ARG (or ERR_NOMEM) with error
 * filled. */
int api_parse_completion(const char *body, size_t n, struct arena *, struct api_completion *,
                         struct api_error *);

struct api_head {                 /* what every piece of an answer repeats     */
    char id[40];                  /* "cmpl-..."                                */
    int64_t created;              /* seconds since 1970                        */
    const char *model;
};

struct api_usage {
    uint64_t n_prompt, n_new;     /* tokens                                    */
};

struct api_choice {
    unsigned index;
    struct str text;
    const char *finish;           /* "stop", "length"; NULL: not yet           */
};

/* One JSON object appended to out; out->failed when there is no memory.
 * usage NULL: no such field, unless null_usage asks for a null. */
void api_put_completion(struct buf *out, const struct api_head *, const struct api_choice *,
                        unsigned n_choice, const struct api_usage *, bool null_usage);
void api_put_model(struct buf *out, const char *id, int64_t created);
void api_put_models(struct buf *out, const char *id, int64_t created);
void api_put_error(struct buf *out, const struct api_error *);
void api_put_status(struct buf *out, const char *status);

#endif
