/* The file of a mark (hsm/mark.py knows what stands in it): two slots, written in turn by a thread of its own.
 *
 *     caller   begin: the slot's bytes are copied, the thread is woken, the caller goes on
 *     thread   pwrite, fdatasync, result, one added to the eventfd
 *     caller   await: the result; at once if the eventfd has said so
 *
 * The thread touches nothing of the caller's world but its own copy and the eventfd, so that an interpreter's lock neither
 * holds up the disk nor is asked for when it has answered. After a failure nothing is written any more (fsyncgate). */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sp.h"
#include "sp_check.h"
#include "sp_disk.h"

enum mark_state { IDLE, WANTED, FAILED, ENDING };

struct sp_mark {
    const sp_disk *disk;
    int file, told;
    pthread_t thread;
    pthread_mutex_t lock;           /* guards what follows */
    pthread_cond_t changed;
    enum mark_state state;
    int error;                      /* errno value of FAILED */
    uint32_t slot;
    uint8_t bytes[SP_MARK_SLOT];
};

static int store(const sp_mark *mark)
{
    const sp_disk *disk = mark->disk;
    uint64_t offset = (uint64_t)SP_MARK_SLOT * mark->slot;
    int error = disk->pwrite(disk->ctx, mark->file, mark->bytes, SP_MARK_SLOT, offset);
    return error != 0 ? error : disk->sync(disk->ctx, mark->file);
}

static void tell(int eventfd)
{
    const uint64_t one = 1;
    ssize_t written;
    do {
        written = write(eventfd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
}

static void *mark_main(void *argument)
{
    sp_mark *mark = argument;
    pthread_mutex_lock(&mark->lock);
    for (;;) {
        while (mark->state == IDLE || mark->state == FAILED) {
            pthread_cond_wait(&mark->changed, &mark->lock);
        }
        if (mark->state == ENDING) {
            break;
        }
        pthread_mutex_unlock(&mark->lock);
        int error = store(mark);        /* nobody else touches slot and bytes while a write is wanted */
        pthread_mutex_lock(&mark->lock);
        mark->state = error != 0 ? FAILED : IDLE;
        mark->error = error;
        pthread_cond_broadcast(&mark->changed);
        pthread_mutex_unlock(&mark->lock);
        tell(mark->told);
        pthread_mutex_lock(&mark->lock);
    }
    pthread_mutex_unlock(&mark->lock);
    return NULL;
}

int sp_mark_open(const sp_disk *disk, const char *path, int told, sp_mark **out)
{
    SP_ENSURE(disk != NULL && path != NULL && out != NULL, SP_E_ARGUMENT);
    sp_mark *mark = calloc(1, sizeof *mark);
    SP_ENSURE(mark != NULL, SP_E_MEMORY);
    mark->disk = disk;
    mark->told = told;
    int status = sp_disk_status(disk->open(disk->ctx, path, SP_DISK_WRITE, &mark->file));
    if (status != SP_OK) {
        free(mark);
        return status;
    }
    pthread_mutex_init(&mark->lock, NULL);
    pthread_cond_init(&mark->changed, NULL);
    int error = pthread_create(&mark->thread, NULL, mark_main, mark);
    if (error != 0) {
        disk->close(disk->ctx, mark->file);
        free(mark);
        return sp_disk_status(error);
    }
    *out = mark;
    return SP_OK;
}

int sp_mark_begin(sp_mark *mark, uint32_t slot, const uint8_t *bytes)
{
    SP_ENSURE(mark != NULL && bytes != NULL && slot < SP_MARK_SLOTS, SP_E_ARGUMENT);
    pthread_mutex_lock(&mark->lock);
    int status = mark->state == IDLE ? SP_OK : mark->state == WANTED ? SP_E_BUSY : SP_E_FAILED;
    if (status == SP_OK) {
        mark->slot = slot;
        memcpy(mark->bytes, bytes, SP_MARK_SLOT);
        mark->state = WANTED;
        pthread_cond_broadcast(&mark->changed);
    }
    errno = mark->error;
    pthread_mutex_unlock(&mark->lock);
    return status;
}

int sp_mark_await(sp_mark *mark)
{
    SP_ENSURE(mark != NULL, SP_E_ARGUMENT);
    pthread_mutex_lock(&mark->lock);
    while (mark->state == WANTED) {
        pthread_cond_wait(&mark->changed, &mark->lock);
    }
    int error = mark->error;
    pthread_mutex_unlock(&mark->lock);
    return sp_disk_status(error);
}

void sp_mark_close(sp_mark *mark)
{
    if (mark == NULL) {
        return;
    }
    (void)sp_mark_await(mark);
    pthread_mutex_lock(&mark->lock);
    mark->state = ENDING;
    pthread_cond_broadcast(&mark->changed);
    pthread_mutex_unlock(&mark->lock);
    pthread_join(mark->thread, NULL);
    mark->disk->close(mark->disk->ctx, mark->file);
    pthread_cond_destroy(&mark->changed);
    pthread_mutex_destroy(&mark->lock);
    free(mark);
}
