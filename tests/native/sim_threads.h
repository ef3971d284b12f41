/* Threads without threads: the core's pthread calls land here (the linker's --wrap), each thread is a coroutine, and a
 * seed decides who runs on. So a run with three threads is a function of its seed, and costs no context switch of the
 * kernel.
 *
 * A switch happens where threads meet: in a call of the simulated disk, in a wait, at a join. Code between two such
 * places runs in one piece; that they may be interrupted anywhere is what ThreadSanitizer is for (test_journal.c).
 *
 * Worlds nest: a hook inside one run may enter a world of its own, run a whole journal there, and leave; the threads
 * outside stand still meanwhile. When nobody can run on, the program stops and says so: a deadlock is a finding. */
#ifndef SIM_THREADS_H
#define SIM_THREADS_H

#include <stdint.h>

typedef struct sim_world sim_world;

/* The caller becomes the first thread of a new world; leave() wants all others joined. */
void sim_world_enter(uint64_t seed);
void sim_world_leave(void);
void sim_yield(void);               /* somebody else may run now */
void sim_wait(void);                /* somebody else must: what the caller polls for is theirs to do */

/* splitmix64: the next number of a stream. */
static inline uint64_t sim_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
