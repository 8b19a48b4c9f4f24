/* path.h - files that were installed together with the running program.
 *
 * The build tree has the shape of an installation (bin/, lib/bitnet/plugins/,
 * share/bitnet/models/), so one rule, relative to the folder of the
 * executable, serves both, and a moved installation goes on working. */
#ifndef BITNET_BASE_PATH_H
#define BITNET_BASE_PATH_H

#include <stddef.h>

/* The first of n candidates ("../share/x", from the executable's folder) that
 * exists, without links and dots, in out[size]. ERR_IO when there is none:
 * out is then the plain path of the first candidate, for a message, or empty
 * when it does not fit or the executable's folder is unknown. */
int path_beside_exe(const char *const *candidates, unsigned n, char *out, size_t size);

/* Where this user's bitnet keeps what it can make again: $CACHE_DIRECTORY (a
 * service manager's), else $XDG_CACHE_HOME/bitnet, else $HOME/.cache/bitnet;
 * made, with mode 0700, when it is not there. 0, or ERR_IO when there is no
 * such place or others may write it. */
int path_cache_dir(char *out, size_t size);

/* The embedded default model. 0 or ERR_IO, out as above. */
int path_default_model(char *out, size_t size);

#endif
