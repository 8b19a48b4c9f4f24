/* reload.c - SIGHUP: the configuration again, and what of it can change.
 *
 * Everything is read and checked before anything is taken, so a bad file, or a
 * bad file of keys, changes nothing. What needs a restart is named. */
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "core/base/clock.h"
#include "core/base/conf_keys.h"
#include "core/base/log.h"
#include "core/daemon/daemon.h"

/* Everything else is memory that was planned, threads that run, weights that
 * were prepared, or what a request may rely on. */
static const char *const live[] = {
    "server.keys", "server.max_body_kib", "server.cors_origin", "server.drain_s",
    "server.watchdog_s", "log.level", "log.access", "log.prompts"
};

static bool is_live(const char *name)
{
    for (unsigned i = 0; i < sizeof live / sizeof *live; i++)
        if (!strcmp(live[i], name))
            return true;
    return false;
}

static void add(struct buf *list, const char *name)
{
    buf_addf(list, "%s%s", list->n ? ", " : "", name);
}

/* Moves the values of live keys into d->conf; names of what changed, and of
 * what would have. */
static void take(struct bitnetd *d, struct conf *fresh, struct buf *taken, struct buf *left)
{
    for (unsigned i = 0; i < conf_n_key; i++) {
        const struct conf_key *k = &conf_key[i];
        char name[96];
        if (conf_key_equal(k, &d->conf, fresh))
            continue;
        snprintf(name, sizeof name, "%s.%s", k->section, k->key);
        add(is_live(name) ? taken : left, name);
        if (is_live(name))
            conf_key_swap(k, &d->conf, fresh);
    }
    if (!conf_same_options(&d->conf, fresh))
        add(left, "[plugin:...]");
}

static void tell(const struct buf *taken, const struct buf *left)
{
    log_info("reload: keys and access log are opened anew, %s%s", taken->n ? "changed: " :
             "nothing else changed", taken->n ? taken->p : "");
    if (left->n)
        log_warn("reload: changed in the configuration, and needs a restart: %s", left->p);
}

void reload(struct bitnetd *d)
{
    struct conf fresh = { 0 };
    struct err e = { 0 };
    struct buf taken = { 0 }, left = { 0 };
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_us());
    int rc = load_conf(d, &fresh, &e);
    if (!rc)
        rc = serving_reload(d, &fresh, &e);
    if (rc) {
        log_error("reload: %s; everything stays as it was", e.text);
    } else {
        take(d, &fresh, &taken, &left);
        log_set_level((enum log_level)d->conf.log_level);
        tell(&taken, &left);
    }
    conf_free(&fresh);
    buf_free(&taken);
    buf_free(&left);
    sd_notify(0, "READY=1");
}
