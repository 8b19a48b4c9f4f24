/* bitnet_chat.h - what the files of `bitnet chat` share: the conversation, and the
 * lines that people type. */
#ifndef BITNET_TOOLS_BITNET_CHAT_H
#define BITNET_TOOLS_BITNET_CHAT_H

#include <stdbool.h>

#include <jansson.h>

#include "core/model/chat.h"
#include "tools/bitnet.h"

enum { TALK_MAX_MSG = 4096 };     /* messages of a conversation                */

/* Messages as clients of the server write them: an array of objects with role
 * and content; the system's, if there is one, comes first. */
struct talk {
    json_t *msg;
    const struct chat_template *form;
    const struct vocab *vocab;
};

int talk_open(struct talk *, struct err *);
void talk_close(struct talk *);
void talk_reset(struct talk *);   /* all but the system's message              */
int talk_system(struct talk *, const char *text, size_t n, struct err *);    /* "": none */
int talk_add(struct talk *, const char *role, const char *text, size_t n, struct err *);
/* Takes the last message away, if it has this role. */
bool talk_pop(struct talk *, const char *role);
/* The prompt of an answer, of max tokens at most. When the conversation is
 * longer, its oldest messages are taken away for good, up to a user's: how many
 * is in *n_gone. ERR_LIMIT: the last message alone is too long. */
int talk_encode(struct talk *, size_t max, struct tokens *, unsigned *n_gone, struct err *);
int talk_save(const struct talk *, const char *path, struct err *);
int talk_load(struct talk *, const char *path, struct err *);      /* an error changes nothing */

/* Lines: edited where standard input is a terminal, else as they are. */
struct line;

enum line_end { LINE_TEXT, LINE_INTERRUPTED, LINE_END };

int line_open(struct line **out, struct err *);
void line_close(struct line *);
bool line_is_terminal(const struct line *);
/* *text, without its line feed, is valid until the next call. */
enum line_end line_next(struct line *, const char **text, size_t *n);

#endif
