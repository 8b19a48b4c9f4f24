/* gen_grammar.h - compiled grammars, kept while they are asked for.
 *
 * A schema that every request brings is compiled once. The GEN_GRAMMAR_MAX
 * last used are kept: each may grow to the 24 MiB that grammar.h names.
 * [any thread] */
#ifndef BITNET_SERVE_GEN_GRAMMAR_H
#define BITNET_SERVE_GEN_GRAMMAR_H

#include <stddef.h>

#include "core/base/err.h"
#include "core/engine/grammar.h"
#include "core/model/chat.h"

enum { GEN_GRAMMAR_MAX = 8 };

struct gen_grammars;

/* The vocabulary must stay open. chat: its turn ends end a text too; NULL: none. */
int gen_grammars_open(struct gen_grammars **out, const struct vocab *,
                      const struct chat_template *chat, struct err *);
void gen_grammars_close(struct gen_grammars *);      /* NULL is legal */

/* A reference of the caller's own. Errors as grammar_compile. */
int gen_grammars_get(struct gen_grammars *, const char *gbnf, size_t n, struct grammar **out,
                     struct err *);

#endif
