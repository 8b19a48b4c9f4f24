/* exchange.h - one request and its answer, between HTTP and the API.
 *
 * http.c owns the bytes and the connection, gen.c and api_*.c what they mean. When
 * the client leaves while the engine still works for it, the exchange becomes
 * an orphan: its requests are cancelled, and exchange.c frees it once the
 * engine has let go of them all. */
#ifndef BITNET_SERVE_EXCHANGE_H
#define BITNET_SERVE_EXCHANGE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/serve/serve.h"

struct api_error;

enum answer {
    ANSWER_DONE,                  /* status and out hold all of it             */
    ANSWER_WAIT,                  /* nothing to say before the next wake       */
    ANSWER_STREAM,                /* status is decided; out grows              */
    ANSWER_BROKEN                 /* cannot be finished: cut the connection    */
};

/* What an API key may do; a route names the one that it asks for. */
enum scope {
    SCOPE_NONE,                   /* no key needed: health, the preflight      */
    SCOPE_READ,                   /* looking: models, tokens, metrics          */
    SCOPE_INFER,                  /* work for the engine                       */
    SCOPE_ADMIN                   /* what changes the server                   */
};

/* What the access log tells of the engine's work, filled by who knows it.
 * Times are engine_now_us's clock; 0: did not happen. */
struct exchange_work {
    uint32_t n_prompt, n_cached, n_new;   /* tokens                            */
    uint64_t submit_us;           /* handed to the engine                      */
    uint64_t begin_us;            /* left the queue                            */
    uint64_t first_us;            /* its first token                           */
};

struct exchange {
    struct serve *serve;          /* valid while the connection is             */
    struct exchange *next, *prev; /* one of serve's lists, under its lock      */
    uint64_t serial;
    uint64_t start_us;
    const struct route *route;    /* NULL until matched                        */
    const char *tail;             /* what follows a prefix route in the path   */
    char *path;
    char request_id[40];          /* the client's X-Request-Id, or one made here */
    const char *key_name;         /* of the API key, as long as the exchange; or NULL */
    struct buf body;
    bool body_over;               /* larger than the limit: thrown away        */
    size_t body_seen;
    bool started;

    unsigned status;              /* HTTP                                      */
    const char *type;             /* Content-Type; NULL: JSON, or an event stream */
    const char *error_code;       /* of the error that was told, a constant; or NULL */
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

    struct exchange_work work;
    struct gen *gen;              /* gen.c's, or NULL                          */
};

/* A table of routes ends with one whose method is NULL; http.c lists the
 * tables. */
struct route {
    const char *method, *path;
    bool prefix;                  /* path ends where the tail begins           */
    bool while_loading;           /* answered before serve_ready too           */
    enum scope scope;
    enum answer (*start)(struct exchange *);   /* [http] the body is complete  */
    /* The body of an error, whoever finds it; NULL: OpenAI's shape. */
    void (*error)(struct buf *out, const struct api_error *);
};

/* exchange.c */
void exchange_wake(struct exchange *);         /* [any] its answer can go on   */
/* [http] A header of the request, or NULL; valid as long as the exchange's
 * route runs. Any case of name. */
const char *exchange_header(struct exchange *, const char *name);

enum serve_state { SERVE_LOADING, SERVE_READY, SERVE_DRAINING, SERVE_STOPPING };
enum serve_state serve_state(const struct serve *);           /* [any] */
const struct serve_model *serve_model(const struct serve *);  /* [any] once ready */

/* gen.c: answers that take time; legal for exchanges without one */
enum answer gen_more(struct exchange *);       /* [http] after ANSWER_WAIT or _STREAM */
void gen_cancel(struct exchange *);            /* [http] nobody waits for the answer  */
/* [any] The engine works for it no more, so that gen_free does not wait. */
bool gen_is_idle(const struct exchange *);
void gen_free(struct exchange *);              /* [not the engine's thread] */

/* api_refuse.c: status and an error body, in the shape that the route has */
enum answer api_refuse(struct exchange *, unsigned status, const char *code, const char *message);
enum answer api_refuse_error(struct exchange *, const struct api_error *);
enum answer api_refuse_memory(struct exchange *);

/* Routes, a table per file. */
extern const struct route api_completions_route[];
extern const struct route api_chat_route[];
extern const struct route api_models_route[];
extern const struct route health_route[];
extern const struct route metrics_route[];

#endif
