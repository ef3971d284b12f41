/* How much SHA-256 a piece of work needs, and how long the kernel alone takes for so much: what a pass over a log is
 * measured against. */
#ifndef SP_WORK_H
#define SP_WORK_H

#include "sp.h"
#include "sp_check.h"

/* `count` messages of `size` bytes more; padding and length are part of their blocks. */
void sp_work_add(sp_replay_work *work, uint64_t count, uint64_t size);

#endif
