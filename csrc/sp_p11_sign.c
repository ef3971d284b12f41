/* The signing loop: C_SignInit and C_Sign on handles that python-pkcs11 found, by the seats of a pool.
 *
 * A call brings jobs and waits; the threads take one job at a time from the calls in turn, so that a long list does not
 * keep a short one waiting. One job that finds a seat free is signed on it by the thread that brought it: it would wait
 * for that job anyhow. So light load is borne by one session: sp_p11_pool_refresh uses those that it leaves idle.
 * Signature sizes are known to the caller: there is no length query, which on a network HSM is a round trip. No job is
 * begun after the deadline of its call, and from then on the call waits only for the jobs that the token has in hand.
 *
 * When all seats are dead, jobs come back untried: `session` stays UINT32_MAX, so that the caller knows that no token saw
 * them. */
#include <errno.h>

#include "sp_check.h"
#include "sp_p11_pool.h"

#define NO_SESSION UINT32_MAX

void sp_p11_queue_put(sp_p11_pool *pool, sp_p11_call *call)
{
    call->after = NULL;
    if (pool->last != NULL) {
        pool->last->after = call;
    } else {
        pool->first = call;
    }
    pool->last = call;
}

sp_p11_call *sp_p11_queue_take(sp_p11_pool *pool)
{
    sp_p11_call *call = pool->first;
    if (call != NULL) {
        pool->first = call->after;
        if (pool->first == NULL) {
            pool->last = NULL;
        }
    }
    return call;
}

static void queue_drop(sp_p11_pool *pool, const sp_p11_call *call)
{
    sp_p11_call *before = NULL;
    for (sp_p11_call *at = pool->first; at != NULL; before = at, at = at->after) {
        if (at == call) {
            *(before != NULL ? &before->after : &pool->first) = at->after;
            pool->last = at->after == NULL ? before : pool->last;
            return;
        }
    }
}

/* What nobody took of a call that is in the queue no more. */
static void fail_rest(sp_p11_call *call, ck_rv rv)
{
    for (; call->next < call->count; call->next++) {
        call->jobs[call->next].rv = rv;
        call->done++;
    }
}

/* Jobs that nobody took: the last session died, or their generation ended. */
void sp_p11_fail_waiting(sp_p11_pool *pool)
{
    for (sp_p11_call *call = sp_p11_queue_take(pool); call != NULL; call = sp_p11_queue_take(pool)) {
        fail_rest(call, CKR_SESSION_CLOSED);
        if (call->done == call->count) {
            pthread_cond_signal(&call->finished);
        }
    }
}

/* Until all jobs are done; when the deadline passes, until those are that a token has in hand. */
static void await_call(sp_p11_pool *pool, sp_p11_call *call)
{
    uint64_t until_ns = call->deadline_ns;
    while (call->done < call->count) {
        if (until_ns == 0) {
            pthread_cond_wait(&call->finished, &pool->lock);
        } else if (sp_p11_wait_until(&call->finished, &pool->lock, until_ns) == ETIMEDOUT) {
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
    sp_p11_call call = {.jobs = job, .count = 1, .deadline_ns = deadline_ns};
    sp_p11_init_condition(&call.finished);
    pthread_mutex_lock(&pool->lock);
    pool->callers++;
    sp_p11_seat *seat = generation == pool->generation && !pool->stopping ? sp_p11_free_seat(pool) : NULL;
    if (seat != NULL) {
        sp_p11_queue_put(pool, &call);         /* nobody is before it: it is the one that is served */
        sp_p11_serve(pool, seat);
        sp_p11_wake(pool, pool->first != NULL);
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
    sp_p11_call call = {.jobs = jobs, .count = count, .deadline_ns = deadline_ns};
    sp_p11_init_condition(&call.finished);
    pthread_mutex_lock(&pool->lock);
    pool->callers++;
    sp_p11_seat *seat = count == 1 && !pool->stopping ? sp_p11_free_seat(pool) : NULL;
    if (generation == pool->generation) {
        sp_p11_queue_put(pool, &call);
    } else {
        call.done = count;              /* as they are: untried */
    }
    if (pool->alive == 0 || pool->stopping) {
        sp_p11_fail_waiting(pool);
    }
    if (seat != NULL && call.done == 0) {
        sp_p11_serve(pool, seat);
        sp_p11_wake(pool, pool->first != NULL); /* for those who came meanwhile */
    } else {
        sp_p11_wake(pool, count - call.done);
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
    uint64_t now = sp_p11_now_ns(), used_ns = now > idle_ns ? now - idle_ns : 0;
    size_t next = 0;
    pthread_mutex_lock(&pool->lock);
    pool->callers++;
    for (uint32_t i = 0; i < pool->count && next < count; i++) {
        sp_p11_seat *seat = &pool->seats[i];
        if (generation == pool->generation && !pool->stopping && sp_p11_at_rest(seat) && seat->since_ns <= used_ns) {
            sp_p11_do_job(pool, seat, deadline_ns, &jobs[next++]);
            if (pool->alive == 0) {
                sp_p11_fail_waiting(pool);
            }
            sp_p11_wake(pool, pool->first != NULL);    /* for those who came meanwhile */
        }
    }
    leave(pool);
    pthread_mutex_unlock(&pool->lock);
    return SP_OK;
}
