/* The journal from the inside. These threads meet here:
 *  - the caller's (the event loop): open, repair, start, submit, take, free;
 *  - the commit threads, as many as commits may be in flight: from a submit until its result one of them owns the batch.
 *    Behind the gates of sp_flight.h it owns more: at ROOM the active segment and the tree's room, at TREE its writing
 *    side, at COMMIT `at` and the segment's end;
 *  - the helper thread of sp_spare.c. */
#ifndef SP_JOURNAL_H
#define SP_JOURNAL_H

#include <pthread.h>

#include "sp_flight.h"
#include "sp_replay.h"
#include "sp_scan.h"
#include "sp_spare.h"

/* Whole pieces of what the kernel caches of a file that was filled so (sp_segment.c): a look at one page maps its piece. */
#define SP_JOURNAL_RELEASE_BYTES (UINT64_C(1) << 20)
/* Room in the tree that is kept, as the reserved segment is, for batches that may use it. */
#define SP_JOURNAL_RESERVED_LEAVES 8192u

typedef struct sp_active {          /* the segment that is written */
    int open;                       /* 0: none, or the last one is sealed */
    int file;
    uint8_t *map;                   /* read-only: bytes go in with pwrite */
    uint64_t offset;                /* where the next batch goes */
    uint64_t released;              /* the mapping holds no pages below it, but for those that somebody read again */
    uint32_t batch;                 /* batches that have a place in it */
    int header_stored;              /* or one of them will store it */
    sp_segment_header header;
} sp_active;

struct sp_journal {
    /* constant after open */
    const sp_disk *disk;
    char *dir;
    sp_journal_options options;     /* its dir is ours */
    uint64_t release_bytes;         /* pages leave the mapping so many at a time */
    int lock_file;                  /* -1: not held */
    /* the caller's until start, then the commit threads' */
    sp_survey survey;
    sp_journal_state state;         /* of the last survey */
    sp_position at;                 /* behind the last durable batch */
    sp_active active;
    uint64_t next_number;           /* of the segment after the active one */
    int alone;                      /* the batch placed last opens or ends a segment */
    sp_tree *tree;
    /* The second hash, one for each in flight; the first also holds, at TREE, the tree that all of them grow. NULL: none. */
    sp_replay *replay[SP_FLIGHTS_MAX];
    sp_spare spare;
    /* the hand-over */
    sp_flights flights;
    pthread_t thread[SP_FLIGHTS_MAX];
    uint32_t threads;               /* that run */
    int event_fd;
};

void *sp_commit_main(void *journal);    /* a commit thread, until flights.stop */

#endif
