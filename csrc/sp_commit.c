/* A commit thread: it carries one batch after another from the caller's buffer to durable bytes and a grown tree. Batches
 * of other threads are on their way beside it; what is said in brackets is the gate behind which this one is alone.
 *
 *   place    [ROOM] a segment that takes the batch, and tree levels that take its leaves: all that can fail for want of space
 *   store    headers, checksums, bytes into the segment: one pwrite, read back through the read-only mapping
 *   hash     leaves from the stored bytes; and a second time, by code that knows nothing but the stored bytes (sp_replay.h)
 *   grow     [TREE] tree and root, and the root of the second hashes, which must be the same
 *   seal     [COMMIT] the COMMIT, one fdatasync; then the stored bytes must still pass their checksums
 *   tell     [COMMIT] the result, one write to the eventfd
 *
 * A batch that opens or ends a segment is durable before the next one has a place (sp_survey.c: what stands in a segment
 * without a header is one batch; the tree's files are durable before the next header is). Until `store` begins a
 * failure is SP_E_FULL and nothing has happened. From then on any failure is latched as SP_E_FAILED: what the disk holds
 * is unknown, and only a restart, which writes the tail again, can tell.
 *
 * A bit that flips between hashing and storing would end a log: its root could never be reproduced (DigiCert Yeti 2022).
 * Found by `grow` it leaves a batch without COMMIT, found by `seal` one whose checksums fail: a torn tail, which the next
 * start cuts away, and no head of it was ever signed. Nothing of this process can store into a segment: no mapping of one is
 * writable, so a stray store faults instead of destroying a record. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sp_bytes.h"
#include "sp_place.h"
#include "sp_tree.h"

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- store and hash ----------------------------------------------------------- */

static int store(sp_journal *journal, uint64_t offset, const uint8_t *data, uint64_t size)
{
    return sp_disk_status(journal->disk->pwrite(journal->disk->ctx, journal->active.file, data, size, offset));
}

/* pwrite would lengthen a segment that somebody cut short, and nobody would see what is missing. */
static int check_length(const sp_journal *journal)
{
    uint64_t size;
    SP_TRY(sp_disk_status(journal->disk->size(journal->disk->ctx, journal->active.file, &size)));
    SP_ENSURE(size == journal->active.header.segment_bytes, SP_E_CORRUPT);
    return SP_OK;
}

static int store_header(sp_journal *journal)
{
    uint8_t header[SP_SEGMENT_DATA];
    sp_segment_header_write(&journal->active.header, header);
    return store(journal, 0, header, sizeof header);
}

static sp_frame_header header_of(const sp_carried *work)
{
    return (sp_frame_header){
        .seq = work->flight->from.next_seq + work->frames,
        .batch = work->number,
        .time_ns = work->flight->time_ns,
    };
}

static int store_frames(sp_carried *work)
{
    sp_journal *journal = work->journal;
    const sp_flight *flight = work->flight;
    const uint8_t *salt = journal->active.header.salt;
    SP_TRY(check_length(journal));
    if (work->opens) {
        SP_TRY(store_header(journal));
    }
    if (work->batch != NULL) {
        sp_batch_stamp(work->batch, salt, work->offset, flight->from.next_seq, work->number, flight->time_ns);
        SP_TRY(store(journal, work->offset, work->batch->data, work->batch->size));
    }
    if (flight->seals) {
        uint8_t seal[SP_SEAL_BYTES];
        sp_frame_header header = header_of(work);
        sp_frame_write_seal(&header, seal);
        sp_frame_stamp(seal, salt, work->offset + work->bytes);
        SP_TRY(store(journal, work->offset + work->bytes, seal, sizeof seal));
        work->frames++;
        work->bytes += sizeof seal;
    }
    return SP_OK;
}

static sp_span segment_of(const sp_journal *journal)
{
    return (sp_span){journal->active.map, journal->active.header.segment_bytes};
}

static int hash_leaves(sp_carried *work)
{
    if (work->batch == NULL) {
        return SP_OK;
    }
    int status = sp_batch_hash(work->batch, work->journal->active.map + work->offset);
    work->result->differs = status == SP_E_CORRUPT;
    return status;
}

static int hash_again(sp_carried *work)
{
    sp_journal *journal = work->journal;
    if (work->batch == NULL || work->replay == NULL) {
        return SP_OK;
    }
    const sp_plan *from = &work->flight->from;
    sp_replay_state at = {.next_seq = from->next_seq, .tree_size = from->next_leaf, .last_time_ns = from->last_time_ns};
    int status = sp_replay_leaves(work->replay, segment_of(journal), journal->active.header.salt, work->offset,
                                  work->offset + work->bytes, &at, work->number);
    work->result->differs = status != SP_OK;
    return status;
}

/* Does the batch, as it stands in the segment, lead to the root that the tree says? */
static int grow_tree(sp_carried *work)
{
    sp_journal *journal = work->journal;
    uint8_t root[32];
    if (work->batch == NULL) {
        return SP_OK;
    }
    SP_TRY(sp_tree_append(journal->tree, work->batch->hashes, work->batch->leaves));
    SP_TRY(sp_tree_root(journal->tree, work->flight->after.next_leaf, work->root));
    if (work->replay == NULL) {
        return SP_OK;
    }
    int status = sp_replay_root(journal->replay[0], work->replay, root);
    work->result->differs = status != SP_OK || memcmp(root, work->root, sizeof root) != 0;
    SP_ENSURE(!work->result->differs, SP_E_CORRUPT);
    return SP_OK;
}

static int check_stored(sp_carried *work)
{
    const sp_journal *journal = work->journal;
    if (work->replay == NULL) {
        return SP_OK;
    }
    uint64_t end = work->offset + work->bytes + SP_COMMIT_BYTES;
    work->result->differs =
        sp_replay_checksums(segment_of(journal), journal->active.header.salt, work->offset, end) != SP_OK;
    SP_ENSURE(!work->result->differs, SP_E_CORRUPT);
    return SP_OK;
}

static int store_commit(sp_carried *work, sp_position *next)
{
    sp_journal *journal = work->journal;
    const sp_active *active = &journal->active;
    *next = journal->at;
    next->tree_size = work->flight->after.next_leaf;
    if (work->batch != NULL) {
        memcpy(next->root, work->root, sizeof next->root);
    }
    sp_sha256_ctx chain;
    sp_chain_start(&chain, journal->at.chain, next->tree_size, next->root);
    for (uint64_t at = 0; at < work->bytes;) {
        const uint8_t *header = active->map + work->offset + at;
        uint64_t step = sp_frame_padded(sp_load_u32le(header));
        work->result->differs = step == 0;
        SP_ENSURE(step > 0, SP_E_CORRUPT);      /* somebody else wrote there */
        sp_chain_header(&chain, header);
        at += step;
    }
    sp_sha256_final(&chain, next->chain);
    sp_commit payload = {
        .first_seq = journal->at.next_seq,
        .tree_size = next->tree_size,
        .durable_seq = journal->at.durable_seq,
        .count = work->frames,
    };
    memcpy(payload.root, next->root, sizeof payload.root);
    memcpy(payload.chain, next->chain, sizeof payload.chain);
    uint8_t frame[SP_COMMIT_BYTES];
    uint64_t offset = work->offset + work->bytes;
    sp_frame_header header = header_of(work);
    sp_frame_write_commit(&header, &payload, frame);
    sp_frame_stamp(frame, active->header.salt, offset);
    return store(journal, offset, frame, sizeof frame);
}

/* ---- gate by gate -------------------------------------------------------------------- */

/* There is no way back from here on. */
static int beside_others(sp_carried *work)
{
    sp_commit_result *result = work->result;
    uint64_t begun = clock_ns();
    SP_TRY(store_frames(work));
    /* If we stop here: frames without COMMIT, a torn tail; so are those of all batches behind them. */
    uint64_t stored = clock_ns();
    SP_TRY(hash_leaves(work));
    uint64_t hashed = clock_ns();
    SP_TRY(hash_again(work));
    result->write_ns = stored - begun;
    result->hash_ns = hashed - stored;
    result->check_ns = clock_ns() - hashed;
    return SP_OK;
}

static int grow(sp_carried *work)
{
    uint64_t begun = clock_ns();
    SP_TRY(grow_tree(work));
    work->result->hash_ns += clock_ns() - begun;
    return SP_OK;
}

/* What is durable was looked at: else this process would take as much memory as the segment does. */
static void release(const sp_journal *journal, sp_active *active, uint64_t end)
{
    uint64_t whole = end - end % journal->release_bytes;
    if (whole > active->released) {
        journal->disk->cool(journal->disk->ctx, -1, active->map + active->released, active->released,
                            whole - active->released);
        active->released = whole;
    }
}

/* All batches before it are durable, and none behind it writes its COMMIT before this one is. */
static int make_durable(sp_carried *work)
{
    sp_journal *journal = work->journal;
    sp_commit_result *result = work->result;
    sp_position next;
    uint64_t begun = clock_ns();
    sp_bug_if(journal->at.next_seq != work->flight->from.next_seq);
    SP_TRY(store_commit(work, &next));
    /* If we stop here: the batch may be found whole or not at all; nobody was told. */
    SP_TRY(sp_disk_status(journal->disk->sync(journal->disk->ctx, journal->active.file)));
    /* Durable. If we stop here: found whole; nobody was told, and asking again finds it. */
    uint64_t synced = clock_ns();
    SP_TRY(check_stored(work));
    result->sync_ns = synced - begun;
    result->check_ns += clock_ns() - synced;
    next.next_seq = work->flight->after.next_seq;
    next.durable_seq = next.next_seq - 1;
    next.last_time_ns = work->flight->time_ns;
    journal->at = next;
    release(journal, &journal->active, work->offset + work->bytes + SP_COMMIT_BYTES);
    return SP_OK;
}

static void tell(sp_carried *work, int status)
{
    sp_journal *journal = work->journal;
    const sp_flight *flight = work->flight;
    sp_commit_result *result = work->result;
    result->status = status;
    result->batch = work->batch;
    result->time_ns = flight->time_ns;
    result->first_seq = flight->from.next_seq;
    result->first_leaf = flight->from.next_leaf;
    if (status == SP_OK) {
        result->frames = work->frames + 1;
        result->leaves = work->batch == NULL ? 0 : work->batch->leaves;
        result->tree_size = journal->at.tree_size;
        memcpy(result->root, journal->at.root, sizeof result->root);
        result->sealed = (uint8_t)flight->seals;
    }
    sp_flight_tell(&journal->flights, work->flight);
    uint64_t one = 1;
    if (journal->event_fd >= 0 && write(journal->event_fd, &one, sizeof one) < 0) {
        /* Only a full counter refuses, and then the reader is awake already. */
    }
}

/* Before the next segment gets a header the tree files of this one are durable: so whoever finds that header may
 * trust the levels up to its tree size. The result is out already; only the next batch would wait. */
static void sync_tree(sp_journal *journal)
{
    if (sp_tree_sync(journal->tree) != SP_OK) {
        sp_flight_failed(&journal->flights, errno, 0);
    }
}

/* What went wrong behind ROOM cannot be taken back. */
static int latched(sp_carried *work, int status, int error)
{
    if (status == SP_OK) {
        return SP_OK;
    }
    sp_flight_failed(&work->journal->flights, error, work->result->differs);
    return SP_E_FAILED;
}

static int in_turn(sp_carried *work, enum sp_gate gate, int status, int (*step)(sp_carried *))
{
    int open = sp_flight_enter(&work->journal->flights, work->flight, gate);
    SP_TRY(status);
    SP_TRY(open);
    errno = 0;
    status = step(work);
    return latched(work, status, errno);
}

static int find_room(sp_carried *work)
{
    sp_flights *flights = &work->journal->flights;
    SP_TRY(sp_flight_enter(flights, work->flight, SP_GATE_ROOM));
    int status = sp_place_take(work);
    if (status == SP_E_FULL) {
        sp_flight_full(flights);
        return SP_E_FULL;
    }
    return latched(work, status, work->result->system_errno);
}

static int store_and_hash(sp_carried *work)
{
    errno = 0;
    int status = beside_others(work);
    return latched(work, status, errno);
}

/* A batch that cannot go on passes every gate all the same: others wait behind it. */
static void carry(sp_journal *journal, sp_flight *flight)
{
    sp_flights *flights = &journal->flights;
    sp_carried work = {.journal = journal, .flight = flight, .batch = flight->batch, .result = &flight->result,
                   .replay = journal->replay[flight->ticket % flights->depth]};
    int status = find_room(&work);
    sp_flight_pass(flights, SP_GATE_ROOM);
    status = status == SP_OK ? store_and_hash(&work) : status;
    status = in_turn(&work, SP_GATE_TREE, status, grow);
    sp_flight_pass(flights, SP_GATE_TREE);
    status = in_turn(&work, SP_GATE_COMMIT, status, make_durable);
    int ended = status == SP_OK && flight->seals;
    if (ended) {
        sp_place_leave(journal);
    }
    tell(&work, status);
    if (ended) {
        sync_tree(journal);
    } else if (status == SP_OK) {
        sp_tree_begin_write(journal->tree);
    }
    sp_flight_pass(flights, SP_GATE_COMMIT);
}

void *sp_commit_main(void *arg)
{
    sp_journal *journal = arg;
    for (sp_flight *flight = sp_flight_next(&journal->flights); flight != NULL;
         flight = sp_flight_next(&journal->flights)) {
        carry(journal, flight);
    }
    return NULL;
}
