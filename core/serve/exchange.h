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
#include "core/serve/keys.h"
#include "core/serve/serve.h"
#include "core/serve/trace.h"

struct api_error;

enum answer {
    ANSWER_DONE,                  /* status and out hold all of it             */
    ANSWER_WAIT,                  /* nothing to say before the next wake       */
    ANSWER_STREAM,                /* status is decided; out grows              */
    ANSWER_BROKEN                 /* cannot be finished: cut the connection    */
};

/* What the access log tells of the engine's work; gen.c's. */
struct exchange_work {
    uint32_t n_prompt, n_cached, n_new;   /* tokens, all choices together      */
    bool admitted;                /* the engine is done with it, so queue_us is known */
    uint64_t queue_us;            /* waited for its place, the longest choice  */
    uint64_t first_us;            /* submitted to the first token; 0: unknown  */
    uint64_t submit_us;           /* when, monotonic clock; 0: never           */
    const char *finish;           /* why the first choice ended, a constant; NULL */
};

struct exchange {
    struct serve *serve;          /* valid while the connection is             */
    struct settings *settings;    /* those it began with; holds a reference    */
    struct exchange *next, *prev; /* one of serve's lists, under its lock      */
    uint64_t serial;
    uint64_t start_us;
    const struct route *route;    /* NULL until matched                        */
    const char *tail;             /* what follows a prefix route in the path   */
    char *path;
    char method[16];              /* for the log: cut                          */
    char peer[48];                /* the client's address                      */
    char request_id[40];          /* the client's X-Request-Id, or one made here */
    struct trace trace;
    const char *key_name;         /* of the API key, as long as the exchange; or NULL */
    struct buf body;
    struct buf logged;            /* of the body, for the access log           */
    bool refused;                 /* status and out are its answer; the body is */
                                  /*   read and dropped                        */
    bool preflight;               /* a browser asks whether a page may call    */
    bool cut;                     /* the connection ends with this answer      */
    bool body_over;               /* larger than the limit: thrown away        */
    size_t body_seen;
    bool started;

    unsigned status;              /* HTTP                                      */
    const char *type;             /* Content-Type; NULL: JSON, or an event stream */
    const char *error_code;       /* of the error that was told, a constant; or NULL */
    /* Values of headers; NULL: Allow and ETag: none; Cache-Control: no-store;
     * Content-Security-Policy: a page may do nothing, nor be framed. */
    const char *allow, *cache, *csp, *etag;
    unsigned retry_s;             /* Retry-After of a 429 or 503; 0: 1         */
    uint64_t n_sent;              /* bytes of body given to the connection     */
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
void gen_count(struct exchange *);             /* [http] fills work                   */
void gen_free(struct exchange *);              /* [not the engine's thread] */

/* api_refuse.c: status and an error body, in the shape that the route has */
enum answer api_refuse(struct exchange *, unsigned status, const char *code, const char *message);
enum answer api_refuse_error(struct exchange *, const struct api_error *);
enum answer api_refuse_memory(struct exchange *);

/* Routes, a table per file. */
extern const struct route api_completions_route[];
extern const struct route api_chat_route[];
extern const struct route api_messages_route[];
extern const struct route api_responses_route[];
extern const struct route api_models_route[];
extern const struct route api_embed_route[];
extern const struct route api_text_route[];
extern const struct route health_route[];
extern const struct route metrics_route[];
extern const struct route web_route[];

#endif
