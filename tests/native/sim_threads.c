/* Coroutines behind the pthread names: see sim_threads.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sim_threads.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#define THREADS 6                   /* caller, commit threads, helper, one to spare */
#define WORLDS 8
#define STACK_BYTES (1u << 20)      /* whole runs nest on one; untouched pages cost nothing */
#define STACKS (THREADS * WORLDS)

typedef struct thread {
    ucontext_t context;
    void *(*main)(void *);
    void *arg, *stack;
    const void *waits_for;          /* a condition variable */
    int used, done;
} thread;

struct sim_world {
    thread thread[THREADS];         /* 0: who entered */
    int current;
    uint64_t random;
};

static sim_world world[WORLDS];
static int depth;                   /* worlds entered */
static void *spare_stack[STACKS];
static int spare_stacks;

static void stop(const char *why)
{
    fprintf(stderr, "sim_threads: %s\n", why);
    abort();
}

static sim_world *now(void)
{
    if (depth == 0) {
        stop("a thread outside of any world");
    }
    return &world[depth - 1];
}

void sim_world_enter(uint64_t seed)
{
    if (depth == WORLDS) {
        stop("worlds nest too deep");
    }
    sim_world *entered = &world[depth++];
    entered->current = 0;
    entered->random = seed;
    for (int i = 0; i < THREADS; i++) {
        entered->thread[i].used = i == 0;
        entered->thread[i].done = 0;
        entered->thread[i].waits_for = NULL;
    }
}

void sim_world_leave(void)
{
    sim_world *left = now();
    for (int i = 1; i < THREADS; i++) {
        if (left->thread[i].used) {
            stop("a thread was not joined");
        }
    }
    depth--;
}

/* Runs one of the threads that can run, by the seed; `self`: the caller is one of them. */
static void switch_over(int self)
{
    sim_world *here = now();
    int able[THREADS], count = 0;
    for (int i = 0; i < THREADS; i++) {
        const thread *each = &here->thread[i];
        if (each->used && !each->done && each->waits_for == NULL && (self || i != here->current)) {
            able[count++] = i;
        }
    }
    if (count == 0) {
        stop("deadlock: no thread can run on");
    }
    int chosen = count == 1 ? able[0] : able[sim_random(&here->random) % (uint64_t)count];
    if (chosen != here->current) {
        thread *from = &here->thread[here->current];
        here->current = chosen;
        swapcontext(&from->context, &here->thread[chosen].context);
    }
}

void sim_yield(void)
{
    switch_over(1);
}

void sim_wait(void)
{
    switch_over(0);
}

static void trampoline(void)
{
    sim_world *here = now();
    thread *self = &here->thread[here->current];
    self->main(self->arg);
    self->done = 1;
    switch_over(0);
}

static void *stack_take(void)
{
    if (spare_stacks > 0) {
        return spare_stack[--spare_stacks];
    }
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        stop("no memory for a stack");
    }
    return stack;
}

/* ---- the names that the linker puts in place of pthread's ---------------------- */

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*main)(void *), void *arg);
int __wrap_pthread_join(pthread_t id, void **result);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition);
int __wrap_pthread_cond_signal(pthread_cond_t *condition);

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*main)(void *), void *arg)
{
    (void)attributes;
    sim_world *here = now();
    int slot = 1;
    while (slot < THREADS && here->thread[slot].used) {
        slot++;
    }
    if (slot == THREADS) {
        stop("more threads than the core has");
    }
    thread *made = &here->thread[slot];
    made->main = main;
    made->arg = arg;
    made->stack = stack_take();
    made->used = 1;
    made->done = 0;
    made->waits_for = NULL;
    getcontext(&made->context);
    made->context.uc_stack.ss_sp = made->stack;
    made->context.uc_stack.ss_size = STACK_BYTES;
    made->context.uc_link = NULL;
    makecontext(&made->context, trampoline, 0);
    *out = (pthread_t)slot;
    return 0;
}

int __wrap_pthread_join(pthread_t id, void **result)
{
    (void)result;
    thread *other = &now()->thread[(int)id];
    while (!other->done) {
        sim_wait();
    }
    spare_stack[spare_stacks++] = other->stack;
    other->used = 0;
    return 0;
}

/* A mutex is its first word: taken or not. */
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    while (mutex->__data.__lock != 0) {
        sim_wait();
    }
    mutex->__data.__lock = 1;
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (mutex->__data.__lock != 1) {
        stop("a mutex is unlocked that nobody holds");
    }
    mutex->__data.__lock = 0;
    return 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    sim_world *here = now();
    __wrap_pthread_mutex_unlock(mutex);
    here->thread[here->current].waits_for = condition;
    sim_wait();
    return __wrap_pthread_mutex_lock(mutex);
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition)
{
    if (depth > 0) {
        for (int i = 0; i < THREADS; i++) {
            if (now()->thread[i].waits_for == condition) {
                now()->thread[i].waits_for = NULL;
            }
        }
    }
    return 0;
}

/* One of those that wait, by the seed. */
int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    sim_world *here = now();
    int waiting[THREADS], count = 0;
    for (int i = 0; i < THREADS; i++) {
        if (here->thread[i].used && !here->thread[i].done && here->thread[i].waits_for == condition) {
            waiting[count++] = i;
        }
    }
    if (count > 0) {
        here->thread[waiting[sim_random(&here->random) % (uint64_t)count]].waits_for = NULL;
    }
    return 0;
}
