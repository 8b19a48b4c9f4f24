/* tls.c - GnuTLS reads the pair once here, so what is wrong with it has a name;
 * libmicrohttpd would only fail to start. */
#include "core/serve/tls.h"

#include <gnutls/gnutls.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

enum { FILE_MAX = 1 << 20 };

/* Whether they fit each other. */
static int check_pair(const struct tls *t, const char *cert_path, const char *key_path,
                      struct err *e)
{
    gnutls_certificate_credentials_t cred = NULL;
    int no = gnutls_certificate_allocate_credentials(&cred);
    if (no < 0)
        return err_set(e, ERR_NOMEM, "server.tls_cert: %s", gnutls_strerror(no));
    const gnutls_datum_t cert = { (unsigned char *)t->cert, (unsigned)strlen(t->cert) };
    const gnutls_datum_t key = { (unsigned char *)t->key, (unsigned)strlen(t->key) };
    no = gnutls_certificate_set_x509_key_mem(cred, &cert, &key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(cred);
    if (no == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return err_set(e, ERR_DATA, "server.tls_key: %s: is not the key of %s", key_path, cert_path);
    if (no < 0)
        return err_set(e, ERR_DATA, "server.tls_cert: %s with %s: %s, expected a certificate and its "
                       "key, without a password, as PEM", cert_path, key_path, gnutls_strerror(no));
    return 0;
}

int tls_open(struct tls *t, const char *cert_path, const char *key_path, struct err *e)
{
    *t = (struct tls){ 0 };
    size_t n;
    if (!*cert_path && !*key_path)
        return 0;
    if (!*cert_path || !*key_path)
        return err_set(e, ERR_ARG, "server.%s: is empty, expected a file: a certificate and its key "
                       "go together", *cert_path ? "tls_key" : "tls_cert");
    int rc = file_read(cert_path, FILE_MAX, &t->cert, &n, e);
    if (rc)
        err_prefix(e, "server.tls_cert");
    else if ((rc = file_read_secret(key_path, FILE_MAX, &t->key, &t->key_size, e)))
        err_prefix(e, "server.tls_key");
    if (!rc)
        rc = check_pair(t, cert_path, key_path, e);
    if (rc)
        tls_close(t);
    return rc;
}

void tls_close(struct tls *t)
{
    if (t->key)
        sodium_memzero(t->key, t->key_size);
    free(t->key);
    free(t->cert);
    *t = (struct tls){ 0 };
}
