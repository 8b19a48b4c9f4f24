/* main.c - bitnetd: brings the rooms up in order, serves, takes them down.
 *
 * Order of start: arguments, configuration, log, address, plugins, model,
 * devices and memory, parity, engine, service. What can fail cheaply fails
 * early; every failure is one line and exit status 1 (2 for the command
 * line). In normal mode the socket opens when the files are known to be good,
 * before the weights are prepared, and answers 503; in strict mode it opens
 * after the proof. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "core/base/log.h"
#include "core/daemon/check.h"
#include "core/daemon/daemon.h"
#include "core/daemon/sandbox.h"
#include "core/daemon/signals.h"

static const char usage[] =
    "usage: bitnetd [--conf FILE] [--set section.key=value]... [--check [--json]]\n"
    "       bitnetd --version | --help\n"
    "\n"
    "  --conf FILE   read the configuration from FILE (see bitnet.ini(5))\n"
    "  --set K=V     override one key; may be given many times\n"
    "  --check       look at configuration, machine, files, plugins and model, print\n"
    "                what would be used and what to mend, and exit: 0 when bitnetd\n"
    "                would start\n"
    "  --json        the findings of --check as JSON\n";

/* Returns -1 to go on, or the exit status. */
static int read_args(struct daemon_args *a, int argc, char **argv)
{
    static const struct option opts[] = {
        { "conf", required_argument, NULL, 'c' }, { "set", required_argument, NULL, 's' },
        { "check", no_argument, NULL, 'k' },      { "json", no_argument, NULL, 'j' },
        { "version", no_argument, NULL, 'v' },    { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 }
    };
    a->set = calloc((size_t)argc, sizeof *a->set);
    if (!a->set)
        return 1;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, ":", opts, NULL)) != -1;) {
        switch (o) {
        case 'c': a->conf_path = optarg; break;
        case 's': a->set[a->n_set++] = optarg; break;
        case 'k': a->check = true; break;
        case 'j': a->json = true; break;
        case 'v': puts("bitnetd " BITNET_VERSION); return 0;
        case 'h': fputs(usage, stdout); return 0;
        default:
            fprintf(stderr, "bitnetd: %s: %s; see bitnetd --help\n", argv[optind - 1],
                    o == ':' ? "needs an argument" : "unknown option");
            return 2;
        }
    }
    if (optind == argc && a->json && !a->check) {
        fprintf(stderr, "bitnetd: --json: goes with --check; see bitnetd --help\n");
        return 2;
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "bitnetd: %s: unexpected argument; see bitnetd --help\n", argv[optind]);
    return 2;
}

static int start(struct bitnetd *d, struct err *e)
{
    sd_notify(0, "STATUS=Loading the model");
    int rc = serving_bind(d, e);
    if (!rc)
        rc = load_files(d, e);
    if (!rc && !d->conf.strict)
        rc = serving_listen_early(d, e);
    if (!rc)
        rc = load_weights(d, e);
    if (!rc)
        rc = load_engine(d, e);
    if (!rc && d->conf.strict)
        rc = serve_listen(d->serve, e);
    if (!rc && d->conf.sandbox)
        rc = sandbox_enter(&(struct sandbox_conf){ .connect = *d->conf.otlp_url }, e);
    if (rc)
        return rc;
    serving_ready(d);
    return 0;
}

static void bitnetd_close(struct bitnetd *d)
{
    serve_close(d->serve);
    engine_close(d->engine, 0);
    gen_grammars_close(d->grammars);
    forward_close(d->forward);
    model_close(d->model);
    plug_close(d->plug);
    conf_free(&d->conf);
    free(d->args.set);
}

static int run(struct bitnetd *d, struct err *e)
{
    int rc = load_conf(d, &d->conf, e);
    if (rc)
        return rc;
    log_setup((enum log_level)d->conf.log_level, d->conf.log_json);
    rc = start(d, e);
    if (rc)
        return rc;
    rc = serving_wait(d, e);
    serving_drain(d);
    return rc;
}

int main(int argc, char **argv)
{
    static struct bitnetd d;
    struct err e = { 0 };
    int status = read_args(&d.args, argc, argv);
    if (status < 0 && d.args.check) {
        const int rc = load_conf(&d, &d.conf, &e);
        status = check_command(&d, rc ? &e : NULL);
    } else if (status < 0) {
        int rc = signals_start(&e);
        if (!rc)
            rc = run(&d, &e);
        if (rc)
            fprintf(stderr, "bitnetd: %s\n", e.text);
        status = rc ? 1 : 0;
    }
    bitnetd_close(&d);
    return status;
}
