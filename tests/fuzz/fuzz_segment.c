/* Any bytes as the segments of a log: opened, read frame by frame, and repaired where recovery would.
 *
 * Checksums, order and chain values cannot be guessed, so the input says how far they are mended before the log is
 * opened, and which bytes are bent afterwards:
 *
 *     u8: bits 0-1 files 1 to 3, bits 2-3 mend: 0 nothing, 1 checksums, 2 and order, 3 and COMMITs; bit 4: the last file is short
 *     per file: u16 size, so many bytes of frames, from the first frame's place on
 *     then, to the end: u8 file, u16 offset / 2, u8 mask: one byte of the header or of the frames is bent
 *
 * Promises: opening changes nothing; a log called whole ends where its frames say; a torn one is whole after the
 * repair, and no record of it was cut away that was there before. */
#include "fuzz.h"

#include "ram_disk.h"
#include "sp_bytes.h"
#include "sp_scan.h"

#define BYTES SP_SEGMENT_BYTES_MIN
#define FILES_MAX 3u
#define REPAIRS_MAX 4
static const uint8_t LOG_ID[32] = {1}, SALT[SP_SALT_SIZE] = {2};

/* ---- making a log ---------------------------------------------------------- */

/* What the frame of a batch must be to pass; `scan` is the position before it, as it will be found. */
static void put_in_order(uint8_t *frame, const sp_scan *scan, uint32_t count)
{
    sp_frame_header header;
    memcpy(&header, frame, sizeof header);
    header.seq = scan->at.next_seq + count;
    header.batch = scan->batches;
    header.flags = 0;
    header.type = (uint8_t)(1 + header.type % SP_FRAME_SEAL);
    header.version = SP_FRAME_VERSION;
    memcpy(frame, &header, sizeof header);
    memset(frame + header.len, 0, sp_frame_padded(header.len) - header.len);
}

static void mend_commit(uint8_t *frame, sp_scan *scan, const uint8_t *batch, uint32_t count, int sealed)
{
    uint8_t *payload = frame + SP_FRAME_HEADER;
    uint64_t size = scan->at.tree_size + sp_load_u64le(payload + 12) % 1000;
    sp_sha256_ctx ctx;
    if (size == scan->at.tree_size) {
        memcpy(payload + 20, scan->at.root, 32);
    }
    sp_store_u64le(payload, scan->at.next_seq);
    sp_store_u32le(payload + 8, count);
    sp_store_u64le(payload + 12, size);
    sp_chain_start(&ctx, scan->at.chain, size, payload + 20);
    for (const uint8_t *at = batch; at < frame; at += sp_frame_padded(sp_load_u32le(at))) {
        sp_chain_header(&ctx, at);
    }
    sp_sha256_final(&ctx, payload + 52);
    scan->at.next_seq += count + 1;
    scan->at.tree_size = size;
    memcpy(scan->at.root, payload + 20, 32);
    memcpy(scan->at.chain, payload + 52, 32);
    scan->batches++;
    scan->sealed = (uint8_t)sealed;
}

static void mend(uint8_t *file, int level, sp_scan *scan)
{
    uint8_t *batch = file + SP_SEGMENT_DATA;
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
        if (level >= 2) {
            put_in_order(frame, scan, count);
        }
        uint8_t type = frame[offsetof(sp_frame_header, type)];
        if (level >= 3 && type == SP_FRAME_COMMIT && len == SP_FRAME_HEADER + SP_COMMIT_PAYLOAD && count > 0) {
            mend_commit(frame, scan, batch, count, sealed);
            batch = file + next;
            count = 0;
        } else {
            sealed = type == SP_FRAME_SEAL;
            count++;
        }
        if (level >= 1) {
            sp_frame_stamp(frame, SALT, at);
        }
        at = next;
    }
}

static void make_file(uint64_t number, sp_reader *input, int level, sp_scan *scan)
{
    char path[SP_DISK_PATH_MAX];
    uint16_t size = 0;
    sp_span frames;
    MUST(sp_segment_path("/log", number, path) == SP_OK);
    uint8_t *file = ram_create(path, BYTES);
    sp_segment_header header = {
        .number = number, .first_seq = scan->at.next_seq, .tree_size = scan->at.tree_size, .segment_bytes = BYTES};
    memcpy(header.log_id, LOG_ID, sizeof LOG_ID);
    memcpy(header.salt, SALT, sizeof SALT);
    memcpy(header.root, scan->at.root, 32);
    memcpy(header.chain, scan->at.chain, 32);
    if (sp_reader_u16le(input, &size) != SP_OK || size == 0) {
        return;                 /* a file of zeros: a spare */
    }
    size_t left = sp_reader_left(input);
    size_t taken = size < left ? size : left;
    taken = taken < BYTES - SP_SEGMENT_DATA ? taken : BYTES - SP_SEGMENT_DATA;
    MUST(sp_reader_take(input, taken, &frames) == SP_OK);
    sp_segment_header_write(&header, file);
    memcpy(file + SP_SEGMENT_DATA, frames.data, frames.size);
    mend(file, level, scan);
}

static void bend(sp_reader *input, unsigned files)
{
    uint8_t which, mask;
    uint16_t place;
    while (sp_reader_u8(input, &which) == SP_OK && sp_reader_u16le(input, &place) == SP_OK &&
           sp_reader_u8(input, &mask) == SP_OK) {
        ram.file[which % files].data[(2u * place) % BYTES] ^= mask;
    }
}

static unsigned make_log(const uint8_t *data, size_t size)
{
    sp_reader input = sp_reader_of(data, size);
    uint8_t how = 0;
    sp_scan scan;
    memset(&scan, 0, sizeof scan);
    sp_sha256(NULL, 0, scan.at.root);
    if (sp_reader_u8(&input, &how) != SP_OK) {
        how = 0;
    }
    unsigned files = 1 + (how & 3u) % FILES_MAX;
    for (unsigned number = 0; number < files; number++) {
        make_file(number, &input, (how >> 2) & 3, &scan);
    }
    bend(&input, files);
    if ((how & 16) != 0) {
        ram_resize((int)files - 1, (sp_reader_left(&input) + size * 97) % BYTES);
    }
    ram.changes = 0;
    return files;
}

/* ---- judging it ------------------------------------------------------------ */

/* Every frame of a file, as a reader meets it; answers the COMMITs and the last one. */
static uint64_t walk(uint64_t number, sp_commit *last)
{
    char path[SP_DISK_PATH_MAX];
    sp_segment *segment;
    sp_segment_header header;
    sp_frame frame;
    uint64_t commits = 0, at = 0;
    MUST(sp_segment_path("/log", number, path) == SP_OK);
    if (sp_segment_open(&RAM_DISK, path, LOG_ID, &segment, &header) != SP_OK) {
        return 0;
    }
    while (sp_segment_frame(segment, at, &frame) == SP_OK) {
        sp_columns columns;
        sp_commit commit;
        MUST(frame.next_offset > frame.offset && frame.next_offset <= BYTES && frame.next_offset % SP_FRAME_ALIGN == 0);
        touch(frame.header, SP_FRAME_HEADER + (size_t)frame.payload_size);
        if (sp_frame_columns(&frame, &columns) == SP_OK) {
            touch(columns.head, columns.head_size);
            touch(columns.names, columns.names_size);
            touch(columns.digests, columns.digests_size);
        }
        if (sp_frame_commit(&frame, &commit) == SP_OK) {
            commits++;
            *last = commit;
        }
        at = frame.next_offset;
    }
    (void)sp_segment_find(segment, 0, BYTES, UINT32_MAX, (const uint8_t *)"\x93\xc4", 2, &frame);
    sp_segment_free(segment);
    return commits;
}

static void judge_whole(unsigned files, const sp_journal_state *state)
{
    uint64_t commits = 0;
    sp_commit last;
    for (unsigned number = 0; number < files; number++) {
        commits += walk(number, &last);
    }
    if (state->damage != SP_DAMAGE_NONE) {
        return;
    }
    MUST(commits == state->commits);
    if (commits > 0) {
        MUST(last.tree_size == state->tree_size && last.first_seq + last.count + 1 == state->next_seq);
        MUST(memcmp(last.root, state->root, 32) == 0 && memcmp(last.chain, state->chain, 32) == 0);
    }
}

static void repair(sp_journal *journal, sp_journal_state *state)
{
    for (int n = 0; state->damage == SP_DAMAGE_TORN; n++) {
        char name[32];
        sp_journal_state before = *state;
        MUST(n < REPAIRS_MAX);
        snprintf(name, sizeof name, "copy-%d", n);
        MUST(sp_journal_repair(journal, name, state) == SP_OK);
        MUST(state->commits == before.commits && state->next_seq == before.next_seq);
        MUST(state->tree_size == before.tree_size && memcmp(state->chain, before.chain, 32) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_journal *journal;
    sp_journal_state state;
    unsigned files = make_log(data, size);
    sp_journal_options options = {.dir = "/log", .segment_bytes = BYTES, .disk = &RAM_DISK};
    memcpy(options.log_id, LOG_ID, sizeof LOG_ID);
    int status = sp_journal_open(&options, &journal, &state);
    MUST(ram.changes == 0);
    if (status == SP_OK) {
        judge_whole(files, &state);
        repair(journal, &state);
        judge_whole(files, &state);
        sp_journal_free(journal);
    } else {
        MUST(status == SP_E_VERSION || status == SP_E_MISMATCH);
    }
    ram_clear();
    return 0;
}
