/* otlp.h - spans to a collector: OTLP over HTTP, JSON encoding.
 *
 * A span is copied into a bounded queue, and a thread of its own posts batches.
 * A collector that is slow or gone costs spans, which are counted, and never
 * makes a request wait. */
#ifndef BITNET_SERVE_OTLP_H
#define BITNET_SERVE_OTLP_H

#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/serve/trace.h"

enum {
    OTLP_MAX_QUEUE = 1024,        /* spans                                     */
    OTLP_MAX_BATCH = 128          /* spans in one post                         */
};

struct otlp_span {                /* one request; constants are not copied     */
    struct trace trace;
    const char *method, *route;   /* constants                                 */
    const char *operation;        /* gen_ai.operation.name, a constant         */
    const char *finish;           /* why the first choice ended, a constant; NULL */
    const char *error;            /* code of the error that was told, a constant; NULL */
    char request_id[40];
    unsigned status;              /* HTTP                                      */
    uint32_t n_prompt, n_cached, n_new;
    /* Nanoseconds since 1970; 0: did not happen. */
    uint64_t start_ns, queue_ns, prefill_ns, first_ns, end_ns;
};

struct otlp_count {
    uint64_t n_sent, n_dropped;   /* accepted by the collector; queue was full */
    uint64_t n_failed;            /* given to a collector that did not take them */
};

struct otlp;

/* url: "http://127.0.0.1:4318/v1/traces", http or https. */
int otlp_open(struct otlp **out, const char *url, struct err *);
/* Posts what is queued, for at most two seconds. NULL is legal. */
void otlp_close(struct otlp *);
void otlp_add(struct otlp *, const struct otlp_span *);       /* [any] */
void otlp_count(const struct otlp *, struct otlp_count *);    /* [any] */
void otlp_model(struct otlp *, const char *model);   /* [any] of spans from now on; copied */

/* otlp_json.c: the body of a post, appended to out. */
void otlp_write(struct buf *out, const struct otlp_span *, unsigned n, const char *model);

#endif
