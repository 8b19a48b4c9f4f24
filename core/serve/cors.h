/* cors.h - which web pages of other sites may call: server.cors_origin. */
#ifndef BITNET_SERVE_CORS_H
#define BITNET_SERVE_CORS_H

#include <stdbool.h>

#include "core/base/err.h"

enum { CORS_MAX_ORIGIN = 64 };

struct cors {
    char *text;                   /* holds the origins                         */
    const char *origin[CORS_MAX_ORIGIN];
    unsigned n;
    bool any;                     /* "*"                                       */
};

/* list: "", "*", or origins as browsers send them, with spaces or commas
 * between, as in "https://a.example http://localhost:3000". */
int cors_open(struct cors *, const char *list, struct err *);
void cors_close(struct cors *);

/* [any] Pages of this origin may call; exact bytes. */
bool cors_allows(const struct cors *, const char *origin);
/* [any] The page came from this very server. host: the Host header, or NULL. */
bool cors_is_own(const char *origin, const char *host);

#endif
