/* Heads of records: the MessagePack that a leaf commits to, read strictly (daemon/sealpress/tlog/entry.py writes it).
 *
 * The bytes are untrusted. A head is accepted only if it is the one encoding of its fields: every field of version 1 in
 * its place and no more, shortest forms, strings in UTF-8, enumerations from their list, numbers inside their range,
 * nothing behind the end. So `record` can never cover bytes that two readers understand in two ways. */
#ifndef SP_HEAD_H
#define SP_HEAD_H

#include "sp_span.h"

#define SP_HEAD_VERSION 1u              /* of every record that this release writes and reads */

enum sp_head_status {                   /* of an OUTCOME, in the order of OutcomeStatus in entry.py */
    SP_STATUS_SEALED, SP_STATUS_SIGNED, SP_STATUS_PARTIAL, SP_STATUS_UNKNOWN, SP_STATUS_STOPPED, SP_STATUS_LAPSED
};

typedef struct sp_head {                /* what leaves, their checks and the index depend on; views into the head */
    uint64_t first_leaf;
    uint32_t count;                     /* at least 1 */
    const uint8_t *items_root;          /* 32 bytes */
    sp_span line;                       /* REQUEST and OUTCOME */
    const uint8_t *key_id;              /* the same: 32 bytes */
    uint32_t security_version;          /* REQUEST */
    uint8_t kind, algorithm;            /* REQUEST: kind of its leaves, 1 or 3 */
    uint8_t status;                     /* OUTCOME */
    uint64_t tree_size;                 /* OUTCOME: of the head that was signed */
    const uint8_t *event_id;            /* REQUEST and REFUSAL: 16 bytes */
    sp_span request_id, identity;       /* the same */
    sp_span digest;                     /* REFUSAL */
    sp_span event_kind;                 /* GOVERNANCE and RECOVERY */
    sp_span checkpoint, hashes;         /* OUTCOME: a signed note or nothing; SHA-256 of each signature */
    uint8_t any_signature;              /* OUTCOME: one of them is not empty */
    uint32_t refs;                      /* OUTCOME: how many parts of requests it names */
    sp_reader ref;                      /* stands before the first of them */
} sp_head;

typedef struct sp_head_ref {            /* leaves of one REQUEST */
    uint64_t seq, first_leaf;
    uint32_t count;
} sp_head_ref;

/* SP_E_VERSION: a version that is not ours; SP_E_ENCODING: these are not the bytes of a head of that type. */
SP_MUST_USE int sp_head_read(uint8_t type, uint16_t version, sp_span head, sp_head *out);
/* The next of `refs` parts of a head that was read. */
SP_MUST_USE int sp_head_next_ref(sp_reader *ref, sp_head_ref *out);

#endif
