/* A batch: the frames of one commit in one buffer, laid out as they will stand in the segment, without what only the
 * commit thread knows (seq, batch number, time, checksum). Filled on the caller's thread, lent to the commit thread. */
#ifndef SP_BATCH_H
#define SP_BATCH_H

#include "sp_frame.h"

typedef struct sp_batch_item {          /* one frame, offsets into the batch */
    uint64_t offset;                    /* of the frame */
    uint64_t head_at, seed_at, digests_at;      /* seed and digests: 0 for events */
    uint64_t count;                     /* leaves */
    uint32_t head_size;
    sp_leaf_spec spec;                  /* time and record are filled in at commit */
} sp_batch_item;

struct sp_batch {
    uint8_t *data;
    uint64_t size, room;                /* bytes used; the most that may be used */
    sp_batch_item *item;
    uint32_t items, items_room;
    uint64_t leaves;
    uint8_t *hashes;                    /* 32 bytes per leaf: made ready by submit, so that a commit allocates nothing */
    uint64_t hashes_room;
    int use_reserve;                    /* it may take what is set aside for a full disk */
};

/* Room for the batch's leaf hashes. */
int sp_batch_ready(sp_batch *batch);
/* Fills in seq, batch number, time and checksum of every frame; the first will stand at `offset`. */
void sp_batch_stamp(sp_batch *batch, const uint8_t salt[SP_SALT_SIZE], uint64_t offset, uint64_t first_seq,
                    uint32_t number, uint64_t time_ns);
/* The leaf hashes of the batch, computed from `stored`: the batch's bytes as they now stand in the segment.
 * SP_E_CORRUPT if those differ from what was stamped. */
int sp_batch_hash(sp_batch *batch, const uint8_t *stored);

#endif
