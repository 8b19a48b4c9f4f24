/* listen.h - the socket that clients connect to: bound, opened, shut. */
#ifndef BITNET_SERVE_LISTEN_H
#define BITNET_SERVE_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct listen {
    int fd;                       /* -1: none                                  */
    bool shut;
    char host[128];
    uint32_t port;
    char url[160];
};

/* Takes the address; nobody can connect yet. */
int listen_bind(struct listen *, const char *host, uint32_t port, struct err *);
int listen_open(struct listen *, struct err *);
/* New connections are refused from now on; the number stays taken. */
void listen_shut(struct listen *);
void listen_close(struct listen *);

#endif
