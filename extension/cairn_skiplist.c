/* See cairn_skiplist.h. W. Pugh, "Skip lists: a probabilistic alternative to balanced trees", 1990; levels with
 * probability 1/4. */
#include "cairn_skiplist.h"

#include "utils/memutils.h"

static CairnSkipNode *make_node(CairnSkipList *list, struct wire_span key, int level_count)
{
    Size size = offsetof(CairnSkipNode, next) + (Size) level_count * sizeof(CairnSkipNode *);
    CairnSkipNode *node = MemoryContextAllocZero(list->context, size + key.size);
    uint8 *copy = (uint8 *) node + size;

    if (key.size > 0)
        memcpy(copy, key.data, key.size);
    node->key = (struct wire_span){copy, key.size};
    node->level_count = level_count;
    return node;
}

CairnSkipList *cairn_skiplist_create(MemoryContext context)
{
    CairnSkipList *list = MemoryContextAllocZero(context, sizeof(*list));

    list->context = context;
    list->random = UINT64CONST(0x9E3779B97F4A7C15);
    list->head = make_node(list, (struct wire_span){NULL, 0}, CAIRN_SKIPLIST_LEVELS);
    return list;
}

/* Levels of a new node: xorshift, two bits a level. */
static int draw_level(CairnSkipList *list)
{
    int levels = 1;
    uint64 bits;

    list->random ^= list->random << 13;
    list->random ^= list->random >> 7;
    list->random ^= list->random << 17;
    for (bits = list->random; levels < CAIRN_SKIPLIST_LEVELS && (bits & 3) == 0; bits >>= 2)
        levels++;
    return levels;
}

/* The last node before `key` (or, if `through`, at or before it) on every level. Returns the one on the lowest. */
static CairnSkipNode *descend(const CairnSkipList *list, struct wire_span key, bool through, CairnSkipNode **path)
{
    CairnSkipNode *at = list->head;

    for (int level = CAIRN_SKIPLIST_LEVELS - 1; level >= 0; level--) {
        while (at->next[level]) {
            int order = wire_span_compare(at->next[level]->key, key);

            if (order > 0 || (order == 0 && !through))
                break;
            at = at->next[level];
        }
        if (path)
            path[level] = at;
    }
    return at;
}

CairnSkipNode *cairn_skiplist_find(const CairnSkipList *list, struct wire_span key)
{
    CairnSkipNode *node = descend(list, key, false, NULL)->next[0];

    return node && wire_span_compare(node->key, key) == 0 ? node : NULL;
}

CairnSkipNode *cairn_skiplist_insert(CairnSkipList *list, struct wire_span key)
{
    CairnSkipNode *path[CAIRN_SKIPLIST_LEVELS];
    CairnSkipNode *node = descend(list, key, false, path)->next[0];

    if (node && wire_span_compare(node->key, key) == 0)
        return node;
    node = make_node(list, key, draw_level(list));
    for (int level = 0; level < node->level_count; level++) {
        node->next[level] = path[level]->next[level];
        path[level]->next[level] = node;
    }
    node->previous = path[0];
    if (node->next[0])
        node->next[0]->previous = node;
    return node;
}

CairnSkipNode *cairn_skiplist_at_least(const CairnSkipList *list, struct wire_span key, bool beyond)
{
    return descend(list, key, beyond, NULL)->next[0];
}

CairnSkipNode *cairn_skiplist_at_most(const CairnSkipList *list, struct wire_span key, bool beyond)
{
    CairnSkipNode *node = descend(list, key, !beyond, NULL);

    return node == list->head ? NULL : node;
}
