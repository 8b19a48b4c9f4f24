/* log.c - formatting one line and handing it to the kernel in one piece. */
#include "core/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/utf8.h"

#define LINE_MAX_BYTES 2000

static const char *const level_name[] = { "", "error", "warning", "info", "debug" };
static const int level_syslog[] = { 0, 3, 4, 6, 7 };   /* syslog(3) priorities */

static struct {
    _Atomic int level;            /* enum log_level                            */
    bool json, journal;
} setup = { .level = LOG_LEVEL_INFO };

/* systemd sets JOURNAL_STREAM=device:inode of the stream that it connected;
 * a redirected standard error differs. */
static bool stderr_is_journal(void)
{
    const char *v = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    return v && sscanf(v, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
           st.st_dev == dev && st.st_ino == ino;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&setup.level, (int)level, memory_order_relaxed);
}

void log_setup(enum log_level level, bool json)
{
    log_set_level(level);
    setup.json = json;
    setup.journal = stderr_is_journal();
}

/* Appends what fits of a NUL-terminated piece; a piece is never split. */
static size_t put(char *line, size_t at, size_t max, const char *piece)
{
    size_t n = strlen(piece);
    if (at + n > max)
        return at;
    memcpy(line + at, piece, n);
    return at + n;
}

/* Code points that a terminal or a log reader might act on. */
static bool is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 || cp == 0x2029;
}

/* The code point at text, or the byte there, as it may stand in a line; returns
 * the bytes of text that it took. */
static size_t escape_one(const char *text, size_t n, bool json, char piece[16])
{
    uint32_t cp = 0;
    size_t len = utf8_decode(text, n, &cp);
    memset(piece, 0, 16);
    if (!len) {
        len = 1;
        snprintf(piece, 16, json ? "\\ufffd" : "\\x%02x", (unsigned char)*text);
    } else if (is_control(cp))
        snprintf(piece, 16, json || cp > 0xff ? "\\u%04x" : "\\x%02x", (unsigned)cp);
    else if (json && (cp == '"' || cp == '\\')) {
        piece[0] = '\\';
        piece[1] = (char)cp;
    } else
        memcpy(piece, text, len);
    return len;
}

void log_escape(struct buf *out, const char *text, size_t n, bool json)
{
    char piece[16];
    for (size_t i = 0; i < n;) {
        i += escape_one(text + i, n - i, json, piece);
        buf_add(out, piece, strlen(piece));
    }
}

/* Appends what fits of text; no escape is split. */
static size_t put_escaped(char *line, size_t at, size_t max, const char *text, bool json)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        char piece[16];
        i += escape_one(text + i, n - i, json, piece);
        size_t next = put(line, at, max, piece);
        if (next == at)
            break;
        at = next;
    }
    return at;
}

static size_t put_json_head(char *line, size_t max, enum log_level level)
{
    struct timespec now;
    struct tm tm;
    char stamp[80], day[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp, sizeof stamp, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"msg\":\"", day,
             (int)(now.tv_nsec / 1000000), level_name[level]);
    return put(line, 0, max, stamp);
}

static size_t put_text_head(char *line, size_t max, enum log_level level)
{
    char head[24];
    if (setup.journal)
        snprintf(head, sizeof head, "<%d>", level_syslog[level]);
    else
        snprintf(head, sizeof head, "%s: ", level_name[level]);
    return put(line, 0, max, head);
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if ((int)level > atomic_load_explicit(&setup.level, memory_order_relaxed))
        return;
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len < 0)
        return;
    const char *tail = setup.json ? "\"}\n" : "\n";
    size_t max = sizeof line - strlen(tail);
    size_t n = setup.json ? put_json_head(line, max, level) : put_text_head(line, max, level);
    n = put_escaped(line, n, max, text, setup.json);
    n = put(line, n, sizeof line, tail);
    ssize_t put_n = write(STDERR_FILENO, line, n);
    (void)put_n;                        /* there is nowhere left to complain */
}
