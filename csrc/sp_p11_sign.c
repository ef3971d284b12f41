/* The signing loop: one thread per session, C_SignInit and C_Sign on handles that python-pkcs11 found.
 *
 * A call brings jobs and waits; the threads take one job at a time from the calls in turn, so that a long list does not
 * keep a short one waiting. Signature sizes are known to the caller: there is no length query, which on a network HSM is
 * a round trip. A session that answers anything but CKR_OK may hold an unfinished operation and would refuse every later
 * one (CKR_OPERATION_ACTIVE): it is dead until the caller puts another in its place. When all are dead, jobs come back
 * untried: `session` stays UINT32_MAX, so that the caller knows that no token saw them. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sp_p11.h"

enum { SESSIONS_MAX = 1024 };
#define NO_SESSION UINT32_MAX

typedef struct sign_call {
    sp_p11_job *jobs;
    size_t count, next, done;
    pthread_cond_t finished;
    struct sign_call *after;
} sign_call;

typedef struct pool_seat {
    sp_p11_pool *pool;
    pthread_t thread;
    uint32_t position;
    ck_session session;
    int alive, started;
} pool_seat;

struct sp_p11_pool {
    const ck_function_list *table;
    pthread_mutex_t lock;
    pthread_cond_t work;
    sign_call *first, *last;            /* calls with jobs not yet taken */
    int stopping;
    uint32_t count, alive;
    pool_seat seats[];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void queue_put(sp_p11_pool *pool, sign_call *call)
{
    call->after = NULL;
    if (pool->last != NULL) {
        pool->last->after = call;
    } else {
        pool->first = call;
    }
    pool->last = call;
}

static sign_call *queue_take(sp_p11_pool *pool)
{
    sign_call *call = pool->first;
    if (call != NULL) {
        pool->first = call->after;
        if (pool->first == NULL) {
            pool->last = NULL;
        }
    }
    return call;
}

/* Jobs that nobody took when the last session died. */
static void fail_waiting(sp_p11_pool *pool)
{
    for (sign_call *call = queue_take(pool); call != NULL; call = queue_take(pool)) {
        for (; call->next < call->count; call->next++) {
            call->jobs[call->next].rv = CKR_SESSION_CLOSED;
            call->done++;
        }
        if (call->done == call->count) {
            pthread_cond_signal(&call->finished);
        }
    }
}

static ck_mechanism mechanism_of(const sp_p11_job *job, ck_pss_params *pss)
{
    static const ck_pss_params by_hash[] = {
        {CKM_SHA256, CKG_MGF1_SHA256, 32},
        {CKM_SHA384, CKG_MGF1_SHA384, 48},
        {CKM_SHA512, CKG_MGF1_SHA512, 64},
    };
    ck_mechanism mechanism = {job->mechanism, NULL, 0};
    if (job->parameter != 0) {
        *pss = by_hash[job->parameter - 1];
        mechanism.parameter = pss;
        mechanism.parameter_size = sizeof *pss;
    }
    return mechanism;
}

static void sign_one(const pool_seat *seat, sp_p11_job *job)
{
    const ck_function_list *table = seat->pool->table;
    ck_pss_params pss;
    ck_mechanism mechanism = mechanism_of(job, &pss);
    uint64_t start = now_ns();
    ck_ulong size = job->signature_capacity;
    ck_rv rv = table->C_SignInit(seat->session, &mechanism, job->key);
    if (rv == CKR_OK) {
        rv = table->C_Sign(seat->session, (ck_byte *)(uintptr_t)job->data, job->data_size, job->signature, &size);
    }
    if (rv == CKR_OK && size > job->signature_capacity) {
        rv = CKR_DEVICE_ERROR;          /* it says that it wrote more than there was room for: believe nothing of it */
    }
    job->session = seat->position;
    job->signature_size = rv == CKR_OK ? (uint32_t)size : 0;
    job->elapsed_ns = now_ns() - start;
    job->rv = rv;
}

/* One job, taken and finished under the lock, signed without it. */
static void serve(sp_p11_pool *pool, pool_seat *seat)
{
    sign_call *call = queue_take(pool);
    sp_p11_job *job = &call->jobs[call->next++];
    if (call->next < call->count) {
        queue_put(pool, call);
    }
    pthread_mutex_unlock(&pool->lock);
    sign_one(seat, job);
    pthread_mutex_lock(&pool->lock);
    if (job->rv != CKR_OK) {
        seat->alive = 0;
        pool->alive--;
    }
    if (++call->done == call->count) {
        pthread_cond_signal(&call->finished);
    }
    if (pool->alive == 0) {
        fail_waiting(pool);
    }
}

static void *seat_main(void *argument)
{
    pool_seat *seat = argument;
    sp_p11_pool *pool = seat->pool;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        if (seat->alive && pool->first != NULL) {
            serve(pool, seat);
        } else {
            pthread_cond_wait(&pool->work, &pool->lock);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int sp_p11_pool_new(const uint64_t *sessions, uint32_t count, sp_p11_pool **out)
{
    SP_ENSURE(sessions != NULL && out != NULL && count > 0 && count <= SESSIONS_MAX, SP_E_ARGUMENT);
    SP_ENSURE(count == 1 || !sp_p11_single_threaded(), SP_E_ARGUMENT);
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    sp_p11_pool *pool = calloc(1, sizeof *pool + count * sizeof(pool_seat));
    SP_ENSURE(pool != NULL, SP_E_MEMORY);
    pool->table = table;
    pool->count = count;
    pool->alive = count;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    sp_p11_hold(1);
    for (uint32_t i = 0; i < count; i++) {
        pool_seat *seat = &pool->seats[i];
        *seat = (pool_seat){.pool = pool, .position = i, .session = sessions[i], .alive = 1};
        if (pthread_create(&seat->thread, NULL, seat_main, seat) != 0) {
            sp_p11_pool_free(pool);
            return SP_E_SYSTEM;
        }
        seat->started = 1;
    }
    *out = pool;
    return SP_OK;
}

int sp_p11_pool_sign(sp_p11_pool *pool, sp_p11_job *jobs, size_t count)
{
    SP_ENSURE(pool != NULL && (jobs != NULL || count == 0), SP_E_ARGUMENT);
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));       /* in a child of fork there are no threads to wait for */
    for (size_t i = 0; i < count; i++) {
        SP_ENSURE(jobs[i].data != NULL && jobs[i].signature != NULL && jobs[i].parameter <= 3, SP_E_ARGUMENT);
        jobs[i].signature_size = 0;
        jobs[i].session = NO_SESSION;
        jobs[i].rv = CKR_SESSION_CLOSED;
        jobs[i].elapsed_ns = 0;
    }
    if (count == 0) {
        return SP_OK;
    }
    sign_call call = {.jobs = jobs, .count = count};
    pthread_cond_init(&call.finished, NULL);
    pthread_mutex_lock(&pool->lock);
    queue_put(pool, &call);
    if (pool->alive == 0 || pool->stopping) {
        fail_waiting(pool);
    } else if (count == 1 && pool->alive == pool->count) {
        pthread_cond_signal(&pool->work);       /* any thread will do; a dead seat's would not */
    } else {
        pthread_cond_broadcast(&pool->work);
    }
    while (call.done < call.count) {
        pthread_cond_wait(&call.finished, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_destroy(&call.finished);
    return SP_OK;
}

uint32_t sp_p11_pool_alive(const sp_p11_pool *pool, uint8_t *alive)
{
    sp_p11_pool *held = (sp_p11_pool *)(uintptr_t)pool;
    pthread_mutex_lock(&held->lock);
    uint32_t count = held->alive;
    for (uint32_t i = 0; alive != NULL && i < held->count; i++) {
        alive[i] = (uint8_t)held->seats[i].alive;
    }
    pthread_mutex_unlock(&held->lock);
    return count;
}

int sp_p11_pool_replace(sp_p11_pool *pool, uint32_t position, uint64_t session)
{
    SP_ENSURE(pool != NULL && position < pool->count, SP_E_BOUNDS);
    int status = SP_E_BUSY;             /* a session that lives is not taken from under its thread */
    pthread_mutex_lock(&pool->lock);
    pool_seat *seat = &pool->seats[position];
    if (!seat->alive) {
        seat->session = session;
        seat->alive = 1;
        pool->alive++;
        pthread_cond_broadcast(&pool->work);
        status = SP_OK;
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

void sp_p11_pool_free(sp_p11_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stopping = 1;
    fail_waiting(pool);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->seats[i].started) {
            pthread_join(pool->seats[i].thread, NULL);
        }
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    sp_p11_hold(-1);
    free(pool);
}
