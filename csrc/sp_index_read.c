/* From the frames of a segment to the entries of its index: the one place of the core that looks into heads.
 *
 * Heads are MessagePack arrays [nonce, event, first_leaf, count, items_root]; the fields of an event stand in the order
 * of daemon/sealpress/tlog/entry.py, and a test compares both. */
#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"
#include "sp_index.h"
#include "sp_pack.h"
#include "sp_sha256.h"

#define HEAD_VERSION 1u         /* of records; entry.py writes it */
#define LASTS 5u

typedef struct request {        /* a REQUEST of this segment */
    uint64_t seq;
    uint32_t place;
    uint8_t settled;            /* an OUTCOME of this segment names it */
} request;

typedef struct reading {
    sp_index_list list;
    request *requests;          /* by seq, as they come */
    uint64_t request_count, request_room;
    uint32_t last[LASTS];       /* places of: REQUEST, REFUSAL, GOVERNANCE, policy, largest signed head; 0: none */
    uint64_t largest;
} reading;

/* Room for one more of a growing array. */
static int grow(void **data, uint64_t count, uint64_t *room, size_t item)
{
    if (count < *room) {
        return SP_OK;
    }
    size_t bytes, more = *room == 0 ? 1024 : (size_t)*room * 2;
    SP_TRY(sp_size_mul(more, item, &bytes));
    void *larger = realloc(*data, bytes);
    SP_ENSURE(larger != NULL, SP_E_MEMORY);
    *data = larger;
    *room = more;
    return SP_OK;
}

static int add(reading *reading, enum sp_index_kind kind, uint64_t value, uint32_t place)
{
    sp_index_list *list = &reading->list;
    SP_TRY(grow((void **)&list->entry, list->count, &list->room, sizeof *list->entry));
    list->entry[list->count++] = (sp_index_entry){.key = sp_index_key((uint8_t)kind, value), .place = place};
    return SP_OK;
}

/* A value by its first eight bytes; one that is shorter, or nothing but zeros (a signature that failed), is not found. */
static int add_value(reading *reading, const uint8_t *value, size_t size, uint32_t place)
{
    static const uint8_t zeros[64];
    if (size < 8 || (size <= sizeof zeros && memcmp(value, zeros, size) == 0)) {
        return SP_OK;
    }
    return add(reading, SP_INDEX_VALUE, sp_load_u64le(value), place);
}

static int add_asked(reading *reading, sp_span identity, sp_span request_id, uint32_t place)
{
    uint8_t hash[SP_SHA256_SIZE];
    sp_sha256_ctx ctx;
    sp_sha256_init(&ctx);
    sp_sha256_update(&ctx, identity.data, identity.size);
    sp_sha256_update(&ctx, (const uint8_t *)"", 1);
    sp_sha256_update(&ctx, request_id.data, request_id.size);
    sp_sha256_final(&ctx, hash);
    return add(reading, SP_INDEX_ASKED, sp_load_u64le(hash), place);
}

/* [event_id, request_id, identity, …] */
static int read_request(reading *reading, sp_reader *event, const sp_frame *frame, const sp_columns *columns, uint32_t place)
{
    sp_span event_id, request_id, identity;
    uint64_t algorithm;
    SP_TRY(sp_pack_bin(event, &event_id));
    SP_TRY(sp_pack_str(event, &request_id));
    SP_TRY(sp_pack_str(event, &identity));
    SP_TRY(sp_pack_skip(event, 5));             /* cert_sha256, line, key_id, mode, format */
    SP_TRY(sp_pack_uint(event, &algorithm));
    uint32_t size = algorithm <= UINT8_MAX ? sp_digest_size((uint8_t)algorithm) : 0;
    SP_ENSURE(size > 0 && columns->digests_size % size == 0, SP_E_ENCODING);
    SP_TRY(grow((void **)&reading->requests, reading->request_count, &reading->request_room, sizeof *reading->requests));
    reading->requests[reading->request_count++] = (request){.seq = frame->seq, .place = place};
    SP_TRY(add_value(reading, event_id.data, event_id.size, place));
    SP_TRY(add_asked(reading, identity, request_id, place));
    SP_TRY(add(reading, SP_INDEX_REQUEST, frame->seq, place));
    for (uint32_t at = 0; at < columns->digests_size; at += size) {
        SP_TRY(add_value(reading, columns->digests + at, size, place));
    }
    reading->last[0] = place;
    return SP_OK;
}

/* [event_id, request_id, identity, cert_sha256, line, reason, digest, …] */
static int read_refusal(reading *reading, sp_reader *event, uint32_t place)
{
    sp_span event_id, digest;
    SP_TRY(sp_pack_bin(event, &event_id));
    SP_TRY(sp_pack_skip(event, 5));
    SP_TRY(sp_pack_bin(event, &digest));
    SP_TRY(add_value(reading, event_id.data, event_id.size, place));
    reading->last[1] = place;
    return add_value(reading, digest.data, digest.size, place);
}

/* [kind, …] */
static int read_governance(reading *reading, sp_reader *event, uint32_t place)
{
    static const uint8_t policy[] = {'p', 'o', 'l', 'i', 'c', 'y'};
    sp_span kind;
    SP_TRY(sp_pack_str(event, &kind));
    reading->last[2] = place;
    if (sp_span_equal(kind, (sp_span){.data = policy, .size = sizeof policy})) {
        reading->last[3] = place;
    }
    return SP_OK;
}

static void settle(reading *reading, uint64_t seq)
{
    uint64_t low = 0, high = reading->request_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (reading->requests[middle].seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < reading->request_count && reading->requests[low].seq == seq) {
        reading->requests[low].settled = 1;
    }
}

/* Whether one of an array's byte strings is not empty. */
static int any_bytes(sp_reader *event, int *any)
{
    uint32_t count;
    SP_TRY(sp_pack_array(event, &count));
    *any = 0;
    for (uint32_t i = 0; i < count; i++) {
        sp_span each;
        SP_TRY(sp_pack_bin(event, &each));
        *any |= each.size > 0;
    }
    return SP_OK;
}

/* [requests, line, key_id, status, rv, latency_us, slot, tree_size, checkpoint, signatures, signature_sha256, …] */
static int read_outcome(reading *reading, sp_reader *event, uint32_t place)
{
    uint32_t refs, fields;
    SP_TRY(sp_pack_array(event, &refs));
    for (uint32_t i = 0; i < refs; i++) {
        uint64_t seq;
        SP_TRY(sp_pack_array(event, &fields));
        SP_ENSURE(fields > 0, SP_E_ENCODING);
        SP_TRY(sp_pack_uint(event, &seq));
        SP_TRY(sp_pack_skip(event, fields - 1));
        SP_TRY(add(reading, SP_INDEX_OUTCOME, seq, place));
        settle(reading, seq);
    }
    uint64_t tree_size;
    sp_span checkpoint, hashes;
    int any;
    SP_TRY(sp_pack_skip(event, 6));             /* line to slot */
    SP_TRY(sp_pack_uint(event, &tree_size));
    SP_TRY(sp_pack_bin(event, &checkpoint));
    SP_TRY(any_bytes(event, &any));
    SP_TRY(sp_pack_bin(event, &hashes));
    for (size_t at = 0; at + 32 <= hashes.size; at += 32) {
        SP_TRY(add_value(reading, hashes.data + at, 32, place));
    }
    if ((checkpoint.size > 0 || any) && tree_size >= reading->largest) {
        reading->largest = tree_size;
        reading->last[4] = place;
    }
    return SP_OK;
}

static int read_frame(reading *reading, const sp_frame *frame)
{
    if (frame->type == SP_FRAME_COMMIT || frame->type == SP_FRAME_SEAL) {
        SP_ENSURE(frame->version == SP_FRAME_VERSION, SP_E_VERSION);
        return SP_OK;
    }
    SP_ENSURE(frame->version == HEAD_VERSION && frame->flags == 0 && frame->type - 1u < SP_FRAME_RECOVERY, SP_E_VERSION);
    sp_columns columns;
    uint32_t fields;
    SP_TRY(sp_frame_columns(frame, &columns));
    sp_reader head = sp_reader_of(columns.head, columns.head_size);
    SP_TRY(sp_pack_array(&head, &fields));
    SP_TRY(sp_pack_skip(&head, 1));             /* the nonce */
    SP_TRY(sp_pack_array(&head, &fields));      /* the event */
    uint32_t place = (uint32_t)(frame->offset / SP_FRAME_ALIGN);
    switch (frame->type) {
    case SP_FRAME_REQUEST:
        return read_request(reading, &head, frame, &columns, place);
    case SP_FRAME_OUTCOME:
        return read_outcome(reading, &head, place);
    case SP_FRAME_REFUSAL:
        return read_refusal(reading, &head, place);
    case SP_FRAME_GOVERNANCE:
        return read_governance(reading, &head, place);
    default:
        return SP_OK;
    }
}

static int read_frames(reading *reading, const sp_segment *segment, uint64_t end)
{
    for (uint64_t offset = SP_SEGMENT_DATA; offset < end;) {
        sp_frame frame;
        int status = sp_segment_frame(segment, offset, &frame);
        if (status == SP_E_END) {
            break;
        }
        SP_TRY(status);
        SP_TRY(read_frame(reading, &frame));
        offset = frame.next_offset;
    }
    for (uint64_t i = 0; i < reading->request_count; i++) {
        if (!reading->requests[i].settled) {
            SP_TRY(add(reading, SP_INDEX_OPEN, 0, reading->requests[i].place));
        }
    }
    for (unsigned i = 0; i < LASTS; i++) {
        if (reading->last[i] != 0) {
            SP_TRY(add(reading, SP_INDEX_LAST, 0, reading->last[i]));
        }
    }
    return SP_OK;
}

int sp_index_read(const sp_segment *segment, uint64_t end, sp_index_list *out)
{
    reading reading;
    memset(&reading, 0, sizeof reading);
    int status = read_frames(&reading, segment, end);
    free(reading.requests);
    if (status != SP_OK) {
        free(reading.list.entry);
        return status;
    }
    *out = reading.list;
    return SP_OK;
}
