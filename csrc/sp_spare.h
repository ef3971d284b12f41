/* The helper thread that keeps one empty segment ready, so that no commit waits for 64 MiB of zeros.
 *
 * It may keep a second one, the reserve, for the day when the disk is full: only a batch that says so takes it, and while
 * it is missing no other batch is written, so the room that it came from cannot be used up twice. */
#ifndef SP_SPARE_H
#define SP_SPARE_H

#include <pthread.h>

#include "sp_disk.h"

typedef struct sp_spare {
    const sp_disk *disk;            /* set by init, then constant */
    const char *dir;
    uint64_t segment_bytes;
    int keep_reserve;
    pthread_t thread;
    int running;
    pthread_mutex_t mutex;          /* guards all below */
    pthread_cond_t changed;
    int stop, wanted, ready;
    uint64_t number;                /* of the segment wanted or ready */
    int reserve_wanted, reserve;    /* as wanted and ready */
    int status, system_errno;       /* of the last attempt, of any; SP_E_FAILED stays */
} sp_spare;

/* dir is borrowed. */
int sp_spare_start(sp_spare *spare, const sp_disk *disk, const char *dir, uint64_t segment_bytes, int keep_reserve);
/* Says that segment `number` stands ready already. */
void sp_spare_found(sp_spare *spare, uint64_t number);
/* Asks for segment `number` to be made in the background. */
void sp_spare_want(sp_spare *spare, uint64_t number);
/* Before any batch. SP_E_FAILED if a sync of this thread ever failed: the disk lies, and it is not asked again. A batch
 * that may not use the reserve waits until that is there, if one is kept; SP_E_FULL if it cannot be made. */
int sp_spare_check(sp_spare *spare, int use_reserve, int *system_errno);
/* Waits until segment `number` is there; if it cannot be made and `use_reserve`, the reserve becomes it. Otherwise
 * SP_E_FULL, nothing is changed and the next call tries again; SP_E_FAILED if a sync failed. *system_errno says why. */
int sp_spare_take(sp_spare *spare, uint64_t number, int use_reserve, int *system_errno);
void sp_spare_stop(sp_spare *spare);

#endif
