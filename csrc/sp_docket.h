/* The docket: REQUESTs that later OUTCOMEs may name, the youngest SP_DOCKET_MAX of them. */
#ifndef SP_DOCKET_H
#define SP_DOCKET_H

#include "sp_head.h"

#define SP_DOCKET_MAX (UINT32_C(1) << 18)

typedef struct sp_case {        /* one REQUEST */
    uint64_t seq, first_leaf, time;     /* time: Unix seconds */
    uint32_t count;
    uint8_t scope[32], key_id[32];
} sp_case;

typedef struct sp_docket {
    sp_case *ring;              /* in order of seq, the oldest at `first` once it is full */
    uint32_t count, room, first;
} sp_docket;

void sp_docket_free(sp_docket *docket);
SP_MUST_USE int sp_docket_add(sp_docket *docket, const sp_case *one);
/* NULL: not there, or too old to be kept. */
const sp_case *sp_docket_find(const sp_docket *docket, uint64_t seq);
/* NULL if an OUTCOME fits the requests that it names, else what is wrong. The times of their leaves, 0 if none is known. */
const char *sp_docket_judge(const sp_docket *docket, const sp_head *outcome, const uint8_t scope[32], uint64_t *time_min,
                            uint64_t *time_max);

#endif
