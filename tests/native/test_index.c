/* The index's order: sorted by key, equal keys as they came, repeated entries once, whatever the keys look like. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "sp_index.h"

enum { ALL = 60000 };

/* Keys of all kinds; many that begin alike, as a caller could choose his digests; many that are equal. */
static uint64_t key_of(uint32_t i)
{
    switch (i % 4) {
    case 0: return (check_random() % SP_INDEX_KINDS) << SP_INDEX_KIND_SHIFT | check_random() >> 3;
    case 1: return UINT64_C(0x1234500000000000) | check_random() >> 20;
    case 2: return UINT64_C(0xdead) << 40 | check_random() % 7;
    default: return (check_random() % SP_INDEX_KINDS) << SP_INDEX_KIND_SHIFT | check_random() >> 56;
    }
}

static const sp_index_entry *entry_at(const sp_index *index, uint64_t number)
{
    const sp_index_page *page = (const sp_index_page *)(index->data + (number / SP_INDEX_PAGE_ENTRIES + 1) * SP_INDEX_PAGE);
    return &page->entry[number % SP_INDEX_PAGE_ENTRIES];
}

static void order(uint32_t count)
{
    sp_segment_header header = {.segment_bytes = 1 << 20};
    sp_index_list list = {malloc((count + 1) * sizeof *list.entry), count, count};
    uint64_t sum = 0, found = 0;
    for (uint32_t i = 0; i < count; i++) {
        /* places grow as frames do; every third entry repeats the one before it */
        int again = i % 3 == 2;
        list.entry[i] = again ? list.entry[i - 1] : (sp_index_entry){key_of(i), i};
        sum += again ? 0 : list.entry[i].key ^ i;
    }
    sp_index *index;
    EXPECT(sp_index_of_entries(&header, header.segment_bytes, &list, &index) == SP_OK);
    EXPECT(sp_index_entries(index) == count - count / 3);
    for (uint64_t i = 0; i < sp_index_entries(index); i++) {
        const sp_index_entry *one = entry_at(index, i), *before = i > 0 ? entry_at(index, i - 1) : NULL;
        EXPECT(before == NULL || before->key < one->key || (before->key == one->key && before->place < one->place));
        found += one->key ^ one->place;
    }
    EXPECT(found == sum);
    sp_index_free(index);
}

int main(void)
{
    const uint32_t counts[] = {0, 1, 2, 24, 25, 340, 341, 5000, ALL};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        order(counts[i]);
    }
    return check_done();
}
