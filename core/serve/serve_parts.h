/* serve_parts.h - what the files of the server share: http.c routes and answers,
 * exchange.c keeps exchanges alive as long as somebody needs them, listen.c has
 * the socket, serve.c their order. Not for others. */
#ifndef BITNET_SERVE_PARTS_H
#define BITNET_SERVE_PARTS_H

#include "core/serve/conn.h"
#include "core/serve/exchange.h"
#include "core/serve/hangup.h"
#include "core/serve/listen.h"
#include "core/serve/metrics.h"
#include "core/serve/otlp.h"
#include "core/serve/serve.h"
#include "core/serve/settings.h"
#include "core/serve/tls.h"

struct serve {
    struct serve_conf conf;       /* its numbers; the texts are gone           */
    struct serve_model model;
    _Atomic int state;            /* enum serve_state                          */
    struct listen listen;
    struct tls tls;
    struct conns *conns;
    pthread_mutex_t reload;       /* guards the next                           */
    struct settings *settings;
    struct MHD_Daemon *daemon;
    struct hangup *hangup;
    struct buf selection;         /* who computes what; written before ready   */
    _Atomic bool stalled;         /* as the watchdog sees the engine           */
    struct metrics metrics;
    struct otlp *otlp;            /* NULL: spans go nowhere                    */
    pthread_mutex_t lock;         /* guards the next four                      */
    struct exchange *active;      /* being answered                            */
    struct exchange *orphan;      /* client gone, engine not yet               */
    uint32_t n_active;
    uint64_t serial;
};

/* serve.c: [any] a reference to the settings of now. */
struct settings *serve_settings(struct serve *);

/* exchange.c. new: [http] NULL without memory; it is in the list of the active. */
struct exchange *exchange_new(struct serve *, struct MHD_Connection *, const char *method,
                              const char *path);
/* [http] The request is over, answered or not. */
void exchange_end(struct exchange *, enum MHD_RequestTerminationCode);
/* Before the answer is looked at: wakes from now on are seen by exchange_sleep. */
void exchange_look(struct exchange *);
/* Suspends the connection; false when there was a wake since exchange_look,
 * or when the server stops: then nothing may be suspended any more. */
bool exchange_sleep(struct exchange *);
/* The client is gone, or the server stops. */
bool exchange_is_lost(struct exchange *);
/* From now on a hang-up wakes the exchange, suspended or not. */
void exchange_watch(struct exchange *);
/* [hang-up thread] ctx: the serve. */
void exchange_on_hangup(void *ctx, uint64_t serial);
/* Frees the orphans that the engine has let go of; true when none is left. */
bool exchange_reap(struct serve *);

/* spans.c: [http] the request is over; its span goes where spans go, if it has one. */
void spans_put(const struct exchange *, unsigned status, uint64_t end_us);

/* admit.c: [http] the headers are there. False: refused, with status and out. */
bool admit(struct exchange *, const char *method);

/* http.c: what libmicrohttpd calls; ctx: the serve. */
enum MHD_Result http_on_request(void *ctx, struct MHD_Connection *, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_size, void **slot);
void *http_on_line(void *ctx, const char *line, struct MHD_Connection *);
void http_on_completed(void *ctx, struct MHD_Connection *, void **slot,
                       enum MHD_RequestTerminationCode);

#endif
