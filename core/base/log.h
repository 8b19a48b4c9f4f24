/* log.h - one line per event to standard error, as text or as JSON.
 *
 * Lines are written with one write(2) each, so threads never mix. Text
 * carries a level prefix that the systemd journal understands when standard
 * error is the journal. Prompts and completions are never logged here. */
#ifndef BITNET_BASE_LOG_H
#define BITNET_BASE_LOG_H

#include <stdbool.h>

#include "core/base/buf.h"

enum log_level { LOG_LEVEL_ERROR = 1, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* [main thread, before others start] Default: INFO, text. */
void log_setup(enum log_level level, bool json);
void log_set_level(enum log_level level);        /* [any thread] */

/* [any thread] A line longer than 2,000 bytes is cut; control characters are
 * escaped, so foreign text cannot forge a second line. */
__attribute__((format(printf, 2, 3)))
void log_line(enum log_level level, const char *fmt, ...);

/* [any thread] Appends text so that it stays on one line, and with json so that
 * it stays inside its quotation marks: control characters, and bytes that are
 * no UTF-8, are escaped. */
void log_escape(struct buf *out, const char *text, size_t n, bool json);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
