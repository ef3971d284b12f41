/* Frames of the journal: the one place that knows their layout (DESIGN 3.1; csrc/README.md tells it in prose).
 *
 * All integers little endian. A frame starts at a multiple of 8 and is padded with zeros to one:
 *   u32 len | u32 crc32c | u64 seq | u8 type | u8 flags = 0 | u16 version | u32 batch | u64 time_ns | payload | pad
 * len counts header and payload. The checksum runs over salt[16] | u64 offset of the frame in its segment | the frame
 * without the checksum field, padding included: a stale frame, or one that a disk put elsewhere, never passes.
 *
 * COMMIT payload, 92 bytes:
 *   u64 first_seq | u32 count | u64 tree_size | root[32] | chain[32] | u64 durable_seq
 * first_seq and count name the batch's frames without the COMMIT, whose own seq is first_seq + count. durable_seq is
 * the highest seq that was known durable when this COMMIT was written, SP_DURABLE_NONE if there was none.
 *   chain = SHA-256(previous chain | u64 tree_size | root | the 32-byte headers of those frames)
 * The chain before the first COMMIT of a log is 32 zeros.
 *
 * SEAL has no payload. It is the last frame of the last batch of its segment, under that batch's COMMIT: whether a
 * segment is sealed and whether that batch exists are one and the same question. */
#ifndef SP_FRAME_H
#define SP_FRAME_H

#include <stddef.h>

#include "sp.h"
#include "sp_check.h"
#include "sp_sha256.h"
#include "sp_span.h"

#define SP_FRAME_HEADER 32u
#define SP_FRAME_ALIGN 8u
#define SP_FRAME_VERSION 1u             /* of COMMIT and SEAL; heads have their own */
#define SP_COMMIT_PAYLOAD 92u
#define SP_COMMIT_BYTES 128u            /* header, payload, padding */
#define SP_SEAL_BYTES 32u
#define SP_DURABLE_NONE UINT64_MAX
#define SP_SALT_SIZE 16u

enum sp_frame_type {                    /* as RecordType in values.py */
    SP_FRAME_REQUEST = 1,
    SP_FRAME_OUTCOME = 2,
    SP_FRAME_REFUSAL = 3,
    SP_FRAME_GOVERNANCE = 4,
    SP_FRAME_RECOVERY = 5,
    SP_FRAME_COMMIT = 6,
    SP_FRAME_SEAL = 7
};

typedef struct sp_frame_header {
    uint32_t len, crc;
    uint64_t seq;
    uint8_t type, flags;
    uint16_t version;
    uint32_t batch;
    uint64_t time_ns;
} sp_frame_header;
SP_STATIC_ASSERT(sizeof(sp_frame_header) == SP_FRAME_HEADER);
SP_STATIC_ASSERT(offsetof(sp_frame_header, crc) == 4);
SP_STATIC_ASSERT(offsetof(sp_frame_header, seq) == 8);
SP_STATIC_ASSERT(offsetof(sp_frame_header, type) == 16);
SP_STATIC_ASSERT(offsetof(sp_frame_header, flags) == 17);
SP_STATIC_ASSERT(offsetof(sp_frame_header, version) == 18);
SP_STATIC_ASSERT(offsetof(sp_frame_header, batch) == 20);
SP_STATIC_ASSERT(offsetof(sp_frame_header, time_ns) == 24);

typedef struct sp_commit {
    uint64_t first_seq, tree_size, durable_seq;
    uint32_t count;
    uint8_t root[32], chain[32];
} sp_commit;

/* Bytes that a frame of `len` takes, padding included. */
static inline uint64_t sp_frame_padded(uint64_t len)
{
    return (len + (SP_FRAME_ALIGN - 1)) & ~(uint64_t)(SP_FRAME_ALIGN - 1);
}

/* Fills in the checksum of a whole frame (header, payload, padding) that will stand at `offset` of its segment. */
void sp_frame_stamp(uint8_t *frame, const uint8_t salt[SP_SALT_SIZE], uint64_t offset);
/* The frame at `offset` of a segment's bytes. SP_E_END: zeros or no room for another; SP_E_CORRUPT: anything else. */
int sp_frame_read(sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t offset, sp_frame *out);
/* A whole COMMIT or SEAL, header to padding, not yet stamped; out has room for SP_COMMIT_BYTES | SP_SEAL_BYTES. */
void sp_frame_write_commit(const sp_frame_header *header, const sp_commit *commit, uint8_t *out);
void sp_frame_write_seal(const sp_frame_header *header, uint8_t *out);
/* SP_E_CORRUPT unless it is a COMMIT of the right length; SP_E_VERSION if it is of a later format. */
int sp_frame_commit(const sp_frame *frame, sp_commit *out);

/* The chain value piece by piece: start, one header after the other, final. */
void sp_chain_start(sp_sha256_ctx *ctx, const uint8_t chain[32], uint64_t tree_size, const uint8_t root[32]);
void sp_chain_header(sp_sha256_ctx *ctx, const uint8_t header[SP_FRAME_HEADER]);

#endif
