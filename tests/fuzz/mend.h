/* Frames made of any bytes, mended as far as a target wants: checksums, order, COMMITs. Nobody guesses those. */
#ifndef MEND_H
#define MEND_H

#include "fuzz.h"
#include "sp_bytes.h"
#include "sp_scan.h"

#define BYTES SP_SEGMENT_BYTES_MIN
static const uint8_t LOG_ID[32] = {1}, SALT[SP_SALT_SIZE] = {2};

enum { MEND_NOTHING, MEND_CHECKSUMS, MEND_ORDER, MEND_COMMITS };

/* Size and root of the tree behind the frames [from, to) of a batch; 0: leave the COMMIT as it is. */
typedef int (*mend_tree)(void *arg, const uint8_t *file, uint64_t from, uint64_t to, const sp_scan *scan, uint64_t *size,
                         uint8_t root[32]);

/* What the frame of a batch must be to pass; `scan` is the position before it, as it will be found. */
static void put_in_order(uint8_t *frame, const sp_scan *scan, uint32_t count)
{
    sp_frame_header header;
    memcpy(&header, frame, sizeof header);
    header.seq = scan->at.next_seq + count;
    header.batch = scan->batches;
    header.flags = 0;
    if (header.type < SP_FRAME_REQUEST || header.type > SP_FRAME_SEAL) {
        header.type = (uint8_t)(SP_FRAME_REQUEST + header.type % SP_FRAME_SEAL);
    }
    header.version = SP_FRAME_VERSION;
    memcpy(frame, &header, sizeof header);
    memset(frame + header.len, 0, sp_frame_padded(header.len) - header.len);
}

/* The COMMIT at `at`, which closes the frames from `from` on. */
static int mend_commit(uint8_t *file, uint64_t from, uint64_t at, sp_scan *scan, uint32_t count, int sealed, mend_tree tree,
                       void *arg)
{
    uint8_t *payload = file + at + SP_FRAME_HEADER;
    uint64_t size;
    uint8_t root[32];
    sp_sha256_ctx ctx;
    if (!tree(arg, file, from, at, scan, &size, root)) {
        return 0;
    }
    memcpy(payload + 20, root, 32);
    sp_store_u64le(payload, scan->at.next_seq);
    sp_store_u32le(payload + 8, count);
    sp_store_u64le(payload + 12, size);
    sp_chain_start(&ctx, scan->at.chain, size, payload + 20);
    for (uint64_t each = from; each < at; each += sp_frame_padded(sp_load_u32le(file + each))) {
        sp_chain_header(&ctx, file + each);
    }
    sp_sha256_final(&ctx, payload + 52);
    scan->at.next_seq += count + 1;
    scan->at.tree_size = size;
    memcpy(scan->at.root, payload + 20, 32);
    memcpy(scan->at.chain, payload + 52, 32);
    scan->batches++;
    scan->sealed = (uint8_t)sealed;
    return 1;
}

/* All frames of a file of BYTES; `scan` is the position before it and becomes that behind its last mended COMMIT. */
static void mend(uint8_t *file, int level, sp_scan *scan, mend_tree tree, void *arg)
{
    uint64_t batch = SP_SEGMENT_DATA;
    uint32_t count = 0;
    int sealed = 0;
    scan->batches = 0;
    scan->sealed = 0;
    for (uint64_t at = SP_SEGMENT_DATA; at + SP_FRAME_HEADER <= BYTES;) {
        uint8_t *frame = file + at;
        uint32_t len = sp_load_u32le(frame);
        if (len < SP_FRAME_HEADER || sp_frame_padded(len) > BYTES - at) {
            return;
        }
        uint64_t next = at + sp_frame_padded(len);
        if (level >= MEND_ORDER) {
            put_in_order(frame, scan, count);
        }
        uint8_t type = frame[offsetof(sp_frame_header, type)];
        int closes = level >= MEND_COMMITS && type == SP_FRAME_COMMIT && len == SP_FRAME_HEADER + SP_COMMIT_PAYLOAD && count > 0;
        if (closes && mend_commit(file, batch, at, scan, count, sealed, tree, arg)) {
            batch = next;
            count = 0;
        } else {
            sealed = type == SP_FRAME_SEAL;
            count++;
        }
        if (level >= MEND_CHECKSUMS) {
            sp_frame_stamp(frame, SALT, at);
        }
        at = next;
    }
}

#endif
