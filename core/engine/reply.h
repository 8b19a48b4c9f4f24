/* reply.h - a request's tokens as text, cut at stop strings.
 *
 * Shared by the server and `bitnet run`, so both give the same text. Holds
 * back bytes that could be half a code point or the start of a stop string.
 * [one consumer thread per reply] */
#ifndef BITNET_ENGINE_REPLY_H
#define BITNET_ENGINE_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/engine/engine.h"
#include "core/model/vocab.h"

enum { REPLY_MAX_STOP = 20, REPLY_MAX_STOP_SIZE = 256 };

struct reply_tok {
    int32_t id;
    size_t at;                           /* byte of the text where its begins  */
};

struct reply {
    struct engine *engine;
    struct request *req;
    const struct vocab *vocab;
    struct detok detok;
    struct str stop[REPLY_MAX_STOP];     /* borrowed from the submitter        */
    unsigned n_stop;
    struct buf held;                     /* text not yet safe to emit          */
    uint32_t n_tok;                      /* tokens that made the text so far;  */
                                         /* the one completing a stop counts   */
    bool found;                          /* a stop string is complete, at ...  */
    size_t found_at;                     /* ... this byte of held, since token */
    uint32_t found_tok;                  /* ... number found_tok; yet one that */
                                         /* begins earlier may be on its way   */
    unsigned found_stop;                 /* ... which is this of stop          */
    bool stopped;                        /* the text was cut at a stop string  */
    size_t n_out;                        /* bytes given to the caller          */
    bool keep_tok;                       /* set after reply_open: keep the next */
    struct buf tok;                      /* struct reply_tok [n_tok], or more  */
    bool ended;
};

enum reply_state {
    REPLY_WAIT,                          /* nothing now: wait for wake         */
    REPLY_TEXT,                          /* text was appended                  */
    REPLY_END                            /* all text is out; see reply_finish  */
};

int reply_open(struct reply *, struct engine *, struct request *, const struct vocab *,
               const struct str *stop, unsigned n_stop, struct err *);
void reply_close(struct reply *);

/* Takes what tokens there are; never blocks. When a stop string is found, the
 * request is cancelled, and REPLY_END comes once the engine has let go. */
enum reply_state reply_next(struct reply *, struct buf *out);
/* The prompt held text, so that the first token goes on from it. */
bool reply_follows_text(const struct request *, const struct vocab *);
/* After REPLY_END: FINISH_STOP also for a stop string. */
enum finish reply_finish(const struct reply *);
/* The prompt held text, so that the first token goes on from it. */
bool reply_follows_text(const struct request *, const struct vocab *);
/* After REPLY_END: the stop string that ended the text, or NULL. */
const struct str *reply_stop(const struct reply *);

/* With keep_tok: the tokens so far, and how many of them are shown: their text
 * has begun to go out, or, at the end, they were not cut off by a stop string.
 * from: a number that this gave before. What is shown at which byte of the text
 * does not depend on when reply_next was called. */
const struct reply_tok *reply_tok(const struct reply *);
uint32_t reply_n_shown(const struct reply *, uint32_t from);

#endif
