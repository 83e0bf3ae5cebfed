/* route/route_store.c — see route_store.h. */
#include "route/route_store.h"

void route_store_destroy(struct route_store **store)
{
    struct route_store *s = *store;

    if (s == NULL)
        return;
    *store = NULL;
    s->ops->destroy(s);
}
