/* http_client.h - a client that does what it is told, for tests of the server.
 *
 * Every function but http_try ends the test when the socket fails. */
#ifndef BITNET_TESTS_HTTP_CLIENT_H
#define BITNET_TESTS_HTTP_CLIENT_H

#include <stdbool.h>

#include "core/base/buf.h"

struct http_answer {
    int status;                   /* 0: the connection ended before one        */
    bool whole;                   /* ended as its framing says it must         */
    struct buf head, body;        /* body without chunk framing                */
};

/* A connected socket, or -1. url: "http://127.0.0.1:PORT". */
int http_try(const char *url);
int http_connect(const char *url);
void http_send(int fd, const char *p, size_t n);
/* body NULL: none. Adds Host, Content-Length and, with close, Connection. */
void http_request(int fd, const char *method, const char *path, const char *body, bool close);
/* Reads up to the end of the connection and takes it apart; closes fd. */
void http_finish(int fd, struct http_answer *);
/* Reads at least n bytes, of whatever. */
void http_read_some(int fd, size_t n);
/* All of it in one. */
struct http_answer http_call(const char *url, const char *method, const char *path,
                             const char *body);
void http_free(struct http_answer *);
/* The text of a completion: the first choice's, or of all events of a stream
 * with that index. done: whether [DONE] was the last event. */
struct buf http_text(const struct http_answer *, unsigned index, bool *done);
const char *http_header(const struct http_answer *, const char *name);

#endif
