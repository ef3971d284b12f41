/* Bits that rot, files that are cut: all single-bit flips and all truncations of a 64 KiB log that was closed.
 *
 *     simtest_flips [--every N] [--repair N] [--seed S] [--out FILE]
 *
 * Each damaged copy is opened by the real journal; what it says goes to FILE, two bytes a case, flips by bit number
 * first, then truncations by length: the class (enum below) and how many batches stand. tests/native/test_flips.py
 * says what is right, and compares. --every N: every N-th case, and all around the end of each batch; the others are
 * marked SKIPPED. --repair N: of each N-th case that may be repaired the
 * whole way is gone: repaired with its copy kept, started, one more commit, read back, all bytes compared (sim_log.h).
 *
 * The first lines that it prints are the log: `batch end size` for each batch. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_log.h"
#include "sim_threads.h"
#include "sp_check.h"
#include "sp_journal.h"
#include "sp_segment.h"

#define FILE_PATH SIM_LOG_DIR "/journal/00000000000000000000.seg"
#define BITS (SIM_SEGMENT_BYTES * 8u)
#define CASES (BITS + SIM_SEGMENT_BYTES)
#define FILLED (SIM_SEGMENT_BYTES * 5 / 8)

enum flip_class { SKIPPED, WHOLE, HEADER, CUT, REFUSED };

typedef struct flips {
    const sim_truth *truth;
    uint32_t steps;                     /* in the log */
    sim_disk *disk;
    uint64_t every, repair, judged, repaired;
    uint8_t *said;
} flips;

static uint32_t steps_of(const sim_truth *truth, uint64_t next_seq)
{
    uint32_t steps = 0;
    while (steps < truth->steps && truth->after[steps].next_seq != next_seq) {
        steps++;
    }
    return steps;
}

/* Opens and looks; nothing on the disk is changed by that. */
static enum flip_class look(const flips *all, sim_disk *disk, uint32_t *steps)
{
    sp_journal_options options = {.dir = SIM_LOG_DIR, .segment_bytes = SIM_SEGMENT_BYTES, .commits_in_flight_max = 1,
                                  .disk = sim_disk_table(disk)};
    sp_journal_state state;
    sp_journal *journal;
    memcpy(options.log_id, all->truth->log_id, 32);
    memcpy(options.salt_key, all->truth->salt_key, 32);
    *steps = 0;
    sim_world_enter(0);
    int status = sp_journal_open(&options, &journal, &state);
    enum flip_class class = REFUSED;
    if (status == SP_OK) {
        const sp_found *first = journal->survey.file;
        int one_copy = journal->survey.count > 0 && first->valid && first->copies < 2;
        *steps = steps_of(all->truth, state.next_seq);
        class = state.damage > 1                                ? REFUSED
                : state.damage == 1 || *steps < all->steps      ? CUT
                : one_copy                                      ? HEADER
                                                                : WHOLE;
        sp_journal_free(journal);
    }
    sim_world_leave();
    SIM_EXPECT(sim_disk_units(disk) == 0);
    return class;
}

static void one_case(flips *all, uint32_t number, sim_disk *damaged)
{
    uint32_t steps;
    snprintf(sim_case, sizeof sim_case, "%s %" PRIu32, number < BITS ? "bit" : "length",
             number < BITS ? number : number - BITS);
    enum flip_class class = look(all, damaged, &steps);
    all->said[2 * number] = (uint8_t)class;
    all->said[2 * number + 1] = (uint8_t)steps;
    all->judged++;
    if (class != REFUSED && all->judged % all->repair == 0) {
        sim_disk *copy = sim_disk_copy(damaged);
        int copies = sim_disk_count(copy, SIM_LOG_DIR "/broken");
        uint64_t size;
        int empty = sim_disk_file(copy, FILE_PATH, &size) != NULL && size == 0;
        sim_judge(all->truth, copy, steps, steps, number, NULL);
        SIM_EXPECT(sim_disk_count(copy, SIM_LOG_DIR "/broken") == copies + (class == CUT && !empty));
        sim_disk_free(copy);
        all->repaired++;
    }
}

static int wanted(const flips *all, uint64_t offset, uint32_t number)
{
    for (uint32_t i = 0; i <= all->steps; i++) {
        uint64_t end = i == 0 ? SP_SEGMENT_DATA : all->truth->after[i].end;
        if (offset + 8 >= end && offset < end + 8) {
            return 1;
        }
    }
    return number % all->every == 0;
}

static void every_case(flips *all)
{
    for (uint32_t bit = 0; bit < BITS; bit++) {
        if (wanted(all, bit / 8, bit)) {
            sim_disk_flip(all->disk, FILE_PATH, bit);
            one_case(all, bit, all->disk);
            sim_disk_flip(all->disk, FILE_PATH, bit);
        }
    }
    for (uint32_t size = 0; size < SIM_SEGMENT_BYTES; size++) {
        if (wanted(all, size, size)) {
            sim_disk *cut = sim_disk_copy(all->disk);
            sim_disk_chop(cut, FILE_PATH, size);
            one_case(all, BITS + size, cut);
            sim_disk_free(cut);
        }
    }
}

/* A log that fills its one segment to five eighths, closed; the spare of the next one stands beside it. */
static void write_log(flips *all)
{
    sim_run run = {.truth = all->truth, .disk = sim_disk_new(), .pwrite = 1};
    const sp_disk *table = sim_disk_table(run.disk);
    sim_world_enter(1);
    SIM_EXPECT(table->mkdir(table->ctx, SIM_LOG_DIR) == 0 && sim_run_open(&run) == SP_OK);
    while (all->truth->after[run.done].end < FILLED) {
        SIM_EXPECT(sim_run_step(&run) == SP_OK);
    }
    sim_run_close(&run);
    sim_world_leave();
    SIM_EXPECT(all->truth->after[run.done].segment == 0);
    all->steps = run.done;
    all->disk = sim_disk_copy(run.disk);
    sim_disk_free(run.disk);
    for (uint32_t i = 1; i <= all->steps; i++) {
        printf("batch %" PRIu64 " %" PRIu64 "\n", all->truth->after[i].end, all->truth->after[i].size);
    }
}

int main(int count, char **argument)
{
    flips all = {.every = 499, .repair = 7, .said = calloc(CASES, 2)};
    const char *out = NULL;
    uint64_t seed = 4;
    for (int i = 1; i < count; i++) {
        uint64_t value = i + 1 < count ? strtoull(argument[i + 1], NULL, 10) : 0;
        if (i + 1 < count && strcmp(argument[i], "--out") == 0) {
            out = argument[++i];
        } else if (value > 0 && (strcmp(argument[i], "--every") == 0 || strcmp(argument[i], "--repair") == 0 ||
                                 strcmp(argument[i], "--seed") == 0)) {
            *(argument[i][2] == 'e' ? &all.every : argument[i][2] == 'r' ? &all.repair : &seed) = value;
            i++;
        } else {
            fprintf(stderr, "see the head of simtest_flips.c\n");
            return 2;
        }
    }
    sim_truth *truth = sim_truth_random(seed, 80);
    all.truth = truth;
    write_log(&all);
    every_case(&all);
    if (out != NULL) {
        FILE *file = fopen(out, "wb");
        SIM_EXPECT(file != NULL && fwrite(all.said, 2, CASES, file) == CASES && fclose(file) == 0);
    }
    printf("ok, %" PRIu64 " cases, %" PRIu64 " went all the way\n", all.judged, all.repaired);
    sim_disk_free(all.disk);
    free(all.said);
    sim_truth_free(truth);
    return 0;
}
