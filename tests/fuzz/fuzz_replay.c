/* Any bytes as the frames of a segment that is replayed: `log verify`, a start, and the second hash before a COMMIT.
 *
 *     u8: bits 0-1 how far the frames are mended (mend.h); then the frames
 *
 * Roots and chain values are mended with the pass that the commit thread runs. Promises: the pass that judges a whole
 * log then finds every mended batch good, and the same root; and it never reads outside the segment. */
#include "fuzz.h"

#include "mend.h"
#include "sp_replay.h"

static const char NAME[] = "dev.localhost/ci-1";

/* What the commit thread does with a batch. */
static int replayed(void *arg, const uint8_t *file, uint64_t from, uint64_t to, const sp_scan *scan, uint64_t *size,
                    uint8_t root[32])
{
    sp_replay **replay = arg;
    sp_replay_state state;
    if (*replay != NULL) {
        sp_replay_tell(*replay, &state);
        state.next_seq = scan->at.next_seq;
    }
    if (*replay == NULL || sp_replay_leaves(*replay, (sp_span){file, BYTES}, SALT, from, to, &state, scan->batches) != SP_OK ||
        sp_replay_root(*replay, *replay, root) != SP_OK) {
        sp_replay_free(*replay);
        *replay = NULL;         /* of no use any more */
        return 0;
    }
    sp_replay_tell(*replay, &state);
    *size = state.tree_size;
    return 1;
}

static void judge(const sp_segment *segment, const sp_scan *mended)
{
    sp_replay *replay;
    sp_replay_step step;
    sp_replay_state state;
    uint64_t offset = 0;
    MUST(sp_replay_new(NAME, &replay) == SP_OK && sp_replay_enter(replay, &segment->header) == SP_OK);
    do {
        MUST(sp_replay_run(replay, segment, offset, BYTES, &step) == SP_OK);
        MUST(step.offset >= offset && step.offset <= BYTES);
        MUST(step.what != 0 || step.offset > offset);
        for (uint32_t i = 0; i < step.commits; i++) {
            touch(step.roots + (size_t)32 * i, 32);
        }
        for (uint64_t i = 0; i < step.leaves; i++) {
            touch(step.leaf_hashes + 32 * i, 32);
        }
        offset = step.offset;
    } while (step.what == 0);
    sp_replay_tell(replay, &state);
    if (mended != NULL && step.what != 4) {
        MUST(state.commits >= mended->batches);
    }
    if (mended != NULL && state.commits == mended->batches) {
        MUST(state.tree_size == mended->at.tree_size && memcmp(state.root, mended->at.root, 32) == 0);
        MUST(state.next_seq == mended->at.next_seq && memcmp(state.chain, mended->at.chain, 32) == 0);
    }
    sp_replay_free(replay);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int level = size > 0 ? data[0] & 3 : MEND_NOTHING;
    size_t bytes = size > 0 ? size - 1 : 0;
    bytes = bytes < BYTES - SP_SEGMENT_DATA ? bytes : BYTES - SP_SEGMENT_DATA;
    uint8_t *file = calloc(1, BYTES);
    MUST(file != NULL);
    if (bytes > 0) {
        memcpy(file + SP_SEGMENT_DATA, data + 1, bytes);
    }
    sp_segment segment = {.bytes = {file, BYTES}, .header = {.segment_bytes = BYTES}};
    memcpy(segment.header.salt, SALT, sizeof SALT);
    sp_sha256(NULL, 0, segment.header.root);
    sp_scan scan;
    memset(&scan, 0, sizeof scan);
    memcpy(scan.at.root, segment.header.root, 32);
    sp_replay *replay;
    MUST(sp_replay_new(NAME, &replay) == SP_OK);
    mend(file, level, &scan, replayed, &replay);
    sp_replay_free(replay);
    judge(&segment, level == MEND_COMMITS ? &scan : NULL);
    free(file);
    return 0;
}
