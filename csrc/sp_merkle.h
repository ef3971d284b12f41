/* RFC 6962 trees as arithmetic: no storage, no allocation but in sp_range.
 *
 * A frontier (compact range) of a tree is the list of its perfect subtrees, largest first: one hash per set bit of
 * the size. The same words for any stretch [from, to): its perfect aligned subtrees from left to right. Sizes are at
 * most SP_TREE_SIZE_MAX, so no path is longer than 63 hashes and no shift below can overflow. */
#ifndef SP_MERKLE_H
#define SP_MERKLE_H

#include <stddef.h>
#include <stdint.h>

#include "sp_check.h"

#define SP_HASH_SIZE 32u
#define SP_PATH_MAX 64u                          /* what the boundary promises room for; 63 can occur */
#define SP_TREE_SIZE_MAX (UINT64_C(1) << 63)

void sp_merkle_empty(uint8_t out[32]);           /* MTH({}) = SHA-256("") */
void sp_merkle_node(const uint8_t left[32], const uint8_t right[32], uint8_t out[32]);

/* Level of the perfect aligned subtree that starts at `from` and is the largest one to end at or before `to`. */
static inline unsigned sp_merkle_step(uint64_t from, uint64_t to)
{
    unsigned fits = 63u - (unsigned)__builtin_clzll(to - from);
    unsigned aligned = from == 0 ? 63u : (unsigned)__builtin_ctzll(from);
    return fits < aligned ? fits : aligned;
}

/* A tree that remembers its frontier only: what it takes to compute a root in one pass. */
typedef struct sp_frontier {
    uint64_t size;
    uint32_t count;                              /* set bits of size */
    uint8_t hash[64][32];                        /* largest subtree first */
} sp_frontier;

void sp_frontier_init(sp_frontier *frontier);
/* Appends a perfect subtree of 2^level leaves; size must be a multiple of 2^level. */
SP_MUST_USE int sp_frontier_push(sp_frontier *frontier, unsigned level, const uint8_t hash[32]);
SP_MUST_USE int sp_frontier_append(sp_frontier *frontier, const uint8_t *leaf_hashes, uint64_t count);
void sp_frontier_fold(const sp_frontier *frontier, uint8_t out[32]);

#endif
