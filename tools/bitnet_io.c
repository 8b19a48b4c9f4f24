/* bitnet_io.c - texts and ids in, results and complaints out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/utf8.h"
#include "tools/bitnet.h"

enum { MAX_TEXT_SIZE = 64 << 20 };      /* bytes of a text that is read */

static bool closed_pipe;

int put_out(const char *p, size_t n, struct err *e)
{
    static char name[] = "standard output";
    struct file_out o = { .fd = STDOUT_FILENO, .path = name };
    int rc = file_out_write(&o, p, n, e);
    if (rc && errno == EPIPE)
        closed_pipe = true;
    return rc;
}

int put_json(json_t *j, struct err *e)
{
    char *s = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(j);
    int rc = s ? put_out(s, strlen(s), e) : err_set(e, ERR_NOMEM, "JSON: no memory for the result");
    free(s);
    return rc ? rc : put_out("\n", 1, e);
}

json_t *json_text(const char *p, size_t n)
{
    struct buf b = { 0 };
    utf8_mend(p, n, &b);
    json_t *j = b.failed ? NULL : json_stringn_nocheck(b.p ? b.p : "", b.n);
    buf_free(&b);
    return j;
}

json_t *json_cstr(const char *s)
{
    return s ? json_text(s, strlen(s)) : json_null();
}

void put_escaped(struct buf *b, const char *p, size_t n)
{
    for (size_t at = 0, k; at < n; at += k) {
        uint32_t cp = 0;
        unsigned char c = (unsigned char)p[at];
        k = utf8_decode(p + at, n - at, &cp);
        if (c == '\n')
            buf_add(b, "\\n", 2);
        else if (c == '\t')
            buf_add(b, "\\t", 2);
        else if (c == '\\')
            buf_add(b, "\\\\", 2);
        else if (!k || cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
            for (size_t i = 0; i < (k ? k : 1); i++)
                buf_addf(b, "\\x%02x", (unsigned)(unsigned char)p[at + i]);
        else
            buf_add(b, p + at, k);
        k += !k;
    }
}

/* The descriptor itself, not /dev/stdin: that cannot be opened when standard
 * input is a socket. */
static int read_stdin(char **text, size_t *n, struct err *e)
{
    struct buf b = { 0 };
    char piece[16384];
    ssize_t got;
    while ((got = read(STDIN_FILENO, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got > 0)
            buf_add(&b, piece, (size_t)got);
        if (got > 0 && !b.failed && b.n <= MAX_TEXT_SIZE)
            continue;
        int rc = got < 0 ? err_set(e, ERR_IO, "standard input: cannot read: %s", strerror(errno))
               : b.failed ? err_set(e, ERR_NOMEM, "standard input: no memory for its content")
                          : err_set(e, ERR_LIMIT, "standard input: over %d bytes, the most this "
                                    "may hold", MAX_TEXT_SIZE);
        buf_free(&b);
        return rc;
    }
    *text = b.p;
    *n = b.n;
    return 0;
}

int read_text(const char *path, char **text, size_t *n, struct err *e)
{
    *text = NULL;
    *n = 0;
    return strcmp(path, "-") ? file_read(path, MAX_TEXT_SIZE, text, n, e) : read_stdin(text, n, e);
}

int add_id(struct tokens *t, int32_t id, struct err *e)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? t->cap * 2 : 64;
        int32_t *more = realloc(t->id, cap * sizeof *more);
        if (!more)
            return err_set(e, ERR_NOMEM, "token ids: no memory for %zu", cap);
        t->id = more;
        t->cap = cap;
    }
    t->id[t->n++] = id;
    return 0;
}

int parse_ids(const char *text, size_t n, struct tokens *t, struct err *e)
{
    static const char space[] = ", \t\r\n";
    const char *end = text + n;
    for (const char *p = text; p < end;) {
        if (*p && strchr(space, *p)) {
            p++;
            continue;
        }
        uint64_t id = 0;
        const char *first = p;
        for (; p < end && *p >= '0' && *p <= '9' && id <= INT32_MAX; p++)
            id = id * 10 + (uint64_t)(*p - '0');
        if (p == first || id > INT32_MAX || (p < end && (!*p || !strchr(space, *p))))
            return err_set(e, ERR_ARG, "token ids: \"%.*s\", expected whole numbers up to %d",
                           (int)(end - first < 20 ? end - first : 20), first, INT32_MAX);
        int rc = add_id(t, (int32_t)id, e);
        if (rc)
            return rc;
    }
    return 0;
}

int tool_exit(int rc, const struct err *e)
{
    if (rc >= 0)
        return TOOL_OK;           /* 1: --help was printed */
    if (!closed_pipe)
        fprintf(stderr, "bitnet: %s\n", e->text);
    return rc == ERR_ARG ? TOOL_USAGE : TOOL_FAILED;
}
