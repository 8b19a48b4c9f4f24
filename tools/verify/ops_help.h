/* ops_help.h - what the three ops files share. */
#ifndef VERIFY_OPS_HELP_H
#define VERIFY_OPS_HELP_H

#include "tools/verify/ops.h"

/* Returns the status of a call that failed, with its name in *failed. */
#define TRY(name, call)             \
    do {                            \
        const int rc_ = (call);     \
        if (rc_) {                  \
            *failed = (name);       \
            return rc_;             \
        }                           \
    } while (0)

/* rc of a call; what it took becomes the time of the next plane. */
#define TIMED(out, call) (result_time(out), result_timed(out, (call)))
void result_time(struct result *);
int result_timed(struct result *, int rc);

void result_add(struct result *, const char *op, const bnp_rows *);
void result_add_words(struct result *, const char *op, const void *words, uint32_t rows,
                      uint32_t cols);

#endif
