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
#include "core/model/model.h"
#include "core/model/vocab.h"

/* Texts are borrowed for the call only. "" and NULL mean the same. What a
 * reload changes is marked with r. */
struct serve_conf {
    const char *host;             /* address, name, or unix:/path              */
    uint32_t port;                /* 0: any free one                           */
    const char *socket_mode;      /* of a Unix socket, octal; "": 0660         */
    uint32_t n_threads;
    const char *tls_cert, *tls_key;      /* PEM files; "": no TLS              */
    uint32_t max_connections;
    uint32_t max_per_address;     /* connections of one client address; 0: any */
    size_t max_header_size;       /* request line and headers, bytes; 0: 32 KiB */
    size_t max_body_size;         /* r bytes                                   */
    uint32_t timeout_s;           /* an idle connection is closed              */
    uint32_t read_timeout_s;      /* a request has so long to arrive; 0: any   */
    const char *keys;             /* r file of API keys; "": nobody needs one  */
    bool open;                    /* no keys, and everybody may connect: meant */
    bool strict;                  /* then it must be meant                     */
    const char *cors_origin;      /* r "", "*", or origins                     */
    bool page;                    /* the page at / is there                    */
    const char *access_log;       /* r off, stderr, or a file                  */
    bool log_prompts;             /* r bodies go into the access log           */
    const char *otlp_url;         /* collector of spans; "": none              */
    uint32_t trace_percent;       /* of requests that begin a trace            */
};

struct serve_model {              /* what is served; borrowed                  */
    const char *id;               /* its name in /v1/models                    */
    int64_t created;              /* seconds since 1970                        */
    struct engine *engine;
    const struct vocab *vocab;
    uint32_t max_new_default;     /* when a request has no max_tokens          */
    uint32_t max_prompt, max_new; /* tokens of one request, at most; 0: what fits */
    uint64_t seed;                /* when a request has no seed                */
    bool seed_random;             /* then a fresh one each                     */
    uint32_t deadline_s;          /* of a request without timeout_ms; 0: none  */
    uint32_t max_queue_s;         /* a request waits for a place; 0: any time  */
    uint32_t n_embd;              /* numbers of an embedding                   */
    enum model_pooling pooling;   /* not NONE: vectors only, no text           */
    const struct chat_template *chat;   /* NULL: no conversations              */
    struct gen_grammars *grammars;
};

struct serve;

int serve_bind(struct serve **out, const struct serve_conf *, struct err *);
int serve_listen(struct serve *, struct err *);
void serve_ready(struct serve *, const struct serve_model *);
/* "http://127.0.0.1:8080", valid from serve_bind to serve_close. */
const char *serve_url(const struct serve *);
uint32_t serve_active(struct serve *);           /* [any] requests being answered */
uint32_t serve_connections(struct serve *);      /* [any] open ones */
/* Takes what is marked with r, all of it or, on an error, nothing; opens the
 * access log anew. Requests that have begun go on as they began. */
int serve_reload(struct serve *, const struct serve_conf *, struct err *);
/* [any] What /health/live says: the engine does not move on. */
void serve_stalled(struct serve *, bool);
void serve_drain(struct serve *);
void serve_close(struct serve *);

#endif
