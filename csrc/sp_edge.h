/* The right edge of a growing RFC 6962 tree: for each set bit of the size the subtree of that level.
 *
 * Nodes are made level by level, whole rows at a time, each exactly once; whoever wants to compare them with stored ones
 * sees every row as it is made. Roots of many edges are folded in step, so that the kernel's lanes are full although
 * every fold is a chain. */
#ifndef SP_EDGE_H
#define SP_EDGE_H

#include <stddef.h>
#include <stdint.h>

#include "sp_check.h"

enum {
    SP_EDGE_LEVELS = 64,
    SP_EDGE_CHUNK = 4096,       /* leaves that go through all levels together */
    SP_EDGE_FOLDS = 16          /* edges that are folded in step */
};

typedef struct sp_edge {
    uint64_t size;
    uint8_t node[SP_EDGE_LEVELS][32];           /* of level l, where bit l of size is set */
    uint8_t row[SP_EDGE_CHUNK / 2 * 32];        /* room to work */
} sp_edge;

/* `count` nodes of `level` from number `first` on are complete. */
typedef void (*sp_edge_seen)(void *arg, uint32_t level, uint64_t first, const uint8_t *hashes, uint64_t count);

typedef struct sp_edge_fold {   /* the nodes of an edge at one moment, smallest first */
    uint32_t count;
    uint8_t node[SP_EDGE_LEVELS][32];
} sp_edge_fold;

void sp_edge_init(sp_edge *edge);
/* Takes up a tree of `size` leaves by its frontier, largest first: one hash per set bit, else SP_E_BOUNDS. */
SP_MUST_USE int sp_edge_adopt(sp_edge *edge, uint64_t size, const uint8_t *frontier, uint32_t count);
/* seen may be NULL. SP_E_BOUNDS: more than 2^63 leaves. */
SP_MUST_USE int sp_edge_append(sp_edge *edge, const uint8_t *leaf_hashes, uint64_t count, sp_edge_seen seen, void *arg);
void sp_edge_take(const sp_edge *edge, sp_edge_fold *out);
/* Root of each of `count` (at most SP_EDGE_FOLDS) edges; the folds are used up. */
void sp_edge_roots(sp_edge_fold *fold, size_t count, uint8_t *out);

#endif
