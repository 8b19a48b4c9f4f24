/* exchange.h - one request and its answer, between HTTP and the API.
 *
 * http.c owns the bytes and the connection, api_openai.c what they mean. When
 * the client leaves while the engine still works for it, the exchange becomes
 * an orphan: its requests are cancelled, and http.c frees it once the engine
 * has let go of them all. */
#ifndef BITNET_SERVE_EXCHANGE_H
#define BITNET_SERVE_EXCHANGE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/serve/serve.h"

enum answer {
    ANSWER_DONE,                  /* status and out hold all of it             */
    ANSWER_WAIT,                  /* nothing to say before the next wake       */
    ANSWER_STREAM,                /* status is decided; out grows              */
    ANSWER_BROKEN                 /* cannot be finished: cut the connection    */
};

struct exchange {
    struct serve *serve;          /* valid while the connection is             */
    struct exchange *next, *prev; /* one of serve's lists, under its lock      */
    uint64_t serial;
    uint64_t start_us;
    const struct route *route;    /* NULL until matched                        */
    const char *tail;             /* what follows a prefix route in the path   */
    char *path;
    struct buf body;
    bool body_over;               /* larger than the limit: thrown away        */
    size_t body_seen;
    bool started;

    unsigned status;              /* HTTP                                      */
    const char *allow;            /* value of an Allow header, or NULL         */
    struct buf out;               /* the answer, or what of it is not sent     */
    size_t sent;                  /* bytes of out already written              */
    bool finished;                /* out is the last of the answer             */

    struct MHD_Connection *conn;
    int watched_fd;               /* in the hang-up watch; -1: not             */
    pthread_mutex_t lock;         /* guards the next two                       */
    bool awake;                   /* woken since http.c last looked            */
    bool suspended;               /* MHD leaves the connection alone           */
    _Atomic bool hung_up;         /* the client closed its side                */

    struct completion *completion;   /* api_openai.c's, or NULL                */
};

struct route {
    const char *method, *path;
    bool prefix;                  /* path ends where the tail begins           */
    bool while_loading;           /* answered before serve_ready too           */
    enum answer (*start)(struct exchange *);   /* [http] the body is complete  */
};

/* http.c */
void exchange_wake(struct exchange *);         /* [any] its answer can go on   */

enum serve_state { SERVE_LOADING, SERVE_READY, SERVE_DRAINING, SERVE_STOPPING };
enum serve_state serve_state(const struct serve *);           /* [any] */
const struct serve_model *serve_model(const struct serve *);  /* [any] once ready */

/* api_openai.c */
extern const struct route api_route[];
extern const unsigned api_n_route;
enum answer api_more(struct exchange *);       /* [http] after ANSWER_WAIT or _STREAM */
void api_cancel(struct exchange *);            /* [http] nobody waits for the answer  */
/* [any] The engine works for it no more, so that api_free does not wait. */
bool api_is_idle(const struct exchange *);
void api_free(struct exchange *);              /* [not the engine's thread] */
/* Sets status and an error body in OpenAI's shape. */
enum answer api_refuse(struct exchange *, unsigned status, const char *code, const char *message);

#endif
