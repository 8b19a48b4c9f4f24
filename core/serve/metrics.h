/* metrics.h - what the server counts by itself, and GET /metrics, which writes
 * that and the engine's counts as Prometheus text (version 0.0.4).
 *
 * Names and labels are an interface: docs/metrics.md lists them all, and a test
 * compares. Label values come from tables of ours, never from a client, so the
 * number of series is bounded. */
#ifndef BITNET_SERVE_METRICS_H
#define BITNET_SERVE_METRICS_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

struct exchange;
struct route;

enum { METRICS_MAX_ROUTE = 256, METRICS_MAX_CODE = 64 };

struct metrics {
    pthread_mutex_t lock;         /* guards the rest                           */
    struct metrics_route {
        const struct route *route;   /* NULL: no route matched                 */
        unsigned status;
        uint64_t n;
    } route[METRICS_MAX_ROUTE];
    struct metrics_code {
        const char *code;         /* of an error, for programs                 */
        uint64_t n;
    } code[METRICS_MAX_CODE];
    unsigned n_route, n_code;
    uint64_t n_other;             /* requests that found the table full        */
    time_t start;
};

int metrics_open(struct metrics *);
void metrics_close(struct metrics *);
/* [http] The exchange is over; status as the access log has it. */
void metrics_count(struct metrics *, const struct exchange *, unsigned status);

#endif
