/* bitnet_bench_sample.c - what the machine gives meanwhile, and what the
 * process took, kept apart: a sample's own memory is not the bench's. */
#include "tools/bitnet_bench.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"

/* This process's largest resident set; 0 when the system does not say. */
static double peak_mib(void)
{
    char *status, *line;
    size_t n;
    unsigned long kib = 0;
    if (file_read("/proc/self/status", 1 << 20, &status, &n, NULL))
        return 0;
    line = strstr(status, "VmHWM:");
    if (line)
        kib = strtoul(line + 6, NULL, 10);
    free(status);
    return (double)kib / 1024;
}

double bench_rss_mib(struct bench *b)
{
    const double now = peak_mib();
    b->rss_mib = now > b->rss_mib ? now : b->rss_mib;
    return b->rss_mib;
}

/* Starts the largest resident set anew; where that is not allowed, the peak
 * includes what a sample took. */
static void forget_peak(void)
{
    const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t put = write(fd, "5", 1);
    (void)put;
    close(fd);
}

void bench_sample(struct bench *b, struct bench_row *r)
{
    const double share = 1.0 / (b->ask->n_rep + 1);
    bench_rss_mib(b);
    const struct limits_now now = limits_sample(b->f->plug);
    forget_peak();
    r->now.read_gbs += now.read_gbs * share;
    r->now.int8_gmacs += now.int8_gmacs * share;
}
