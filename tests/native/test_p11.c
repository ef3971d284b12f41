/* Does the signing loop do each job once, on a session that no other thread is in, whatever fails and whoever asks? */
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "fake_token.h"
#include "sp.h"

enum { SEATS = 4, CALLERS = 6, JOBS = 40, ROUNDS = 50, SIZE = 16 };

static fake_token *token;
static uint64_t next_session = 1;           /* its number; a handle is never used twice in a generation */

static uint64_t handle(uint64_t generation, uint64_t number)
{
    return generation * FAKE_SESSIONS + number;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void open_token(void)
{
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    EXPECT(size > 0);
    path[size] = '\0';
    char *directory = dirname(path);
    EXPECT(strlen(directory) + sizeof "/fake_token.so" <= sizeof path);
    strcat(directory, "/fake_token.so");
    EXPECT(sp_p11_open(directory, NULL) == SP_OK);
    EXPECT(sp_p11_initialize(NULL) == SP_OK);
    void *library = dlopen(directory, RTLD_NOW);
    EXPECT(library != NULL);
    void *symbol = dlsym(library, "fake_token_of");
    fake_token *(*of)(void);
    memcpy(&of, &symbol, sizeof of);
    token = of();
}

static sp_p11_pool *new_pool(void)
{
    memset(token, 0, sizeof *token);
    next_session = 1;
    uint64_t sessions[SEATS];
    for (int i = 0; i < SEATS; i++) {
        sessions[i] = handle(0, next_session++);
    }
    sp_p11_pool *pool;
    EXPECT(sp_p11_pool_new(sessions, SEATS, &pool) == SP_OK);
    return pool;
}

typedef struct batch {
    sp_p11_job jobs[JOBS];
    uint8_t data[JOBS][SIZE], signatures[JOBS][SIZE];
} batch;

static void fill(batch *batch, uint64_t generation, uint8_t mark)
{
    for (uint8_t i = 0; i < JOBS; i++) {
        memset(batch->data[i], mark, SIZE);
        batch->data[i][0] = i;
        batch->jobs[i] = (sp_p11_job){
            .key = handle(generation, 7),
            .data = batch->data[i], .data_size = SIZE,
            .signature = batch->signatures[i], .signature_capacity = SIZE,
        };
    }
}

/* Signed with its own signature; or refused, and how far it came is told. */
static void judge(const sp_p11_job *job)
{
    if (job->rv == CKR_OK) {
        EXPECT(job->signature_size == SIZE && job->session < SEATS && job->may_have_signed);
        EXPECT(memcmp(job->signature, job->data, SIZE) == 0);
        return;
    }
    EXPECT(job->signature_size == 0);
    EXPECT(job->may_have_signed == (job->rv == CKR_DEVICE_ERROR));
    EXPECT((job->session == UINT32_MAX) == (job->rv == CKR_SESSION_CLOSED || job->rv == CKR_FUNCTION_CANCELED));
}

/* ---- many callers, errors, a mender, ends of generations: all at once ---- */

typedef struct crowd {
    sp_p11_pool *pool;
    uint64_t generation;                    /* that keys are of; atomic */
    uint32_t signed_, refused, finished;    /* atomic */
} crowd;

static void *caller_main(void *argument)
{
    crowd *all = argument;
    static _Thread_local batch mine;
    for (uint8_t round = 0; round < ROUNDS; round++) {
        uint64_t generation = __atomic_load_n(&all->generation, __ATOMIC_ACQUIRE);
        fill(&mine, generation, round);
        uint64_t deadline = round % 5 == 0 ? now_ns() + 200000 : 0;
        EXPECT(sp_p11_pool_sign(all->pool, generation, deadline, mine.jobs, 1 + round % JOBS) == SP_OK);
        for (int i = 0; i < 1 + round % JOBS; i++) {
            judge(&mine.jobs[i]);
            __atomic_add_fetch(mine.jobs[i].rv == CKR_OK ? &all->signed_ : &all->refused, 1, __ATOMIC_RELAXED);
        }
    }
    __atomic_add_fetch(&all->finished, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void mend(crowd *all)
{
    uint8_t states[SEATS];
    uint64_t generation = __atomic_load_n(&all->generation, __ATOMIC_RELAXED);
    sp_p11_pool_seats(all->pool, states);
    for (uint32_t i = 0; i < SEATS; i++) {
        if (states[i] != SP_P11_SEAT_DEAD) {
            continue;
        }
        uint64_t fresh = handle(generation, 1 + next_session++ % (FAKE_SESSIONS - 2));
        token->sessions[fresh % FAKE_SESSIONS] = (fake_session){0, 0};
        EXPECT(sp_p11_pool_replace(all->pool, i, fresh, generation + 1) == SP_E_MISMATCH);
        EXPECT(sp_p11_pool_replace(all->pool, i, fresh, generation) == SP_OK);
    }
}

static void test_a_crowd(void)
{
    crowd all = {.pool = new_pool()};
    token->init_fails_every = 97;
    token->sign_fails_every = 89;
    pthread_t callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        EXPECT(pthread_create(&callers[i], NULL, caller_main, &all) == 0);
    }
    for (unsigned turn = 1; __atomic_load_n(&all.finished, __ATOMIC_ACQUIRE) < CALLERS; turn++) {
        if (turn % 200 == 0) {
            __atomic_store_n(&all.generation, sp_p11_pool_retire(all.pool), __ATOMIC_RELEASE);
        }
        mend(&all);
        usleep(50);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i], NULL);
    }
    EXPECT(token->met == 0 && token->mixed == 0);
    EXPECT(all.signed_ + all.refused == CALLERS * (40 * 41 / 2 + 55) && all.signed_ > 0);
    EXPECT(token->signs >= all.signed_);
    sp_p11_pool_free(all.pool);
}

/* ---- deadlines ---- */

static void *sign_one(void *argument)
{
    static batch held;
    fill(&held, 0, 1);
    EXPECT(sp_p11_pool_sign(argument, 0, 0, held.jobs, SEATS) == SP_OK);
    for (int i = 0; i < SEATS; i++) {
        EXPECT(held.jobs[i].rv == CKR_OK);
    }
    return NULL;
}

/* While all sessions hang a call comes back at its deadline, from the middle of the queue too. */
static void test_deadlines(void)
{
    sp_p11_pool *pool = new_pool();
    static batch late;
    fill(&late, 0, 2);
    pthread_t holder;
    __atomic_store_n(&token->hang, FAKE_SESSIONS, __ATOMIC_RELEASE);
    EXPECT(pthread_create(&holder, NULL, sign_one, pool) == 0);
    while (__atomic_load_n(&token->signs, __ATOMIC_RELAXED) == 0) {
        usleep(1000);
    }
    uint64_t began = now_ns();
    EXPECT(sp_p11_pool_sign(pool, 0, began + 20000000, late.jobs, SEATS) == SP_OK);
    EXPECT(now_ns() >= began + 20000000);
    for (int i = 0; i < SEATS; i++) {
        EXPECT(late.jobs[i].rv == CKR_FUNCTION_CANCELED);
        judge(&late.jobs[i]);
    }
    __atomic_store_n(&token->hang, 0, __ATOMIC_RELEASE);
    pthread_join(holder, NULL);
    EXPECT(token->signs == SEATS);
    EXPECT(sp_p11_pool_replace(pool, 0, handle(0, 900), 0) == SP_E_BUSY);      /* it lives */
    EXPECT(sp_p11_pool_sign(pool, 0, now_ns(), late.jobs, 1) == SP_OK && late.jobs[0].rv == CKR_FUNCTION_CANCELED);
    EXPECT(sp_p11_pool_sign(pool, 0, 0, late.jobs, 1) == SP_OK && late.jobs[0].rv == CKR_OK);
    sp_p11_pool_free(pool);
}

/* ---- a token that hangs ---- */

typedef struct lone {
    sp_p11_pool *pool;
    pthread_t thread;
    batch batch;                            /* its first job */
} lone;

static void *lone_main(void *argument)
{
    lone *one = argument;
    EXPECT(sp_p11_pool_sign(one->pool, 0, 0, one->batch.jobs, 1) == SP_OK);
    return NULL;
}

static void begin(lone *one, sp_p11_pool *pool)
{
    one->pool = pool;
    fill(&one->batch, 0, 3);
    EXPECT(pthread_create(&one->thread, NULL, lone_main, one) == 0);
}

static void await(const uint32_t *what, uint32_t least)
{
    for (int i = 0; i < 10000 && __atomic_load_n(what, __ATOMIC_ACQUIRE) < least; i++) {
        usleep(500);
    }
    EXPECT(__atomic_load_n(what, __ATOMIC_ACQUIRE) >= least);
}

static void end(lone *one)
{
    pthread_join(one->thread, NULL);
    EXPECT(one->batch.jobs[0].rv == CKR_OK);
    judge(&one->batch.jobs[0]);
}

/* Where one session after the other hangs, those that do not are used, though no further job comes. */
static void test_sessions_that_hang(void)
{
    static lone all[SEATS];
    sp_p11_pool *pool = new_pool();
    usleep(20000);                          /* its threads are at rest, and one may work at a time */
    __atomic_store_n(&token->hang, SEATS, __ATOMIC_RELEASE);       /* all but the last one */
    begin(&all[0], pool);
    await(&token->signs, 1);
    for (int i = 1; i < SEATS; i++) {
        begin(&all[i], pool);
        usleep(5000);                       /* its thread waits again when the next job comes */
    }
    await(&token->signs, SEATS);
    __atomic_store_n(&token->hang, 0, __ATOMIC_RELEASE);
    for (int i = 0; i < SEATS; i++) {
        end(&all[i]);
    }
    sp_p11_pool_free(pool);
}

typedef struct ender { sp_p11_pool *pool; int done; } ender;     /* done: atomic */

static void *free_main(void *argument)
{
    ender *mine = argument;
    sp_p11_pool_free(mine->pool);
    __atomic_store_n(&mine->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* The end of a pool waits for a job in hand, also for one that its caller's own thread signs. */
static void test_the_end_waits(void)
{
    static lone one;
    ender ender = {.pool = new_pool()};
    pthread_t thread;
    __atomic_store_n(&token->hang, FAKE_SESSIONS, __ATOMIC_RELEASE);
    begin(&one, ender.pool);
    await(&token->signs, 1);
    EXPECT(pthread_create(&thread, NULL, free_main, &ender) == 0);
    usleep(50000);
    EXPECT(__atomic_load_n(&ender.done, __ATOMIC_ACQUIRE) == 0);
    __atomic_store_n(&token->hang, 0, __ATOMIC_RELEASE);
    end(&one);
    pthread_join(thread, NULL);
}

int main(void)
{
    open_token();
    test_a_crowd();
    test_deadlines();
    test_sessions_that_hang();
    test_the_end_waits();
    return check_done();
}
