/* Failing calls: for every operation of the disk and every k, the k-th call fails, once or from then on, its work not
 * done or done all the same; and from the k-th call of any kind on, all fail. Where the work is done all the same the
 * journal keeps a reserved segment, where it is not it does not.
 *
 *     simtest_faults [--every N] [--script FILE] [--export DIR N] [--case MODE OPERATION K DONE FOREVER]
 *
 * The workload opens, commits through several segments, seals, closes, opens again and goes on. Then, with the fault
 * gone: power is lost (nothing kept, everything, two random choices), and apart from that the process alone starts
 * again on the page cache as it is, commits, and loses its power afterwards. Each time all that was acknowledged must
 * be there. And: nothing is acknowledged without a good sync of its own, no sync is tried after the commit threads' sync
 * failed, and no more than a few batches are acknowledged after one of the helper did. Two or three commits are in
 * flight, in each fourth case one. --every N: every N-th case. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_log.h"
#include "sim_threads.h"
#include "sp_check.h"

#define STEPS 45                    /* of the workload; three segments */
#define CLOSE_AT 30
#define TRIES 3                     /* of a step that was told "full" */
#define LATE_MAX 7                  /* commits that may pass before the helper has told that its sync failed */

typedef struct faults {
    const sim_truth *truth;
    uint64_t every, cases, met, stopped, number;
    const char *export_dir;
    uint64_t exports_wanted, exports;
} faults;

/* Until it is done or something says no. */
static int try_steps(sim_run *run, uint32_t to)
{
    int before = sim_disk_sync_failed(run->disk);       /* in another process, which has ended */
    run->until = to;
    for (int late = 0; run->done < to;) {
        int failed = before ? 0 : sim_disk_sync_failed(run->disk), status = sim_run_step(run);
        late += failed != 0 && status == SP_OK;
        /* Those in flight before it may have had good syncs of their own. */
        SIM_EXPECT(failed != SIM_SYNC + 1 || late < (int)run->depth);
        SIM_EXPECT(late <= LATE_MAX);
        for (int i = 1; status == SP_E_FULL && i < TRIES; i++) {
            status = sim_run_step(run);
        }
        if (status != SP_OK) {
            if (status == SP_E_FAILED) {
                SIM_EXPECT(sim_run_step(run) == SP_E_FAILED);
            }
            return status;
        }
    }
    return SP_OK;
}

static int workload(sim_run *run)
{
    SP_TRY(sim_run_open(run));
    int status = try_steps(run, CLOSE_AT);
    sim_run_close(run);
    SP_TRY(status);
    run->asked = run->done;
    SP_TRY(sim_run_open(run));
    status = try_steps(run, STEPS);
    sim_run_close(run);
    return status;
}

static void lose_power(faults *all, const sim_run *run, uint64_t seed)
{
    for (uint64_t choice = 0; choice < 4; choice++) {
        uint64_t keep[SIM_KEEP_WORDS];
        for (size_t i = 0; i < SIM_KEEP_WORDS; i++) {
            keep[i] = choice == 0 ? 0 : choice == 1 ? UINT64_MAX : sim_random(&seed);
        }
        sim_disk *image = sim_disk_cut(run->disk, keep);
        if (choice == 2 && all->exports < all->exports_wanted) {
            sim_export(all->export_dir, all->exports++, all->truth, image, run->done);
        }
        sim_judge(all->truth, image, run->done, run->asked, sim_random(&seed), NULL);
        sim_disk_free(image);
    }
}

/* One case; the calls that the fault counts, if there had been none. */
static uint64_t one_case(faults *all, int pwrite, sim_fault fault)
{
    sim_run run = {.truth = all->truth, .disk = sim_disk_new(), .pwrite = pwrite, .scan_recent = 1,
                   .keep_reserve = fault.done, .depth = fault.nth % 4 == 3 ? 1 : 2 + (uint32_t)(fault.nth % 2)};
    const sp_disk *table = sim_disk_table(run.disk);
    snprintf(sim_case, sizeof sim_case, "--case %d %s %" PRIu64 " %d %d", pwrite, sim_op_name[fault.op], fault.nth,
             fault.done, fault.forever);
    sim_world_enter(fault.nth);
    SIM_EXPECT(table->mkdir(table->ctx, SIM_LOG_DIR) == 0 && table->sync_dir(table->ctx, "/") == 0);
    uint64_t before = sim_disk_calls(run.disk, fault.op);
    sim_disk_fault(run.disk, fault);
    int status = workload(&run);
    uint64_t calls = sim_disk_calls(run.disk, fault.op) - before;
    all->cases++;
    all->met += (uint64_t)sim_disk_hit(run.disk);
    all->stopped += status != SP_OK;
    SIM_EXPECT(status == SP_OK ? run.done == STEPS : sim_disk_hit(run.disk));
    sim_disk_fault(run.disk, (sim_fault){0});
    sim_disk_restart(run.disk);
    lose_power(all, &run, fault.nth);
    sim_judge(all->truth, run.disk, run.done, run.asked, fault.nth * 2 + (uint64_t)pwrite, NULL);
    run.done++;
    run.asked = run.asked >= run.done ? run.asked + 1 : run.done;
    lose_power(all, &run, fault.nth);
    sim_world_leave();
    sim_disk_free(run.disk);
    return calls;
}

static int chosen(faults *all)
{
    return all->number++ % all->every == 0;
}

/* k from 1 on, until the workload makes fewer calls than that. */
static void every_k(faults *all, int pwrite, int op, int done, int forever)
{
    int error = op == SIM_ALLOCATE ? ENOSPC : EIO;
    uint64_t nth = 1, calls = one_case(all, pwrite, (sim_fault){.op = op, .done = done});
    for (; nth <= calls; nth++) {
        if (chosen(all)) {
            one_case(all, pwrite, (sim_fault){.op = op, .nth = nth, .error = error, .done = done, .forever = forever});
        }
    }
}

static void arguments(faults *all, int count, char **argument, const char **script, sim_fault *only, int *pwrite)
{
    for (int i = 1; i < count; i++) {
        int left = count - i - 1;
        if (strcmp(argument[i], "--every") == 0 && left >= 1) {
            all->every = strtoull(argument[++i], NULL, 10);
        } else if (strcmp(argument[i], "--script") == 0 && left >= 1) {
            *script = argument[++i];
        } else if (strcmp(argument[i], "--export") == 0 && left >= 2) {
            all->export_dir = argument[++i];
            all->exports_wanted = strtoull(argument[++i], NULL, 10);
        } else if (strcmp(argument[i], "--case") == 0 && left >= 5) {
            *pwrite = argument[++i][0] == '1';
            for (i++; only->op < SIM_OPS && strcmp(argument[i], sim_op_name[only->op]) != 0;) {
                only->op++;
            }
            only->nth = strtoull(argument[++i], NULL, 10);
            only->done = argument[++i][0] == '1';
            only->forever = argument[++i][0] == '1';
            only->error = EIO;
        } else {
            fprintf(stderr, "see the head of simtest_faults.c\n");
            exit(2);
        }
    }
}

int main(int count, char **argument)
{
    const char *script = NULL;
    faults all = {.every = 23};
    sim_fault only = {0};
    int pwrite = 0;
    arguments(&all, count, argument, &script, &only, &pwrite);
    sim_truth *truth = script != NULL ? sim_truth_read(script) : sim_truth_random(7, STEPS + 4);
    all.truth = truth;
    if (only.nth > 0) {
        one_case(&all, pwrite, only);
    }
    for (int variant = 0; only.nth == 0 && variant < 8; variant++) {
        int forever = variant & 1, done = variant >> 1 & 1;
        for (int op = 0; op < SIM_OPS + forever; op++) {        /* once, a call of any kind is one of some kind */
            every_k(&all, variant >> 2, op, done, forever);
        }
    }
    printf("ok, %" PRIu64 " cases: %" PRIu64 " met their fault, %" PRIu64 " stopped the log\n", all.cases, all.met,
           all.stopped);
    sim_truth_free(truth);
    return 0;
}
