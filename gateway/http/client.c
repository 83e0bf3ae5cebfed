/* http/client.c — see client.h. */
#include "http/client.h"

void http_client_destroy(struct http_client **client)
{
    struct http_client *c = *client;

    if (c == NULL)
        return;
    *client = NULL;
    c->ops->destroy(c); /* its events may look at *client */
}
