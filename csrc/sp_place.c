/* The active segment, and who gets which part of it: see sp_place.h. */
#include "sp_place.h"

#include <string.h>

#include "sp_bytes.h"
#include "sp_tree.h"

int sp_place_open(sp_journal *journal, const sp_segment_header *header, uint64_t offset, uint32_t batch)
{
    const sp_disk *disk = journal->disk;
    sp_active *active = &journal->active;
    char path[SP_DISK_PATH_MAX];
    SP_TRY(sp_segment_path(journal->dir, header->number, path));
    int file;
    void *map;
    SP_TRY(sp_disk_status(disk->open(disk->ctx, path, SP_DISK_WRITE, &file)));
    int error = disk->map(disk->ctx, file, 0, header->segment_bytes, &map);
    if (error != 0) {
        disk->close(disk->ctx, file);
        return sp_disk_status(error);
    }
    *active = (sp_active){.open = 1, .file = file, .map = map, .offset = offset, .batch = batch, .header = *header};
    return SP_OK;
}

void sp_place_leave(sp_journal *journal)
{
    const sp_disk *disk = journal->disk;
    sp_active *active = &journal->active;
    if (active->open) {
        disk->unmap(disk->ctx, active->map, active->header.segment_bytes);
        disk->close(disk->ctx, active->file);
        active->open = 0;
    }
}

static int may_use_reserve(const sp_carried *work)
{
    return work->batch != NULL && work->batch->use_reserve;
}

/* Nothing is in flight before it: the batch that ended the last segment let nobody pass. */
static int next_segment(sp_carried *work)
{
    sp_journal *journal = work->journal;
    SP_TRY(sp_spare_take(&journal->spare, journal->next_number, may_use_reserve(work), &work->result->system_errno));
    sp_segment_header header = {
        .number = journal->next_number,
        .first_seq = journal->at.next_seq,
        .tree_size = journal->at.tree_size,
        .created_ns = work->flight->time_ns,
        .segment_bytes = journal->options.segment_bytes,
        .version = SP_SEGMENT_VERSION,
    };
    uint8_t seed[32 + 8], salt[SP_SHA256_SIZE];
    memcpy(header.log_id, journal->options.log_id, sizeof header.log_id);
    memcpy(header.root, journal->at.root, sizeof header.root);
    memcpy(header.chain, journal->at.chain, sizeof header.chain);
    memcpy(seed, journal->options.salt_key, 32);
    sp_store_u64le(seed + 32, header.number);
    sp_sha256(seed, sizeof seed, salt);
    memcpy(header.salt, salt, sizeof header.salt);
    int status = sp_place_open(journal, &header, SP_SEGMENT_DATA, 0);
    if (status != SP_OK) {
        work->result->system_errno = errno;
        sp_spare_found(&journal->spare, header.number);
        return SP_E_FULL;
    }
    journal->next_number++;
    sp_spare_want(&journal->spare, journal->next_number);
    return SP_OK;
}

/* All that can fail for want of space. Nothing is written. */
static int make_room(sp_carried *work)
{
    sp_journal *journal = work->journal;
    int use_reserve = may_use_reserve(work);
    SP_TRY(sp_spare_check(&journal->spare, use_reserve, &work->result->system_errno));
    if (!journal->active.open) {
        SP_TRY(next_segment(work));
    }
    uint64_t size = work->flight->after.next_leaf;
    size += work->batch != NULL && journal->options.keep_reserve && !use_reserve ? SP_JOURNAL_RESERVED_LEAVES : 0;
    if (work->batch != NULL && sp_tree_room(journal->tree, size) != SP_OK) {
        work->result->system_errno = errno;
        return SP_E_FULL;
    }
    if (work->batch != NULL && work->replay != NULL) {
        SP_ENSURE(sp_replay_reserve(work->replay, work->batch->leaves, work->batch->items + 1) == SP_OK, SP_E_FULL);
    }
    return SP_OK;
}

int sp_place_take(sp_carried *work)
{
    sp_journal *journal = work->journal;
    sp_active *active = &journal->active;
    sp_commit_result *result = work->result;
    if (journal->alone) {
        SP_TRY(sp_flight_alone(&journal->flights, work->flight));
        journal->alone = 0;
    }
    int status = make_room(work);
    SP_ENSURE(status == SP_OK, status == SP_E_FAILED ? SP_E_FAILED : SP_E_FULL);
    work->offset = active->offset;
    work->number = active->batch++;
    work->opens = !active->header_stored;
    active->header_stored = 1;
    work->frames = work->batch == NULL ? 0 : work->batch->items;
    work->bytes = work->batch == NULL ? 0 : work->batch->size;
    active->offset += work->bytes + SP_COMMIT_BYTES + (work->flight->seals ? SP_SEAL_BYTES : 0);
    sp_bug_if(work->offset + work->bytes + SP_COMMIT_BYTES != work->flight->after.offset); /* where it was planned */
    sp_bug_if(active->offset > active->header.segment_bytes);
    journal->alone = work->opens || work->flight->seals;
    result->segment = active->header.number;
    result->offset = work->offset;
    return SP_OK;
}
