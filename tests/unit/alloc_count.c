/* alloc_count.c - see alloc_count.h. */
#include "tests/unit/alloc_count.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_ulong n_alloc;

unsigned long alloc_count(void)
{
    return atomic_load(&n_alloc);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#define EXPORT __attribute__((visibility("default")))

#ifdef SANITIZED

EXPORT void __sanitizer_malloc_hook(const volatile void *p, size_t n);
EXPORT void __sanitizer_free_hook(const volatile void *p);

EXPORT void __sanitizer_malloc_hook(const volatile void *p, size_t n)
{
    (void)p;
    (void)n;
    atomic_fetch_add_explicit(&n_alloc, 1, memory_order_relaxed);
}

EXPORT void __sanitizer_free_hook(const volatile void *p)
{
    (void)p;
}

#else

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

EXPORT void *malloc(size_t n);
EXPORT void *calloc(size_t n, size_t size);
EXPORT void *realloc(void *p, size_t n);
EXPORT void *memalign(size_t align, size_t n);
EXPORT void *aligned_alloc(size_t align, size_t n);
EXPORT int posix_memalign(void **out, size_t align, size_t n);

static void count(void)
{
    atomic_fetch_add_explicit(&n_alloc, 1, memory_order_relaxed);
}

EXPORT void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

EXPORT void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}

EXPORT void *memalign(size_t align, size_t n)
{
    count();
    return __libc_memalign(align, n);
}

EXPORT void *aligned_alloc(size_t align, size_t n)
{
    count();
    return __libc_memalign(align, n);
}

EXPORT int posix_memalign(void **out, size_t align, size_t n)
{
    count();
    void *p = __libc_memalign(align, n);
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

#endif
