/* The right edge of a tree: see sp_edge.h. */
#include "sp_edge.h"

#include <string.h>

#include "sp_merkle.h"
#include "sp_sha256.h"

void sp_edge_init(sp_edge *edge)
{
    edge->size = 0;
}

int sp_edge_adopt(sp_edge *edge, uint64_t size, const uint8_t *frontier, uint32_t count)
{
    SP_ENSURE(size <= SP_TREE_SIZE_MAX && count == (uint32_t)__builtin_popcountll(size), SP_E_BOUNDS);
    for (unsigned level = SP_EDGE_LEVELS; level-- > 0;) {
        if (size >> level & 1) {
            memcpy(edge->node[level], frontier, 32);
            frontier += 32;
        }
    }
    edge->size = size;
    return SP_OK;
}

/* Parents take the place of a row: the kernel reads a group before it writes one. */
static void append_chunk(sp_edge *edge, const uint8_t *row, size_t count, sp_edge_seen seen, void *arg)
{
    size_t nodes = count;
    for (uint32_t level = 0; nodes > 0; level++) {
        uint64_t first = edge->size >> level;
        if (seen != NULL) {
            seen(arg, level, first, row, nodes);
        }
        uint8_t *above = edge->row;
        size_t odd = first & 1;
        uint8_t last[32];
        memcpy(last, row + 32 * (nodes - 1), 32);
        if (odd) {
            sp_merkle_node(edge->node[level], row, above);
        }
        sp_sha256_nodes(row + 32 * odd, (nodes - odd) / 2, above + 32 * odd);
        nodes += odd;
        if (nodes & 1) {
            memcpy(edge->node[level], last, 32);
        }
        nodes /= 2;
        row = above;
    }
    edge->size += count;
}

int sp_edge_append(sp_edge *edge, const uint8_t *leaf_hashes, uint64_t count, sp_edge_seen seen, void *arg)
{
    SP_ENSURE(count <= SP_TREE_SIZE_MAX - edge->size, SP_E_BOUNDS);
    while (count > 0) {
        size_t chunk = SP_EDGE_CHUNK - (size_t)(edge->size % SP_EDGE_CHUNK);
        chunk = count < chunk ? (size_t)count : chunk;
        append_chunk(edge, leaf_hashes, chunk, seen, arg);
        leaf_hashes += chunk * 32;
        count -= chunk;
    }
    return SP_OK;
}

void sp_edge_take(const sp_edge *edge, sp_edge_fold *out)
{
    out->count = 0;
    for (uint64_t bits = edge->size; bits != 0; bits &= bits - 1) {
        memcpy(out->node[out->count++], edge->node[__builtin_ctzll(bits)], 32);
    }
}

void sp_edge_roots(sp_edge_fold *fold, size_t count, uint8_t *out)
{
    sp_bug_if(count > SP_EDGE_FOLDS);
    size_t busy = count;
    for (uint32_t step = 1; busy > 0; step++) {
        uint8_t pairs[SP_EDGE_FOLDS * 64];
        size_t owner[SP_EDGE_FOLDS];
        busy = 0;
        for (size_t i = 0; i < count; i++) {
            if (step < fold[i].count) {
                memcpy(pairs + 64 * busy, fold[i].node[step], 32);
                memcpy(pairs + 64 * busy + 32, fold[i].node[0], 32);
                owner[busy++] = i;
            }
        }
        sp_sha256_nodes(pairs, busy, pairs);
        for (size_t i = 0; i < busy; i++) {
            memcpy(fold[owner[i]].node[0], pairs + 32 * i, 32);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (fold[i].count == 0) {
            sp_merkle_empty(out + 32 * i);
        } else {
            memcpy(out + 32 * i, fold[i].node[0], 32);
        }
    }
}
