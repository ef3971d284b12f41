/* The commit thread: one batch at a time goes from the caller's buffer to durable bytes and a grown tree.
 *
 *   room     a segment that takes the batch, and tree levels that take its leaves: all that can fail for want of space
 *   store    headers, checksums, bytes into the segment: one pwrite, read back through the read-only mapping
 *   hash     leaves from the stored bytes, tree, root
 *   check    the same a second time, by code that knows nothing but the stored bytes (sp_replay.h); then the COMMIT
 *   sync     one fdatasync; then the stored bytes must still pass their checksums
 *   publish  position and result, one write to the eventfd
 *
 * Until `store` begins a failure is SP_E_FULL and nothing has happened. From then on any failure is latched as
 * SP_E_FAILED: what the disk holds is unknown, and only a restart, which writes the tail again, can tell.
 *
 * A bit that flips between hashing and storing would end a log: its root could never be reproduced (DigiCert Yeti 2022).
 * Found by `check` it leaves a batch without COMMIT, or one whose checksums fail: a torn tail, which the next start cuts
 * away, and no head of it was ever signed. Nothing of this process can store into a segment: no mapping of one is
 * writable, so a stray store faults instead of destroying a record. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sp_bytes.h"
#include "sp_journal.h"
#include "sp_tree.h"

#define FLUSH_LEAVES (UINT64_C(1) << 17)

typedef struct commit {         /* one commit on its way */
    sp_journal *journal;
    sp_batch *batch;            /* NULL: a SEAL alone */
    uint64_t time_ns;
    uint32_t frames;            /* without COMMIT, with SEAL */
    uint64_t bytes;             /* of the caller's frames */
    int seal, use_reserve;
    sp_position next;           /* what `at` becomes */
    sp_commit_result result;
} commit;

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- room ------------------------------------------------------------------- */

uint64_t sp_commit_batch_max(const sp_journal *journal)
{
    uint64_t bytes = journal->active.open ? journal->active.header.segment_bytes : journal->options.segment_bytes;
    return bytes / SP_SEGMENT_BATCH_SHARE - SP_COMMIT_BYTES - SP_SEAL_BYTES;
}

int sp_commit_open_active(sp_journal *journal, const sp_segment_header *header, uint64_t offset, uint32_t batch)
{
    const sp_disk *disk = journal->disk;
    sp_active *active = &journal->active;
    char path[SP_DISK_PATH_MAX];
    SP_TRY(sp_segment_path(journal->dir, header->number, path));
    int file;
    void *map;
    SP_TRY(sp_disk_status(disk->open(disk->ctx, path, SP_DISK_WRITE, &file)));
    int error = disk->map(disk->ctx, file, 0, header->segment_bytes, 0, &map);
    if (error != 0) {
        disk->close(disk->ctx, file);
        return sp_disk_status(error);
    }
    *active = (sp_active){.open = 1, .file = file, .map = map, .offset = offset, .batch = batch, .header = *header};
    return SP_OK;
}

void sp_commit_close_active(sp_journal *journal)
{
    const sp_disk *disk = journal->disk;
    sp_active *active = &journal->active;
    if (active->open) {
        disk->unmap(disk->ctx, active->map, active->header.segment_bytes);
        disk->close(disk->ctx, active->file);
        active->open = 0;
    }
}

static int next_segment(commit *work)
{
    sp_journal *journal = work->journal;
    SP_TRY(sp_spare_take(&journal->spare, journal->next_number, work->use_reserve, &work->result.system_errno));
    sp_segment_header header = {
        .number = journal->next_number,
        .first_seq = journal->at.next_seq,
        .tree_size = journal->at.tree_size,
        .created_ns = work->time_ns,
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
    int status = sp_commit_open_active(journal, &header, SP_SEGMENT_DATA, 0);
    if (status != SP_OK) {
        work->result.system_errno = errno;
        sp_spare_found(&journal->spare, header.number);
        return SP_E_FULL;
    }
    journal->next_number++;
    sp_spare_want(&journal->spare, journal->next_number);
    return SP_OK;
}

static int make_room(commit *work)
{
    sp_journal *journal = work->journal;
    SP_TRY(sp_spare_check(&journal->spare, work->use_reserve, &work->result.system_errno));
    if (!journal->active.open) {
        SP_TRY(next_segment(work));
    }
    uint64_t leaves = work->batch == NULL ? 0 : work->batch->leaves;
    leaves += journal->options.keep_reserve && !work->use_reserve ? SP_JOURNAL_RESERVED_LEAVES : 0;
    if (leaves > 0 && sp_tree_reserve(journal->tree, leaves) != SP_OK) {
        work->result.system_errno = errno;
        return SP_E_FULL;
    }
    if (work->batch != NULL && journal->replay != NULL) {
        SP_ENSURE(sp_replay_reserve(journal->replay, work->batch->leaves, work->frames + 1) == SP_OK, SP_E_FULL);
    }
    /* A segment that could not take the largest batch afterwards is ended with this one: so the caller knows every
     * seq in advance, and a torn SEAL cannot exist. */
    const sp_active *active = &journal->active;
    uint64_t end = active->offset + work->bytes + SP_COMMIT_BYTES;
    uint64_t largest = active->header.segment_bytes / SP_SEGMENT_BATCH_SHARE;
    work->seal = work->batch == NULL || active->header.segment_bytes - end < largest;
    sp_bug_if(end + SP_SEAL_BYTES > active->header.segment_bytes);
    return SP_OK;
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
    sp_active *active = &journal->active;
    if (!active->header_stored) {
        uint8_t header[SP_SEGMENT_DATA];
        sp_segment_header_write(&active->header, header);
        SP_TRY(store(journal, 0, header, sizeof header));
        active->header_stored = 1;
    }
    return SP_OK;
}

static sp_frame_header header_of(const commit *work, uint32_t position)
{
    return (sp_frame_header){
        .seq = work->journal->at.next_seq + position,
        .batch = work->journal->active.batch,
        .time_ns = work->time_ns,
    };
}

static int store_frames(commit *work)
{
    sp_journal *journal = work->journal;
    sp_active *active = &journal->active;
    SP_TRY(check_length(journal));
    SP_TRY(store_header(journal));
    if (work->batch != NULL) {
        sp_batch_stamp(work->batch, active->header.salt, active->offset, journal->at.next_seq, active->batch, work->time_ns);
        SP_TRY(store(journal, active->offset, work->batch->data, work->batch->size));
    }
    if (work->seal) {
        uint8_t seal[SP_SEAL_BYTES];
        sp_frame_header header = header_of(work, work->frames);
        sp_frame_write_seal(&header, seal);
        sp_frame_stamp(seal, active->header.salt, active->offset + work->bytes);
        SP_TRY(store(journal, active->offset + work->bytes, seal, sizeof seal));
        work->frames++;
        work->bytes += sizeof seal;
    }
    return SP_OK;
}

static int grow_tree(commit *work)
{
    sp_journal *journal = work->journal;
    work->next = journal->at;
    if (work->batch == NULL) {
        return SP_OK;
    }
    int status = sp_batch_hash(work->batch, journal->active.map + journal->active.offset);
    work->result.differs = status == SP_E_CORRUPT;
    SP_TRY(status);
    SP_TRY(sp_tree_append(journal->tree, work->batch->hashes, work->batch->leaves));
    work->next.tree_size += work->batch->leaves;
    return sp_tree_root(journal->tree, work->next.tree_size, work->next.root);
}

/* Does the batch, as it stands in the segment, lead to the root that the tree says? */
static int check_root(commit *work)
{
    sp_journal *journal = work->journal;
    const sp_active *active = &journal->active;
    if (work->batch == NULL || journal->replay == NULL) {
        return SP_OK;
    }
    uint8_t root[32] = {0};
    sp_span segment = {active->map, active->header.segment_bytes};
    int status = sp_replay_batch(journal->replay, segment, active->header.salt, active->offset, active->offset + work->bytes,
                                 journal->at.next_seq, active->batch, root);
    work->result.differs = status != SP_OK || memcmp(root, work->next.root, sizeof root) != 0;
    SP_ENSURE(!work->result.differs, SP_E_CORRUPT);
    return SP_OK;
}

static int check_stored(commit *work)
{
    const sp_active *active = &work->journal->active;
    if (work->journal->replay == NULL) {
        return SP_OK;
    }
    sp_span segment = {active->map, active->header.segment_bytes};
    uint64_t end = active->offset + work->bytes + SP_COMMIT_BYTES;
    work->result.differs = sp_replay_checksums(segment, active->header.salt, active->offset, end) != SP_OK;
    SP_ENSURE(!work->result.differs, SP_E_CORRUPT);
    return SP_OK;
}

static int store_commit(commit *work)
{
    sp_journal *journal = work->journal;
    sp_active *active = &journal->active;
    sp_sha256_ctx chain;
    sp_chain_start(&chain, journal->at.chain, work->next.tree_size, work->next.root);
    for (uint64_t at = 0; at < work->bytes;) {
        const uint8_t *header = active->map + active->offset + at;
        sp_chain_header(&chain, header);
        at += sp_frame_padded(sp_load_u32le(header));
    }
    sp_sha256_final(&chain, work->next.chain);
    sp_commit payload = {
        .first_seq = journal->at.next_seq,
        .tree_size = work->next.tree_size,
        .durable_seq = journal->at.durable_seq,
        .count = work->frames,
    };
    memcpy(payload.root, work->next.root, sizeof payload.root);
    memcpy(payload.chain, work->next.chain, sizeof payload.chain);
    uint8_t frame[SP_COMMIT_BYTES];
    uint64_t offset = active->offset + work->bytes;
    sp_frame_header header = header_of(work, work->frames);
    sp_frame_write_commit(&header, &payload, frame);
    sp_frame_stamp(frame, active->header.salt, offset);
    return store(journal, offset, frame, sizeof frame);
}

/* ---- sync, publish --------------------------------------------------------------- */

/* Everything after which there is no way back. */
static int write_batch(commit *work)
{
    sp_journal *journal = work->journal;
    sp_active *active = &journal->active;
    uint64_t begun = clock_ns();
    SP_TRY(store_frames(work));
    /* If we stop here: frames without COMMIT, a torn tail. */
    uint64_t stored = clock_ns();
    SP_TRY(grow_tree(work));
    uint64_t hashed = clock_ns();
    SP_TRY(check_root(work));
    uint64_t checked = clock_ns();
    SP_TRY(store_commit(work));
    /* If we stop here: the batch may be found whole or not at all; nobody was told. */
    SP_TRY(sp_disk_status(journal->disk->sync(journal->disk->ctx, active->file)));
    /* Durable. If we stop here: found whole; nobody was told, and asking again finds it. */
    uint64_t synced = clock_ns();
    SP_TRY(check_stored(work));
    work->result.check_ns = checked - hashed + (clock_ns() - synced);
    work->next.next_seq = journal->at.next_seq + work->frames + 1;
    work->next.durable_seq = work->next.next_seq - 1;
    work->next.last_time_ns = work->time_ns;
    active->offset += work->bytes + SP_COMMIT_BYTES;
    active->batch++;
    work->result.write_ns = stored - begun;
    work->result.hash_ns = hashed - stored;
    work->result.sync_ns = synced - checked;
    return SP_OK;
}

static int run(commit *work)
{
    sp_journal *journal = work->journal;
    sp_commit_result *result = &work->result;
    int status = make_room(work);
    SP_ENSURE(status == SP_OK, status == SP_E_FAILED ? SP_E_FAILED : SP_E_FULL);
    result->first_seq = journal->at.next_seq;
    result->first_leaf = journal->at.tree_size;
    result->segment = journal->active.header.number;
    result->offset = journal->active.offset;
    errno = 0;
    if (write_batch(work) != SP_OK) {
        result->system_errno = errno;
        return SP_E_FAILED;
    }
    journal->at = work->next;
    result->frames = work->frames + 1;
    result->leaves = work->batch == NULL ? 0 : work->batch->leaves;
    result->tree_size = journal->at.tree_size;
    memcpy(result->root, journal->at.root, sizeof result->root);
    result->sealed = (uint8_t)work->seal;
    return SP_OK;
}

static void publish(sp_journal *journal, const commit *work)
{
    pthread_mutex_lock(&journal->mutex);
    if (work->result.status == SP_E_FAILED) {
        journal->failed = 1;
        journal->failed_errno = work->result.system_errno;
    }
    journal->result = work->result;
    journal->next_seq = journal->at.next_seq;
    journal->next_leaf = journal->at.tree_size;
    journal->last_time_ns = journal->at.last_time_ns;
    journal->batch_bytes_max = sp_commit_batch_max(journal);
    journal->stage = SP_STAGE_DONE;
    pthread_mutex_unlock(&journal->mutex);
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
        pthread_mutex_lock(&journal->mutex);
        journal->failed = 1;
        journal->failed_errno = errno;
        pthread_mutex_unlock(&journal->mutex);
    }
}

/* A large segment's share of the tree is some hundred megabytes: most of it goes to the disk while the segment fills. */
static void flush_tree(sp_journal *journal)
{
    const sp_tree *tree = journal->tree;
    uint64_t size = sp_tree_size(tree);
    if (tree->dir != NULL && size - journal->flushed >= FLUSH_LEAVES) {
        int files[SP_SPARE_FLUSH];          /* each level has half the bytes of the one below */
        for (uint32_t i = 0; i < SP_SPARE_FLUSH; i++) {
            files[i] = tree->level[i].file;
        }
        sp_spare_flush(&journal->spare, files, SP_SPARE_FLUSH);
        journal->flushed = size;
    }
}

static void commit_one(sp_journal *journal, sp_batch *batch, uint64_t time_ns, int failed)
{
    commit work = {.journal = journal, .batch = batch, .time_ns = time_ns};
    work.frames = batch == NULL ? 0 : batch->items;
    work.bytes = batch == NULL ? 0 : batch->size;
    work.use_reserve = batch != NULL && batch->use_reserve;
    work.result.batch = batch;
    work.result.time_ns = time_ns;
    work.result.status = failed ? SP_E_FAILED : run(&work);
    int ended = work.result.status == SP_OK && work.seal;
    if (ended) {
        /* publish() tells how large the next batch may be: that of a new segment. */
        sp_commit_close_active(journal);
    }
    publish(journal, &work);
    if (ended) {
        sync_tree(journal);
    } else if (work.result.status == SP_OK) {
        flush_tree(journal);
    }
}

void *sp_commit_main(void *arg)
{
    sp_journal *journal = arg;
    pthread_mutex_lock(&journal->mutex);
    for (;;) {
        if (journal->stage == SP_STAGE_WORK) {
            sp_batch *batch = journal->batch;
            uint64_t time_ns = journal->time_ns;
            int failed = journal->failed;
            pthread_mutex_unlock(&journal->mutex);
            commit_one(journal, batch, time_ns, failed);
            pthread_mutex_lock(&journal->mutex);
        } else if (journal->stop) {
            break;
        } else {
            pthread_cond_wait(&journal->work, &journal->mutex);
        }
    }
    pthread_mutex_unlock(&journal->mutex);
    return NULL;
}
