/* uclass.h - what kind of character a code point is, to a pre-tokenizer.
 *
 * A table of bits for every code point that has any, filled once a process
 * from the generated runs: the cuts of a text depend on the Unicode version,
 * and so must not depend on a library of the machine. */
#ifndef BITNET_MODEL_UCLASS_H
#define BITNET_MODEL_UCLASS_H

#include <stddef.h>
#include <stdint.h>

enum {
    UC_LETTER = 1,     /* \p{L}                                                       */
    UC_NUMBER = 2,     /* \p{N}                                                       */
    UC_SPACE = 4,      /* \s: U+0009-000D 0020 0085 00A0 1680 2000-200A 2028 2029
                          202F 205F 3000                                              */
    UC_BREAK = 8,      /* CR and LF, which are UC_SPACE too                           */
    UC_PUNCT = 16,     /* \p{P}                                                       */
    UC_MARK = 32,      /* $ + < = > ^ ~ | which are symbols and count as punctuation  */
    UC_TICK = 64,      /* `, which does so for some tokenizers                        */
    UC_WORD = UC_LETTER | UC_NUMBER | UC_SPACE
};

enum { UCLASS_N = 0x3134b };                   /* no code point from here on has a bit */

extern uint8_t uclass_table[UCLASS_N];         /* all 0 before uclass_open             */

void uclass_open(void);                        /* [any thread], any number of times    */
const char *uclass_version(void);              /* Unicode's, as "14.0.0"               */

/* The bits of the character at p < end, its length in *n. A byte that is no
 * part of one counts as U+FFFD, which has none. */
unsigned uclass_far(const uint8_t *p, const uint8_t *end, size_t *n);

static inline unsigned uclass_at(const uint8_t *p, const uint8_t *end, size_t *n)
{
    if (*p >= 0x80)
        return uclass_far(p, end, n);
    *n = 1;
    return uclass_table[*p];
}

#endif
