/* Gathering stored frames: see sp_gather.h. */
#include "sp_gather.h"

#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"
#include "sp_merkle.h"

#define CHAIN_FRONT 72u                 /* previous chain, size, root */
#define NS_PER_S UINT64_C(1000000000)

int sp_gather_init(sp_gather *gather, const char *log_name)
{
    gather->name = strdup(log_name);
    SP_ENSURE(gather->name != NULL, SP_E_MEMORY);
    sp_merkle_empty(gather->nothing);
    return sp_scope(log_name, "", gather->event_scope);
}

void sp_gather_free(sp_gather *gather)
{
    sp_docket_free(&gather->docket);
    free(gather->leaves.data);
    free(gather->chains.data);
    free(gather->outcomes.data);
    free(gather->name);
}

void sp_gather_open(sp_gather *gather, const sp_replay_state *at)
{
    gather->next_seq = at->next_seq;
    gather->last_time_ns = at->last_time_ns;
    gather->tree_size = at->tree_size;
    memcpy(gather->chain, at->chain, 32);
    gather->sealed = 0;
    gather->leaves.size = gather->chains.size = gather->outcomes.size = 0;
    gather->sources = 0;
    gather->ends = 0;
    gather->frames = 0;
    gather->reason = gather->message = NULL;
}

static int make_room(sp_gather_buffer *buffer, size_t more)
{
    size_t size;
    SP_TRY(sp_size_add(buffer->size, more, &size));
    if (size > buffer->room) {
        size_t room = size + size / 2 + 4096;
        uint8_t *data = realloc(buffer->data, room);
        SP_ENSURE(data != NULL, SP_E_MEMORY);
        buffer->data = data;
        buffer->room = room;
    }
    return SP_OK;
}

int sp_gather_reserve(sp_gather *gather, uint64_t leaves, uint64_t frames)
{
    size_t leaf_bytes, frame_bytes;
    gather->leaves.size = gather->chains.size = 0;
    SP_TRY(sp_size_mul(leaves, 32, &leaf_bytes));
    SP_TRY(sp_size_mul(frames, SP_FRAME_HEADER, &frame_bytes));
    SP_TRY(make_room(&gather->leaves, leaf_bytes));
    return make_room(&gather->chains, frame_bytes);
}

static void wrong(sp_gather *gather, const sp_frame *frame, const char *reason, const char *message)
{
    if (gather->reason == NULL) {
        gather->bad_offset = frame->offset;
        gather->bad_seq = frame->seq;
        gather->reason = reason;
        gather->message = message;
    }
}

static int scope_of(sp_gather *gather, sp_span line, uint8_t out[32])
{
    sp_span name = {(const uint8_t *)gather->name, strlen(gather->name)};
    if (line.size == 0 || line.size > SP_GATHER_LINE_MAX) {
        return sp_leaf_scope(name, line, out);
    }
    sp_gather_scope *entry = &gather->scope[sp_crc32c(0, line.data, line.size) % SP_GATHER_SCOPES];
    if (entry->size != line.size || memcmp(entry->line, line.data, line.size) != 0) {
        SP_TRY(sp_leaf_scope(name, line, entry->scope));
        memcpy(entry->line, line.data, line.size);
        entry->size = (uint32_t)line.size;
    }
    memcpy(out, entry->scope, 32);
    return SP_OK;
}

int sp_gather_hash(sp_gather *gather)
{
    int status = sp_leaves_hash(gather->source, gather->sources, gather->leaves.data, &gather->work);
    gather->sources = 0;
    return status;
}

static sp_leaf_source source_of(const sp_gather *gather, const sp_frame *frame, const sp_head *head, const sp_columns *columns)
{
    sp_leaf_source source = {
        .head = {columns->head, columns->head_size},
        .salt_seed = columns->salt_seed,
        .digests = columns->digests,
        .count = head->count,
        .seq = frame->seq,
        .time_ns = frame->time_ns,
        .type = frame->type,
        .flags = frame->flags,
        .version = frame->version,
        .leaf_at = gather->leaves.size / 32,
        .spec = {.kind = SP_LEAF_EVENT, .time = frame->time_ns / NS_PER_S},
    };
    return source;
}

/* Only what `judging` asks for can fail here: an OUTCOME names its leaves, and the reader of signatures its place. */
static int judge_outcome(sp_gather *gather, const sp_frame *frame, const sp_head *head)
{
    sp_replay_outcome one = {.offset = frame->offset};
    uint8_t scope[32];
    SP_TRY(scope_of(gather, head->line, scope));
    const char *message = sp_docket_judge(&gather->docket, head, scope, &one.time_min, &one.time_max);
    if (message != NULL) {
        wrong(gather, frame, "HEAD", message);
        return SP_OK;
    }
    SP_TRY(make_room(&gather->outcomes, sizeof one));
    memcpy(gather->outcomes.data + gather->outcomes.size, &one, sizeof one);
    gather->outcomes.size += sizeof one;
    return SP_OK;
}

/* What a REQUEST's leaves need beyond what every record needs. */
static int take_request(sp_gather *gather, const sp_frame *frame, const sp_head *head, const sp_columns *columns,
                        sp_leaf_source *source)
{
    uint8_t root[32];
    if (columns->digests_size != (uint64_t)sp_digest_size(head->algorithm) * head->count) {
        wrong(gather, frame, "RECORD", "a REQUEST's digests do not match its count");
        return SP_OK;
    }
    memcpy(root, gather->nothing, 32);
    if ((columns->names_size > 0 &&
         sp_items_root(columns->salt_seed, columns->names, columns->names_size, head->count, root) != SP_OK) ||
        memcmp(root, head->items_root, 32) != 0) {
        wrong(gather, frame, "RECORD", "the names do not fold to the items_root of the head");
        return SP_OK;
    }
    source->spec.kind = head->kind;
    source->spec.algorithm = head->algorithm;
    source->spec.security_version = head->security_version;
    memcpy(source->spec.key_id, head->key_id, 32);
    SP_TRY(scope_of(gather, head->line, source->spec.scope));
    if (!gather->judging) {
        return SP_OK;
    }
    sp_case one = {.seq = frame->seq, .first_leaf = head->first_leaf, .time = source->spec.time, .count = head->count};
    memcpy(one.scope, source->spec.scope, 32);
    memcpy(one.key_id, head->key_id, 32);
    return sp_docket_add(&gather->docket, &one);
}

static int take_event(sp_gather *gather, const sp_frame *frame, const sp_head *head, sp_leaf_source *source)
{
    if (head->count != 1 || memcmp(head->items_root, gather->nothing, 32) != 0) {
        wrong(gather, frame, "RECORD", "an event record has exactly one leaf and no items");
        return SP_OK;
    }
    memcpy(source->spec.scope, gather->event_scope, 32);
    return frame->type == SP_FRAME_OUTCOME && gather->judging ? judge_outcome(gather, frame, head) : SP_OK;
}

static int gather_record(sp_gather *gather, const sp_frame *frame)
{
    sp_columns columns;
    sp_head head;
    int status = sp_frame_columns(frame, &columns);
    status = status != SP_OK ? status
                             : sp_head_read(frame->type, frame->version, (sp_span){columns.head, columns.head_size}, &head);
    if (status != SP_OK) {
        wrong(gather, frame, "RECORD", status == SP_E_VERSION ? "the record's version is unknown to this release"
                                                              : "the record is not in its canonical encoding");
        return SP_OK;
    }
    if (head.line.size > UINT16_MAX) {
        wrong(gather, frame, "RECORD", "the name of a line is too long");
        return SP_OK;
    }
    if (head.first_leaf != gather->tree_size) {
        wrong(gather, frame, "RECORD", "the record names another leaf index than its place gives it");
        return SP_OK;
    }
    sp_leaf_source source = source_of(gather, frame, &head, &columns);
    SP_TRY(frame->type == SP_FRAME_REQUEST ? take_request(gather, frame, &head, &columns, &source)
                                           : take_event(gather, frame, &head, &source));
    if (gather->reason != NULL) {
        return SP_OK;
    }
    SP_TRY(make_room(&gather->leaves, (size_t)head.count * 32));
    gather->leaves.size += (size_t)head.count * 32;
    gather->tree_size += head.count;
    gather->records[frame->type]++;
    gather->source[gather->sources++] = source;
    return gather->sources == SP_LEAVES_GROUP ? sp_gather_hash(gather) : SP_OK;
}

static void in_order(sp_gather *gather, const sp_frame *frame)
{
    if (gather->sealed && frame->type != SP_FRAME_COMMIT) {
        wrong(gather, frame, "ORDER", "a frame behind the SEAL");
    } else if (frame->seq != gather->next_seq || frame->batch != gather->batch || frame->flags != 0) {
        wrong(gather, frame, "ORDER", "another seq, batch or flag than its place gives it");
    } else if (frame->time_ns < gather->last_time_ns) {
        wrong(gather, frame, "ORDER", "time goes back");
    }
    gather->next_seq++;
    gather->last_time_ns = frame->time_ns;
}

/* Any frame but a COMMIT. */
int sp_gather_frame(sp_gather *gather, const sp_frame *frame)
{
    in_order(gather, frame);
    SP_TRY(make_room(&gather->chains, SP_FRAME_HEADER));
    memcpy(gather->chains.data + gather->chains.size, frame->header, SP_FRAME_HEADER);
    gather->chains.size += SP_FRAME_HEADER;
    gather->frames++;
    if (gather->reason != NULL) {
        return SP_OK;
    }
    if (frame->type == SP_FRAME_SEAL) {
        gather->sealed = 1;
        if (frame->version != SP_FRAME_VERSION || frame->payload_size != 0) {
            wrong(gather, frame, "RECORD", "a SEAL of another version or with a payload");
        }
        return SP_OK;
    }
    return gather_record(gather, frame);
}

static void judge_commit(sp_gather *gather, const sp_frame *frame, sp_commit *commit)
{
    in_order(gather, frame);
    if (sp_frame_commit(frame, commit) != SP_OK) {
        wrong(gather, frame, "RECORD", "a COMMIT of another version or length");
    } else if (gather->frames == 0 || commit->first_seq != frame->seq - gather->frames || commit->count != gather->frames) {
        wrong(gather, frame, "ORDER", "the COMMIT names other frames than its batch has");
    } else if (commit->durable_seq != SP_DURABLE_NONE && commit->durable_seq >= commit->first_seq) {
        wrong(gather, frame, "ORDER", "the COMMIT calls itself durable before it was written");
    }
}

static int close_batch(sp_gather *gather, const sp_frame *frame, uint64_t leaves_from, size_t chain_at)
{
    sp_gather_end end = {
        .offset = frame->offset,
        .next_offset = frame->next_offset,
        .seq = frame->seq,
        .time_ns = frame->time_ns,
        .tree_size = gather->tree_size,
        .leaves_from = leaves_from,
        .leaves_to = gather->leaves.size / 32,
        .chain_at = chain_at,
        .chain_size = gather->chains.size - chain_at,
        .outcomes_to = (uint32_t)(gather->outcomes.size / sizeof(sp_replay_outcome)),
    };
    judge_commit(gather, frame, &end.commit);
    SP_ENSURE(gather->reason == NULL, SP_E_MISMATCH);
    uint8_t *front = gather->chains.data + chain_at;
    memcpy(front, gather->chain, 32);
    sp_store_u64le(front + 32, end.commit.tree_size);
    memcpy(front + 40, end.commit.root, 32);
    memcpy(gather->chain, end.commit.chain, 32);
    memcpy(end.records, gather->records, sizeof end.records);
    gather->end[gather->ends++] = end;
    gather->batch++;
    return SP_OK;
}

int sp_gather_batch(sp_gather *gather, sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t *offset, uint64_t end)
{
    uint64_t at = *offset, leaves_from = gather->leaves.size / 32;
    size_t chain_at = gather->chains.size;
    gather->frames = 0;
    memset(gather->records, 0, sizeof gather->records);
    SP_TRY(make_room(&gather->chains, CHAIN_FRONT));
    gather->chains.size += CHAIN_FRONT;
    for (;;) {
        sp_frame frame;
        int status = at < end ? sp_frame_read(segment, salt, at, &frame) : SP_E_END;
        if (status != SP_OK) {
            SP_ENSURE(at != *offset || status != SP_E_END, SP_E_END);
            gather->bad_offset = at;
            return SP_E_CORRUPT;
        }
        if (frame.type == SP_FRAME_COMMIT) {
            SP_TRY(close_batch(gather, &frame, leaves_from, chain_at));
            *offset = frame.next_offset;
            return SP_OK;
        }
        SP_TRY(sp_gather_frame(gather, &frame));
        at = frame.next_offset;
    }
}
