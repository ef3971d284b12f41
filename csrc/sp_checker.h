/* The thread that hashes a large batch a second time while the commit thread hashes it the first time.
 *
 * Both read the stored bytes and nothing of one another; the COMMIT is written when both have come to the same root. A
 * batch below SP_CHECKER_LEAVES is not worth waking a thread for: the commit thread does both, one after the other. */
#ifndef SP_CHECKER_H
#define SP_CHECKER_H

#include <pthread.h>

#include "sp_replay.h"

#define SP_CHECKER_LEAVES 1024u

typedef struct sp_checker_batch {       /* as sp_replay_batch takes it */
    sp_span segment;
    const uint8_t *salt;
    uint64_t offset, end, first_seq;
    uint32_t number;
} sp_checker_batch;

typedef struct sp_checker {
    sp_replay *replay;                  /* NULL: there is no second hash */
    pthread_t thread;
    int running;
    pthread_mutex_t mutex;              /* guards all below */
    pthread_cond_t changed;
    int stop, busy;
    sp_checker_batch batch;
    int status;
    uint8_t root[32];
} sp_checker;

/* replay is borrowed until sp_checker_stop; whoever uses it meanwhile does so while nothing is begun. */
int sp_checker_start(sp_checker *checker, sp_replay *replay);
/* Its bytes stay as they are until sp_checker_end, which must follow. */
void sp_checker_begin(sp_checker *checker, const sp_checker_batch *batch);
/* The answer of sp_replay_batch. */
SP_MUST_USE int sp_checker_end(sp_checker *checker, uint8_t root[32]);
/* The same at once, on the caller's thread. */
SP_MUST_USE int sp_checker_now(sp_checker *checker, const sp_checker_batch *batch, uint8_t root[32]);
void sp_checker_stop(sp_checker *checker);

#endif
