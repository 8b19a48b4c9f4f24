/* bitnet-plugins_verify.c - one plugin file, judged: first from the outside,
 * then by its answers, each device in a process of its own.
 *
 * Instruction sets are taken away one at a time. A mask that leaves the same
 * devices as one before it is not run again: what a device is called says what
 * it is made of. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/plug/isa.h"
#include "core/plug/loader.h"
#include "tools/bitnet-plugins.h"
#include "tools/verify/scan.h"
#include "tools/verify/verify.h"

#define MAX_MASK   65u
#define CASE_LIMIT 300u           /* seconds, also enough under an emulator    */

struct judging {
    const struct args *a;
    char path[PATH_MAX], ref[PATH_MAX];
    const char *file;             /* the last part of path                     */
    struct plug_entry entry;
    struct verify_opts o;
    struct verify_shared *s;
    struct {
        uint64_t isa;
        uint32_t n_dev;
        char name[VERIFY_MAX_DEV][64];
    } seen[MAX_MASK];
    unsigned n_seen, n_finding, n_device;
};

static void say(void *ctx, const char *finding)
{
    struct judging *j = ctx;
    j->n_finding++;
    printf("%s: %s\n", j->file, finding);
}

/* what: the file, unless why begins with it. */
static int not_loadable(const char *what, const char *why)
{
    const bool named = !strncmp(why, what, strlen(what));
    fprintf(stderr, "bitnet-plugins: %s%s%s\n", named ? "" : what, named ? "" : ": ", why);
    return EXIT_NOT_LOADABLE;
}

/* Absolute, so that dlopen looks nowhere else. */
static int find_files(struct judging *j)
{
    char dir[PATH_MAX];
    const char *ref = j->a->ref;
    if (!realpath(j->a->file, j->path))
        return not_loadable(j->a->file, strerror(errno));
    j->file = strrchr(j->path, '/') + 1;
    if (!ref) {
        if (!j->a->dir)
            (void)plug_default_dir(dir, sizeof dir - 16);
        else
            snprintf(dir, sizeof dir - 16, "%s", j->a->dir);
        ref = strcat(dir, "/scalar-ref.so");
    }
    if (!realpath(ref, j->ref))
        return not_loadable(ref, "the reference cannot be opened: name it with --ref");
    j->o.ref = j->ref;
    j->o.plugin = j->path;
    return 0;
}

/* The file, opened and judged from its note as bitnetd does it before loading. */
static int open_file(struct judging *j, struct loader_file *f, struct err *e)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%.*s", (int)(j->file - j->path), j->path);
    const int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    j->entry = (struct plug_entry){ .path = j->path, .file = j->file };
    if (dirfd < 0)
        return err_set(e, ERR_IO, "%s: cannot open: %s", dir, strerror(errno));
    int rc = loader_open(f, &j->entry, dirfd, e);
    close(dirfd);
    if (!rc)
        rc = loader_note(&j->entry, f, j->o.isa, e);
    return rc;
}

static int judge_file(struct judging *j)
{
    struct loader_file f = { .fd = -1 };
    struct err e = { 0 };
    int rc = scan_file(j->path, say, j, &e);
    if (!rc)
        rc = open_file(j, &f, &e);
    loader_close(&f);
    return rc ? not_loadable(j->file, e.text) : 0;
}

/* ---------------------------------------------------------------- in a child */

static bool list_devices(struct judging *j)
{
    struct loader_file f = { .fd = -1 };
    struct err e = { 0 };
    snprintf(j->s->doing, sizeof j->s->doing, "loading");
    int rc = open_file(j, &f, &e);
    if (!rc)
        rc = loader_load(&j->entry, &f, &e);
    loader_close(&f);
    if (rc) {
        snprintf(j->s->why, sizeof j->s->why, "%.300s", e.text);
        return false;
    }
    return verify_list(&j->o, j->s);
}

static bool run_device(struct judging *j)
{
    return verify_device(&j->o, j->s);
}

/* A crash, a hang or an exit in the plugin's code is a finding. 0 when the
 * child did all it had to, EXIT_NOT_LOADABLE when it could not open something
 * (s->why), EXIT_DIFFERS after a finding. */
static int in_child(struct judging *j, bool (*work)(struct judging *))
{
    int status = 0;
    fflush(stdout);
    j->s->why[0] = 0;
    const pid_t pid = fork();
    if (pid < 0)
        return not_loadable("verify", strerror(errno));
    if (!pid) {
        const struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        const bool ok = work(j);
        fflush(stdout);
        _exit(ok ? 0 : EXIT_NOT_LOADABLE);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && (!WEXITSTATUS(status) || j->s->why[0]))
        return WEXITSTATUS(status);
    j->n_finding++;
    printf("%s: device %u, ", j->file, j->o.device);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        printf("no end after %u s", j->o.limit_s);
    else if (WIFSIGNALED(status))
        printf("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        printf("ended the process with status %d", WEXITSTATUS(status));
    printf(": %s\n", j->s->doing);
    return EXIT_DIFFERS;
}

/* ------------------------------------------------------------- masks, devices */

/* The devices of this mask; true when no mask before had the same. */
static bool is_new(struct judging *j)
{
    const struct verify_shared *s = j->s;
    const size_t size = s->n_dev * sizeof s->name[0];
    for (unsigned i = 0; i < j->n_seen; i++)
        if (j->seen[i].n_dev == s->n_dev && !memcmp(j->seen[i].name, s->name, size))
            return false;
    j->seen[j->n_seen].n_dev = s->n_dev;
    memcpy(j->seen[j->n_seen++].name, s->name, sizeof s->name);
    return true;
}

static int judge_mask(struct judging *j, uint64_t isa)
{
    j->o.isa = isa;
    j->o.device = 0;
    memset(j->s->name, 0, sizeof j->s->name);
    j->s->n_dev = 0;
    int rc = in_child(j, list_devices);
    if (rc)
        return rc == EXIT_DIFFERS ? 0 : not_loadable(j->file, j->s->why);
    if (!is_new(j))
        return 0;
    for (uint32_t i = 0; i < j->s->n_dev && rc != EXIT_NOT_LOADABLE; i++) {
        j->o.device = i;
        j->n_device++;
        rc = in_child(j, run_device);
    }
    return rc == EXIT_NOT_LOADABLE ? not_loadable(j->file, j->s->why) : 0;
}

/* All bits, then each of them taken away, as far as the plugin can do without. */
static int judge_masks(struct judging *j, uint64_t all)
{
    const uint64_t needed = j->entry.note.isa;
    int rc = judge_mask(j, all);
    for (unsigned bit = 0; bit < 64 && !rc && !j->a->isa; bit++)
        if (all & ~needed & UINT64_C(1) << bit)
            rc = judge_mask(j, all & ~(UINT64_C(1) << bit));
    return rc;
}

static int verdict(const struct judging *j)
{
    const struct verify_shared *s = j->s;
    const unsigned long n = s->n_finding + j->n_finding;
    if (!j->n_device)
        return not_loadable(j->file, "it has no device on this machine");
    if (!s->n_case && !n) {
        fprintf(stderr, "bitnet-plugins: --filter %s: no case has this family, op or text\n",
                j->a->filter);
        return EXIT_USAGE;
    }
    if (!j->a->quiet)
        fprintf(stderr, "bitnet-plugins: %s: %u device run%s, %lu cases (%lu not offered), %lu "
                "values: %s\n", j->file, j->n_device, j->n_device == 1 ? "" : "s", s->n_case,
                s->n_skipped, s->n_value, n ? "WRONG" : "all equal");
    return n ? EXIT_DIFFERS : 0;
}

int plugins_verify(const struct args *a)
{
    static struct judging j;
    uint64_t asked = UINT64_MAX;
    if (a->isa && isa_parse(a->isa, &asked)) {
        fprintf(stderr, "bitnet-plugins: --isa %s: expected \"all\", or names as \"baseline "
                "avx2\"\n", a->isa);
        return EXIT_USAGE;
    }
    const uint64_t isa = isa_probe() & asked;
    log_setup(LOG_LEVEL_WARN, false);
    j = (struct judging){
        .a = a,
        .o = { .option = a->option, .n_option = a->n_option, .isa = isa, .filter = a->filter,
               .full = a->full, .bench = a->bench, .verbose = a->verbose, .seed = a->seed,
               .limit_s = a->limit_s ? a->limit_s : CASE_LIMIT },
    };
    int rc = find_files(&j);
    if (!rc)
        rc = judge_file(&j);
    if (rc)
        return rc;
    j.s = mmap(NULL, sizeof *j.s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (j.s == MAP_FAILED)
        return not_loadable("verify", strerror(errno));
    rc = judge_masks(&j, isa);
    if (!rc)
        rc = verdict(&j);
    munmap(j.s, sizeof *j.s);
    return close_output(0) ? EXIT_DIFFERS : rc;
}
