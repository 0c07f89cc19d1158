/*
 * An ordered map from byte strings to pointers: a skip list in one memory context, for the write set. (PostgreSQL 15's
 * rbtree cannot seek to a bound.)
 *
 * Nothing is removed but everything at once, by resetting the context.
 */
#ifndef CAIRN_SKIPLIST_H
#define CAIRN_SKIPLIST_H

#include "cairn_pg.h"

#include "wire_bytes.h"

#define CAIRN_SKIPLIST_LEVELS 16

typedef struct CairnSkipNode {
    struct wire_span key; /* owned by the list's context */
    void *value;
    struct CairnSkipNode *previous;
    int level_count;
    struct CairnSkipNode *next[FLEXIBLE_ARRAY_MEMBER];
} CairnSkipNode;

typedef struct CairnSkipList {
    MemoryContext context;
    uint64 random;
    CairnSkipNode *head; /* no key; head->next[level] */
} CairnSkipList;

CairnSkipList *cairn_skiplist_create(MemoryContext context);
/* The node of `key`, or NULL. */
CairnSkipNode *cairn_skiplist_find(const CairnSkipList *list, struct wire_span key);
/* The node of `key`, made with value NULL if there is none. */
CairnSkipNode *cairn_skiplist_insert(CairnSkipList *list, struct wire_span key);
/* First node with a key >= (or, if `beyond`, >) key; NULL if none. An empty key: the first of all. */
CairnSkipNode *cairn_skiplist_at_least(const CairnSkipList *list, struct wire_span key, bool beyond);
/* Last node with a key <= (or, if `beyond`, <) key; NULL if none. */
CairnSkipNode *cairn_skiplist_at_most(const CairnSkipList *list, struct wire_span key, bool beyond);

static inline CairnSkipNode *cairn_skiplist_first(const CairnSkipList *list)
{
    return list->head->next[0];
}

/* NULL behind the first. */
static inline CairnSkipNode *cairn_skiplist_previous(const CairnSkipList *list, const CairnSkipNode *node)
{
    return node->previous == list->head ? NULL : node->previous;
}

#endif
