/* path.c - paths from /proc/self/exe and from the environment. */
#include "core/base/path.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* A folder of root's or of this user's that nobody else may write. */
static bool private_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode) && !(st.st_mode & 022) &&
           (st.st_uid == 0 || st.st_uid == geteuid());
}

int path_cache_dir(char *out, size_t size)
{
    const char *own = getenv("CACHE_DIRECTORY"), *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int n = -1;
    if (own && own[0] == '/')
        n = snprintf(out, size, "%.*s", (int)strcspn(own, ":"), own);
    else if (xdg && xdg[0] == '/')
        n = snprintf(out, size, "%s/bitnet", xdg);
    else if (home && home[0] == '/')
        n = snprintf(out, size, "%s/.cache/bitnet", home);
    if (n < 0 || (size_t)n >= size)
        return ERR_IO;
    for (char *slash = strchr(out + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(out, 0700);               /* what cannot be made is seen below */
        *slash = '/';
    }
    (void)mkdir(out, 0700);
    return private_folder(out) ? 0 : ERR_IO;
}
