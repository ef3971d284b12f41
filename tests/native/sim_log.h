/* A log on a simulated disk, and the judge of what a disaster left of it.
 *
 * Everything the journal writes is a function of the script (what is committed, when) and of the keys: no byte depends
 * on crashes that came in between. So one undisturbed run is the truth about all others: a log that was cut at
 * any moment must hold the truth's first n steps byte for byte, n no smaller than what was acknowledged, and must go
 * on with step n as if nothing had been. */
#ifndef SIM_LOG_H
#define SIM_LOG_H

#include "sim_disk.h"
#include "sp_flight.h"

#define SIM_LOG_DIR "/log"
#define SIM_SEGMENT_BYTES (64u << 10)
#define SIM_STEPS_MAX 512
#define SIM_SEGMENTS_MAX 64

typedef struct sim_frame {          /* one record of a script */
    uint8_t type;
    uint16_t version;
    sp_leaf_spec spec;              /* of a REQUEST; events use its scope */
    uint8_t seed[32];
    const uint8_t *head, *names, *digests;
    uint32_t head_size, names_size, count;
} sim_frame;

typedef struct sim_step {           /* one commit; without frames it is a SEAL alone */
    uint64_t time_ns;
    uint32_t after;                 /* steps that are acknowledged before it is begun: what it says follows from them */
    uint32_t frames;
    sim_frame *frame;
} sim_step;

typedef struct sim_position { uint64_t size, next_seq, segment, end; uint8_t root[32]; } sim_position;

typedef struct sim_truth {
    uint8_t log_id[32], salt_key[32];
    sim_step step[SIM_STEPS_MAX];
    uint32_t steps;
    sim_position after[SIM_STEPS_MAX + 1];          /* [n]: when n steps are done */
    uint8_t *leaves;
    uint8_t *segment[SIM_SEGMENTS_MAX];             /* as they are in the end */
    uint32_t segments;
} sim_truth;

/* A script from a file (tests/kit/scripts.py writes it, with records that the daemon could have written), or from a
 * seed (records of random bytes). Both are followed by the undisturbed run. */
sim_truth *sim_truth_read(const char *path);
sim_truth *sim_truth_random(uint64_t seed, uint32_t steps);
void sim_truth_free(sim_truth *truth);

typedef struct sim_torn {           /* a tail that a repair took away: it is never lost */
    uint8_t *bytes;                 /* NULL: there was none */
    uint64_t segment, from, to;
} sim_torn;

typedef struct sim_run {            /* one process on the log */
    const sim_truth *truth;
    sim_disk *disk;
    int pwrite, scan_recent, keep_reserve;
    uint32_t depth;                 /* commits in flight at once; 0: one */
    uint32_t until;                 /* no step behind so many is begun ahead of its turn */
    sp_journal *journal;
    sp_tree *tree;
    sp_batch *batch[SP_FLIGHTS_MAX];            /* by step modulo depth */
    uint32_t flying;                /* steps that are in flight: those behind `done` */
    uint64_t syncs, acknowledged;   /* when it was opened; since then */
    uint32_t done;                  /* steps that the log holds for certain: acknowledged, or found at open */
    uint32_t asked;                 /* steps that may be in it */
    int repaired;                   /* by the last open */
    sim_torn *torn;                 /* if not NULL: what it repaired, set before it begins */
} sim_run;

/* Opens, repairs, rebuilds the tree, starts. Stops the program unless the log holds the truth's first n steps with
 * done <= n <= asked; then done = n. A status other than SP_OK only if the disk failed a call. */
int sim_run_open(sim_run *run);
/* Hands over as many steps as may be in flight by now, waits for the first: SP_OK and it is acknowledged (done grows),
 * else its status, and none is in flight any more. Stops the program if more were acknowledged than syncs went well. */
int sim_run_step(sim_run *run);
void sim_run_close(sim_run *run);
/* Open, one step, close, and (one in four, by the seed) open again: what every log that survived must be able to do. */
void sim_judge(const sim_truth *truth, sim_disk *disk, uint32_t done, uint32_t asked, uint64_t seed, sim_torn *torn);
/* Whether the tail stands where it stood, or in broken/. */
int sim_torn_kept(const sim_disk *disk, const sim_torn *torn);

/* The disk as real files in dir/number/log, and beside it `mark`: size and root of what was acknowledged, the case. */
void sim_export(const char *dir, uint64_t number, const sim_truth *truth, const sim_disk *disk, uint32_t done);

/* The case at hand, for messages, and its end: prints both and exits with 1. */
extern char sim_case[256];
void sim_fail(const char *file, int line, const char *what) __attribute__((noreturn));
#define SIM_EXPECT(condition)                           \
    do {                                                \
        if (!(condition)) {                             \
            sim_fail(__FILE__, __LINE__, #condition);   \
        }                                               \
    } while (0)

#endif
