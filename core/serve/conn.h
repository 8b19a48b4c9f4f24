/* conn.h - connections, and how long a request may take to arrive.
 *
 * libmicrohttpd closes a connection without traffic; a client that sends a
 * byte now and then would keep one for ever. Here every connection has a time
 * by which its request must be whole; one that is late gets a 408 and is shut
 * down by a thread that watches them all. Between two requests of one
 * connection the clock allows for the idle time too.
 *
 * A connection that ends while its client still sends is kept open for a
 * moment and read empty: a close would make the client's kernel throw the
 * answer away before it was read. */
#ifndef BITNET_SERVE_CONN_H
#define BITNET_SERVE_CONN_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct conns;

struct conn_conf {
    uint32_t read_s;              /* for a request to arrive; 0: any time      */
    uint32_t idle_s;              /* between two                               */
    bool tls;                     /* then nothing can be said in plain text    */
};

struct conn {                     /* one connection; MHD's socket context      */
    struct conn *next, *prev;
    struct conns *all;
    int fd;
    uint64_t deadline_us;         /* monotonic; 0: none                        */
    bool begun;                   /* part of a request is there                */
    char peer[INET6_ADDRSTRLEN];  /* address of the client; "unix"             */
};

int conn_all_open(struct conns **out, const struct conn_conf *, struct err *);
void conn_all_close(struct conns *);                /* NULL is legal; no connection is left */
uint32_t conn_all_count(struct conns *);       /* [any] */

/* MHD's notification of a connection that begins or ends; ctx: the conns. */
void conn_all_notify(void *ctx, struct MHD_Connection *, void **context,
                  enum MHD_ConnectionNotificationCode);
/* [http] NULL when there was no memory for one. */
struct conn *conn_of(struct MHD_Connection *);
/* [http] All of these take NULL. A request's first line is there; all of it is
 * there; its answer is out. */
void conn_begin(struct conn *);
void conn_whole(struct conn *);
void conn_next(struct conn *);
/* [http] It came too late. */
bool conn_is_cut(struct conn *);

#endif
