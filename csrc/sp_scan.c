/* One segment read back: see sp_scan.h. */
#include "sp_scan.h"

#include <string.h>

#include "sp_bytes.h"

static int chain_holds(const sp_segment *segment, const sp_scan *scan, const sp_frame *end, const sp_commit *commit)
{
    sp_sha256_ctx ctx;
    uint8_t expected[32];
    sp_chain_start(&ctx, scan->at.chain, commit->tree_size, commit->root);
    /* These frames passed sp_frame_read a moment ago: their lengths stay inside the segment. */
    for (uint64_t at = scan->end_offset; at < end->offset;) {
        const uint8_t *header = segment->bytes.data + at;
        sp_chain_header(&ctx, header);
        uint64_t step = sp_frame_padded(sp_load_u32le(header));
        if (step == 0) {
            return 0;           /* the file changed under us */
        }
        at += step;
    }
    sp_sha256_final(&ctx, expected);
    return memcmp(expected, commit->chain, sizeof expected) == 0;
}

static int take_commit(const sp_segment *segment, sp_scan *scan, const sp_frame *frame, uint32_t count, int seal)
{
    sp_commit commit;
    SP_ENSURE(sp_frame_commit(frame, &commit) == SP_OK, SP_E_MISMATCH);     /* whole, and of another length */
    SP_ENSURE(count > 0 && commit.first_seq == scan->at.next_seq && commit.count == count, SP_E_MISMATCH);
    SP_ENSURE(commit.tree_size >= scan->at.tree_size, SP_E_MISMATCH);
    SP_ENSURE(commit.tree_size > scan->at.tree_size || memcmp(commit.root, scan->at.root, 32) == 0, SP_E_MISMATCH);
    SP_ENSURE(chain_holds(segment, scan, frame, &commit), SP_E_MISMATCH);
    scan->at.next_seq = frame->seq + 1;
    scan->at.tree_size = commit.tree_size;
    scan->at.last_time_ns = frame->time_ns;
    scan->at.durable_seq = commit.durable_seq;
    memcpy(scan->at.root, commit.root, sizeof commit.root);
    memcpy(scan->at.chain, commit.chain, sizeof commit.chain);
    scan->end_offset = frame->next_offset;
    scan->batches++;
    scan->sealed = (uint8_t)seal;
    return SP_OK;
}

/* What follows a frame of a later format may mean anything. Heads of records have versions of their own. */
static int known_format(const sp_frame *frame, sp_scan *scan)
{
    int known = frame->flags == 0 && frame->type >= SP_FRAME_REQUEST && frame->type <= SP_FRAME_SEAL;
    if (frame->type >= SP_FRAME_COMMIT) {
        known = known && frame->version == SP_FRAME_VERSION;
    }
    if (!known) {
        scan->version = frame->version > SP_FRAME_VERSION ? frame->version : SP_FRAME_VERSION + 1;
    }
    return known ? SP_OK : SP_E_VERSION;
}

/* One batch: SP_OK and the scan stands behind its COMMIT; else *bad is where it went wrong. SP_E_END and SP_E_CORRUPT
 * are what a torn write leaves; SP_E_MISMATCH is whole frames that do not belong here, which no crash explains. */
static int scan_batch(const sp_segment *segment, sp_scan *scan, uint64_t *bad)
{
    int seal = 0;
    uint64_t offset = scan->end_offset;
    for (uint32_t count = 0;; count++) {
        sp_frame frame;
        *bad = offset;
        SP_TRY(sp_frame_read(segment->bytes, segment->header.salt, offset, &frame));
        SP_TRY(known_format(&frame, scan));
        SP_ENSURE(frame.seq == scan->at.next_seq + count && frame.batch == scan->batches, SP_E_MISMATCH);
        if (frame.type == SP_FRAME_COMMIT) {
            return take_commit(segment, scan, &frame, count, seal);
        }
        SP_ENSURE(!seal, SP_E_MISMATCH);
        if (frame.type == SP_FRAME_SEAL) {
            SP_ENSURE(frame.payload_size == 0, SP_E_MISMATCH);
            seal = 1;
        }
        offset = frame.next_offset;
    }
}

/* A COMMIT of batch `batch_min` or later that begins between from and to. The batch before it was durable when it was written:
 * what is missing in front of it was not lost by a crash. */
static int later_commit(const sp_segment *segment, uint64_t from, uint64_t to, uint32_t batch_min, uint64_t *where)
{
    for (uint64_t at = from; at < to && SP_COMMIT_BYTES <= segment->bytes.size - at; at += SP_FRAME_ALIGN) {
        sp_frame frame;
        const uint8_t *header = segment->bytes.data + at;
        if (sp_load_u32le(header) != SP_FRAME_HEADER + SP_COMMIT_PAYLOAD ||
            header[offsetof(sp_frame_header, type)] != SP_FRAME_COMMIT) {
            continue;
        }
        if (sp_frame_read(segment->bytes, segment->header.salt, at, &frame) == SP_OK && frame.batch >= batch_min) {
            *where = at;
            return 1;
        }
    }
    return 0;
}

static void judge_tail(const sp_segment *segment, sp_scan *scan, int why, uint64_t bad)
{
    uint64_t written = sp_span_written(segment->bytes, scan->end_offset);
    uint64_t expected = segment->header.segment_bytes;
    uint64_t commit_at;
    scan->damage_from = scan->end_offset;
    scan->damage_to = sp_frame_padded(written);
    /* The COMMIT of the torn batch itself may have reached the disk before its frames. */
    uint32_t batch_min = scan->batches + (scan->sealed ? 0 : 1);
    if (later_commit(segment, scan->end_offset, written, batch_min, &commit_at)) {
        scan->damage = SP_DAMAGE_INTERIOR;
        scan->damage_from = bad;
        scan->damage_to = commit_at;
    } else if (why == SP_E_MISMATCH) {
        scan->damage = SP_DAMAGE_INTERIOR;
        scan->damage_from = bad;
    } else if (segment->bytes.size != expected) {
        scan->damage = segment->bytes.size < expected ? SP_DAMAGE_TORN : SP_DAMAGE_SEALED;
        scan->damage_to = expected;
    } else if (written > scan->end_offset) {
        scan->damage = SP_DAMAGE_TORN;
    }
}

int sp_scan_segment(const sp_segment *segment, sp_scan *out)
{
    sp_scan scan;
    memset(&scan, 0, sizeof scan);
    const sp_segment_header *header = &segment->header;
    scan.at.next_seq = header->first_seq;
    scan.at.tree_size = header->tree_size;
    scan.at.last_time_ns = 0;
    scan.at.durable_seq = header->first_seq == 0 ? SP_DURABLE_NONE : header->first_seq - 1;
    memcpy(scan.at.root, header->root, sizeof scan.at.root);
    memcpy(scan.at.chain, header->chain, sizeof scan.at.chain);
    scan.end_offset = SP_SEGMENT_DATA;
    int status = SP_OK;
    uint64_t bad = scan.end_offset;
    while (status == SP_OK && !scan.sealed) {
        status = scan_batch(segment, &scan, &bad);
    }
    if (status == SP_E_VERSION) {
        out->version = scan.version;
        return SP_E_VERSION;
    }
    judge_tail(segment, &scan, status, scan.sealed ? scan.end_offset : bad);
    *out = scan;
    return SP_OK;
}
