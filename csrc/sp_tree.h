/* The stored tree: every node that is complete stands in its level, once, for good.
 *
 * One appender; any number of readers on other threads. The appender stores hashes behind the published size and then
 * publishes the new size with release; a reader takes the size with acquire and touches complete nodes below it only,
 * which nobody writes again. Nodes on the ragged right edge are folded from complete ones when asked for.
 *
 * Who adopts, syncs or frees must be the appender, and adopting needs that nobody reads yet. */
#ifndef SP_TREE_H
#define SP_TREE_H

#include "sp.h"
#include "sp_level.h"

struct sp_tree {
    sp_level_home home;
    char *dir;                  /* what home.dir points to; NULL: in memory */
    uint64_t size;              /* published; __atomic */
    uint64_t synced;            /* leaves that a sync has covered */
    uint64_t begun[SP_LEVEL_COUNT];     /* bytes of each level that the disk was told to write */
    int failed;                 /* a sync failed: no later one may say that all is well */
    uint8_t *scratch;           /* the appender's: nodes before they are stored */
    sp_level level[SP_LEVEL_COUNT];
};

/* Room for a tree of `size` leaves. Another thread may append leaves meanwhile that have room already. */
SP_MUST_USE int sp_tree_room(sp_tree *tree, uint64_t size);

/* The disk begins to write what has grown by a piece or more, so that a sync finds little. One thread at a time; the appender
 * may append meanwhile. */
void sp_tree_begin_write(sp_tree *tree);

#endif
