/* err.c - filling struct err.
 *
 * Messages quote names that come from files and sockets, so control bytes are
 * replaced here, once: an error is one line wherever it is printed. */
#include "core/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(e->text, sizeof e->text, fmt, ap) < 0)
        e->text[0] = 0;
    va_end(ap);
    one_line(e->text);
    e->code = code;
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return ERR_INTERNAL;
    char head[sizeof e->text], tail[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(head, sizeof head, fmt, ap) < 0)
        head[0] = 0;
    va_end(ap);
    memcpy(tail, e->text, sizeof tail);
    size_t n = strnlen(head, sizeof head);
    size_t room = sizeof e->text - 1;
    if (n > room - 2)
        n = room - 2;                 /* a prefix never hides that there is more */
    memcpy(e->text, head, n);
    memcpy(e->text + n, ": ", 2);
    size_t m = strnlen(tail, sizeof tail);
    if (m > room - n - 2)
        m = room - n - 2;
    memcpy(e->text + n + 2, tail, m);
    e->text[n + 2 + m] = 0;
    one_line(e->text);
    return e->code;
}
