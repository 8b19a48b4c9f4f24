/* api_responses.h - reading POST /v1/responses, OpenAI's newer form of a
 * conversation, into the same struct that a chat is read into. [any thread] */
#ifndef BITNET_SERVE_API_RESPONSES_H
#define BITNET_SERVE_API_RESPONSES_H

#include "core/serve/api_chat.h"

/* echo: an object, as JSON text, of the settings that an answer repeats. All of
 * it in the arena. 0, or ERR_ARG (or ERR_NOMEM) with error filled. */
int api_parse_responses(const char *body, size_t n, struct arena *, struct api_chat *,
                        struct str *echo, struct api_error *);

#endif
