/* api_chat.h - reading POST /v1/chat/completions. [any thread] */
#ifndef BITNET_SERVE_API_CHAT_H
#define BITNET_SERVE_API_CHAT_H

#include "core/model/chat.h"
#include "core/serve/api_json.h"
#include "core/serve/api_params.h"

enum api_tool_choice { API_TOOL_AUTO, API_TOOL_NONE, API_TOOL_REQUIRED };

struct api_chat {
    struct api_common common;
    const struct chat_msg *msg;   /* [n_msg], at least one                     */
    unsigned n_msg;
    const struct chat_tool *tool; /* [n_tool]; those that may be called: none  */
    unsigned n_tool;              /* under API_TOOL_NONE, one if it was named  */
    enum api_tool_choice choice;
    struct str tool_name;         /* the one that must be called; p NULL: any  */
    bool parallel;                /* more than one call in an answer           */
};

/* All of it in the arena. 0, or ERR_ARG (or ERR_NOMEM) with error filled. */
int api_parse_chat(const char *body, size_t n, struct arena *, struct api_chat *,
                   struct api_error *);

/* The fields messages, tools, tool_choice and parallel_tool_calls alone. */
int api_read_conversation(struct api_in *, const json_t *root, struct api_chat *);
/* A text, or an array of parts of type text, put together. */
int api_read_content(struct api_in *, const json_t *, const struct api_field *, void *to_str);

/* A tool's answer says which call it answers, one in msg[0..n); the template
 * wants the tool's name. */
void api_name_tool(const struct chat_msg *msg, size_t n, struct chat_msg *answer);

/* ---- tools: what the three ways of writing them share (api_tools_read.c) ---- */

/* An object with name, description and parameters, into a chat_tool. */
int api_read_function(struct api_in *, const json_t *, const struct api_field *, void *to);
/* none, auto, required or an object, whose tool is named at name_at by name. */
int api_read_choice(struct api_in *, const json_t *, const char *name_at, const json_t *name,
                    struct api_chat *);
/* An array of tools, each read by `one`. */
int api_read_tools(struct api_in *, const json_t *, struct api_chat *,
                   int (*one)(struct api_in *, const json_t *, struct chat_tool *));
void api_choose_none(struct api_chat *);
/* A call of any of them is a demand; word: how the client said so. */
int api_choose_any(struct api_in *, const char *word, struct api_chat *);
/* The tool of this name becomes the only one, and a call of it a demand. at: the
 * field that the name stands in. */
int api_choose_tool(struct api_in *, const char *at, const json_t *name, struct api_chat *);

/* [http] The conversation becomes gen's prompt, and its format or the calls that
 * it demands gen's grammar. begun: the last message is the answer's start.
 * format: the field that a complaint about the format names. */
int api_ask(struct gen *, const struct api_chat *, bool begun, const char *format,
            struct api_error *);

#endif
