/* tls.h - the server's certificate and its key, checked before anybody connects. */
#ifndef BITNET_SERVE_TLS_H
#define BITNET_SERVE_TLS_H

#include <stddef.h>

#include "core/base/err.h"

struct tls {
    char *cert, *key;             /* PEM, with a NUL; NULL: no TLS             */
    size_t key_size;
};

/* What GnuTLS may speak: TLS 1.2 and 1.3, nothing that its NORMAL leaves out. */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* Both paths empty: no TLS. The certificate's file may go on with those that
 * vouch for it. */
int tls_open(struct tls *, const char *cert_path, const char *key_path, struct err *);
void tls_close(struct tls *);     /* a zeroed struct is legal */

#endif
