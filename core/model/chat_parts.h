/* chat_parts.h - the inside of chat templates, for the files that make them up.
 *
 * A conversation is rendered once, into a draft: its text, and which stretches
 * of it are markers. As text the draft is the answer; as tokens each marker
 * becomes its id, and each stretch between two is encoded by itself. */
#ifndef BITNET_MODEL_CHAT_PARTS_H
#define BITNET_MODEL_CHAT_PARTS_H

#include "core/model/chat.h"

enum { CHAT_MAX_MARK = 6, CHAT_MAX_STOP = 2 };

/* What to put where the vocabulary lacks a marker: the marker's characters as
 * ordinary text, or the token with the same duty, whatever it is called. */
enum chat_instead { CHAT_AS_TEXT, CHAT_AS_BOS, CHAT_AS_EOS };

struct chat_mark {
    const char *text;                 /* NULL: no more                         */
    enum chat_instead instead;
};

struct chat_frame {                   /* around one role's message             */
    const char *before, *after;
};

/* How tools are told to a model, and its calls and their results back to it. */
struct chat_tools {
    const char *lead;                 /* when a text stands in front           */
    const char *intro;
    const char *between;              /* in front of each tool after the first */
    unsigned indent;                  /* of the tools' JSON; 0: one line each  */
    unsigned level;                   /* how deep they stand already           */
    const char *outro;
    bool with_user;                   /* in the first user message, before its */
                                      /* text; else in the system message      */
    const char *call_before, *call_between, *call_after;     /* all calls      */
    const char *arguments;            /* key of a call's arguments             */
    struct chat_frame result;         /* around each result                    */
    bool merge;                       /* results in a row share one message    */
};

struct chat_template {
    const char *name;
    struct chat_mark mark[CHAT_MAX_MARK];
    const char *end[CHAT_MAX_END];    /* markers that end a turn               */
    struct str stop[CHAT_MAX_STOP];
    const char *begin;                /* of the whole prompt                   */
    struct chat_frame frame[4];       /* by enum chat_role                     */
    const char *last;                 /* after an assistant's message at the   */
                                      /* very end, where that is not .after    */
    bool trim;                        /* white space around messages goes      */
    bool system_inside;               /* the system's frame is put inside the  */
                                      /* next user message, in front           */
    const char *generation;           /* start of the answer                   */
    enum chat_call_form calls;
    const struct chat_tools *tools;
};

extern const struct chat_template chat_table[];
extern const unsigned chat_n_table;

struct chat_cut {                     /* a marker in a draft                   */
    size_t at;
    unsigned mark;                    /* index into the template's             */
};

struct chat_draft {
    const struct chat_template *t;
    struct buf text;
    struct chat_cut *cut;             /* [n_cut], in order                     */
    size_t n_cut, cap;
    bool failed;                      /* no memory; also text.failed           */
};

/* Appends the template's own words, in which markers count. */
void chat_put(struct chat_draft *, const char *own);
/* Appends somebody else's, in which they do not. */
void chat_say(struct chat_draft *, struct str said);

/* chat_tools.c */
void chat_put_tools(struct chat_draft *, const struct chat_in *);
void chat_put_calls(struct chat_draft *, const struct chat_msg *);

#endif
