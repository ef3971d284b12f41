/* Does the signing loop do each job once, on a session that no other thread is in, whatever fails and whoever asks? */
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "fake_open.h"
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

/* What is done beside the callers' jobs, on sessions that they leave alone. */
static void refresh_some(const crowd *all)
{
    static batch kept;
    fill(&kept, all->generation, 0);
    EXPECT(sp_p11_pool_refresh(all->pool, all->generation, 0, 0, kept.jobs, SEATS) == SP_OK);
    for (int i = 0; i < SEATS; i++) {
        judge(&kept.jobs[i]);
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
        if (turn % 7 == 0) {
            refresh_some(&all);
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

/* ---- sessions that are kept alive ---- */

/* The jobs were done, one on each of these seats, in this order; the others were not needed. */
static void expect_refreshed(sp_p11_pool *pool, uint64_t idle_ns, batch *batch, const uint32_t *seats, int count)
{
    fill(batch, 0, 4);
    EXPECT(sp_p11_pool_refresh(pool, 0, idle_ns, 0, batch->jobs, SEATS) == SP_OK);
    for (int i = 0; i < SEATS; i++) {
        judge(&batch->jobs[i]);
        EXPECT(batch->jobs[i].session == (i < count ? seats[i] : UINT32_MAX));
    }
}

/* Each one that is at rest and was idle is used once, however many work at a time; never one that is at work. */
static void test_a_refresh(void)
{
    static const uint32_t seats[SEATS] = {0, 1, 2, 3};
    const uint64_t idle_ns = 100000000;
    static batch batch;
    static lone one;
    sp_p11_pool *pool = new_pool();
    usleep(20000);                          /* its threads are at rest, and one may work at a time */
    EXPECT(sp_p11_pool_limit(pool) == 1);
    expect_refreshed(pool, idle_ns, &batch, seats, SEATS);
    expect_refreshed(pool, 60000000000u, &batch, seats, 0);
    usleep(200000);
    begin(&one, pool);                      /* a job alone: on the first */
    end(&one);
    expect_refreshed(pool, idle_ns, &batch, seats + 1, SEATS - 1);
    __atomic_store_n(&token->hang, 2, __ATOMIC_RELEASE);            /* the first */
    uint32_t before = token->signs;
    begin(&one, pool);
    await(&token->signs, before + 1);
    usleep(200000);
    expect_refreshed(pool, idle_ns, &batch, seats + 1, SEATS - 1);
    __atomic_store_n(&token->hang, 0, __ATOMIC_RELEASE);
    end(&one);
    usleep(20000);
    fill(&batch, 0, 4);
    EXPECT(sp_p11_pool_refresh(pool, 0, 0, now_ns(), batch.jobs, SEATS) == SP_OK && batch.jobs[0].rv == CKR_FUNCTION_CANCELED);
    EXPECT(sp_p11_pool_refresh(pool, 1, 0, 0, batch.jobs, SEATS) == SP_OK && batch.jobs[0].rv == CKR_SESSION_CLOSED);
    token->sign_fails_every = 1;
    expect_refreshed(pool, 0, &batch, seats, SEATS);
    EXPECT(batch.jobs[0].rv == CKR_DEVICE_ERROR && sp_p11_pool_seats(pool, NULL) == 0);
    expect_refreshed(pool, 0, &batch, seats, 0);
    EXPECT(token->met == 0 && token->mixed == 0);
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

/* ---- the desk ---- */

enum { DESK_KEY = 1, DATA = 5, MESSAGE = 9, RAW = 0x1041, HASHING = 0x1044, NOT_OFFERED = 0x1046 };

typedef struct desk_end {
    sp_p11_desk *desk;
    int socket;
    uint8_t packet[256];
    size_t size;
    sp_p11_job job;
    uint64_t generation;
} desk_end;

static size_t ask(uint8_t *packet, uint64_t id, uint64_t hashing, uint32_t key, uint64_t deadline_ns)
{
    const uint64_t numbers[] = {id, deadline_ns, RAW, hashing};
    const uint32_t sizes[] = {key, 0, SIZE, DATA, MESSAGE, 0};
    memcpy(packet, "SPASK\0\0\1", 8);
    memcpy(packet + 8, numbers, sizeof numbers);
    memcpy(packet + 40, sizes, sizeof sizes);
    memset(packet + SP_P11_ASK_BYTES, 'd', DATA);
    memset(packet + SP_P11_ASK_BYTES + DATA, 'm', MESSAGE);
    return SP_P11_ASK_BYTES + DATA + MESSAGE;
}

static void expect_answer(int socket, uint64_t id, uint8_t of, size_t size)
{
    uint8_t answer[128], signature[SIZE];
    memset(signature, of, size);
    EXPECT(recv(socket, answer, sizeof answer, 0) == (ssize_t)(SP_P11_ANSWER_BYTES + size));
    EXPECT(memcmp(answer, "SPSIG\0\0\1", 8) == 0 && memcmp(answer + 8, &id, 8) == 0);
    EXPECT(answer[24] == size && memcmp(answer + SP_P11_ANSWER_BYTES, signature, size) == 0);
}

static void *serve_main(void *argument)
{
    desk_end *end = argument;
    EXPECT(sp_p11_desk_serve(end->desk, end->socket, 1000, end->packet, sizeof end->packet, &end->size, &end->job,
                             &end->generation) == SP_OK);
    return NULL;
}

/* What comes out when this packet was sent. */
static void comes_out(desk_end *end, int guard, const uint8_t *packet, size_t size)
{
    EXPECT(send(guard, packet, size, 0) == (ssize_t)size);
    serve_main(end);
    EXPECT(end->size == size && memcmp(end->packet, packet, size) == 0);
}

/* Asks for one signature are answered, by many threads; what is none, or has none, comes out as it came. */
static void test_the_desk(void)
{
    const uint64_t offered[] = {RAW, HASHING}, keys[] = {0, handle(0, 7)};
    sp_p11_pool *pool = new_pool();
    desk_end ends[SEATS];
    uint8_t packet[256];
    int sockets[2];
    EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
    EXPECT(sp_p11_desk_new(pool, offered, 2, &ends[0].desk) == SP_OK);
    EXPECT(sp_p11_desk_keys(ends[0].desk, 0, keys, 2) == SP_OK);
    EXPECT(sp_p11_desk_keys(ends[0].desk, 0, keys, SP_P11_DESK_KEYS + 1) == SP_E_ARGUMENT);
    pthread_t threads[SEATS];
    for (int i = 0; i < SEATS; i++) {
        ends[i].desk = ends[0].desk;
        ends[i].socket = sockets[1];
        EXPECT(pthread_create(&threads[i], NULL, serve_main, &ends[i]) == 0);
    }
    for (uint64_t id = 1; id <= 300; id++) {
        int hashing = id % 3 == 0;
        size_t size = ask(packet, id, hashing ? HASHING : id % 3 == 1 ? 0 : NOT_OFFERED, DESK_KEY, now_ns() + 5000000000u);
        EXPECT(send(sockets[0], packet, size, 0) == (ssize_t)size);
        expect_answer(sockets[0], id, hashing ? 'm' : 'd', hashing ? MESSAGE : DATA);
    }
    EXPECT(sp_p11_desk_signed(ends[0].desk) == 300);
    for (int i = 0; i < SEATS; i++) {               /* each thread takes one, and gives it to its caller */
        EXPECT(send(sockets[0], "frame", 5, 0) == 5);
    }
    for (int i = 0; i < SEATS; i++) {
        pthread_join(threads[i], NULL);
        EXPECT(ends[i].size == 5 && ends[i].job.session == UINT32_MAX);
    }
    EXPECT(sp_p11_desk_busy(ends[0].desk) == 0);    /* a thread lays its ask down after it has answered */
    desk_end *end = &ends[0];
    size_t size = ask(packet, 7, 0, 2, 0);          /* no such key */
    comes_out(end, sockets[0], packet, size);
    size = ask(packet, 7, 0, 0, 0);                 /* nor this one */
    comes_out(end, sockets[0], packet, size);
    size = ask(packet, 7, 0, DESK_KEY, 0);
    comes_out(end, sockets[0], packet, size - 1);   /* its head says otherwise */
    packet[44] = 4;
    comes_out(end, sockets[0], packet, size);       /* no such parameter */
    size = ask(packet, 7, 0, DESK_KEY, now_ns() + 500);
    comes_out(end, sockets[0], packet, size);       /* within the margin of its deadline */
    EXPECT(end->job.session == UINT32_MAX && end->job.rv == CKR_FUNCTION_CANCELED && token->signs == 300);
    size = ask(packet, 7, 0, DESK_KEY, 0);
    token->sign_fails_every = 1;
    comes_out(end, sockets[0], packet, size);
    EXPECT(end->job.session < SEATS && end->job.rv == CKR_DEVICE_ERROR && end->job.may_have_signed && end->generation == 0);
    token->sign_fails_every = 0;
    sp_p11_pool_retire(pool);
    comes_out(end, sockets[0], packet, size);       /* a key of the generation before */
    EXPECT(end->job.session == UINT32_MAX && token->mixed == 0 && token->met == 0);
    close(sockets[0]);
    serve_main(end);
    EXPECT(end->size == 0);
    close(sockets[1]);
    sp_p11_desk_free(end->desk);
    sp_p11_pool_free(pool);
}

int main(void)
{
    token = fake_token_open();
    test_a_crowd();
    test_deadlines();
    test_sessions_that_hang();
    test_a_refresh();
    test_the_end_waits();
    test_the_desk();
    return check_done();
}
