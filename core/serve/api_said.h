/* api_said.h - what one choice has said so far: content, and calls of tools.
 *
 * Between the engine's text and a dialect that knows tools. In a stream, what
 * was not told yet is text.p + told on, and the calls from n_told on.
 * [http] */
#ifndef BITNET_SERVE_API_SAID_H
#define BITNET_SERVE_API_SAID_H

#include "core/serve/api_tools.h"
#include "core/serve/gen.h"

struct said {                         /* zero at first                         */
    struct tools *tools;              /* NULL: none may be called              */
    struct buf text;                  /* content, all of it                    */
    size_t told;                      /* bytes of it that events have          */
    unsigned n_told;                  /* calls that events have                */
};

/* The choice's text goes on; end: there is no more. tool: may be called,
 * borrowed; n_tool 0: none. Lost memory shows in text.failed. */
void said_more(struct said *, const struct gen_choice *, const struct chat_tool *tool,
               unsigned n_tool, const struct chat_template *, bool end);
const struct chat_call *said_calls(const struct said *, unsigned *n);
void said_free(struct said *);

/* The request's own stop string that ended the text, not one of the template's;
 * or NULL. */
const struct str *said_stop(const struct gen *, const struct gen_choice *);

#endif
