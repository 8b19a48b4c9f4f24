/* watchdog.c - tells the service manager that work goes on, as long as it does.
 *
 * The engine thread is healthy while it sleeps for want of requests, and while
 * its loop turns or calls of devices come and go: a step may be long, one call
 * may not. A stall is said once, with what was under way; whoever watches
 * (WatchdogSec=, /health/live) restarts the process, which does not end by
 * itself: what hangs might be a debugger's doing, or a machine that slept. */
#include <inttypes.h>
#include <systemd/sd-daemon.h>

#include "core/base/log.h"
#include "core/daemon/daemon.h"

void watchdog_look(struct bitnetd *d)
{
    char where[256];
    uint64_t us = 0;
    const uint64_t stalled_us = engine_stalled_us(d->engine, where);
    const bool stalled = d->conf.watchdog_s && stalled_us / 1000000 >= d->conf.watchdog_s;
    if (stalled && !d->stalled)
        log_error("engine: has not moved on for %" PRIu64 " s, server.watchdog_s is %u: %s; "
                  "restart bitnetd if it stays so", stalled_us / 1000000, d->conf.watchdog_s, where);
    if (!stalled && d->stalled)
        log_warn("engine: moves on again");
    d->stalled = stalled;
    serve_stalled(d->serve, stalled);
    if (!stalled && sd_watchdog_enabled(0, &us) > 0)
        sd_notify(0, "WATCHDOG=1");
}
