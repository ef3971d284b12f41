/* What the files of the signing loop share: a pool of seats, each a session with its thread, and the calls that wait.
 *
 * sp_p11_pool.c makes and ends pools, sp_p11_seat.c does jobs, sp_p11_sign.c takes them from callers. But for `table`,
 * `lock`, `count` and what a seat was made with, all of it is read and written under the lock. */
#ifndef SP_P11_POOL_H
#define SP_P11_POOL_H

#include <pthread.h>
#include <time.h>

#include "sp_p11.h"
#include "sp_pace.h"

typedef struct sp_p11_call {
    sp_p11_job *jobs;
    size_t count, next, done;
    uint64_t deadline_ns;               /* 0: none */
    pthread_cond_t finished;
    struct sp_p11_call *after;
} sp_p11_call;

typedef struct sp_p11_seat {
    sp_p11_pool *pool;
    pthread_t thread;
    uint32_t position;
    ck_session session;
    pthread_cond_t work;
    int alive, busy, resting, started;
    int watching;                       /* jobs waited when it came to rest: it looks for one that has hung */
    uint64_t since_ns;                  /* when the job in hand, or else the last one, was begun */
} sp_p11_seat;

struct sp_p11_pool {
    const ck_function_list *table;
    pthread_mutex_t lock;
    sp_p11_call *first, *last;          /* calls with jobs not yet taken */
    int stopping;
    uint64_t generation;
    uint32_t count, alive, busy;        /* seats; with a session to use; with a job in hand */
    uint32_t callers;                   /* in sp_p11_pool_sign */
    pthread_cond_t left;                /* the last of them has left */
    sp_pace pace;
    sp_p11_seat seats[];
};

/* time, on the clock that the conditions of a pool are of (sp_p11_pool.c) */
static inline uint64_t sp_p11_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
int sp_p11_wait_until(pthread_cond_t *what, pthread_mutex_t *lock, uint64_t ns);
void sp_p11_init_condition(pthread_cond_t *condition);

/* calls that wait (sp_p11_sign.c) */
void sp_p11_queue_put(sp_p11_pool *pool, sp_p11_call *call);
sp_p11_call *sp_p11_queue_take(sp_p11_pool *pool);
void sp_p11_fail_waiting(sp_p11_pool *pool);

/* seats (sp_p11_seat.c) */
void *sp_p11_seat_main(void *argument);
int sp_p11_at_rest(const sp_p11_seat *seat);
sp_p11_seat *sp_p11_free_seat(sp_p11_pool *pool);
void sp_p11_wake(sp_p11_pool *pool, size_t jobs);
void sp_p11_do_job(sp_p11_pool *pool, sp_p11_seat *seat, uint64_t deadline_ns, sp_p11_job *job);
void sp_p11_serve(sp_p11_pool *pool, sp_p11_seat *seat);

#endif
