/* Known requests that no index tells of: by who asked with which id, and by seq while outcomes may still come.
 *
 * Entries stand in one array with room for all that may come; memory is used as they do, since pages that nobody touched
 * have none: 96 bytes each, and 8 for the two searches. Both are linear hashing: every new entry splits one bucket, so a
 * table that grows never stops to move everything. Ids are the caller's choice, so keys are hashed with a secret. */
#ifndef SP_KNOWN_H
#define SP_KNOWN_H

#include <stddef.h>
#include <stdint.h>

#include "sp.h"
#include "sp_check.h"

enum sp_known_state {       /* tlog/known.py says what they mean */
    SP_KNOWN_PENDING = 1,
    SP_KNOWN_DONE = 2,
    SP_KNOWN_PARTIAL = 3,
    SP_KNOWN_UNKNOWN = 4,
    SP_KNOWN_STOPPED = 5,
    SP_KNOWN_LAPSED = 6
};

enum { SP_KNOWN_KEY, SP_KNOWN_SEQ, SP_KNOWN_SEARCHES };
#define SP_KNOWN_COUNT_MAX ((UINT32_C(1) << 28) - 1)
#define SP_KNOWN_ENTRIES_MAX (UINT32_C(1) << 31)

typedef struct sp_known_entry {
    uint8_t key[16];            /* of SHA-256(secret | who) */
    uint8_t same[16];
    uint64_t seq, first_leaf, time_ns;
    uint32_t segment, offset;   /* of the REQUEST */
    uint32_t outcome_segment, outcome_offset;   /* of its newest OUTCOME; offset 0: it has none */
    uint32_t count : 28, state : 3, direct : 1;
    uint32_t done;
    uint32_t older, newer;      /* neighbours in the order in which they were asked or passed over; numbers, 0: none */
    uint32_t next[SP_KNOWN_SEARCHES];           /* in the same bucket */
} sp_known_entry;
SP_STATIC_ASSERT(sizeof(sp_known_entry) == 96);

typedef struct sp_known_search {
    uint32_t *head;             /* the first entry of each bucket */
    uint32_t buckets, mask;     /* mask: the least power of two not below `buckets`, less one */
    uint32_t entries;
} sp_known_search;

struct sp_known {
    sp_known_entry *entry;      /* from 1 on */
    uint32_t entries_max, count, fresh, free;   /* fresh: were never used from here on; free: a list, by `newer` */
    uint32_t oldest, newest;
    sp_known_search search[SP_KNOWN_SEARCHES];
    uint8_t secret[16];
};

#endif
