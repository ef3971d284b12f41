/* From the frames of a segment to the entries of its index. */
#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"
#include "sp_head.h"
#include "sp_index.h"
#include "sp_sha256.h"

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

static int read_request(reading *reading, const sp_head *head, const sp_frame *frame, const sp_columns *columns, uint32_t place)
{
    uint32_t size = sp_digest_size(head->algorithm);
    SP_ENSURE(columns->digests_size % size == 0, SP_E_ENCODING);
    SP_TRY(grow((void **)&reading->requests, reading->request_count, &reading->request_room, sizeof *reading->requests));
    reading->requests[reading->request_count++] = (request){.seq = frame->seq, .place = place};
    SP_TRY(add_value(reading, head->event_id, 16, place));
    SP_TRY(add_asked(reading, head->identity, head->request_id, place));
    SP_TRY(add(reading, SP_INDEX_REQUEST, frame->seq, place));
    for (uint32_t at = 0; at < columns->digests_size; at += size) {
        SP_TRY(add_value(reading, columns->digests + at, size, place));
    }
    reading->last[0] = place;
    return SP_OK;
}

static int read_refusal(reading *reading, const sp_head *head, uint32_t place)
{
    reading->last[1] = place;
    SP_TRY(add_value(reading, head->event_id, 16, place));
    return add_value(reading, head->digest.data, head->digest.size, place);
}

static int read_governance(reading *reading, const sp_head *head, uint32_t place)
{
    static const uint8_t policy[] = {'p', 'o', 'l', 'i', 'c', 'y'};
    reading->last[2] = place;
    if (sp_span_equal(head->event_kind, (sp_span){.data = policy, .size = sizeof policy})) {
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

static int read_outcome(reading *reading, const sp_head *head, uint32_t place)
{
    sp_reader refs = head->ref;
    for (uint32_t i = 0; i < head->refs; i++) {
        sp_head_ref ref;
        SP_TRY(sp_head_next_ref(&refs, &ref));
        SP_TRY(add(reading, SP_INDEX_OUTCOME, ref.seq, place));
        settle(reading, ref.seq);
    }
    for (size_t at = 0; at + 32 <= head->hashes.size; at += 32) {
        SP_TRY(add_value(reading, head->hashes.data + at, 32, place));
    }
    if ((head->checkpoint.size > 0 || head->any_signature) && head->tree_size >= reading->largest) {
        reading->largest = head->tree_size;
        reading->last[4] = place;
    }
    return SP_OK;
}

static int read_frame(reading *reading, const sp_frame *frame)
{
    SP_ENSURE(frame->flags == 0 && frame->type >= SP_FRAME_REQUEST && frame->type <= SP_FRAME_SEAL, SP_E_VERSION);
    if (frame->type == SP_FRAME_COMMIT || frame->type == SP_FRAME_SEAL) {
        return SP_OK;
    }
    sp_columns columns;
    sp_head head;
    SP_TRY(sp_frame_columns(frame, &columns));
    SP_TRY(sp_head_read(frame->type, frame->version, (sp_span){.data = columns.head, .size = columns.head_size}, &head));
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
            SP_ENSURE(sp_segment_ended(segment, offset) == SP_E_END, SP_E_CORRUPT);
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

static int read_segment(const sp_segment *segment, uint64_t end, sp_index_list *out)
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

int sp_index_build(const sp_segment *segment, uint64_t end, sp_index **out)
{
    SP_ENSURE(segment != NULL && out != NULL, SP_E_ARGUMENT);
    sp_index_list list;
    sp_index *index;
    SP_TRY(read_segment(segment, end, &list));
    SP_TRY(sp_index_of_entries(&segment->header, end, &list, &index));
    *out = index;
    return SP_OK;
}
