/* How many sessions of a token work at a time: all of them, until operations take longer the more of them there are. */
#ifndef SP_PACE_H
#define SP_PACE_H

#include <stdint.h>

enum { SP_PACE_KINDS = 16 };

typedef struct sp_pace_kind {
    uint64_t mechanism, size;
    uint64_t alone_ns;              /* what an operation of this kind takes with the token to itself; 0: free */
} sp_pace_kind;

typedef struct sp_pace {
    uint32_t most, limit;           /* sessions that there are, and that may work at a time; 1 <= limit <= most */
    uint32_t done, slow;            /* operations of this round */
    int crowded, raised, settled;   /* jobs waited in this round; it began with one session more; the limit fell once */
    uint32_t rest, pause;           /* rounds before the next raise; and after a fall */
    sp_pace_kind kinds[SP_PACE_KINDS];
} sp_pace;

void sp_pace_start(sp_pace *pace, uint32_t most);
/* An operation is done. `alone`: no other was under way when it began; `waiting`: jobs wait for a session. */
void sp_pace_done(sp_pace *pace, uint64_t mechanism, uint64_t size, uint64_t elapsed_ns, int alone, int waiting);
/* An operation that is under way for so long has hung, as far as the others are concerned: do not count it. */
uint64_t sp_pace_patience_ns(const sp_pace *pace);

#endif
