/* The index of one segment: from a value to the frames that hold it. Derived: whoever misses it makes it again.
 *
 * A file is pages of 4 KiB. Page 0 is the header, every other one holds up to 340 entries of 12 bytes, sorted by key over
 * the whole file:
 *   header  magic "SPINDX\0\1" | u32 version = 1 | u32 crc32c | log_id[32] | u64 segment | salt[16] | u64 end
 *           | u64 first[7]: the number of the first entry of each kind, and of all entries
 *   page    u32 entries | u32 crc32c | u64 0 | entries: u64 key | u32 offset of the frame / 8
 * All integers little endian, unused bytes zero. The checksum runs over salt[16] of the segment | u64 number of the page
 * | the page with this field zero: a page of another segment, or one that stands elsewhere, never passes. So what is not
 * found in pages that pass is not in the segment; what is found may still be another value with the same key.
 *
 * A key is its kind in the upper 3 bits and a mixed value below, so entries of a kind stand together and a page can be
 * guessed from the key; the search is right for any keys. */
#ifndef SP_INDEX_H
#define SP_INDEX_H

#include "sp_segment.h"

#define SP_INDEX_VERSION 1u
#define SP_INDEX_PAGE 4096u
#define SP_INDEX_PAGE_ENTRIES 340u

enum sp_index_kind {
    SP_INDEX_VALUE = 0,
    SP_INDEX_ASKED = 1,
    SP_INDEX_REQUEST = 2,
    SP_INDEX_OUTCOME = 3,
    SP_INDEX_OPEN = 4,
    SP_INDEX_LAST = 5,
    SP_INDEX_KINDS = 6
};
#define SP_INDEX_KIND_SHIFT 61u

typedef struct __attribute__((packed)) sp_index_entry {
    uint64_t key;
    uint32_t place;             /* offset of the frame / 8: a segment has at most 1 GiB */
} sp_index_entry;

typedef struct sp_index_page {
    uint32_t count, crc;
    uint64_t zero;
    sp_index_entry entry[SP_INDEX_PAGE_ENTRIES];
} sp_index_page;
SP_STATIC_ASSERT(sizeof(sp_index_entry) == 12);
SP_STATIC_ASSERT(sizeof(sp_index_page) == SP_INDEX_PAGE);
SP_STATIC_ASSERT((SP_SEGMENT_BYTES_MAX >> 3) <= UINT32_MAX);

typedef struct sp_index_header {
    uint8_t magic[8];
    uint32_t version, crc;
    uint8_t log_id[32];
    uint64_t segment;
    uint8_t salt[SP_SALT_SIZE];
    uint64_t end, first[SP_INDEX_KINDS + 1];
    uint8_t zeros[SP_INDEX_PAGE - 136];
} sp_index_header;
SP_STATIC_ASSERT(sizeof(sp_index_header) == SP_INDEX_PAGE);
SP_STATIC_ASSERT(offsetof(sp_index_header, first) == 80);

struct sp_index {
    const sp_disk *disk;        /* that mapped it; NULL: `data` is allocated */
    uint8_t *data;              /* header, then pages */
    uint64_t size, pages, first[SP_INDEX_KINDS + 1];
    uint8_t salt[SP_SALT_SIZE];
    uint8_t *checked;           /* a byte per page, 1 once its checksum was seen to be right; relaxed atomics */
};

/* Page `number` of the entries, whose checksum is right: that is asked once. How many entries it holds is never taken from the
 * mapping. SP_E_CORRUPT: build it again. */
SP_MUST_USE int sp_index_checked_page(const sp_index *index, uint64_t number, const sp_index_page **out);

/* What a segment's frames say, in no order; to be given to sp_index_of_entries, which takes the array over. */
typedef struct sp_index_list {
    sp_index_entry *entry;
    uint64_t count, room;
} sp_index_list;
SP_MUST_USE int sp_index_of_entries(const sp_segment_header *header, uint64_t end, sp_index_list *list, sp_index **out);
/* By key; equal keys stay in the order in which they came, and what a frame holds twice has one entry. */
SP_MUST_USE int sp_index_sort(sp_index_list *list);

#endif
