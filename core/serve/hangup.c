/* hangup.c - one epoll set of its own, apart from libmicrohttpd's. */
#include "core/serve/hangup.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct hangup {
    int epoll, stop;              /* stop: an eventfd, id 0 in the set         */
    pthread_t thread;
    void (*gone)(void *ctx, uint64_t id);
    void *ctx;
};

static void *watch(void *arg)
{
    struct hangup *h = arg;
    for (;;) {
        struct epoll_event ev[16];
        int n = epoll_wait(h->epoll, ev, 16, -1);
        if (n < 0 && errno != EINTR)
            return NULL;
        for (int i = 0; i < n; i++) {
            if (!ev[i].data.u64)
                return NULL;
            h->gone(h->ctx, ev[i].data.u64);
        }
    }
}

static int fail(struct hangup *h, struct err *e)
{
    int rc = err_set(e, ERR_IO, "server: cannot watch connections: %s", strerror(errno));
    if (h && h->stop >= 0)
        close(h->stop);
    if (h && h->epoll >= 0)
        close(h->epoll);
    free(h);
    return rc;
}

int hangup_open(struct hangup **out, void (*gone)(void *ctx, uint64_t id), void *ctx, struct err *e)
{
    *out = NULL;
    struct hangup *h = calloc(1, sizeof *h);
    if (!h)
        return fail(h, e);
    h->gone = gone;
    h->ctx = ctx;
    h->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0 };
    if (h->stop < 0 || h->epoll < 0 || epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->stop, &ev))
        return fail(h, e);
    int no = pthread_create(&h->thread, NULL, watch, h);
    if (no) {
        errno = no;
        return fail(h, e);
    }
    *out = h;
    return 0;
}

void hangup_close(struct hangup *h)
{
    if (!h)
        return;
    uint64_t one = 1;
    while (write(h->stop, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(h->thread, NULL);
    close(h->stop);
    close(h->epoll);
    free(h);
}

bool hangup_add(struct hangup *h, int fd, uint64_t id)
{
    struct epoll_event ev = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = id };
    return !epoll_ctl(h->epoll, EPOLL_CTL_ADD, fd, &ev);
}

void hangup_remove(struct hangup *h, int fd)
{
    epoll_ctl(h->epoll, EPOLL_CTL_DEL, fd, NULL);
}
