/* base/list.h — intrusive circular doubly linked list. A head and a link are the same struct; an unlinked link points
 * to itself. */
#pragma once

#include <stdbool.h>

#include "base/ensure.h"

struct list {
    struct list *prev;
    struct list *next;
};

static inline void list_init(struct list *list)
{
    list->prev = list;
    list->next = list;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *link)
{
    return link->next != link;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link); /* before what was first */
}

/* Harmless on a link that is not linked. */
static inline void list_unlink(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Moves every link of `from` to the tail of `to`; `from` is empty afterwards. */
static inline void list_move_all(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_ITEM(link, type, member) CONTAINER_OF(link, type, member)
#define LIST_FIRST(head, type, member) LIST_ITEM((head)->next, type, member)

/* Safe when the body unlinks or frees the current link, not when it frees the next one. */
/* NOLINTBEGIN(bugprone-macro-parentheses): the name of a variable that is declared takes none */
#define LIST_EACH(head, link)                                                                      \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head);              \
         link = link##_next, link##_next = link->next)
/* NOLINTEND(bugprone-macro-parentheses) */
