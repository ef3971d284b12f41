/* Leaves of many records at once, from their stored bytes: the records of a group share the kernel's lanes, so that a
 * log of single requests is hashed as quickly as one of batches. */
#ifndef SP_LEAVES_H
#define SP_LEAVES_H

#include "sp_leaf.h"

enum { SP_LEAVES_GROUP = 64 };          /* records that are hashed together */

typedef struct sp_leaf_source {         /* one record */
    sp_span head;
    const uint8_t *salt_seed, *digests; /* NULL for events */
    uint64_t count, seq, time_ns;
    uint8_t type, flags;
    uint16_t version;
    uint64_t leaf_at;                   /* where its hashes go, counted in hashes */
    sp_leaf_spec spec;                  /* record is filled in here */
} sp_leaf_source;

/* The leaf hashes of `count` (at most SP_LEAVES_GROUP) records into `out`. */
SP_MUST_USE int sp_leaves_hash(sp_leaf_source *source, size_t count, uint8_t *out, sp_replay_work *work);

#endif
