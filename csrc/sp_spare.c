/* The helper thread: see sp_spare.h. */
#include "sp_spare.h"

#include <string.h>

#include "sp_segment.h"

static void *spare_main(void *arg)
{
    sp_spare *spare = arg;
    pthread_mutex_lock(&spare->mutex);
    while (!spare->stop) {
        if (!spare->wanted) {
            pthread_cond_wait(&spare->changed, &spare->mutex);
            continue;
        }
        uint64_t number = spare->number;
        pthread_mutex_unlock(&spare->mutex);
        int status = sp_segment_create(spare->disk, spare->dir, number, spare->segment_bytes);
        int error = errno;
        pthread_mutex_lock(&spare->mutex);
        spare->wanted = 0;
        spare->ready = status == SP_OK;
        spare->status = status;
        spare->system_errno = status == SP_OK ? 0 : error;
        pthread_cond_broadcast(&spare->changed);
    }
    pthread_mutex_unlock(&spare->mutex);
    return NULL;
}

int sp_spare_start(sp_spare *spare, const sp_disk *disk, const char *dir, uint64_t segment_bytes)
{
    memset(spare, 0, sizeof *spare);
    spare->disk = disk;
    spare->dir = dir;
    spare->segment_bytes = segment_bytes;
    pthread_mutex_init(&spare->mutex, NULL);
    pthread_cond_init(&spare->changed, NULL);
    int error = pthread_create(&spare->thread, NULL, spare_main, spare);
    spare->running = error == 0;
    return sp_disk_status(error);
}

void sp_spare_found(sp_spare *spare, uint64_t number)
{
    pthread_mutex_lock(&spare->mutex);
    spare->number = number;
    spare->ready = 1;
    pthread_mutex_unlock(&spare->mutex);
}

void sp_spare_want(sp_spare *spare, uint64_t number)
{
    pthread_mutex_lock(&spare->mutex);
    if (!spare->wanted && !spare->ready) {
        spare->number = number;
        spare->wanted = 1;
        pthread_cond_broadcast(&spare->changed);
    }
    pthread_mutex_unlock(&spare->mutex);
}

int sp_spare_take(sp_spare *spare, uint64_t number, int *system_errno)
{
    sp_spare_want(spare, number);
    pthread_mutex_lock(&spare->mutex);
    while (spare->wanted && !spare->stop) {
        pthread_cond_wait(&spare->changed, &spare->mutex);
    }
    int status = SP_OK;
    *system_errno = 0;
    if (spare->ready) {
        sp_bug_if(spare->number != number);
        spare->ready = 0;
    } else {
        /* Whatever kept the file from being made, nothing of the log was touched; only a sync that failed is the end. */
        status = spare->status == SP_E_FAILED ? SP_E_FAILED : SP_E_FULL;
        *system_errno = spare->system_errno;
    }
    pthread_mutex_unlock(&spare->mutex);
    return status;
}

void sp_spare_stop(sp_spare *spare)
{
    if (!spare->running) {
        return;
    }
    pthread_mutex_lock(&spare->mutex);
    spare->stop = 1;
    pthread_cond_broadcast(&spare->changed);
    pthread_mutex_unlock(&spare->mutex);
    pthread_join(spare->thread, NULL);
    pthread_mutex_destroy(&spare->mutex);
    pthread_cond_destroy(&spare->changed);
    spare->running = 0;
}
