/* The second hash beside the first: see sp_checker.h. */
#include "sp_checker.h"

#include <string.h>

#include "sp_disk.h"

int sp_checker_now(sp_checker *checker, const sp_checker_batch *batch, uint8_t root[32])
{
    return sp_replay_batch(checker->replay, batch->segment, batch->salt, batch->offset, batch->end, batch->first_seq,
                           batch->number, root);
}

static void *checker_main(void *arg)
{
    sp_checker *checker = arg;
    pthread_mutex_lock(&checker->mutex);
    while (!checker->stop) {
        if (!checker->busy) {
            pthread_cond_wait(&checker->changed, &checker->mutex);
            continue;
        }
        sp_checker_batch batch = checker->batch;
        uint8_t root[32] = {0};
        pthread_mutex_unlock(&checker->mutex);
        int status = sp_checker_now(checker, &batch, root);
        pthread_mutex_lock(&checker->mutex);
        checker->status = status;
        memcpy(checker->root, root, sizeof root);
        checker->busy = 0;
        pthread_cond_broadcast(&checker->changed);
    }
    pthread_mutex_unlock(&checker->mutex);
    return NULL;
}

int sp_checker_start(sp_checker *checker, sp_replay *replay)
{
    memset(checker, 0, sizeof *checker);
    checker->replay = replay;
    if (replay == NULL) {
        return SP_OK;
    }
    pthread_mutex_init(&checker->mutex, NULL);
    pthread_cond_init(&checker->changed, NULL);
    int error = pthread_create(&checker->thread, NULL, checker_main, checker);
    checker->running = error == 0;
    return sp_disk_status(error);
}

void sp_checker_begin(sp_checker *checker, const sp_checker_batch *batch)
{
    pthread_mutex_lock(&checker->mutex);
    sp_bug_if(checker->busy);
    checker->batch = *batch;
    checker->busy = 1;
    pthread_cond_broadcast(&checker->changed);
    pthread_mutex_unlock(&checker->mutex);
}

int sp_checker_end(sp_checker *checker, uint8_t root[32])
{
    pthread_mutex_lock(&checker->mutex);
    while (checker->busy) {
        pthread_cond_wait(&checker->changed, &checker->mutex);
    }
    int status = checker->status;
    memcpy(root, checker->root, sizeof checker->root);
    pthread_mutex_unlock(&checker->mutex);
    return status;
}

void sp_checker_stop(sp_checker *checker)
{
    if (!checker->running) {
        return;
    }
    pthread_mutex_lock(&checker->mutex);
    checker->stop = 1;
    pthread_cond_broadcast(&checker->changed);
    pthread_mutex_unlock(&checker->mutex);
    pthread_join(checker->thread, NULL);
    pthread_mutex_destroy(&checker->mutex);
    pthread_cond_destroy(&checker->changed);
    checker->running = 0;
}
