/* path.c - paths from /proc/self/exe. */
#include "core/base/path.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"

/* Bytes of the folder of the executable in dir, which is terminated; 0: unknown. */
static size_t exe_folder(char dir[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
    if (n <= 0)
        return 0;
    dir[n] = 0;
    char *slash = strrchr(dir, '/');
    if (!slash)
        return 0;
    *slash = 0;
    return (size_t)(slash - dir);
}

static int put(char *out, size_t size, const char *path)
{
    size_t n = strlen(path);
    if (n >= size)
        return ERR_IO;
    memcpy(out, path, n + 1);
    return 0;
}

int path_beside_exe(const char *const *candidates, unsigned n, char *out, size_t size)
{
    char dir[PATH_MAX], path[2 * PATH_MAX], real[PATH_MAX];
    if (size)
        out[0] = 0;
    if (!exe_folder(dir))
        return ERR_IO;
    for (unsigned i = 0; i < n; i++) {
        int k = snprintf(path, sizeof path, "%s/%s", dir, candidates[i]);
        if (k < 0 || (size_t)k >= sizeof path)
            continue;
        if (realpath(path, real))
            return put(out, size, real);
        if (i == 0)
            (void)put(out, size, path);
    }
    return ERR_IO;
}

int path_default_model(char *out, size_t size)
{
    static const char *const candidates[] = { "../share/bitnet/models/story.gguf" };
    return path_beside_exe(candidates, 1, out, size);
}
