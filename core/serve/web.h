/* web.h - the files of the page at /, inside the program. */
#ifndef BITNET_SERVE_WEB_H
#define BITNET_SERVE_WEB_H

#include <stddef.h>

struct web_file {
    const char *path;             /* of the request; NULL ends the table       */
    const char *type;             /* Content-Type                              */
    const char *etag;             /* of these bytes, in quotes                 */
    const unsigned char *p;
    size_t n;
};

extern const struct web_file web_file[];      /* made by cmake/embed.cmake     */

#endif
