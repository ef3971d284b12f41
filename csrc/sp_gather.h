/* Gathering stored frames: reads, orders and decodes them, and hashes the leaves of many records together. The first
 * part of a replay (sp_replay.c settles what was gathered here); a batch is closed by its COMMIT.
 *
 * Bytes are untrusted and may even change while they are read: lengths are taken once, and nothing is written through
 * what they say. */
#ifndef SP_GATHER_H
#define SP_GATHER_H

#include "sp_docket.h"
#include "sp_frame.h"
#include "sp_leaves.h"

enum {
    SP_GATHER_BATCHES = 256,            /* at a time */
    SP_GATHER_SCOPES = 64,
    SP_GATHER_LINE_MAX = 320            /* five components of 63 and their slashes */
};

typedef struct sp_gather_scope {
    uint32_t size;                      /* of the line; 0: empty */
    uint8_t line[SP_GATHER_LINE_MAX], scope[32];
} sp_gather_scope;

typedef struct sp_gather_end {          /* a batch that has its COMMIT */
    uint64_t offset, next_offset, seq, time_ns;         /* of the COMMIT */
    uint64_t tree_size;                 /* that its records lead to */
    uint64_t leaves_from, leaves_to;    /* its hashes among those gathered */
    size_t chain_at, chain_size;        /* the message whose hash its chain value must be */
    sp_commit commit;
    uint32_t records[8], outcomes_to;
} sp_gather_end;

typedef struct sp_gather_buffer {
    uint8_t *data;
    size_t size, room;
} sp_gather_buffer;

typedef struct sp_gather {
    char *name;                         /* of the log */
    uint8_t event_scope[32], nothing[32];       /* nothing: root of the empty tree */
    int judging;                        /* OUTCOMEs are judged, too */
    sp_docket docket;
    sp_gather_scope scope[SP_GATHER_SCOPES];
    sp_replay_work work;
    /* where the frames lead to */
    uint64_t next_seq, last_time_ns, tree_size;
    uint32_t batch;                     /* number of the batch that is open or comes next */
    uint8_t chain[32];
    uint8_t sealed;                     /* a SEAL was met */
    /* what was gathered */
    sp_leaf_source source[SP_LEAVES_GROUP];
    size_t sources;                     /* records whose leaves are not hashed yet */
    sp_gather_buffer leaves, chains, outcomes;
    sp_gather_end end[SP_GATHER_BATCHES];
    uint32_t ends;
    /* the open batch */
    uint32_t frames, records[8];
    /* the first thing that is wrong; reason NULL: nothing */
    uint64_t bad_offset, bad_seq;
    const char *reason, *message;
} sp_gather;

SP_MUST_USE int sp_gather_init(sp_gather *gather, const char *log_name);
void sp_gather_free(sp_gather *gather);
/* Forgets what was gathered and goes on from there; the number of the batch stays. */
void sp_gather_open(sp_gather *gather, const sp_replay_state *at);
/* Room for the leaves and frames of one batch. */
SP_MUST_USE int sp_gather_reserve(sp_gather *gather, uint64_t leaves, uint64_t frames);
/* One batch: SP_OK, and *offset stands behind its COMMIT. SP_E_END: none begins here. SP_E_CORRUPT: its frames end
 * without a COMMIT, at bad_offset. SP_E_MISMATCH: it has one, and something in it is wrong. */
SP_MUST_USE int sp_gather_batch(sp_gather *gather, sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t *offset,
                                uint64_t end);
/* Any frame but a COMMIT; what is wrong with it stands in `reason`. */
SP_MUST_USE int sp_gather_frame(sp_gather *gather, const sp_frame *frame);
/* Hashes what is left to be hashed. */
SP_MUST_USE int sp_gather_hash(sp_gather *gather);

#endif
