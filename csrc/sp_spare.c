/* The helper thread: see sp_spare.h. */
#include "sp_spare.h"

#include <string.h>

#include "sp_segment.h"

/* One attempt, without the mutex; the spare first, for a commit may be waiting for it. */
static void make_one(sp_spare *spare)
{
    int reserve = !spare->wanted;
    uint64_t number = spare->number;
    pthread_mutex_unlock(&spare->mutex);
    int status = reserve ? sp_segment_create_reserve(spare->disk, spare->dir, spare->segment_bytes)
                         : sp_segment_create(spare->disk, spare->dir, number, spare->segment_bytes);
    int error = errno;
    pthread_mutex_lock(&spare->mutex);
    *(reserve ? &spare->reserve_wanted : &spare->wanted) = 0;
    *(reserve ? &spare->reserve : &spare->ready) = status == SP_OK;
    if (spare->status != SP_E_FAILED) {
        spare->status = status;
        spare->system_errno = status == SP_OK ? 0 : error;
    }
    pthread_cond_broadcast(&spare->changed);
}

static void *spare_main(void *arg)
{
    sp_spare *spare = arg;
    pthread_mutex_lock(&spare->mutex);
    while (!spare->stop) {
        if (spare->wanted || spare->reserve_wanted) {
            make_one(spare);
        } else {
            pthread_cond_wait(&spare->changed, &spare->mutex);
        }
    }
    pthread_mutex_unlock(&spare->mutex);
    return NULL;
}

int sp_spare_start(sp_spare *spare, const sp_disk *disk, const char *dir, uint64_t segment_bytes, int keep_reserve)
{
    memset(spare, 0, sizeof *spare);
    spare->disk = disk;
    spare->dir = dir;
    spare->segment_bytes = segment_bytes;
    spare->keep_reserve = keep_reserve;
    if (keep_reserve) {
        SP_TRY(sp_segment_find_reserve(disk, dir, segment_bytes, &spare->reserve));
        spare->reserve_wanted = !spare->reserve;
    }
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
    if (!spare->wanted && !spare->ready && spare->status != SP_E_FAILED) {
        spare->number = number;
        spare->wanted = 1;
        pthread_cond_broadcast(&spare->changed);
    }
    pthread_mutex_unlock(&spare->mutex);
}

/* Whatever kept a file from being made, nothing of the log was touched; only a sync that failed is the end. */
static int no_file(const sp_spare *spare, int *system_errno)
{
    *system_errno = spare->system_errno;
    return spare->status == SP_E_FAILED ? SP_E_FAILED : SP_E_FULL;
}

static int wait_for_reserve(sp_spare *spare, int *system_errno)
{
    if (!spare->reserve && !spare->reserve_wanted) {
        spare->reserve_wanted = 1;
        pthread_cond_broadcast(&spare->changed);
    }
    while (spare->reserve_wanted && !spare->stop) {
        pthread_cond_wait(&spare->changed, &spare->mutex);
    }
    return spare->reserve ? SP_OK : no_file(spare, system_errno);
}

int sp_spare_check(sp_spare *spare, int use_reserve, int *system_errno)
{
    pthread_mutex_lock(&spare->mutex);
    int status = SP_OK;
    if (spare->status == SP_E_FAILED) {
        status = no_file(spare, system_errno);
    } else if (spare->keep_reserve && !use_reserve) {
        status = wait_for_reserve(spare, system_errno);
    }
    pthread_mutex_unlock(&spare->mutex);
    return status;
}

int sp_spare_take(sp_spare *spare, uint64_t number, int use_reserve, int *system_errno)
{
    sp_spare_want(spare, number);
    pthread_mutex_lock(&spare->mutex);
    while ((spare->wanted || (use_reserve && spare->reserve_wanted)) && !spare->stop) {
        pthread_cond_wait(&spare->changed, &spare->mutex);
    }
    int status = SP_OK;
    if (spare->ready) {
        sp_bug_if(spare->number != number);
        spare->ready = 0;
    } else if (use_reserve && spare->reserve) {
        status = sp_segment_use_reserve(spare->disk, spare->dir, number);
        *system_errno = status == SP_OK ? 0 : errno;
        status = status == SP_OK || status == SP_E_FAILED ? status : SP_E_FULL;
        spare->reserve = status == SP_E_FULL;
    } else {
        status = no_file(spare, system_errno);
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
