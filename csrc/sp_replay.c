/* The pass over stored frames: gathers whole batches (sp_gather.c), which hashes the leaves of many records together,
 * then settles them in order: nodes, roots in step (sp_edge.c), chain values in lanes, each compared with its COMMIT. So
 * the kernel's lanes are full even where every batch is one request.
 *
 * A batch counts only with its COMMIT: what is wrong in one that has none is a torn tail, and others judge that. The
 * first wrong position is that of the first wrong batch, however late it was noticed. */
#include "sp_replay.h"

#include <stdlib.h>
#include <string.h>

#include "sp_edge.h"
#include "sp_gather.h"
#include "sp_merkle.h"
#include "sp_nodes.h"
#include "sp_segment.h"
#include "sp_work.h"

#define RUN_BYTES (UINT64_C(4) << 20)
#define RUN_LEAVES (UINT64_C(1) << 14)
#define BATCHES SP_GATHER_BATCHES

enum { STEP_MORE, STEP_SEALED, STEP_END, STEP_TORN, STEP_BAD };

struct sp_replay {
    sp_gather gather;
    sp_replay_state at;
    sp_edge edge;
    sp_nodes *nodes;                    /* NULL: nothing is compared */
    sp_replay_step step;
    uint64_t sizes[BATCHES];
    uint8_t roots[BATCHES * 32];
};

/* ---- life ---------------------------------------------------------------------- */

int sp_replay_new(const char *log_name, sp_replay **out)
{
    SP_ENSURE(log_name != NULL && out != NULL, SP_E_ARGUMENT);
    sp_replay *replay = calloc(1, sizeof *replay);
    SP_ENSURE(replay != NULL, SP_E_MEMORY);
    int status = sp_gather_init(&replay->gather, log_name);
    if (status != SP_OK) {
        sp_replay_free(replay);
        return status;
    }
    sp_edge_init(&replay->edge);
    sp_merkle_empty(replay->at.root);
    *out = replay;
    return SP_OK;
}

void sp_replay_free(sp_replay *replay)
{
    if (replay == NULL) {
        return;
    }
    if (replay->nodes != NULL) {
        sp_nodes_close(replay->nodes);
        free(replay->nodes);
    }
    sp_gather_free(&replay->gather);
    free(replay);
}

int sp_replay_compare(sp_replay *replay, const sp_disk *disk, const char *tree_dir)
{
    SP_ENSURE(replay != NULL && disk != NULL && tree_dir != NULL && replay->nodes == NULL, SP_E_ARGUMENT);
    sp_nodes *nodes = malloc(sizeof *nodes);
    SP_ENSURE(nodes != NULL, SP_E_MEMORY);
    int status = sp_nodes_init(nodes, disk, tree_dir);
    if (status != SP_OK) {
        free(nodes);
        return status;
    }
    replay->nodes = nodes;
    return SP_OK;
}

int sp_replay_compared(const sp_replay *replay, uint32_t *level, uint64_t *index)
{
    SP_ENSURE(replay != NULL && level != NULL && index != NULL && replay->nodes != NULL, SP_E_ARGUMENT);
    if (!replay->nodes->differ) {
        return SP_OK;
    }
    *level = replay->nodes->bad_level;
    *index = replay->nodes->bad_index;
    return SP_E_MISMATCH;
}

int sp_replay_adopt(sp_replay *replay, uint64_t size, const uint8_t *frontier, uint32_t count, const uint8_t root[32],
                    uint64_t last_time_ns)
{
    uint8_t found[32];
    SP_TRY(sp_frontier_root(frontier, count, found));
    SP_ENSURE(memcmp(found, root, 32) == 0, SP_E_MISMATCH);
    SP_TRY(sp_edge_adopt(&replay->edge, size, frontier, count));
    replay->at.tree_size = size;
    replay->at.last_time_ns = last_time_ns;
    memcpy(replay->at.root, root, 32);
    return SP_OK;
}

int sp_replay_begin(sp_replay *replay, const sp_segment_header *header, const uint8_t *frontier, uint32_t count)
{
    SP_ENSURE(replay != NULL && header != NULL && (frontier != NULL || count == 0), SP_E_ARGUMENT);
    SP_TRY(sp_replay_adopt(replay, header->tree_size, frontier, count, header->root, 0));
    replay->at.next_seq = header->first_seq;
    replay->at.segment = header->number;
    memcpy(replay->at.chain, header->chain, 32);
    replay->at.sealed = 1;              /* the segment before; sp_replay_enter looks at the rest */
    return SP_OK;
}

int sp_replay_enter(sp_replay *replay, const sp_segment_header *header)
{
    SP_ENSURE(replay != NULL && header != NULL, SP_E_ARGUMENT);
    const sp_replay_state *at = &replay->at;
    SP_ENSURE(at->sealed || at->next_seq == 0, SP_E_MISMATCH);
    SP_ENSURE(header->first_seq == at->next_seq && header->tree_size == at->tree_size, SP_E_MISMATCH);
    SP_ENSURE(memcmp(header->root, at->root, 32) == 0 && memcmp(header->chain, at->chain, 32) == 0, SP_E_MISMATCH);
    replay->at.segment = header->number;
    replay->at.sealed = 0;
    replay->gather.batch = 0;
    return SP_OK;
}

void sp_replay_tell(const sp_replay *replay, sp_replay_state *out)
{
    *out = replay->at;
    out->work = replay->gather.work;
}

/* ---- settle -------------------------------------------------------------------- */

static void count_nodes(sp_replay_work *work, uint64_t from, uint64_t to)
{
    unsigned before = (unsigned)__builtin_popcountll(from), after = (unsigned)__builtin_popcountll(to);
    sp_work_add(work, (to - after) - (from - before), 65);
    sp_work_add(work, after > 1 ? after - 1 : 0, 65);
}

static void hash_chains(sp_gather *gather, uint8_t *out)
{
    const uint8_t *data[BATCHES] = {NULL};
    size_t sizes[BATCHES] = {0};
    for (uint32_t i = 0; i < gather->ends; i++) {
        data[i] = gather->chains.data + gather->end[i].chain_at;
        sizes[i] = gather->end[i].chain_size;
        sp_work_add(&gather->work, 1, sizes[i]);
    }
    sp_sha256_many(gather->ends, data, sizes, out);
}

static void accept(sp_replay *replay, const sp_gather_end *end)
{
    sp_replay_state *at = &replay->at;
    sp_replay_step *step = &replay->step;
    at->frames += end->seq + 1 - at->next_seq;
    at->next_seq = end->seq + 1;
    at->tree_size = end->commit.tree_size;
    at->last_time_ns = end->time_ns;
    at->commits++;
    memcpy(at->root, end->commit.root, 32);
    memcpy(at->chain, end->commit.chain, 32);
    for (size_t i = 0; i < sizeof end->records / sizeof *end->records; i++) {
        at->records[i] += end->records[i];
    }
    replay->sizes[step->commits] = at->tree_size;
    memcpy(replay->roots + (size_t)step->commits * 32, at->root, 32);
    step->commits++;
    step->offset = end->next_offset;
    step->leaves = end->leaves_to;
    step->outcomes = end->outcomes_to;
}

static int differs(sp_replay *replay, const sp_gather_end *end, const char *reason, const char *message)
{
    replay->step.what = STEP_BAD;       /* whatever was found in a batch behind this one */
    replay->step.bad_offset = end->offset;
    replay->step.bad_seq = end->seq;
    replay->step.reason = reason;
    replay->step.message = message;
    return SP_E_MISMATCH;
}

/* At most SP_EDGE_FOLDS batches; SP_E_MISMATCH at the first that is not what its COMMIT says. */
static int settle_some(sp_replay *replay, const sp_gather_end *end, uint32_t count, const uint8_t *chain)
{
    sp_gather *gather = &replay->gather;
    sp_edge_fold fold[SP_EDGE_FOLDS];
    uint8_t roots[SP_EDGE_FOLDS * 32];
    for (uint32_t i = 0; i < count; i++) {
        uint64_t leaves = end[i].leaves_to - end[i].leaves_from;
        count_nodes(&gather->work, replay->edge.size, replay->edge.size + leaves);
        SP_TRY(sp_edge_append(&replay->edge, gather->leaves.data + end[i].leaves_from * 32, leaves,
                              replay->nodes == NULL ? NULL : sp_nodes_compare, replay->nodes));
        sp_edge_take(&replay->edge, &fold[i]);
    }
    sp_edge_roots(fold, count, roots);
    for (uint32_t i = 0; i < count; i++) {
        const sp_commit *commit = &end[i].commit;
        if (commit->tree_size != end[i].tree_size || memcmp(commit->root, roots + 32 * i, 32) != 0) {
            return differs(replay, &end[i], "ROOT", "the records do not reproduce the root of their COMMIT");
        }
        if (memcmp(commit->chain, chain + 32 * i, 32) != 0) {
            return differs(replay, &end[i], "CHAIN", "the COMMIT does not continue the chain");
        }
        accept(replay, &end[i]);
    }
    return SP_OK;
}

static int settle(sp_replay *replay)
{
    const sp_gather *gather = &replay->gather;
    uint8_t chain[BATCHES * 32];
    hash_chains(&replay->gather, chain);
    for (uint32_t at = 0; at < gather->ends; at += SP_EDGE_FOLDS) {
        uint32_t count = gather->ends - at < SP_EDGE_FOLDS ? gather->ends - at : SP_EDGE_FOLDS;
        SP_TRY(settle_some(replay, &gather->end[at], count, chain + (size_t)at * 32));
    }
    return SP_OK;
}

/* ---- the run ------------------------------------------------------------------- */

/* SP_OK: there is more, or a SEAL; the rest as sp_gather_batch answers. */
static int gather_some(sp_replay *replay, const sp_segment *segment, uint64_t offset, uint64_t end)
{
    sp_gather *gather = &replay->gather;
    uint64_t begun = offset;
    while (gather->ends < BATCHES && offset - begun < RUN_BYTES && gather->leaves.size / 32 < RUN_LEAVES && !gather->sealed) {
        SP_TRY(sp_gather_batch(gather, segment->bytes, segment->header.salt, &offset, end));
    }
    return SP_OK;
}

static int run(sp_replay *replay, const sp_segment *segment, uint64_t offset, uint64_t end)
{
    sp_gather *gather = &replay->gather;
    sp_replay_step *step = &replay->step;
    sp_gather_open(gather, &replay->at);
    *step = (sp_replay_step){.offset = offset};
    int status = gather_some(replay, segment, offset, end);
    step->bad_offset = gather->bad_offset;
    if (status == SP_E_END || status == SP_E_CORRUPT) {
        step->what = status == SP_E_END ? STEP_END : STEP_TORN;
    } else if (status == SP_E_MISMATCH) {
        step->what = STEP_BAD;
        step->bad_seq = gather->bad_seq;
        step->reason = gather->reason;
        step->message = gather->message;
    } else {
        SP_TRY(status);
        step->what = gather->sealed ? STEP_SEALED : STEP_MORE;
    }
    SP_TRY(sp_gather_hash(gather));
    status = settle(replay);
    replay->at.sealed = step->what == STEP_SEALED;
    return status == SP_E_MISMATCH ? SP_OK : status;
}

int sp_replay_run(sp_replay *replay, const sp_segment *segment, uint64_t offset, uint64_t end, sp_replay_step *out)
{
    SP_ENSURE(replay != NULL && segment != NULL && out != NULL && offset % SP_FRAME_ALIGN == 0, SP_E_ARGUMENT);
    uint64_t begun = sp_work_cpu_ns();
    replay->gather.judging = 1;
    SP_TRY(run(replay, segment, offset == 0 ? SP_SEGMENT_DATA : offset, end));
    replay->step.leaf_hashes = replay->gather.leaves.data;
    replay->step.sizes = replay->sizes;
    replay->step.roots = replay->roots;
    replay->step.outcome = (const sp_replay_outcome *)(const void *)replay->gather.outcomes.data;
    replay->at.cpu_ns += sp_work_cpu_ns() - begun;
    *out = replay->step;
    return SP_OK;
}

/* ---- for the commit thread ----------------------------------------------------- */

int sp_replay_reserve(sp_replay *replay, uint64_t leaves, uint64_t frames)
{
    return sp_gather_reserve(&replay->gather, leaves, frames);
}

int sp_replay_leaves(sp_replay *replay, sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t offset, uint64_t end,
                     const sp_replay_state *from, uint32_t batch)
{
    sp_gather *gather = &replay->gather;
    sp_gather_open(gather, from);
    gather->batch = batch;
    while (offset < end) {
        sp_frame frame;
        SP_ENSURE(sp_frame_read(segment, salt, offset, &frame) == SP_OK && frame.type != SP_FRAME_COMMIT, SP_E_CORRUPT);
        SP_TRY(sp_gather_frame(gather, &frame));
        offset = frame.next_offset;
    }
    SP_ENSURE(offset == end && gather->reason == NULL, SP_E_CORRUPT);
    return sp_gather_hash(gather);
}

int sp_replay_root(sp_replay *tree, const sp_replay *leaves, uint8_t root[32])
{
    const sp_gather *gather = &leaves->gather;
    sp_edge_fold fold;
    SP_TRY(sp_edge_append(&tree->edge, gather->leaves.data, gather->leaves.size / 32, NULL, NULL));
    sp_edge_take(&tree->edge, &fold);
    sp_edge_roots(&fold, 1, root);
    tree->at.tree_size = tree->edge.size;
    tree->at.last_time_ns = gather->last_time_ns;
    return SP_OK;
}

int sp_replay_checksums(sp_span segment, const uint8_t salt[SP_SALT_SIZE], uint64_t offset, uint64_t end)
{
    while (offset < end) {
        sp_frame frame;
        SP_ENSURE(sp_frame_read(segment, salt, offset, &frame) == SP_OK, SP_E_CORRUPT);
        offset = frame.next_offset;
    }
    SP_ENSURE(offset == end, SP_E_CORRUPT);
    return SP_OK;
}
