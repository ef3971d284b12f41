/* Power cuts: every cut of a run of many batches, and at each cut what a disk may have kept.
 *
 *     simtest_crash [--images N] [--seed S] [--script FILE | --steps N] [--export DIR N] [--case ROUND IMAGE]
 *
 * The run commits, two or three batches in flight (in each fourth round one), changes and seals segments, closes with
 * batches under way, opens, and now and then really loses its power: it goes on from one of the images, as does what
 * follows. At every cut (each call that changed something, and each store through the
 * mapping that a call finds): nothing kept, everything, each single unit, and random choices. Every image that was not
 * met at this cut's acknowledgements before is opened by the real journal and judged (sim_log.h); one in 32 is cut
 * again at each step of its own recovery, and some of those a third time.
 *
 * Rounds go on, mapped and with pwrite in turn, until N images were opened; no round is broken off. `--case` judges one
 * image of one round only, with all that hangs on it: a failure prints what to give it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_log.h"
#include "sim_threads.h"

#define RANDOM_KEEPS 40             /* random choices at a cut */
#define AGAIN_ONE_IN 32             /* images whose recovery is cut, too */
#define DEPTH_MAX 3
#define DEPTHS 2                    /* two and three commits in flight */
#define STEPS_LEFT (DEPTH_MAX + 1)  /* not committed by the run: what survives its last cut goes on with them */
#define SEEN_START (1u << 16)

typedef struct cutter {             /* one run being cut */
    struct crash *crash;
    const sim_run *run;             /* whose acknowledgements count */
    const sim_truth *truth;
    uint64_t random;
    int depth;
    uint32_t done, asked;           /* when run is NULL: of the image whose recovery is cut */
    uint64_t *seen;                 /* keys of images met, a hash set; only where images may meet again */
    uint64_t seen_room, seen_count;
    sim_torn torn;                  /* what the run being cut repaired at its last open */
    sim_disk *lost;                 /* an image that the run shall go on from */
    uint32_t lost_done, lost_asked;
    int want_lost;
} cutter;

typedef struct crash {
    const sim_truth *truth;
    uint64_t images_wanted, seed;
    uint64_t cuts, images, same, by_depth[DEPTH_MAX + 1];
    uint64_t round, image;          /* of this round: the number of a case */
    int only;                       /* judge one case */
    uint64_t only_round, only_image;
    const char *export_dir;
    uint64_t exports_wanted, exports, steps;
} crash;

/* ---- which images were met already ------------------------------------------------------- */

static int seen_before(cutter *cut, uint64_t key);

static void seen_grow(cutter *cut)
{
    uint64_t *old = cut->seen, room = cut->seen_room;
    cut->seen_room = room == 0 ? SEEN_START : room * 2;
    cut->seen = calloc(cut->seen_room, sizeof *cut->seen);
    cut->seen_count = 0;
    for (uint64_t i = 0; i < room; i++) {
        if (old[i] != 0) {
            (void)seen_before(cut, old[i]);
        }
    }
    free(old);
}

static int seen_before(cutter *cut, uint64_t key)
{
    if (cut->seen_count * 2 >= cut->seen_room) {
        seen_grow(cut);
    }
    key = key == 0 ? 1 : key;
    uint64_t at = key % cut->seen_room;
    while (cut->seen[at] != 0 && cut->seen[at] != key) {
        at = (at + 1) % cut->seen_room;
    }
    int found = cut->seen[at] == key;
    cut->seen_count += !found;
    cut->seen[at] = key;
    return found;
}

/* ---- one image ------------------------------------------------------------------------------ */

static void cut_here(void *arg, sim_disk *disk);

static void judge_image(cutter *cut, sim_disk *image, uint32_t done, uint32_t asked, uint64_t random)
{
    crash *all = cut->crash;
    cutter inner = {.crash = all, .truth = cut->truth, .depth = cut->depth + 1, .done = done, .random = random ^ 1};
    all->images++;
    all->by_depth[cut->depth]++;
    if (cut->depth == 1 && all->exports < all->exports_wanted &&
        all->images * all->exports_wanted >= all->exports * all->images_wanted) {
        sim_export(all->export_dir, all->exports++, all->truth, image, done);
    }
    if (cut->depth < DEPTH_MAX && random / 8 % AGAIN_ONE_IN == 0) {
        inner.asked = asked < done + 1 ? done + 1 : asked;
        inner.asked += inner.asked < cut->truth->steps;     /* it commits one step more than it finds */
        sim_disk_watch(image, cut_here, &inner);
    }
    sim_judge(cut->truth, image, done, asked, random, &inner.torn);
    free(inner.torn.bytes);
    free(inner.seen);
    sim_disk_free(image);
}

static void try_keep(cutter *cut, sim_disk *disk, const uint64_t *keep)
{
    crash *all = cut->crash;
    uint32_t done = cut->run != NULL ? cut->run->done : cut->done;
    uint32_t asked = cut->run != NULL ? cut->run->asked : cut->asked;
    if (seen_before(cut, sim_disk_cut_key(disk, keep) + done)) {
        all->same++;
        return;
    }
    uint64_t random = sim_random(&cut->random);
    if (cut->depth == 1) {
        uint64_t image = all->image++;
        if (all->only && image != all->only_image) {
            return;
        }
        snprintf(sim_case, sizeof sim_case,
                 "--seed %" PRIu64 " --case %" PRIu64 " %" PRIu64 " (%" PRIu32 " steps acknowledged, %" PRIu32
                 " things unsynced)", all->seed, all->round, image, done, sim_disk_units(disk));
    }
    sim_disk *image = sim_disk_cut(disk, keep);
    SIM_EXPECT(cut->torn.bytes == NULL || sim_torn_kept(image, &cut->torn));
    judge_image(cut, image, done, asked, random);
}

/* ---- one cut --------------------------------------------------------------------------------- */

static uint64_t page_kept(uint64_t salt, uint64_t page)
{
    salt ^= page * UINT64_C(0x9e3779b97f4a7c15);
    return sim_random(&salt) % 2;
}

static void random_keep(const sim_disk *disk, uint64_t *random, uint64_t *keep)
{
    uint32_t units = sim_disk_units(disk);
    uint64_t kind = sim_random(random) % 9, salt = sim_random(random);
    uint32_t from = (uint32_t)(sim_random(random) % (units + 1)), to = (uint32_t)(sim_random(random) % (units + 1));
    for (uint32_t i = 0; i < units; i++) {
        uint64_t number = sim_random(random) % 16;
        uint64_t in = kind < 2   ? number < 8               /* half of all */
                      : kind < 4 ? number < 1               /* a few */
                      : kind < 6 ? number < 15              /* all but a few */
                      : kind < 7 ? i < from                 /* in order */
                      : kind < 8 ? (i < from) != (i < to)   /* a gap */
                                 : page_kept(salt, sim_disk_unit_page(disk, i));
        keep[i / 64] |= in << (i % 64);
    }
}

static void cut_here(void *arg, sim_disk *disk)
{
    cutter *cut = arg;
    uint64_t keep[SIM_KEEP_WORDS] = {0};
    uint32_t units = sim_disk_units(disk);
    uint32_t singles = cut->depth == 1 ? units : units < 2 ? units : 2;
    uint32_t randoms = cut->depth == 1 ? RANDOM_KEEPS : 2;
    cut->crash->cuts++;
    try_keep(cut, disk, keep);
    for (uint32_t i = 0; i < singles; i++) {
        uint32_t unit = cut->depth == 1 ? i : (uint32_t)(sim_random(&cut->random) % units);
        memset(keep, 0, sizeof keep);
        keep[unit / 64] = UINT64_C(1) << (unit % 64);
        try_keep(cut, disk, keep);
    }
    for (uint32_t i = 0; units > 1 && i < randoms; i++) {
        memset(keep, 0, sizeof keep);
        random_keep(disk, &cut->random, keep);
        try_keep(cut, disk, keep);
    }
    memset(keep, 0xff, sizeof keep);
    try_keep(cut, disk, keep);
    if (cut->want_lost > 0 && --cut->want_lost == 0) {
        memset(keep, 0, sizeof keep);
        random_keep(disk, &cut->random, keep);
        cut->lost = sim_disk_cut(disk, keep);
        cut->lost_done = cut->run->done;
        cut->lost_asked = cut->run->asked;
    }
}

/* ---- a round ------------------------------------------------------------------------------------ */

static sim_disk *first_disk(void)
{
    sim_disk *disk = sim_disk_new();
    const sp_disk *table = sim_disk_table(disk);
    SIM_EXPECT(table->mkdir(table->ctx, SIM_LOG_DIR) == 0 && table->sync_dir(table->ctx, "/") == 0);
    return disk;
}

static void open_watched(sim_run *run, cutter *cut)
{
    sim_disk_watch(run->disk, cut_here, cut);
    SIM_EXPECT(sim_run_open(run) == SP_OK);
}

static void one_round(crash *all)
{
    cutter cut = {.crash = all, .truth = all->truth, .depth = 1, .random = all->seed + all->round};
    sim_world_enter(all->seed ^ (all->round << 32));
    sim_run run = {.truth = all->truth, .disk = first_disk(), .pwrite = (int)(all->round % 2), .scan_recent = 1,
                   .keep_reserve = (int)(all->round / 2 % 2), .depth = 2 + (uint32_t)(all->round % DEPTHS),
                   .until = all->truth->steps - STEPS_LEFT};
    run.depth = all->round % 4 == 3 ? 1 : run.depth;
    cut.run = &run;
    run.torn = &cut.torn;
    all->image = 0;
    open_watched(&run, &cut);
    while (run.done + STEPS_LEFT < all->truth->steps) {
        if (run.done % 37 == 20) {
            cut.want_lost = 1 + (int)(sim_random(&cut.random) % 12);
        }
        SIM_EXPECT(sim_run_step(&run) == SP_OK);
        if (cut.lost != NULL) {
            sim_disk_watch(run.disk, NULL, NULL);
            sim_run_close(&run);
            sim_disk_free(run.disk);
            run.disk = cut.lost;
            run.done = cut.lost_done;
            run.asked = cut.lost_asked;
            cut.lost = NULL;
            open_watched(&run, &cut);
        } else if (run.done % 50 == 45) {
            sim_run_close(&run);
            open_watched(&run, &cut);
        }
    }
    sim_run_close(&run);
    sim_world_leave();
    sim_disk_free(run.disk);
    free(cut.torn.bytes);
    free(cut.seen);
}

static void arguments(crash *all, int count, char **argument, const char **script)
{
    for (int i = 1; i < count; i++) {
        int left = count - i - 1;
        if (strcmp(argument[i], "--images") == 0 && left >= 1) {
            all->images_wanted = strtoull(argument[++i], NULL, 10);
        } else if (strcmp(argument[i], "--seed") == 0 && left >= 1) {
            all->seed = strtoull(argument[++i], NULL, 10);
        } else if (strcmp(argument[i], "--steps") == 0 && left >= 1) {
            all->steps = strtoull(argument[++i], NULL, 10);
        } else if (strcmp(argument[i], "--script") == 0 && left >= 1) {
            *script = argument[++i];
        } else if (strcmp(argument[i], "--export") == 0 && left >= 2) {
            all->export_dir = argument[++i];
            all->exports_wanted = strtoull(argument[++i], NULL, 10);
        } else if (strcmp(argument[i], "--case") == 0 && left >= 2) {
            all->only = 1;
            all->only_round = strtoull(argument[++i], NULL, 10);
            all->only_image = strtoull(argument[++i], NULL, 10);
        } else {
            fprintf(stderr, "see the head of simtest_crash.c\n");
            exit(2);
        }
    }
}

int main(int count, char **argument)
{
    const char *script = NULL;
    crash all = {.images_wanted = 1, .seed = 1, .steps = 50};
    arguments(&all, count, argument, &script);
    sim_truth *truth = script != NULL ? sim_truth_read(script) : sim_truth_random(7, (uint32_t)all.steps + STEPS_LEFT);
    all.truth = truth;
    if (all.only) {
        all.round = all.only_round;
        one_round(&all);
    }
    while (!all.only && (all.round < 2 || all.images < all.images_wanted)) {
        one_round(&all);
        all.round++;
    }
    printf("ok, %" PRIu64 " images: %" PRIu64 " of the run, %" PRIu64 " of a recovery, %" PRIu64
           " of a recovery's recovery; %" PRIu64 " cuts, %" PRIu64 " rounds, %" PRIu64
           " choices that left an image met before\n", all.images, all.by_depth[1], all.by_depth[2], all.by_depth[3],
           all.cuts, all.round, all.same);
    sim_truth_free(truth);
    return 0;
}
