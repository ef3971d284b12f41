/* Scripts, and the undisturbed run that tells what is right: see sim_log.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_log.h"
#include "sim_threads.h"
#include "sp_frame.h"
#include "sp_segment.h"

#define START_NS UINT64_C(1700000000000000000)
#define FRAMES_MAX 64u
#define BATCH_BYTES 16000u          /* below a quarter of a segment with its COMMIT and SEAL */

/* ---- from a file: integers little endian, as tests/kit/scripts.py writes them -------------- */

static void read_exactly(FILE *file, void *data, size_t size)
{
    SIM_EXPECT(size == 0 || fread(data, size, 1, file) == 1);
}

static uint32_t read_u32(FILE *file)
{
    uint32_t value;
    read_exactly(file, &value, sizeof value);
    return value;
}

static const uint8_t *read_bytes(FILE *file, uint32_t size)
{
    uint8_t *data = malloc(size + 1);
    SIM_EXPECT(data != NULL && size < SIM_SEGMENT_BYTES);
    read_exactly(file, data, size);
    return data;
}

static void read_frame(FILE *file, sim_frame *frame)
{
    frame->type = (uint8_t)read_u32(file);
    frame->version = (uint16_t)read_u32(file);
    frame->spec.kind = (uint8_t)read_u32(file);
    frame->spec.algorithm = (uint8_t)read_u32(file);
    frame->spec.security_version = read_u32(file);
    frame->count = read_u32(file);
    read_exactly(file, frame->spec.key_id, 32);
    read_exactly(file, frame->spec.scope, 32);
    read_exactly(file, frame->seed, 32);
    frame->head_size = read_u32(file);
    frame->head = read_bytes(file, frame->head_size);
    frame->names_size = read_u32(file);
    frame->names = read_bytes(file, frame->names_size);
    frame->digests = read_bytes(file, read_u32(file));
}

/* ---- from a seed -------------------------------------------------------------------------- */

static const uint8_t *random_bytes(uint64_t *random, uint32_t size)
{
    uint8_t *data = malloc(size + 8);
    for (uint32_t i = 0; i < size; i += 8) {
        uint64_t word = sim_random(random);
        memcpy(data + i, &word, 8);
    }
    return data;
}

/* Most batches are small, some span pages, a few are as large as a batch may be. */
static void random_step(uint64_t *random, sim_step *step)
{
    static const uint32_t sizes[] = {60, 200, 60, 700, 200, 1500, 700, 4096, 9000, 15400};
    uint32_t left = BATCH_BYTES, wanted = 1 + (uint32_t)(sim_random(random) % 4);
    step->frame = calloc(FRAMES_MAX, sizeof *step->frame);
    for (step->frames = 0; step->frames < wanted; step->frames++) {
        sim_frame *frame = &step->frame[step->frames];
        uint32_t kind = (uint32_t)(sim_random(random) % 20);
        uint32_t size = sizes[kind % 10] + (uint32_t)(sim_random(random) % 50);
        if (size + 512 > left) {
            break;
        }
        left -= size + 512;
        frame->type = kind % 2 ? SP_FRAME_REQUEST : SP_FRAME_OUTCOME;
        frame->version = 1;
        frame->spec = (sp_leaf_spec){.kind = 1, .algorithm = 1, .security_version = kind};
        frame->count = 1 + kind % 3;
        frame->head_size = size;
        frame->head = random_bytes(random, size);
        frame->digests = random_bytes(random, frame->count * 32);
    }
}

/* ---- the undisturbed run --------------------------------------------------------------------- */

static void keep_segments(sim_truth *truth, const sim_disk *disk)
{
    truth->segments = (uint32_t)truth->after[truth->steps].segment + 1;
    SIM_EXPECT(truth->segments <= SIM_SEGMENTS_MAX);
    for (uint32_t i = 0; i < truth->segments; i++) {
        char path[SP_DISK_PATH_MAX];
        uint64_t size;
        SIM_EXPECT(sp_segment_path(SIM_LOG_DIR, i, path) == SP_OK);
        const uint8_t *data = sim_disk_file(disk, path, &size);
        SIM_EXPECT(data != NULL && size == SIM_SEGMENT_BYTES);
        truth->segment[i] = malloc(size);
        memcpy(truth->segment[i], data, size);
    }
}

static sim_truth *run_undisturbed(sim_truth *truth)
{
    sim_disk *disk = sim_disk_new();
    sim_run run = {.truth = truth, .disk = disk};
    snprintf(sim_case, sizeof sim_case, "in the undisturbed run");
    sim_world_enter(0);
    const sp_disk *table = sim_disk_table(disk);
    SIM_EXPECT(table->mkdir(table->ctx, SIM_LOG_DIR) == 0);
    sp_sha256(NULL, 0, truth->after[0].root);
    SIM_EXPECT(sim_run_open(&run) == SP_OK);
    while (run.done < truth->steps) {
        SIM_EXPECT(sim_run_step(&run) == SP_OK);
    }
    uint64_t size = truth->after[truth->steps].size;
    truth->leaves = malloc((size_t)size * 32 + 1);
    for (uint64_t i = 0; i < size; i++) {
        SIM_EXPECT(sp_tree_node(run.tree, 0, i, truth->leaves + i * 32) == SP_OK);
    }
    sim_run_close(&run);
    keep_segments(truth, disk);
    sim_world_leave();
    sim_disk_free(disk);
    return truth;
}

sim_truth *sim_truth_read(const char *path)
{
    sim_truth *truth = calloc(1, sizeof *truth);
    FILE *file = fopen(path, "rb");
    SIM_EXPECT(truth != NULL && file != NULL);
    read_exactly(file, truth->log_id, 32);
    truth->steps = read_u32(file);
    SIM_EXPECT(truth->steps > 0 && truth->steps <= SIM_STEPS_MAX);
    for (uint32_t i = 0; i < truth->steps; i++) {
        sim_step *step = &truth->step[i];
        read_exactly(file, &step->time_ns, sizeof step->time_ns);
        step->after = read_u32(file);
        SIM_EXPECT(step->after <= i);       /* so there is always one to go on with */
        step->frames = read_u32(file);
        SIM_EXPECT(step->frames <= FRAMES_MAX);
        step->frame = calloc(step->frames + 1, sizeof *step->frame);
        for (uint32_t j = 0; j < step->frames; j++) {
            read_frame(file, &step->frame[j]);
        }
    }
    fclose(file);
    return run_undisturbed(truth);
}

sim_truth *sim_truth_random(uint64_t seed, uint32_t steps)
{
    sim_truth *truth = calloc(1, sizeof *truth);
    SIM_EXPECT(truth != NULL && steps > 0 && steps <= SIM_STEPS_MAX);
    truth->steps = steps;
    for (uint32_t i = 0; i < steps; i++) {
        truth->step[i].time_ns = START_NS + i * UINT64_C(1000000);
        if (i % 41 != 40) {
            random_step(&seed, &truth->step[i]);
        }
    }
    return run_undisturbed(truth);
}

void sim_truth_free(sim_truth *truth)
{
    for (uint32_t i = 0; i < truth->steps; i++) {
        for (uint32_t j = 0; j < truth->step[i].frames; j++) {
            free((void *)truth->step[i].frame[j].head);
            free((void *)truth->step[i].frame[j].names);
            free((void *)truth->step[i].frame[j].digests);
        }
        free(truth->step[i].frame);
    }
    for (uint32_t i = 0; i < truth->segments; i++) {
        free(truth->segment[i]);
    }
    free(truth->leaves);
    free(truth);
}
