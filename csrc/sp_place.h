/* A batch's place in the log: bytes of the active segment, numbers of its frames, room for its leaves. Taken behind the
 * gate ROOM, in order, so that all the rest can be done beside other batches. */
#ifndef SP_PLACE_H
#define SP_PLACE_H

#include "sp_journal.h"

typedef struct sp_carried {         /* one commit on its way */
    sp_journal *journal;
    sp_flight *flight;
    sp_batch *batch;                /* the flight's */
    sp_commit_result *result;       /* the flight's */
    sp_replay *replay;              /* the flight's own; NULL: there is none */
    uint64_t offset;                /* of its first frame */
    uint64_t bytes;                 /* up to its COMMIT */
    uint32_t frames, number;        /* without COMMIT, with SEAL; of the batch in its segment */
    int opens;                      /* it stores the segment's header */
    uint8_t root[32];
} sp_carried;

/* Takes one. SP_E_FULL: there is none, and nothing has happened; SP_E_FAILED: a sync of the helper thread failed. Waits
 * for the batches before it if one of them opens or ends a segment. */
SP_MUST_USE int sp_place_take(sp_carried *work);
/* Makes a segment the active one, its next batch at `offset` with number `batch`; and lets go of it. */
SP_MUST_USE int sp_place_open(sp_journal *journal, const sp_segment_header *header, uint64_t offset, uint32_t batch);
void sp_place_leave(sp_journal *journal);

#endif
