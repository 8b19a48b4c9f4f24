/* api_tools.h - calls of tools in what a model writes.
 *
 * A model calls a tool by writing text in its template's form. Between the
 * reply's text and the dialect stands one parser per choice, which gives
 * content and calls apart; and where calls are demanded, a grammar lets the
 * model write nothing else. [any thread, one at a time] */
#ifndef BITNET_SERVE_API_TOOLS_H
#define BITNET_SERVE_API_TOOLS_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/model/chat.h"

enum { TOOLS_MAX = 128, TOOLS_MAX_CALL = 32 };

struct tools;                         /* one choice's text, taken apart        */

/* tool: borrowed. NULL: no memory. */
struct tools *tools_open(const struct chat_template *, const struct chat_tool *tool, unsigned n_tool);
void tools_close(struct tools *);                                /* NULL is legal */

/* The text goes on. Appends to content what is surely no part of a call; the
 * rest is held back. end: nothing follows, and what only looked like a call
 * (no such tool, arguments that are no JSON object) is content after all. */
void tools_feed(struct tools *, const char *p, size_t n, bool end, struct buf *content);
/* The calls that are whole by now, *n of them, in order; each has an id
 * ("call_..."). Valid until the next feed. */
const struct chat_call *tools_calls(const struct tools *, unsigned *n);

/* Appends GBNF of an answer that is calls of these tools, at least one, each
 * with arguments as its schema has them, and nothing else. parallel: more than
 * one may be. Errors as api_schema_to_gbnf, prefixed with the tool's name. */
int tools_to_gbnf(const struct chat_template *, const struct chat_tool *tool, unsigned n_tool,
                  bool parallel, struct buf *gbnf, struct err *);

#endif
