/* gen_grammar.h - compiled grammars, kept while they are asked for.
 *
 * A schema that every request brings is compiled once. There are never more
 * than max of them, in use or kept, each of GRAMMAR_MAX_MEMORY at most: the
 * least recently used that nobody uses makes room. [any thread] */
#ifndef BITNET_SERVE_GEN_GRAMMAR_H
#define BITNET_SERVE_GEN_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/engine/grammar.h"
#include "core/model/chat.h"

struct gen_grammars;

/* The vocabulary must stay open. chat: its turn ends end a text too; NULL: none. */
int gen_grammars_open(struct gen_grammars **out, const struct vocab *,
                      const struct chat_template *chat, unsigned max, struct err *);
void gen_grammars_close(struct gen_grammars *);      /* NULL is legal */

/* A reference of the caller's own. Errors as grammar_compile; *busy: there would
 * be none, but all places are in use now. */
int gen_grammars_get(struct gen_grammars *, const char *gbnf, size_t n, struct grammar **out,
                     bool *busy, struct err *);

#endif
