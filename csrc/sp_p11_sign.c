/* The signing loop: one thread per session, C_SignInit and C_Sign on handles that python-pkcs11 found.
 *
 * A call brings jobs and waits; the threads take one job at a time from the calls in turn, so that a long list does not
 * keep a short one waiting, and no more of them work at a time than the token bears (sp_pace). One job that finds a seat
 * free is signed on it by the thread that brought it: it would wait for that job anyhow. So light load is borne by one
 * session: sp_p11_pool_refresh uses those that it leaves idle. Signature sizes are known to the caller: there is no length
 * query, which on a network HSM is a round trip. No job is begun after the deadline of its call, and from then on the call
 * waits only for the jobs that the token has in hand.
 *
 * A session that answers anything but CKR_OK may hold an unfinished operation and would refuse every later one
 * (CKR_OPERATION_ACTIVE): it is dead until the caller puts another in its place. When all are dead, jobs come back
 * untried: `session` stays UINT32_MAX, so that the caller knows that no token saw them. Handles are of a generation, which
 * ends when the login or the keys are lost: sessions and jobs of another one than the pool's are never used. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sp_p11.h"
#include "sp_pace.h"

enum { SESSIONS_MAX = 1024, WATCH_MS = 50 };
#define NO_SESSION UINT32_MAX

typedef struct sign_call {
    sp_p11_job *jobs;
    size_t count, next, done;
    uint64_t deadline_ns;               /* 0: none */
    pthread_cond_t finished;
    struct sign_call *after;
} sign_call;

typedef struct pool_seat {
    sp_p11_pool *pool;
    pthread_t thread;
    uint32_t position;
    ck_session session;
    pthread_cond_t work;
    int alive, busy, resting, started;
    int watching;                       /* jobs waited when it came to rest: it looks for one that has hung */
    uint64_t since_ns;                  /* when the job in hand, or else the last one, was begun */
} pool_seat;

struct sp_p11_pool {
    const ck_function_list *table;
    pthread_mutex_t lock;
    sign_call *first, *last;            /* calls with jobs not yet taken */
    int stopping;
    uint64_t generation;
    uint32_t count, alive, busy;        /* seats; with a session to use; with a job in hand */
    uint32_t callers;                   /* in sp_p11_pool_sign */
    pthread_cond_t left;                /* the last of them has left */
    sp_pace pace;
    pool_seat seats[];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int wait_until(pthread_cond_t *what, pthread_mutex_t *lock, uint64_t ns)
{
    const struct timespec until = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return pthread_cond_timedwait(what, lock, &until);
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
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

static void queue_drop(sp_p11_pool *pool, const sign_call *call)
{
    sign_call *before = NULL;
    for (sign_call *at = pool->first; at != NULL; before = at, at = at->after) {
        if (at == call) {
            *(before != NULL ? &before->after : &pool->first) = at->after;
            pool->last = at->after == NULL ? before : pool->last;
            return;
        }
    }
}

/* What nobody took of a call that is in the queue no more. */
static void fail_rest(sign_call *call, ck_rv rv)
{
    for (; call->next < call->count; call->next++) {
        call->jobs[call->next].rv = rv;
        call->done++;
    }
}

/* Jobs that nobody took: the last session died, or their generation ended. */
static void fail_waiting(sp_p11_pool *pool)
{
    for (sign_call *call = queue_take(pool); call != NULL; call = queue_take(pool)) {
        fail_rest(call, CKR_SESSION_CLOSED);
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

/* What a token answers to C_Sign before it begins: the handle is not a session's, or there is nothing to go on with. */
static int never_began(ck_rv rv)
{
    return rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_OPERATION_NOT_INITIALIZED || rv == CKR_USER_NOT_LOGGED_IN ||
           rv == CKR_CRYPTOKI_NOT_INITIALIZED;
}

static void sign_one(const pool_seat *seat, sp_p11_job *job)
{
    const ck_function_list *table = seat->pool->table;
    ck_pss_params pss;
    ck_mechanism mechanism = mechanism_of(job, &pss);
    ck_ulong size = job->signature_capacity;
    ck_rv rv = table->C_SignInit(seat->session, &mechanism, job->key);
    if (rv == CKR_OK) {
        rv = table->C_Sign(seat->session, (ck_byte *)(uintptr_t)job->data, job->data_size, job->signature, &size);
        job->may_have_signed = !never_began(rv);
    }
    if (rv == CKR_OK && size > job->signature_capacity) {
        rv = CKR_DEVICE_ERROR;          /* it says that it wrote more than there was room for: believe nothing of it */
    }
    job->session = seat->position;
    job->signature_size = rv == CKR_OK ? (uint32_t)size : 0;
    job->elapsed_ns = now_ns() - seat->since_ns;
    job->rv = rv;
}

/* Whether one more may work. One that has hung holds nobody's place. */
static int has_room(const sp_p11_pool *pool)
{
    uint32_t working = pool->busy;
    if (working >= pool->pace.limit) {
        uint64_t now = now_ns(), patience = sp_pace_patience_ns(&pool->pace);
        for (uint32_t i = 0; i < pool->count; i++) {
            const pool_seat *seat = &pool->seats[i];
            working -= seat->busy && now > seat->since_ns && now - seat->since_ns > patience;
        }
    }
    return working < pool->pace.limit;
}

static int at_rest(const pool_seat *seat)
{
    return seat->alive && !seat->busy && seat->resting;
}

/* So many more jobs than before may be done, by threads that rest. */
static void wake(sp_p11_pool *pool, size_t jobs)
{
    for (uint32_t i = 0; i < pool->count && jobs > 0; i++) {
        pool_seat *seat = &pool->seats[i];
        if (at_rest(seat)) {
            seat->resting = 0;
            pthread_cond_signal(&seat->work);
            jobs--;
        }
    }
}

/* Without the lock in between; what the token is worth is learned from what it did. */
static void sign_unlocked(sp_p11_pool *pool, pool_seat *seat, sp_p11_job *job)
{
    int alone = pool->busy == 0;
    uint32_t limit = pool->pace.limit;
    seat->busy = 1;
    pool->busy++;
    pthread_mutex_unlock(&pool->lock);
    sign_one(seat, job);
    pthread_mutex_lock(&pool->lock);
    seat->busy = 0;
    pool->busy--;
    if (job->rv != CKR_OK) {
        pool->alive -= (uint32_t)seat->alive;
        seat->alive = 0;
        return;
    }
    sp_pace_done(&pool->pace, job->mechanism, job->signature_capacity, job->elapsed_ns, alone, pool->first != NULL);
    if (pool->pace.limit > limit) {
        wake(pool, pool->first != NULL ? pool->pace.limit - limit : 0);
    }
}

/* One job, unless it is too late for it. */
static void do_job(sp_p11_pool *pool, pool_seat *seat, uint64_t deadline_ns, sp_p11_job *job)
{
    if (seat->watching) {               /* somebody else has to: this job may hang as well */
        seat->watching = 0;
        wake(pool, pool->first != NULL);
    }
    uint64_t now = now_ns();
    if (deadline_ns != 0 && now >= deadline_ns) {
        job->rv = CKR_FUNCTION_CANCELED;
        return;
    }
    seat->since_ns = now;
    sign_unlocked(pool, seat, job);
}

/* One job, taken and finished under the lock. */
static void serve(sp_p11_pool *pool, pool_seat *seat)
{
    sign_call *call = queue_take(pool);
    sp_p11_job *job = &call->jobs[call->next++];
    if (call->next < call->count) {
        queue_put(pool, call);
    }
    do_job(pool, seat, call->deadline_ns, job);
    if (++call->done == call->count) {
        pthread_cond_signal(&call->finished);
    }
    if (pool->alive == 0) {
        fail_waiting(pool);
    }
}

/* Until something happens; while jobs wait, until one of those under way may have hung. */
static void rest(sp_p11_pool *pool, pool_seat *seat)
{
    seat->resting = 1;
    seat->watching = seat->alive && pool->first != NULL;
    if (!seat->watching) {
        pthread_cond_wait(&seat->work, &pool->lock);
    } else {
        wait_until(&seat->work, &pool->lock, now_ns() + WATCH_MS * 1000000u);
    }
    seat->resting = 0;
}

static void *seat_main(void *argument)
{
    pool_seat *seat = argument;
    sp_p11_pool *pool = seat->pool;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        if (seat->alive && !seat->busy && pool->first != NULL && has_room(pool)) {
            serve(pool, seat);
        } else {
            rest(pool, seat);
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
    sp_pace_start(&pool->pace, count);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->left, NULL);
    sp_p11_hold(1);
    for (uint32_t i = 0; i < count; i++) {
        int alive = sessions[i] != CK_INVALID_HANDLE;
        pool->seats[i] = (pool_seat){.pool = pool, .position = i, .session = sessions[i], .alive = alive};
        pool->alive += (uint32_t)alive;
        init_condition(&pool->seats[i].work);
    }
    for (uint32_t i = 0; i < count; i++) {
        pool_seat *seat = &pool->seats[i];
        if (pthread_create(&seat->thread, NULL, seat_main, seat) != 0) {
            sp_p11_pool_free(pool);
            return SP_E_SYSTEM;
        }
        seat->started = 1;
    }
    *out = pool;
    return SP_OK;
}

/* A seat for a job that nobody is before, or NULL; its own thread leaves it alone while it is busy. */
static pool_seat *free_seat(sp_p11_pool *pool)
{
    if (pool->first != NULL || !has_room(pool)) {
        return NULL;
    }
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->seats[i].alive && !pool->seats[i].busy) {
            return &pool->seats[i];
        }
    }
    return NULL;
}

/* Until all jobs are done; when the deadline passes, until those are that a token has in hand. */
static void await_call(sp_p11_pool *pool, sign_call *call)
{
    uint64_t until_ns = call->deadline_ns;
    while (call->done < call->count) {
        if (until_ns == 0) {
            pthread_cond_wait(&call->finished, &pool->lock);
        } else if (wait_until(&call->finished, &pool->lock, until_ns) == ETIMEDOUT) {
            queue_drop(pool, call);
            fail_rest(call, CKR_FUNCTION_CANCELED);
            until_ns = 0;
        }
    }
}

/* What a job says that no token saw. */
static void untried(sp_p11_job *job)
{
    job->signature_size = 0;
    job->session = NO_SESSION;
    job->rv = CKR_SESSION_CLOSED;
    job->elapsed_ns = 0;
    job->may_have_signed = 0;
}

static void leave(sp_p11_pool *pool)
{
    if (--pool->callers == 0) {
        pthread_cond_signal(&pool->left);
    }
}

int sp_p11_pool_try(sp_p11_pool *pool, uint64_t generation, uint64_t deadline_ns, sp_p11_job *job)
{
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    untried(job);
    sign_call call = {.jobs = job, .count = 1, .deadline_ns = deadline_ns};
    init_condition(&call.finished);
    pthread_mutex_lock(&pool->lock);
    pool->callers++;
    pool_seat *seat = generation == pool->generation && !pool->stopping ? free_seat(pool) : NULL;
    if (seat != NULL) {
        queue_put(pool, &call);         /* nobody is before it: it is the one that is served */
        serve(pool, seat);
        wake(pool, pool->first != NULL);
    }
    leave(pool);
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_destroy(&call.finished);
    return seat != NULL ? SP_OK : SP_E_BUSY;
}

static int take_jobs(const sp_p11_pool *pool, sp_p11_job *jobs, size_t count)
{
    SP_ENSURE(pool != NULL && (jobs != NULL || count == 0), SP_E_ARGUMENT);
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));       /* in a child of fork there are no threads to wait for */
    for (size_t i = 0; i < count; i++) {
        SP_ENSURE(jobs[i].data != NULL && jobs[i].signature != NULL && jobs[i].parameter <= 3, SP_E_ARGUMENT);
        untried(&jobs[i]);
    }
    return SP_OK;
}

int sp_p11_pool_sign(sp_p11_pool *pool, uint64_t generation, uint64_t deadline_ns, sp_p11_job *jobs, size_t count)
{
    SP_TRY(take_jobs(pool, jobs, count));
    if (count == 0) {
        return SP_OK;
    }
    sign_call call = {.jobs = jobs, .count = count, .deadline_ns = deadline_ns};
    init_condition(&call.finished);
    pthread_mutex_lock(&pool->lock);
    pool->callers++;
    pool_seat *seat = count == 1 && !pool->stopping ? free_seat(pool) : NULL;
    if (generation == pool->generation) {
        queue_put(pool, &call);
    } else {
        call.done = count;              /* as they are: untried */
    }
    if (pool->alive == 0 || pool->stopping) {
        fail_waiting(pool);
    }
    if (seat != NULL && call.done == 0) {
        serve(pool, seat);
        wake(pool, pool->first != NULL); /* for those who came meanwhile */
    } else {
        wake(pool, count - call.done);
    }
    await_call(pool, &call);
    leave(pool);
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_destroy(&call.finished);
    return SP_OK;
}

int sp_p11_pool_refresh(sp_p11_pool *pool, uint64_t generation, uint64_t idle_ns, uint64_t deadline_ns, sp_p11_job *jobs,
                        size_t count)
{
    SP_TRY(take_jobs(pool, jobs, count));
    uint64_t now = now_ns(), used_ns = now > idle_ns ? now - idle_ns : 0;
    size_t next = 0;
    pthread_mutex_lock(&pool->lock);
    pool->callers++;
    for (uint32_t i = 0; i < pool->count && next < count; i++) {
        pool_seat *seat = &pool->seats[i];
        if (generation == pool->generation && !pool->stopping && at_rest(seat) && seat->since_ns <= used_ns) {
            do_job(pool, seat, deadline_ns, &jobs[next++]);
            if (pool->alive == 0) {
                fail_waiting(pool);
            }
            wake(pool, pool->first != NULL);    /* for those who came meanwhile */
        }
    }
    leave(pool);
    pthread_mutex_unlock(&pool->lock);
    return SP_OK;
}

uint32_t sp_p11_pool_seats(const sp_p11_pool *pool, uint8_t *states)
{
    sp_p11_pool *held = (sp_p11_pool *)(uintptr_t)pool;
    pthread_mutex_lock(&held->lock);
    uint32_t count = held->alive;
    for (uint32_t i = 0; states != NULL && i < held->count; i++) {
        const pool_seat *seat = &held->seats[i];
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

static int seat_take(sp_p11_pool *pool, pool_seat *seat, uint64_t session, uint64_t generation)
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
    fail_waiting(pool);
    pthread_mutex_unlock(&pool->lock);
    return generation;
}

void sp_p11_pool_free(sp_p11_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stopping = 1;
    fail_waiting(pool);
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
