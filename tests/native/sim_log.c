/* Running and judging: see sim_log.h. */
#include "sim_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_threads.h"
#include "sp_batch.h"
#include "sp_journal.h"
#include "sp_scan.h"
#include "sp_segment.h"
#include "sp_tree.h"

#define BATCH_BYTES_MAX (SIM_SEGMENT_BYTES / SP_SEGMENT_BATCH_SHARE)
#define COMPARED (1u << 14)
#define REOPEN_ONE_IN 4
#define RESERVE_ONE_IN 3            /* steps that may take the segment set aside, where one is */

char sim_case[256];

void sim_fail(const char *file, int line, const char *what)
{
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s\n%s\n", file, line, what, sim_case);
    exit(1);
}

/* ---- comparing with the truth ------------------------------------------------------- */

static const uint8_t *segment_of(const sim_disk *disk, uint64_t number, uint64_t *size, uint64_t *stamp)
{
    char path[SP_DISK_PATH_MAX];
    SIM_EXPECT(sp_segment_path(SIM_LOG_DIR, number, path) == SP_OK);
    *stamp = sim_disk_stamp(disk, path);
    return sim_disk_file(disk, path, size);
}

/* Segments that nobody has written since they were compared are not compared again. */
static uint64_t compared[COMPARED];

/* The segments up to `active` with their headers, and the zeros behind `end` of that one. */
static void compare(const sim_run *run, uint64_t active, uint64_t end)
{
    for (uint64_t number = 0; number <= active; number++) {
        uint64_t size, stamp;
        const uint8_t *truth = run->truth->segment[number];
        const uint8_t *found = segment_of(run->disk, number, &size, &stamp);
        uint64_t to = number < active ? SIM_SEGMENT_BYTES : end;
        SIM_EXPECT(found != NULL && size == SIM_SEGMENT_BYTES);
        if (number < active && compared[stamp % COMPARED] == stamp) {
            continue;
        }
        SIM_EXPECT(memcmp(found, truth, to) == 0);
        SIM_EXPECT(sp_span_written((sp_span){.data = found, .size = size}, to) == to);
        compared[stamp % COMPARED] = number < active ? stamp : 0;
    }
}

/* How many steps of the truth the log holds. One that ended a segment may be followed by the header of the next. */
static uint32_t steps_of(const sim_truth *truth, const sp_journal_state *state)
{
    for (uint32_t n = 0; n <= truth->steps; n++) {
        const sim_position *at = &truth->after[n];
        if (at->next_seq == state->next_seq) {
            SIM_EXPECT(at->size == state->tree_size && memcmp(at->root, state->root, 32) == 0);
            SIM_EXPECT(n == 0 || (at->segment == state->active && at->end == state->end_offset) ||
                       (at->segment + 1 == state->active && SP_SEGMENT_DATA == state->end_offset));
            return n;
        }
    }
    SIM_EXPECT(!"the log ends where no batch ends");
    return 0;
}

/* ---- trees ------------------------------------------------------------------------------ */

/* A node of the truth's tree is the same at every size that completes it. So a tree in memory that held more of the
 * truth needs only to be told how much counts, and the many thousands of runs share a handful of them. */
static sp_tree *spare_tree[16];
static int spare_trees;

static int tree_take(const sim_truth *truth, uint64_t size, const sp_disk *disk, sp_tree **out)
{
    sp_tree *tree = spare_trees > 0 ? spare_tree[--spare_trees] : NULL;
    if (tree == NULL) {
        SP_TRY(sp_tree_open(disk, NULL, &tree));
        if (truth->leaves != NULL) {
            SP_TRY(sp_tree_append(tree, truth->leaves, truth->after[truth->steps].size));
        }
    }
    tree->size = size;
    tree->home.disk = disk;
    *out = tree;
    return SP_OK;
}

static void tree_give(const sim_truth *truth, sp_tree *tree)
{
    if (tree != NULL && truth->leaves != NULL && spare_trees < (int)(sizeof spare_tree / sizeof *spare_tree)) {
        spare_tree[spare_trees++] = tree;
    } else {
        sp_tree_free(tree);
    }
}

/* ---- one process ------------------------------------------------------------------------ */

static int repair(sim_run *run, sp_journal_state *state)
{
    static int copies;
    char name[64], path[128];
    uint64_t size, stamp;
    const uint8_t *segment = segment_of(run->disk, state->damage_segment, &size, &stamp);
    uint64_t from = state->damage_from, to = state->damage_to < size ? state->damage_to : size;
    to = to < from ? from : to;             /* a file that ends inside its header holds nothing to copy */
    SIM_EXPECT(segment != NULL);
    uint8_t *torn = malloc(to - from + 1);
    memcpy(torn, segment + from, to - from);
    if (run->torn != NULL) {
        free(run->torn->bytes);
        *run->torn = (sim_torn){.bytes = torn, .segment = state->damage_segment, .from = from, .to = to};
    }
    snprintf(name, sizeof name, "%d.tail", ++copies);
    snprintf(path, sizeof path, SIM_LOG_DIR "/broken/%s", name);
    int status = sp_journal_repair(run->journal, name, state);
    if (status == SP_OK) {
        const uint8_t *copy = sim_disk_file(run->disk, path, &size);
        SIM_EXPECT(copy != NULL && size == to - from && memcmp(copy, torn, size) == 0);
        SIM_EXPECT(state->damage == 0);
        run->repaired = 1;
    }
    if (run->torn == NULL) {
        free(torn);
    }
    return status;
}

int sim_torn_kept(const sim_disk *disk, const sim_torn *torn)
{
    uint64_t size, stamp, wanted = torn->to - torn->from;
    const uint8_t *segment = segment_of(disk, torn->segment, &size, &stamp);
    return (segment != NULL && torn->to <= size && memcmp(segment + torn->from, torn->bytes, wanted) == 0) ||
           sim_disk_holds(disk, SIM_LOG_DIR "/broken", torn->bytes, wanted);
}

static int open_steps(sim_run *run, sp_journal_state *state)
{
    sp_journal_options options = {
        .dir = SIM_LOG_DIR,
        .segment_bytes = SIM_SEGMENT_BYTES,
        .write_mode = (uint8_t)run->pwrite,
        .scan_recent = (uint8_t)run->scan_recent,
        .keep_reserve = (uint8_t)run->keep_reserve,
        .commits_in_flight_max = (uint8_t)run->depth,
        .disk = sim_disk_table(run->disk),
    };
    memcpy(options.log_id, run->truth->log_id, 32);
    memcpy(options.salt_key, run->truth->salt_key, 32);
    SP_TRY(sp_journal_open(&options, &run->journal, state));
    run->journal->release_bytes = SP_DISK_PAGE;         /* else a segment as small as these would keep all */
    SIM_EXPECT(state->damage <= 1);         /* no cut may look like corruption */
    uint32_t found = steps_of(run->truth, state);
    SIM_EXPECT(found >= run->done && found <= run->asked);
    run->done = found;
    if (state->damage == 1) {
        SP_TRY(repair(run, state));
        SIM_EXPECT(steps_of(run->truth, state) == found);
    }
    SP_TRY(tree_take(run->truth, state->tree_size, options.disk, &run->tree));
    SP_TRY(sp_journal_start(run->journal, run->tree, -1));
    if (state->segments > 0) {
        compare(run, state->active, state->end_offset);
    }
    return SP_OK;
}

int sim_run_open(sim_run *run)
{
    sp_journal_state state;
    run->repaired = 0;
    run->depth = run->depth == 0 ? 1 : run->depth;
    run->flying = 0;
    run->acknowledged = 0;
    run->syncs = sim_disk_syncs(run->disk);
    for (uint32_t i = 0; i < run->depth; i++) {
        SIM_EXPECT(run->batch[i] != NULL || sp_batch_new(BATCH_BYTES_MAX, &run->batch[i]) == SP_OK);
    }
    int status = open_steps(run, &state);
    if (status != SP_OK) {
        sim_run_close(run);
    }
    return status;
}

void sim_run_close(sim_run *run)
{
    sp_journal_free(run->journal);
    tree_give(run->truth, run->tree);
    for (uint32_t i = 0; i < SP_FLIGHTS_MAX; i++) {
        sp_batch_free(run->batch[i]);
        run->batch[i] = NULL;
    }
    run->journal = NULL;
    run->tree = NULL;
    run->flying = 0;
}

static void fill(sp_batch *batch, const sim_step *step)
{
    sp_batch_reset(batch);
    for (uint32_t i = 0; i < step->frames; i++) {
        const sim_frame *frame = &step->frame[i];
        int status;
        if (frame->type == SP_FRAME_REQUEST) {
            status = sp_batch_request(batch, frame->version, frame->head, frame->head_size, &frame->spec, frame->seed,
                                      frame->names, frame->names_size, frame->digests, frame->count);
        } else {
            status = sp_batch_event(batch, frame->type, frame->version, frame->head, frame->head_size,
                                    frame->spec.scope);
        }
        SIM_EXPECT(status == SP_OK);
    }
}

static int submit(sim_run *run, uint32_t number)
{
    const sim_step *step = &run->truth->step[number];
    sp_batch *batch = run->batch[number % run->depth];
    uint64_t seq, leaf, room;
    SP_TRY(sp_journal_position(run->journal, &seq, &leaf, &room));
    if (step->frames == 0) {
        return sp_journal_seal(run->journal, step->time_ns);
    }
    fill(batch, step);
    if (number % RESERVE_ONE_IN == 0) {
        sp_batch_use_reserve(batch);
    }
    SIM_EXPECT(sp_batch_bytes(batch) <= room);
    return sp_journal_submit(run->journal, batch, step->time_ns, seq, leaf);
}

/* SP_OK if at least one is in flight then. */
static int submit_some(sim_run *run)
{
    uint32_t until = run->until > run->done + 1 ? run->until : run->done + 1;
    while (run->flying < run->depth && run->done + run->flying < until) {
        uint32_t next = run->done + run->flying;
        SIM_EXPECT(next < run->truth->steps);
        if (run->truth->step[next].after > run->done) {
            return SP_OK;
        }
        uint32_t asked = run->asked;
        run->asked = asked > next + 1 ? asked : next + 1;
        int status = submit(run, next);
        if (status != SP_OK) {
            run->asked = asked;
            return run->flying > 0 ? SP_OK : status;
        }
        run->flying++;
    }
    return SP_OK;
}

static int take(sim_run *run, sp_commit_result *result)
{
    while (sp_journal_take(run->journal, result) == SP_E_EMPTY) {
        sim_wait();
    }
    run->flying--;
    return result->status;
}

int sim_run_step(sim_run *run)
{
    const sim_position *next = &run->truth->after[run->done + 1];
    sp_commit_result result, behind;
    SP_TRY(submit_some(run));
    int status = take(run, &result);
    while (status != SP_OK && run->flying > 0) {
        SIM_EXPECT(take(run, &behind) != SP_OK);        /* nobody overtakes */
    }
    SP_TRY(status);
    run->done++;
    run->acknowledged++;
    SIM_EXPECT(run->acknowledged <= sim_disk_syncs(run->disk) - run->syncs);
    if (next->next_seq != 0) {              /* 0: this is the run that finds the truth */
        SIM_EXPECT(result.tree_size == next->size && memcmp(result.root, next->root, 32) == 0);
        SIM_EXPECT(result.first_seq + result.frames == next->next_seq && result.segment == next->segment);
        return SP_OK;
    }
    sim_position *found = (sim_position *)next;
    *found = (sim_position){.size = result.tree_size, .next_seq = result.first_seq + result.frames,
                            .segment = result.segment};
    found->end = result.offset + (result.batch == NULL ? 0 : result.batch->size) + SP_COMMIT_BYTES +
                 (result.sealed ? SP_SEAL_BYTES : 0);
    memcpy(found->root, result.root, 32);
    return SP_OK;
}

void sim_judge(const sim_truth *truth, sim_disk *disk, uint32_t done, uint32_t asked, uint64_t seed, sim_torn *torn)
{
    sim_world_enter(seed);
    sim_run run = {.truth = truth, .disk = disk, .done = done, .asked = asked, .torn = torn,
                   .pwrite = (int)(seed & 1), .scan_recent = (seed / 32 & 7) != 0,
                   .keep_reserve = (seed / 256 & 1) != 0, .depth = 1 + (uint32_t)(seed / 512 % 2)};
    SIM_EXPECT(sim_run_open(&run) == SP_OK);
    SIM_EXPECT(sim_run_step(&run) == SP_OK);
    sim_run_close(&run);
    if (seed / 8 % REOPEN_ONE_IN == 0) {
        run.asked = run.done;
        SIM_EXPECT(sim_run_open(&run) == SP_OK && !run.repaired);
        sim_run_close(&run);
    }
    sim_world_leave();
}

void sim_export(const char *dir, uint64_t number, const sim_truth *truth, const sim_disk *disk, uint32_t done)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%" PRIu64, dir, number);
    sim_disk_export(disk, path);
    snprintf(path, sizeof path, "%s/%" PRIu64 "/mark", dir, number);
    FILE *file = fopen(path, "w");
    SIM_EXPECT(file != NULL);
    fprintf(file, "%" PRIu64 " ", truth->after[done].size);
    for (int i = 0; i < 32; i++) {
        fprintf(file, "%02x", truth->after[done].root[i]);
    }
    fprintf(file, "\n%s\n", sim_case);
    SIM_EXPECT(fclose(file) == 0);
}
