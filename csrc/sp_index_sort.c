/* The entries of an index in their order: see sp_index.h. */
#include "sp_index.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SHIFT 50u             /* the kind, and 11 bits more: a full segment's digests make 2,048 groups */
#define DIGIT_BITS 8u
SP_STATIC_ASSERT((FIRST_SHIFT + DIGIT_BITS - 1) / DIGIT_BITS % 2 == 1);
#define FEW 24u

/* Each entry to its place among those of the same digit of the key, which come in the order in which they were. */
static void scatter(const sp_index_entry *from, sp_index_entry *to, uint64_t count, unsigned shift, uint64_t *place,
                    uint64_t digits)
{
    memset(place, 0, (size_t)digits * sizeof *place);
    for (uint64_t i = 0; i < count; i++) {
        place[from[i].key >> shift & (digits - 1)]++;
    }
    for (uint64_t digit = 0, sum = 0; digit < digits; digit++) {
        uint64_t here = place[digit];
        place[digit] = sum;
        sum += here;
    }
    for (uint64_t i = 0; i < count; i++) {
        to[place[from[i].key >> shift & (digits - 1)]++] = from[i];
    }
}

static void insert_each(const sp_index_entry *from, sp_index_entry *to, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = i;
        for (; at > 0 && to[at - 1].key > from[i].key; at--) {
            to[at] = to[at - 1];
        }
        to[at] = from[i];
    }
}

/* Entries whose keys begin alike, digit for digit from the lowest: an odd number of times from one array to the other. A
 * caller may choose values whose keys all begin alike: that costs these passes over more memory, and no more. */
static void sort_alike(sp_index_entry *from, sp_index_entry *to, uint64_t count)
{
    uint64_t place[1u << DIGIT_BITS];
    if (count <= FEW) {
        insert_each(from, to, count);
        return;
    }
    for (unsigned shift = 0; shift < FIRST_SHIFT; shift += DIGIT_BITS) {
        scatter(from, to, count, shift, place, 1u << DIGIT_BITS);
        sp_index_entry *sorted = to;
        to = from;
        from = sorted;
    }
}

/* First by the upper bits, into groups that fit into the cache. Stable. */
static int sort(sp_index_entry *entries, uint64_t count)
{
    const uint64_t groups = UINT64_C(1) << (64 - FIRST_SHIFT);
    sp_index_entry *spare = malloc((size_t)(count + 1) * sizeof *spare);
    uint64_t *end = malloc((size_t)groups * sizeof *end);
    if (spare != NULL && end != NULL) {
        scatter(entries, spare, count, FIRST_SHIFT, end, groups);
        for (uint64_t group = 0, begin = 0; group < groups; begin = end[group++]) {
            sort_alike(spare + begin, entries + begin, end[group] - begin);
        }
    }
    int status = spare != NULL && end != NULL ? SP_OK : SP_E_MEMORY;
    free(spare);
    free(end);
    return status;
}

/* A frame that holds a value twice has one entry for it: its entries came one after the other. */
static uint64_t unique(sp_index_entry *entries, uint64_t count)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (kept == 0 || memcmp(&entries[i], &entries[kept - 1], sizeof *entries) != 0) {
            entries[kept++] = entries[i];
        }
    }
    return kept;
}

int sp_index_sort(sp_index_list *list)
{
    SP_TRY(sort(list->entry, list->count));
    list->count = unique(list->entry, list->count);
    return SP_OK;
}
