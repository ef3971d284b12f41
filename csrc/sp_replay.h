/* Replaying stored frames: see sp_api.h. Inside, and for the commit thread, which has no COMMIT to read yet. */
#ifndef SP_REPLAY_H
#define SP_REPLAY_H

#include "sp_frame.h"

/* The frames [offset, end) of a segment, all of batch `batch`, the first with seq `first_seq`, appended to the state:
 * the root that they lead to. SP_E_CORRUPT: they are not whole, in order, and records of this log. After an error the
 * replay is of no use any more. */
SP_MUST_USE int sp_replay_batch(sp_replay *replay, sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t offset,
                                uint64_t end, uint64_t first_seq, uint32_t batch, uint8_t root[32]);
/* Whether all frames [offset, end) still pass their checksums: SP_OK or SP_E_CORRUPT. */
SP_MUST_USE int sp_replay_checksums(sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t offset, uint64_t end);
/* Room for such a batch, so that sp_replay_batch allocates nothing. */
SP_MUST_USE int sp_replay_reserve(sp_replay *replay, uint64_t leaves, uint64_t frames);
/* Stands at a tree of `size` leaves with that frontier. */
SP_MUST_USE int sp_replay_adopt(sp_replay *replay, uint64_t size, const uint8_t *frontier, uint32_t count,
                                const uint8_t root[32], uint64_t last_time_ns);

#endif
