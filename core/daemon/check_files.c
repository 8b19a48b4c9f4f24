/* check_files.c - addresses and files that the configuration names. Nothing that
 * is looked at here is changed. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/path.h"
#include "core/daemon/check.h"
#include "core/serve/cors.h"
#include "core/serve/keys.h"
#include "core/serve/listen.h"
#include "core/serve/otlp.h"
#include "core/serve/tls.h"

void check_address(struct check *c)
{
    const struct conf *conf = &c->d->conf;
    const struct listen_conf lc = { .host = conf->host, .port = conf->port,
                                    .mode = conf->socket_mode, .tls = *conf->tls_cert };
    struct listen l = { .fd = -1 };
    struct err e = { 0 };
    if (listen_bind(&l, &lc, &e))
        check_err(c, &e, "stop what listens there, or change server.host and server.port");
    else if (!l.is_local && !*conf->keys && !conf->server_open && conf->strict)
        check_fail(c, "bitnet key makes a key for server.keys; server.open = yes says it is meant",
                   "strict mode wants keys where others can connect: %s", l.url);
    else if (!l.is_local && !*conf->keys && !conf->server_open)
        check_warn(c, "bitnet key makes a key for server.keys; server.open = yes says it is meant",
                   "everybody who can connect to %s may use it", l.url);
    else if (!l.is_local && !*conf->tls_cert && *conf->keys)
        check_warn(c, "server.tls_cert and server.tls_key, or a proxy that speaks TLS",
                   "keys and prompts travel readable to %s", l.url);
    else
        check_ok(c, "%s is free", conf->port || *l.path ? l.url : "any port");
    listen_close(&l);
}

void check_keys(struct check *c)
{
    struct keys *k = NULL;
    struct err e = { 0 };
    if (!*c->d->conf.keys)
        check_ok(c, "none are needed");
    else if (keys_read(&k, c->d->conf.keys, &e))
        check_err(c, &e, "see server.keys in bitnet.ini(5); chmod 640");
    else
        check_ok(c, "%s has %zu", c->d->conf.keys, k->n);
    keys_free(k);
}

void check_tls(struct check *c)
{
    const struct conf *conf = &c->d->conf;
    struct tls t = { 0 };
    struct err e = { 0 };
    if (tls_open(&t, conf->tls_cert, conf->tls_key, &e))
        check_err(c, &e, "a PEM certificate and its key, the key chmod 640");
    else
        check_ok(c, "%s", t.cert ? conf->tls_cert : "off");
    tls_close(&t);
}

void check_cors(struct check *c)
{
    struct cors o = { 0 };
    struct err e = { 0 };
    if (cors_open(&o, c->d->conf.cors_origin, &e))
        check_err(c, &e, "see server.cors_origin in bitnet.ini(5)");
    else if (o.any && !*c->d->conf.keys)
        check_warn(c, "name the origins that are meant, or use keys",
                   "every web page that a user of this machine opens may call");
    else
        check_ok(c, "%u origins", o.n);
    cors_close(&o);
}

/* The folder that a path is in. */
static void folder_of(const char *path, char out[4096])
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    snprintf(out, 4096, "%s", dirname(copy));
}

void check_access_log(struct check *c)
{
    const char *where = c->d->conf.access_log;
    char folder[4096];
    folder_of(where, folder);
    if (!*where || !strcmp(where, "off") || !strcmp(where, "stderr"))
        check_ok(c, "%s", *where ? where : "off");
    else if (access(where, F_OK) ? access(folder, W_OK | X_OK) : access(where, W_OK))
        check_fail(c, "a file that bitnetd's user may append to", "log.access: %s: %s", where,
                   strerror(errno));
    else if (c->d->conf.log_prompts)
        check_warn(c, "log.prompts = no", "log.prompts: %s will hold what clients ask", where);
    else
        check_ok(c, "%s", where);
}

void check_trace(struct check *c)
{
    struct otlp *o = NULL;
    struct err e = { 0 };
    if (!*c->d->conf.otlp_url)
        check_ok(c, "spans go nowhere");
    else if (otlp_open(&o, c->d->conf.otlp_url, &e))
        check_err(c, &e, "the collector's OTLP/HTTP address");
    else
        check_ok(c, "%s", c->d->conf.otlp_url);
    otlp_close(o);
}

void check_weight_cache(struct check *c)
{
    const char *asked = c->d->conf.weight_cache;
    char folder[4096] = "", above[4096];
    struct statvfs v;
    if (!strcmp(asked, "off") || !*asked || (!strcmp(asked, "auto") && c->d->conf.strict)) {
        check_ok(c, "off: every start prepares the weights");
        return;
    }
    if (strcmp(asked, "auto"))
        snprintf(folder, sizeof folder, "%s", asked);
    else if (path_cache_dir(folder, sizeof folder))
        *folder = 0;
    folder_of(folder, above);             /* a folder that is not there is made */
    if (!*folder || access(access(folder, F_OK) ? above : folder, W_OK | X_OK))
        check_warn(c, "a folder of bitnetd's own user in plugins.weight_cache, or CacheDirectory=",
                   "plugins.weight_cache: %s cannot be written: every start prepares the weights",
                   *folder ? folder : "the user's cache folder");
    else if (!statvfs(folder, &v) && v.f_bavail < v.f_blocks / 50)
        check_warn(c, "free space, or lower plugins.weight_cache_mib",
                   "plugins.weight_cache: the disk of %s is nearly full", folder);
    else
        check_ok(c, "%s", folder);
}

void check_model_file(struct check *c)
{
    struct bitnetd *d = c->d;
    struct err e = { 0 };
    struct stat st;
    if (load_find_model(d, &e)) {
        check_err(c, &e, "model.path names a GGUF file or a Hugging Face directory");
        return;
    }
    if (stat(d->model_path, &st) || access(d->model_path, R_OK)) {
        check_fail(c, "a file or a directory that bitnetd's user may read", "model.path: %s: %s",
                   d->model_path, strerror(errno));
        *d->model_path = 0;       /* for the rows below */
    } else if (st.st_mode & S_IWOTH) {
        check_warn(c, "chmod o-w", "model.path: everybody may write %s, and a model that is cut "
                   "while it is served ends bitnetd", d->model_path);
    } else if (S_ISDIR(st.st_mode)) {
        check_ok(c, "%s, a directory", d->model_path);
    } else {
        check_ok(c, "%s, %llu MiB", d->model_path, (unsigned long long)st.st_size >> 20);
    }
}
