/* chat.h - a conversation as the prompt its model was trained on.
 *
 * The templates of the published models are rows of a table (chat_table.c):
 * what stands before and after each role's message. The program inside a
 * file (tokenizer.chat_template) is never run, only recognised.
 *
 * A message's text never becomes a control token, whatever is written in it:
 * a template's own markers are put as ids, and the text between them is
 * encoded as one piece without them. All of it is [any thread]; templates
 * are constants. */
#ifndef BITNET_MODEL_CHAT_H
#define BITNET_MODEL_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/model/model.h"
#include "core/model/vocab.h"

enum { CHAT_MAX_END = 4 };            /* turn-end tokens of a template         */

struct chat_template;

/* How a model writes a call of a tool; what api_tools.c looks for. */
enum chat_call_form {
    CHAT_CALL_TAGS,                   /* <tool_call>{"name", "arguments"}</tool_call> */
    CHAT_CALL_JSON                    /* {"name", "parameters"} is all of the text    */
};

const struct chat_template *chat_find(const char *name);      /* NULL: no such  */
const char *chat_name(const struct chat_template *);
enum chat_call_form chat_calls(const struct chat_template *);
void chat_names(struct buf *out);                             /* "2b4t, llama3" */

/* From the text in the file, else from what the model is. warn holds a line
 * when a user should know (nothing recognised; the file's own replaced), else
 * it is empty. NULL: unknown, or the model has none. */
const struct chat_template *chat_recognise(const struct model *, char warn[256]);

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL };

struct chat_call {                    /* what an assistant's message called    */
    struct str id, name, arguments;   /* arguments: JSON text                  */
};

struct chat_msg {
    enum chat_role role;
    struct str text;
    struct str name;                  /* of the speaker, or of a CHAT_TOOL's tool; may be empty */
    struct str tool_call_id;          /* CHAT_TOOL: which call it answers      */
    const struct chat_call *call;     /* [n_call], CHAT_ASSISTANT              */
    unsigned n_call;
};

struct chat_tool {                    /* what the model may call               */
    struct str name, description;     /* description may be empty              */
    struct str parameters;            /* JSON schema text; may be empty        */
};

struct chat_in {
    const struct chat_msg *msg;       /* [n_msg]                               */
    unsigned n_msg;
    const struct chat_tool *tool;     /* [n_tool]                              */
    unsigned n_tool;
    bool add_generation;              /* end with the start of an answer       */
    bool open_last;                   /* instead of that: the last message, an */
                                      /* assistant's, is the answer's start    */
};

/* Appends the conversation to out, BOS included where the model wants one.
 * ERR_LIMIT when more than max tokens would result (0: no limit); out is then
 * as it was. */
int chat_encode(const struct chat_template *, const struct vocab *, const struct chat_in *,
                size_t max, struct tokens *out, struct err *);
/* The same as text, markers written out: for people. Encoding it again is not
 * the same where a message holds a marker's text. */
int chat_text(const struct chat_template *, const struct chat_in *, struct buf *out, struct err *);

/* Tokens that end a turn, beyond what vocab_is_eog says; for
 * struct request's end_id. Returns how many were put into id. */
unsigned chat_end_ids(const struct chat_template *, const struct vocab *,
                      int32_t id[CHAT_MAX_END]);
bool chat_is_end(const struct chat_template *, const struct vocab *, int32_t id);
/* Texts that end a turn in templates without turn tokens: *out[n]. */
unsigned chat_stops(const struct chat_template *, const struct str **out);

#endif
