/* check.h - `bitnetd --check`: whether this machine, these files and this
 * configuration will serve, and what to do where not.
 *
 * A finding has a level, a name, a sentence, and a fix unless all is well. fail:
 * bitnetd would not start; warn: it would, and not as its operator expects. */
#ifndef BITNET_DAEMON_CHECK_H
#define BITNET_DAEMON_CHECK_H

#include "core/base/buf.h"
#include "core/daemon/daemon.h"

enum check_level { CHECK_OK, CHECK_WARN, CHECK_FAIL };

struct check_finding {
    enum check_level level;
    const char *what;             /* the row's name                            */
    char text[400], fix[300];     /* fix: "" when all is well                  */
};

struct check {
    struct bitnetd *d;
    const char *root;             /* stands before "/proc" and "/sys"; ""      */
    const char *what;             /* the row that runs                         */
    struct check_finding *finding;   /* [n]                                    */
    unsigned n;
    bool failed_alloc;
};

/* The row of the table with that name. */
void check_row(struct check *, const char *what);
enum check_level check_worst(const struct check *);
void check_put_text(const struct check *, struct buf *out);   /* a line each */
void check_put_json(const struct check *, struct buf *out);
void check_free(struct check *);

/* All of it for the command line: prints, and returns the exit status. The
 * configuration's own error, if it has one, is the only finding. */
int check_command(struct bitnetd *, const struct err *conf_error);

/* For the rows. */
__attribute__((format(printf, 2, 3)))
void check_ok(struct check *, const char *fmt, ...);
__attribute__((format(printf, 3, 4)))
void check_warn(struct check *, const char *fix, const char *fmt, ...);
__attribute__((format(printf, 3, 4)))
void check_fail(struct check *, const char *fix, const char *fmt, ...);
/* An error's text has its fix in it, mostly. */
void check_err(struct check *, const struct err *, const char *fix);
/* The first line of root's file, without its end; "" when there is none. */
void check_read(const struct check *, const char *path, char out[256]);

/* check_machine.c */
void check_cpu(struct check *);
void check_governor(struct check *);
void check_quota(struct check *);
void check_memory(struct check *);
void check_overcommit(struct check *);
void check_memlock(struct check *);
void check_huge_pages(struct check *);
void check_descriptors(struct check *);
void check_clock(struct check *);
/* check_files.c */
void check_address(struct check *);
void check_keys(struct check *);
void check_tls(struct check *);
void check_cors(struct check *);
void check_access_log(struct check *);
void check_trace(struct check *);
void check_weight_cache(struct check *);
void check_model_file(struct check *);
/* check_load.c: these open what later rows look at. */
void check_plugins(struct check *);
void check_model(struct check *);
void check_template(struct check *);
void check_devices(struct check *);
void check_plan(struct check *);
void check_strict(struct check *);

#endif
