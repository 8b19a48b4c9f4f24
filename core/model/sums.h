/* sums.h - hashes of what a file's tensors hold, chunk by chunk.
 *
 * They name prepared weights that were kept (wcache.h). Reading a gigabyte takes as
 * long as all else that a start does, so a thread begins with it as soon as the
 * file is open, and whoever comes to need the sums helps with the rest. XXH3:
 * they find damage and tell files apart; they are no defence against a forger. */
#ifndef BITNET_MODEL_SUMS_H
#define BITNET_MODEL_SUMS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/model/gguf.h"

#define SUMS_CHUNK ((uint64_t)4 << 20)     /* bytes of a tensor under one sum       */

struct sums;

/* Starts hashing all tensors; NULL: no memory. g must live longer. */
struct sums *sums_open(const struct gguf *);
/* Stops, wherever it is. */
void sums_close(struct sums *);

/* Takes chunks that nobody has taken until none is left. [any thread] */
void sums_help(struct sums *);
/* Helps and then waits: afterwards sums_of may be called. [one thread] */
void sums_finish(struct sums *);

/* The sums of a tensor of that file, one for each chunk begun; NULL: some of it
 * could not be read. */
const uint64_t *sums_of(const struct sums *, const struct gguf_tensor *, uint64_t *n);

#endif
