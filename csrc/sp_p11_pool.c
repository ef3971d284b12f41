/* A pool of sessions: one thread per session, from its first to its end, and what becomes of its seats meanwhile.
 *
 * Handles are of a generation, which ends when the login or the keys are lost: sessions and jobs of another one than the
 * pool's are never used. */
#include <stdlib.h>

#include "sp_check.h"
#include "sp_p11_pool.h"

enum { SESSIONS_MAX = 1024 };

int sp_p11_wait_until(pthread_cond_t *what, pthread_mutex_t *lock, uint64_t ns)
{
    const struct timespec until = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return pthread_cond_timedwait(what, lock, &until);
}

void sp_p11_init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

int sp_p11_pool_new(const uint64_t *sessions, uint32_t count, sp_p11_pool **out)
{
    SP_ENSURE(sessions != NULL && out != NULL && count > 0 && count <= SESSIONS_MAX, SP_E_ARGUMENT);
    SP_ENSURE(count == 1 || !sp_p11_single_threaded(), SP_E_ARGUMENT);
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    sp_p11_pool *pool = calloc(1, sizeof *pool + count * sizeof(sp_p11_seat));
    SP_ENSURE(pool != NULL, SP_E_MEMORY);
    pool->table = table;
    pool->count = count;
    sp_pace_start(&pool->pace, count);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->left, NULL);
    sp_p11_hold(1);
    for (uint32_t i = 0; i < count; i++) {
        int alive = sessions[i] != CK_INVALID_HANDLE;
        pool->seats[i] = (sp_p11_seat){.pool = pool, .position = i, .session = sessions[i], .alive = alive};
        pool->alive += (uint32_t)alive;
        sp_p11_init_condition(&pool->seats[i].work);
    }
    for (uint32_t i = 0; i < count; i++) {
        sp_p11_seat *seat = &pool->seats[i];
        if (pthread_create(&seat->thread, NULL, sp_p11_seat_main, seat) != 0) {
            sp_p11_pool_free(pool);
            return SP_E_SYSTEM;
        }
        seat->started = 1;
    }
    *out = pool;
    return SP_OK;
}

uint32_t sp_p11_pool_seats(const sp_p11_pool *pool, uint8_t *states)
{
    sp_p11_pool *held = (sp_p11_pool *)(uintptr_t)pool;
    pthread_mutex_lock(&held->lock);
    uint32_t count = held->alive;
    for (uint32_t i = 0; states != NULL && i < held->count; i++) {
        const sp_p11_seat *seat = &held->seats[i];
        states[i] = seat->alive ? SP_P11_SEAT_ALIVE : seat->busy ? SP_P11_SEAT_LEAVING : SP_P11_SEAT_DEAD;
    }
    pthread_mutex_unlock(&held->lock);
    return count;
}

uint32_t sp_p11_pool_limit(const sp_p11_pool *pool)
{
    sp_p11_pool *held = (sp_p11_pool *)(uintptr_t)pool;
    pthread_mutex_lock(&held->lock);
    uint32_t limit = held->pace.limit;
    pthread_mutex_unlock(&held->lock);
    return limit;
}

static int seat_take(sp_p11_pool *pool, sp_p11_seat *seat, uint64_t session, uint64_t generation)
{
    SP_ENSURE(generation == pool->generation, SP_E_MISMATCH);
    SP_ENSURE(!seat->alive && !seat->busy, SP_E_BUSY);
    seat->session = session;
    seat->alive = 1;
    pool->alive++;
    pthread_cond_signal(&seat->work);
    return SP_OK;
}

int sp_p11_pool_replace(sp_p11_pool *pool, uint32_t position, uint64_t session, uint64_t generation)
{
    SP_ENSURE(pool != NULL && position < pool->count && session != CK_INVALID_HANDLE, SP_E_BOUNDS);
    pthread_mutex_lock(&pool->lock);
    int status = seat_take(pool, &pool->seats[position], session, generation);
    pthread_mutex_unlock(&pool->lock);
    return status;
}

uint64_t sp_p11_pool_retire(sp_p11_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    uint64_t generation = ++pool->generation;
    for (uint32_t i = 0; i < pool->count; i++) {
        pool->seats[i].alive = 0;
    }
    pool->alive = 0;
    sp_p11_fail_waiting(pool);
    pthread_mutex_unlock(&pool->lock);
    return generation;
}

void sp_p11_pool_free(sp_p11_pool *pool)
{
    const ck_function_list *table;
    if (pool == NULL || sp_p11_table(&table) == SP_E_FORKED) {
        return;                         /* in a child of fork: the threads are the parent's, and so is what they hold */
    }
    pthread_mutex_lock(&pool->lock);
    pool->stopping = 1;
    sp_p11_fail_waiting(pool);
    for (uint32_t i = 0; i < pool->count; i++) {
        pthread_cond_signal(&pool->seats[i].work);
    }
    while (pool->callers > 0) {         /* some sign on a seat themselves */
        pthread_cond_wait(&pool->left, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->seats[i].started) {
            pthread_join(pool->seats[i].thread, NULL);
        }
        pthread_cond_destroy(&pool->seats[i].work);
    }
    pthread_cond_destroy(&pool->left);
    pthread_mutex_destroy(&pool->lock);
    sp_p11_hold(-1);
    free(pool);
}
