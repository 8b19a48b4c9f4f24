/* api_answer.h - what completions and chat have around their choices.
 *
 * Written as text, piece by piece: as one JSON value an answer with log
 * probabilities would take many times its length. [any thread] */
#ifndef BITNET_SERVE_API_ANSWER_H
#define BITNET_SERVE_API_ANSWER_H

#include "core/serve/api_json.h"
#include "core/serve/gen.h"

/* {"id", "object", "created", "model", "choices":[ */
void api_put_head(struct buf *out, const struct gen *, const char *object);
/* ], "usage"} usage NULL: null, if null_usage, else no such field. */
void api_put_tail(struct buf *out, const struct api_usage *, bool null_usage);

#endif
