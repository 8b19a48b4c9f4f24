/* api_messages.h - reading POST /v1/messages, Anthropic's form of a conversation,
 * into the same struct that a chat is read into. [any thread] */
#ifndef BITNET_SERVE_API_MESSAGES_H
#define BITNET_SERVE_API_MESSAGES_H

#include "core/serve/api_chat.h"

/* begun: the last message is an assistant's, and the answer goes on with it.
 * counting: max_tokens may be missing. 0, or ERR_ARG (or ERR_NOMEM) with error
 * filled. All of it in the arena. */
int api_parse_messages(const char *body, size_t n, struct arena *, bool counting,
                       struct api_chat *, bool *begun, struct api_error *);

#endif
