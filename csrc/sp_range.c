/* A verified stretch of leaves: all nodes above it and its two edges are kept, so that the path of each of its items
 * can be read off. The range proof costs O(log n) however many leaves it covers (DESIGN 6).
 *
 * Row l holds the nodes of level l from `first` on, widened by the hash that the proof gives on either side. A last
 * node without a sibling rises unchanged. */
#include <stdlib.h>
#include <string.h>

#include "sp.h"
#include "sp_merkle.h"
#include "sp_range.h"
#include "sp_sha256.h"

typedef struct row {
    uint64_t first;             /* index in its level of the first node held */
    uint64_t count;
    size_t at;                  /* of that node in `nodes`, in hashes */
} row;

struct sp_range {
    uint64_t first, count, size;
    uint32_t rows;              /* those with a sibling level above them: log2 of the size, rounded up */
    row row[SP_PATH_MAX];
    uint8_t *nodes;
};

/* Where each row stands and how wide it is follows from the three numbers alone. Answers the hashes of all rows. */
static int lay_out(sp_range *range, uint32_t left_count, uint32_t right_count, size_t *total)
{
    uint64_t low = range->first, high = range->first + range->count - 1, last = range->size - 1;
    uint32_t left = 0, right = 0, rows = 0;
    size_t at = 0;
    for (;; low >>= 1, high >>= 1, last >>= 1, rows++) {
        row *r = &range->row[rows];
        r->first = low;
        uint64_t end = high;
        if (last > 0 && low % 2 == 1) {
            r->first = low - 1;
            left++;
        }
        if (last > 0 && high % 2 == 0 && high < last) {
            end = high + 1;
            right++;
        }
        r->count = end - r->first + 1;
        r->at = at;
        SP_ENSURE(r->count <= SIZE_MAX / 128 && at <= SIZE_MAX / 128, SP_E_BOUNDS);
        at += (size_t)r->count;
        if (last == 0) {
            break;
        }
    }
    range->rows = rows;
    SP_ENSURE(left == left_count && right == right_count, SP_E_MISMATCH);
    *total = at;
    return SP_OK;
}

static uint8_t *node_at(const sp_range *range, uint32_t level, uint64_t index)
{
    const row *r = &range->row[level];
    return range->nodes + 32 * (r->at + (size_t)(index - r->first));
}

/* Computes every row from the one below; the leaf hashes already stand in theirs. */
static void fold_rows(sp_range *range, const uint8_t *left, const uint8_t *right)
{
    uint64_t low = range->first, high = range->first + range->count - 1;
    for (uint32_t level = 0; level < range->rows; level++) {
        const row *r = &range->row[level];
        if (r->first < low) {
            memcpy(node_at(range, level, low - 1), left, 32);
            left += 32;
        }
        if (r->first + r->count - 1 > high) {
            memcpy(node_at(range, level, high + 1), right, 32);
            right += 32;
        }
        /* The row begins even now. Its parents are all held above, the last one perhaps without a second child. */
        uint8_t *above = node_at(range, level + 1, low >> 1);
        sp_sha256_nodes(node_at(range, level, r->first), (size_t)(r->count / 2), above);
        if (r->count % 2 == 1) {
            memcpy(above + 32 * (size_t)(r->count / 2), node_at(range, level, r->first + r->count - 1), 32);
        }
        low >>= 1;
        high >>= 1;
    }
}

int sp_range_new(const uint8_t *leaf_hashes, uint64_t first, uint64_t count, uint64_t size, const uint8_t *left,
                 uint32_t left_count, const uint8_t *right, uint32_t right_count, const uint8_t root[32], sp_range **out)
{
    SP_ENSURE(size <= SP_TREE_SIZE_MAX && count > 0 && count <= size && first <= size - count, SP_E_BOUNDS);
    SP_ENSURE(leaf_hashes != NULL && (left != NULL || left_count == 0), SP_E_ARGUMENT);
    SP_ENSURE(right != NULL || right_count == 0, SP_E_ARGUMENT);
    sp_range *range = malloc(sizeof *range);
    SP_ENSURE(range != NULL, SP_E_MEMORY);
    *range = (sp_range){.first = first, .count = count, .size = size, .nodes = NULL};
    size_t total;
    int status = lay_out(range, left_count, right_count, &total);
    if (status == SP_OK) {
        range->nodes = malloc(total * 32);
        status = range->nodes != NULL ? SP_OK : SP_E_MEMORY;
    }
    if (status == SP_OK) {
        memcpy(node_at(range, 0, first), leaf_hashes, (size_t)count * 32);
        fold_rows(range, left, right);
        status = memcmp(node_at(range, range->rows, 0), root, 32) == 0 ? SP_OK : SP_E_MISMATCH;
    }
    if (status != SP_OK) {
        sp_range_free(range);
        return status;
    }
    *out = range;
    return SP_OK;
}

uint64_t sp_range_first(const sp_range *range)
{
    return range->first;
}

uint64_t sp_range_count(const sp_range *range)
{
    return range->count;
}

uint32_t sp_range_path_length(const sp_range *range, uint64_t position)
{
    uint64_t at = range->first + position, last = range->size - 1;
    uint32_t used = 0;
    for (; last > 0; at >>= 1, last >>= 1) {
        used += (at ^ 1) <= last;
    }
    return used;
}

int sp_range_path(const sp_range *range, uint64_t position, uint8_t *out, uint32_t *count)
{
    SP_ENSURE(range != NULL && position < range->count, SP_E_BOUNDS);
    uint64_t at = range->first + position, last = range->size - 1;
    uint32_t used = 0;
    for (uint32_t level = 0; level < range->rows; level++, at >>= 1, last >>= 1) {
        if ((at ^ 1) <= last) {
            memcpy(out + (size_t)32 * used++, node_at(range, level, at ^ 1), 32);
        }
    }
    *count = used;
    return SP_OK;
}

void sp_range_free(sp_range *range)
{
    if (range != NULL) {
        free(range->nodes);
        free(range);
    }
}
