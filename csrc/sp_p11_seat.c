/* A seat of a pool: its thread takes one job at a time from the calls that wait, and has its session sign it.
 *
 * No more of them work at a time than the token bears (sp_pace). A session that answers anything but CKR_OK may hold an
 * unfinished operation and would refuse every later one (CKR_OPERATION_ACTIVE): it is dead until the caller puts another
 * in its place. */
#include "sp_p11_pool.h"

enum { WATCH_MS = 50 };

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

static void sign_one(const sp_p11_seat *seat, sp_p11_job *job)
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
    job->elapsed_ns = sp_p11_now_ns() - seat->since_ns;
    job->rv = rv;
}

/* Whether one more may work. One that has hung holds nobody's place. */
static int has_room(const sp_p11_pool *pool)
{
    uint32_t working = pool->busy;
    if (working >= pool->pace.limit) {
        uint64_t now = sp_p11_now_ns(), patience = sp_pace_patience_ns(&pool->pace);
        for (uint32_t i = 0; i < pool->count; i++) {
            const sp_p11_seat *seat = &pool->seats[i];
            working -= seat->busy && now > seat->since_ns && now - seat->since_ns > patience;
        }
    }
    return working < pool->pace.limit;
}

int sp_p11_at_rest(const sp_p11_seat *seat)
{
    return seat->alive && !seat->busy && seat->resting;
}

/* So many more jobs than before may be done, by threads that rest. */
void sp_p11_wake(sp_p11_pool *pool, size_t jobs)
{
    for (uint32_t i = 0; i < pool->count && jobs > 0; i++) {
        sp_p11_seat *seat = &pool->seats[i];
        if (sp_p11_at_rest(seat)) {
            seat->resting = 0;
            pthread_cond_signal(&seat->work);
            jobs--;
        }
    }
}

/* Without the lock in between; what the token is worth is learned from what it did. */
static void sign_unlocked(sp_p11_pool *pool, sp_p11_seat *seat, sp_p11_job *job)
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
        sp_p11_wake(pool, pool->first != NULL ? pool->pace.limit - limit : 0);
    }
}

/* One job, unless it is too late for it. */
void sp_p11_do_job(sp_p11_pool *pool, sp_p11_seat *seat, uint64_t deadline_ns, sp_p11_job *job)
{
    if (seat->watching) {               /* somebody else has to: this job may hang as well */
        seat->watching = 0;
        sp_p11_wake(pool, pool->first != NULL);
    }
    uint64_t now = sp_p11_now_ns();
    if (deadline_ns != 0 && now >= deadline_ns) {
        job->rv = CKR_FUNCTION_CANCELED;
        return;
    }
    seat->since_ns = now;
    sign_unlocked(pool, seat, job);
}

/* One job, taken and finished under the lock. */
void sp_p11_serve(sp_p11_pool *pool, sp_p11_seat *seat)
{
    sp_p11_call *call = sp_p11_queue_take(pool);
    sp_p11_job *job = &call->jobs[call->next++];
    if (call->next < call->count) {
        sp_p11_queue_put(pool, call);
    }
    sp_p11_do_job(pool, seat, call->deadline_ns, job);
    if (++call->done == call->count) {
        pthread_cond_signal(&call->finished);
    }
    if (pool->alive == 0) {
        sp_p11_fail_waiting(pool);
    }
}

/* Until something happens; while jobs wait, until one of those under way may have hung. */
static void rest(sp_p11_pool *pool, sp_p11_seat *seat)
{
    seat->resting = 1;
    seat->watching = seat->alive && pool->first != NULL;
    if (!seat->watching) {
        pthread_cond_wait(&seat->work, &pool->lock);
    } else {
        sp_p11_wait_until(&seat->work, &pool->lock, sp_p11_now_ns() + WATCH_MS * 1000000u);
    }
    seat->resting = 0;
}

void *sp_p11_seat_main(void *argument)
{
    sp_p11_seat *seat = argument;
    sp_p11_pool *pool = seat->pool;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        if (seat->alive && !seat->busy && pool->first != NULL && has_room(pool)) {
            sp_p11_serve(pool, seat);
        } else {
            rest(pool, seat);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* A seat for a job that nobody is before, or NULL; its own thread leaves it alone while it is busy. */
sp_p11_seat *sp_p11_free_seat(sp_p11_pool *pool)
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
