/* Batches: see sp_batch.h. */
#include "sp_batch.h"

#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"

#define SEED_SIZE 32u
#define ITEMS_FIRST 64u
#define NS_PER_S 1000000000u
enum { KIND_PROOF = 1, KIND_EVENT = 2, KIND_DIRECT = 3 };

int sp_batch_new(uint64_t bytes_max, sp_batch **out)
{
    SP_ENSURE(out != NULL && bytes_max >= SP_FRAME_HEADER && bytes_max <= UINT32_MAX, SP_E_ARGUMENT);
    sp_batch *batch = calloc(1, sizeof *batch);
    SP_ENSURE(batch != NULL, SP_E_MEMORY);
    batch->room = bytes_max & ~(uint64_t)(SP_FRAME_ALIGN - 1);
    batch->data = malloc(batch->room);
    if (batch->data == NULL) {
        free(batch);
        return SP_E_MEMORY;
    }
    *out = batch;
    return SP_OK;
}

void sp_batch_free(sp_batch *batch)
{
    if (batch != NULL) {
        free(batch->data);
        free(batch->item);
        free(batch->hashes);
        free(batch);
    }
}

void sp_batch_reset(sp_batch *batch)
{
    batch->size = 0;
    batch->items = 0;
    batch->leaves = 0;
    batch->use_reserve = 0;
}

void sp_batch_use_reserve(sp_batch *batch)
{
    batch->use_reserve = 1;
}

uint64_t sp_batch_bytes(const sp_batch *batch)
{
    return batch->size;
}

uint32_t sp_batch_frames(const sp_batch *batch)
{
    return batch->items;
}

uint64_t sp_batch_leaves(const sp_batch *batch)
{
    return batch->leaves;
}

uint64_t sp_batch_offset(const sp_batch *batch, uint32_t frame)
{
    return frame < batch->items ? batch->item[frame].offset : batch->size;
}

/* The next frame: claims its bytes and its place in the list, writes header and padding. Nothing changes on failure. */
static int batch_claim(sp_batch *batch, uint8_t type, uint16_t version, size_t payload, sp_batch_item **item, sp_writer *writer)
{
    SP_ENSURE(payload <= UINT32_MAX - SP_FRAME_HEADER - SP_FRAME_ALIGN, SP_E_ROOM);
    uint64_t len = SP_FRAME_HEADER + payload;
    uint64_t padded = sp_frame_padded(len);
    SP_ENSURE(padded <= batch->room - batch->size, SP_E_ROOM);
    if (batch->items == batch->items_room) {
        uint32_t room = batch->items_room == 0 ? ITEMS_FIRST : batch->items_room * 2;
        sp_batch_item *more = realloc(batch->item, room * sizeof *more);
        SP_ENSURE(more != NULL, SP_E_MEMORY);
        batch->item = more;
        batch->items_room = room;
    }
    uint8_t *frame = batch->data + batch->size;
    sp_frame_header header = {.len = (uint32_t)len, .type = type, .version = version};
    memcpy(frame, &header, sizeof header);
    memset(frame + len, 0, padded - len);
    *writer = sp_writer_of(frame + SP_FRAME_HEADER, payload);
    *item = &batch->item[batch->items];
    **item = (sp_batch_item){.offset = batch->size};
    batch->size += padded;
    batch->items++;
    return SP_OK;
}

static uint64_t position(const sp_batch_item *item, const sp_writer *writer)
{
    return item->offset + SP_FRAME_HEADER + writer->at;
}

int sp_batch_event(sp_batch *batch, uint8_t type, uint16_t version, const uint8_t *head, uint32_t head_size, const uint8_t scope[32])
{
    SP_ENSURE(batch != NULL && head != NULL && head_size > 0 && scope != NULL, SP_E_ARGUMENT);
    SP_ENSURE(type > SP_FRAME_REQUEST && type < SP_FRAME_COMMIT, SP_E_ARGUMENT);
    sp_batch_item *item;
    sp_writer writer;
    SP_TRY(batch_claim(batch, type, version, head_size, &item, &writer));
    item->head_at = position(item, &writer);
    item->head_size = head_size;
    item->count = 1;
    item->spec.kind = KIND_EVENT;
    memcpy(item->spec.scope, scope, sizeof item->spec.scope);
    sp_bug_if(sp_writer_bytes(&writer, head, head_size) != SP_OK);
    batch->leaves++;
    return SP_OK;
}

int sp_batch_request(sp_batch *batch, uint16_t version, const uint8_t *head, uint32_t head_size, const sp_leaf_spec *spec,
                     const uint8_t salt_seed[32], const uint8_t *names, uint32_t names_size,
                     const uint8_t *digests, uint64_t count)
{
    SP_ENSURE(batch != NULL && head != NULL && head_size > 0 && spec != NULL && salt_seed != NULL, SP_E_ARGUMENT);
    SP_ENSURE((names != NULL || names_size == 0) && digests != NULL && count > 0, SP_E_ARGUMENT);
    SP_ENSURE(spec->kind == KIND_PROOF || spec->kind == KIND_DIRECT, SP_E_ARGUMENT);
    uint32_t digest_size = sp_digest_size(spec->algorithm);
    SP_ENSURE(digest_size > 0, SP_E_ALGORITHM);
    size_t digests_size, payload = 4 + SEED_SIZE + 4;
    SP_TRY(sp_size_mul(count, digest_size, &digests_size));
    SP_TRY(sp_size_add(payload, head_size, &payload));
    SP_TRY(sp_size_add(payload, names_size, &payload));
    SP_TRY(sp_size_add(payload, digests_size, &payload));
    sp_batch_item *item;
    sp_writer writer;
    SP_TRY(batch_claim(batch, SP_FRAME_REQUEST, version, payload, &item, &writer));
    int status = sp_writer_u32le(&writer, head_size);
    item->head_at = position(item, &writer);
    status |= sp_writer_bytes(&writer, head, head_size);
    item->seed_at = position(item, &writer);
    status |= sp_writer_bytes(&writer, salt_seed, SEED_SIZE);
    status |= sp_writer_u32le(&writer, names_size);
    status |= sp_writer_bytes(&writer, names, names_size);
    item->digests_at = position(item, &writer);
    status |= sp_writer_bytes(&writer, digests, digests_size);
    sp_bug_if(status != SP_OK || sp_writer_left(&writer) != 0);
    item->head_size = head_size;
    item->count = count;
    item->spec = *spec;
    batch->leaves += count;
    return SP_OK;
}

void sp_batch_places(const sp_batch *batch, uint64_t *offsets, uint8_t *records)
{
    for (uint32_t i = 0; i < batch->items; i++) {
        offsets[i] = batch->item[i].offset;
        memcpy(records + (size_t)i * SP_SHA256_SIZE, batch->item[i].spec.record, SP_SHA256_SIZE);
    }
}

/* ---- at commit ------------------------------------------------------------ */

int sp_batch_ready(sp_batch *batch)
{
    if (batch->leaves > batch->hashes_room) {
        free(batch->hashes);
        batch->hashes_room = 0;
        batch->hashes = malloc(batch->leaves * SP_SHA256_SIZE);
        SP_ENSURE(batch->hashes != NULL, SP_E_MEMORY);
        batch->hashes_room = batch->leaves;
    }
    return SP_OK;
}

void sp_batch_stamp(sp_batch *batch, const uint8_t salt[SP_SALT_SIZE], uint64_t offset, uint64_t first_seq,
                    uint32_t number, uint64_t time_ns)
{
    for (uint32_t i = 0; i < batch->items; i++) {
        uint8_t *frame = batch->data + batch->item[i].offset;
        sp_frame_header header;
        memcpy(&header, frame, sizeof header);
        header.seq = first_seq + i;
        header.batch = number;
        header.time_ns = time_ns;
        memcpy(frame, &header, sizeof header);
        sp_frame_stamp(frame, salt, offset + batch->item[i].offset);
    }
}

int sp_batch_hash(sp_batch *batch, const uint8_t *stored)
{
    uint8_t *out = batch->hashes;
    /* The commit must be about the bytes that the caller meant: a bit that flipped on the way ends here. */
    SP_ENSURE(memcmp(stored, batch->data, batch->size) == 0, SP_E_CORRUPT);
    for (uint32_t i = 0; i < batch->items; i++) {
        sp_batch_item *item = &batch->item[i];
        sp_frame_header header;
        memcpy(&header, stored + item->offset, sizeof header);
        item->spec.time = header.time_ns / NS_PER_S;
        SP_TRY(sp_record(header.type, header.flags, header.version, header.seq, header.time_ns,
                         stored + item->head_at, item->head_size, item->spec.record));
        const uint8_t *seed = item->seed_at == 0 ? NULL : stored + item->seed_at;
        const uint8_t *digests = item->digests_at == 0 ? NULL : stored + item->digests_at;
        SP_TRY(sp_leaf_hashes(&item->spec, seed, digests, item->count, out));
        out += item->count * SP_SHA256_SIZE;
    }
    sp_bug_if((uint64_t)(out - batch->hashes) != batch->leaves * SP_SHA256_SIZE);
    return SP_OK;
}
