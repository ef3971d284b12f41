/* The journal from the inside. Three threads meet here:
 *  - the caller's (the event loop): open, repair, start, submit, take, free;
 *  - the commit thread: from a submit until its result it owns the batch, and always the tree's writing side, the
 *    active segment and `at`;
 *  - the helper thread of sp_spare.c.
 * `mutex` guards the hand-over: stage, stop, failed, result and the copies that position() tells. */
#ifndef SP_JOURNAL_H
#define SP_JOURNAL_H

#include <pthread.h>

#include "sp_batch.h"
#include "sp_replay.h"
#include "sp_scan.h"
#include "sp_spare.h"

/* Room in the tree that is kept, as the reserved segment is, for batches that may use it. */
#define SP_JOURNAL_RESERVED_LEAVES 8192u

typedef struct sp_active {          /* the segment that is written */
    int open;                       /* 0: none, or the last one is sealed */
    int file;
    uint8_t *map;                   /* read-only: bytes go in with pwrite */
    uint64_t offset;                /* where the next frame goes */
    uint32_t batch;                 /* commits so far */
    int header_stored;
    sp_segment_header header;
} sp_active;

enum sp_stage { SP_STAGE_IDLE, SP_STAGE_WORK, SP_STAGE_DONE };

struct sp_journal {
    /* constant after open */
    const sp_disk *disk;
    char *dir;
    sp_journal_options options;     /* its dir is ours */
    int lock_file;                  /* -1: not held */
    /* the caller's until start, then the commit thread's */
    sp_survey survey;
    sp_journal_state state;         /* of the last survey */
    sp_position at;
    sp_active active;
    uint64_t next_number;           /* of the segment after the active one */
    sp_tree *tree;
    sp_replay *replay;              /* the second hash; NULL: there is none */
    sp_spare spare;
    uint64_t flushed;               /* leaves of the tree when its files were last given to the helper */
    /* the hand-over */
    pthread_t thread;
    int running, event_fd;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    int stage, stop;
    int failed, failed_errno;       /* latched: set once, never cleared */
    sp_batch *batch;                /* NULL: a SEAL alone */
    uint64_t time_ns;
    sp_commit_result result;
    uint64_t next_seq, next_leaf, last_time_ns, batch_bytes_max;
};

/* sp_commit.c */
int sp_commit_open_active(sp_journal *journal, const sp_segment_header *header, uint64_t offset, uint32_t batch);
void sp_commit_close_active(sp_journal *journal);
uint64_t sp_commit_batch_max(const sp_journal *journal);
void *sp_commit_main(void *journal);

#endif
