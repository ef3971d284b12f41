/* Commits in flight: their hand-over from the caller, their order among one another, their results.
 *
 * Each is carried by one commit thread from submit to result, and up to SP_FLIGHTS_MAX are on their way. What one can do
 * without the others (writing its frames, hashing them) it does beside them; at three gates they pass in order of their
 * submission, one at a time:
 *
 *   ROOM     its place in the segment is taken, and all that can fail for want of space is done
 *   TREE     its leaves are appended: the root of one needs the leaves of those before it
 *   COMMIT   its COMMIT is written and synced, its result told: so no COMMIT reaches the disk before its predecessor is
 *            durable, and what follows the last valid one is never worth more than a torn tail
 *
 * One that found no room leaves those behind it no place either: all are told the same, and have written nothing, until
 * every result is taken and none is in flight. One that failed is the end of all whose own sync has not returned. */
#ifndef SP_FLIGHT_H
#define SP_FLIGHT_H

#include <pthread.h>

#include "sp_batch.h"

#define SP_FLIGHTS_MAX 4u

enum sp_gate { SP_GATE_ROOM, SP_GATE_TREE, SP_GATE_COMMIT, SP_GATES };

typedef struct sp_plan {            /* where the next batch will stand; all of it is arithmetic */
    uint64_t next_seq, next_leaf, last_time_ns;
    uint64_t offset, segment_bytes; /* segment_bytes 0: in a segment that has yet to be opened */
} sp_plan;

typedef struct sp_flight {
    uint64_t ticket;                /* its number since start */
    sp_batch *batch;                /* NULL: a SEAL alone */
    uint64_t time_ns;
    sp_plan from, after;            /* if it finds room */
    int seals;                      /* it ends its segment */
    sp_commit_result result;
} sp_flight;

typedef struct sp_flights {
    pthread_mutex_t mutex;          /* guards all below; a flight's own thread uses it alone until it is told */
    pthread_cond_t work, turn[SP_GATES];        /* of each gate: who waits at another need not wake */
    uint32_t depth;                 /* constant after open: commits that may be in flight */
    uint64_t segment_bytes;         /* constant after open: of segments to come */
    int stop;
    int failed, failed_errno, failed_differs;   /* latched: set once, never cleared */
    int full;                       /* one found no room, and not all that were in flight then are taken */
    uint64_t submitted, begun, told, taken;     /* tickets below */
    uint64_t passed[SP_GATES];
    sp_plan plan, told_plan;        /* behind the last one submitted; behind the last one that is durable */
    sp_flight flight[SP_FLIGHTS_MAX];           /* by ticket modulo depth */
} sp_flights;

void sp_flights_init(sp_flights *flights, uint32_t depth, uint64_t segment_bytes);
void sp_flights_free(sp_flights *flights);
/* The largest batch of a segment of that size. */
uint64_t sp_flight_batch_max(uint64_t segment_bytes);

/* For commit threads. The next one handed over; NULL: there will be none. */
sp_flight *sp_flight_next(sp_flights *flights);
/* Waits for its turn. SP_E_FAILED: the log has failed. At ROOM, SP_E_FULL: one before it found none. */
SP_MUST_USE int sp_flight_enter(sp_flights *flights, const sp_flight *flight, enum sp_gate gate);
void sp_flight_pass(sp_flights *flights, enum sp_gate gate);
/* Inside ROOM: waits until all before it are through. SP_E_FAILED: the log has failed. */
SP_MUST_USE int sp_flight_alone(sp_flights *flights, const sp_flight *flight);
void sp_flight_full(sp_flights *flights);
void sp_flight_failed(sp_flights *flights, int system_errno, int differs);
/* Inside COMMIT: the caller may take its result. */
void sp_flight_tell(sp_flights *flights, sp_flight *flight);

#endif
