/* utf8.h - UTF-8 as RFC 3629 has it: no surrogates, no overlong forms. */
#ifndef BITNET_BASE_UTF8_H
#define BITNET_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"

/* Bytes of the code point at p (1..4), its value in *cp; 0 when p[0..n) does
 * not start with a valid one. */
size_t utf8_decode(const char *p, size_t n, uint32_t *cp);
/* Bytes written; 0 for a surrogate or a value beyond U+10FFFF. */
size_t utf8_encode(uint32_t cp, char out[4]);

/* Length of the longest prefix that does not end inside a code point that
 * could still become valid: what a stream may emit now. Bytes that can never
 * become valid count as complete. */
size_t utf8_whole(const char *p, size_t n);

/* Appends the text to out with U+FFFD for each byte that is no part of a code
 * point, so the result does not depend on how a text was cut into pieces
 * between code points. For places that must hold valid UTF-8, as JSON. */
void utf8_mend(const char *p, size_t n, struct buf *out);

#endif
