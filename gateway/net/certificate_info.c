/* net/certificate_info.c — see certificate_info.h. */
#include "net/certificate_info.h"

#include <stdio.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

enum status certificate_expiry(const char *file, int64_t *out_wall_s)
{
    FILE *stream = fopen(file, "re");
    X509 *certificate = stream != NULL ? PEM_read_X509(stream, NULL, NULL, NULL) : NULL;
    struct tm parts;
    enum status status = STATUS_CONFIG_INVALID;

    if (stream != NULL)
        fclose(stream);
    if (certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) == 1) {
        *out_wall_s = (int64_t)timegm(&parts);
        status = STATUS_OK;
    }
    X509_free(certificate);
    ERR_clear_error();
    return status;
}
