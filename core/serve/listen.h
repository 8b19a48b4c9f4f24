/* listen.h - the socket that clients connect to: taken, opened, shut.
 *
 * A TCP port is taken at once and opened later. The file of a Unix socket
 * appears when it is opened; before, it is only seen to that it can. One that
 * is left over from a server that was killed is replaced; one on which
 * somebody listens is not. */
#ifndef BITNET_SERVE_LISTEN_H
#define BITNET_SERVE_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/base/err.h"

struct listen {
    int fd;                       /* -1: none                                  */
    bool shut;
    bool is_local;                /* only this machine can connect             */
    char host[128];
    uint32_t port;
    char path[108];               /* of a Unix socket; "": TCP                 */
    mode_t mode;                  /* of its file                               */
    struct stat made;             /* the file that was made here               */
    char url[160];
};

struct listen_conf {
    const char *host;             /* address, name, or unix:/path              */
    uint32_t port;
    const char *mode;             /* octal; NULL, "": 0660                     */
    bool tls;                     /* for the url                               */
};

/* Takes the address; nobody can connect yet. A zeroed struct with fd -1 may be
 * closed. */
int listen_bind(struct listen *, const struct listen_conf *, struct err *);
int listen_open(struct listen *, struct err *);
/* New connections are refused from now on; the number stays taken. */
void listen_shut(struct listen *);
void listen_close(struct listen *);

#endif
