/* The helper thread that keeps one empty segment ready, so that no commit waits for 64 MiB of zeros. */
#ifndef SP_SPARE_H
#define SP_SPARE_H

#include <pthread.h>

#include "sp_disk.h"

typedef struct sp_spare {
    const sp_disk *disk;            /* set by init, then constant */
    const char *dir;
    uint64_t segment_bytes;
    pthread_t thread;
    int running;
    pthread_mutex_t mutex;          /* guards all below */
    pthread_cond_t changed;
    int stop, wanted, ready;
    uint64_t number;                /* of the segment wanted or ready */
    int status, system_errno;       /* of the last attempt */
} sp_spare;

/* dir is borrowed. */
int sp_spare_start(sp_spare *spare, const sp_disk *disk, const char *dir, uint64_t segment_bytes);
/* Says that segment `number` stands ready already. */
void sp_spare_found(sp_spare *spare, uint64_t number);
/* Asks for segment `number` to be made in the background. */
void sp_spare_want(sp_spare *spare, uint64_t number);
/* Waits until segment `number` is there. If the attempt fails: SP_E_FULL, nothing is changed and the next call tries
 * again; SP_E_FAILED if a sync failed. *system_errno says why. */
int sp_spare_take(sp_spare *spare, uint64_t number, int *system_errno);
void sp_spare_stop(sp_spare *spare);

#endif
