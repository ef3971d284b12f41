/* Replaying stored frames: see sp_api.h. Inside, and for the commit thread, which has no COMMIT to read yet. */
#ifndef SP_REPLAY_H
#define SP_REPLAY_H

#include "sp_frame.h"

/* Gathers and hashes the frames [offset, end) of a segment, all of batch `batch`, from `from` on (seq, tree size, time).
 * SP_E_CORRUPT: they are not whole, in order, and records of this log. */
SP_MUST_USE int sp_replay_leaves(sp_replay *replay, sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t offset,
                                 uint64_t end, const sp_replay_state *from, uint32_t batch);
/* Appends the leaves that another replay (or the same one) gathered to the tree of `tree`, batch by batch in order: the
 * root that they lead to. */
SP_MUST_USE int sp_replay_root(sp_replay *tree, const sp_replay *leaves, uint8_t root[32]);
/* Whether all frames [offset, end) still pass their checksums: SP_OK or SP_E_CORRUPT. */
SP_MUST_USE int sp_replay_checksums(sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t offset, uint64_t end);
/* Room for such a batch, so that sp_replay_leaves allocates nothing. */
SP_MUST_USE int sp_replay_reserve(sp_replay *replay, uint64_t leaves, uint64_t frames);
/* Stands at a tree of `size` leaves with that frontier. */
SP_MUST_USE int sp_replay_adopt(sp_replay *replay, uint64_t size, const uint8_t *frontier, uint32_t count,
                                const uint8_t root[32], uint64_t last_time_ns);

#endif
