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

#include "mend.h"
#include "ram_disk.h"

#define FILES_MAX 3u
#define REPAIRS_MAX 4

/* ---- making a log ---------------------------------------------------------- */

/* A tree that nobody checks: it grows as the COMMIT says. */
static int any_tree(void *arg, const uint8_t *file, uint64_t from, uint64_t to, const sp_scan *scan, uint64_t *size,
                    uint8_t root[32])
{
    const uint8_t *payload = file + to + SP_FRAME_HEADER;
    (void)arg, (void)from;
    *size = scan->at.tree_size + sp_load_u64le(payload + 12) % 1000;
    memcpy(root, *size == scan->at.tree_size ? scan->at.root : payload + 20, 32);
    return 1;
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
    mend(file, level, scan, any_tree, NULL);
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
    sp_journal_options options = {.dir = "/log", .segment_bytes = BYTES, .commits_in_flight_max = 1,
                                  .disk = &RAM_DISK};
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
