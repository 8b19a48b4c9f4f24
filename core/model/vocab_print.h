/* vocab_print.h - tells by its ids whether a vocabulary is read as it was made.
 *
 * Converters name a pre-tokenizer after a fingerprint: the SHA-256 of the ids
 * of one fixed text. A vocabulary that gives a published one under some rules
 * is cut by these rules and no others. */
#ifndef BITNET_MODEL_VOCAB_PRINT_H
#define BITNET_MODEL_VOCAB_PRINT_H

#include <stdbool.h>

struct vocab;

enum { VOCAB_PRINT_SIZE = 65 };     /* 64 hex digits and a zero */

/* The fingerprint; with a BOS in front if asked, as some tokenizers put one.
 * 0 or ERR_NOMEM. */
int vocab_print(const struct vocab *, bool bos, char hex[VOCAB_PRINT_SIZE]);

/* The name that converters write for a fingerprint, or NULL. */
const char *vocab_print_pre(const char *hex);

/* 1: the fingerprint, with or without BOS, is a published one; 0 or ERR_NOMEM. */
int vocab_print_known(const struct vocab *);

#endif
