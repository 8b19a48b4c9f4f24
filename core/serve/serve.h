/* serve.h - the daemon's face: one socket, HTTP/1.1 behind it.
 *
 * Order of use: serve_bind takes the address before the long load, so a port
 * in use is known at once; serve_listen opens it (requests get 503 until the
 * model is there); serve_ready hands over the model; serve_drain refuses new
 * work; serve_close ends every connection. Main thread only, except where
 * said. The engine must run until serve_close has returned. */
#ifndef BITNET_SERVE_SERVE_H
#define BITNET_SERVE_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/engine/engine.h"
#include "core/model/chat.h"
#include "core/model/vocab.h"

struct serve_conf {
    const char *host;             /* address or name                           */
    uint32_t port;                /* 0: any free one                           */
    uint32_t n_threads;
    uint32_t max_connections;
    size_t max_body_size;         /* bytes                                     */
    uint32_t timeout_s;           /* an idle connection is closed              */
};

struct serve_model {              /* what is served; borrowed                  */
    const char *id;               /* its name in /v1/models                    */
    int64_t created;              /* seconds since 1970                        */
    struct engine *engine;
    const struct vocab *vocab;
    uint32_t max_new_default;     /* when a request has no max_tokens          */
    uint64_t seed;                /* when a request has no seed                */
    bool seed_random;             /* then a fresh one each                     */
    uint32_t deadline_s;          /* of a request without timeout_ms; 0: none  */
    uint32_t n_embd;              /* numbers of an embedding                   */
    const struct chat_template *chat;   /* NULL: no conversations              */
};

struct serve;

int serve_bind(struct serve **out, const struct serve_conf *, struct err *);
int serve_listen(struct serve *, struct err *);
void serve_ready(struct serve *, const struct serve_model *);
/* "http://127.0.0.1:8080", valid from serve_bind to serve_close. */
const char *serve_url(const struct serve *);
uint32_t serve_active(struct serve *);           /* [any] requests being answered */
/* [any] What /health/live says: the engine does not move on. */
void serve_stalled(struct serve *, bool);
void serve_drain(struct serve *);
void serve_close(struct serve *);

#endif
