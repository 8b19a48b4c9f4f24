/* buf.h - a growing run of bytes, and borrowed strings.
 *
 * A failed allocation sets `failed` and every later call does nothing, so a
 * caller may check once, at the end. The bytes are always followed by a NUL
 * that n does not count. Zero-initialise to start. */
#ifndef BITNET_BASE_BUF_H
#define BITNET_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct str {              /* borrowed bytes, not terminated */
    const char *p;
    size_t n;
};

struct str str_of(const char *text);     /* all of a C string */
bool str_is(struct str, const char *text);
bool str_same(struct str a, struct str b);

/* The white space of JSON and most formats; the first byte from i on that is none. */
bool str_is_space(char c);
size_t str_skip_space(struct str s, size_t i);

struct buf {
    char *p;              /* NULL while nothing was added */
    size_t n, cap;
    bool failed;
};

void buf_add(struct buf *, const void *p, size_t n);
__attribute__((format(printf, 2, 3)))
void buf_addf(struct buf *, const char *fmt, ...);
void buf_clear(struct buf *);            /* n = 0, keeps the memory */
void buf_free(struct buf *);

#endif
