/* Requests that wait for outcomes: see sp_docket.h. */
#include "sp_docket.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 1024u

void sp_docket_free(sp_docket *docket)
{
    free(docket->ring);
    memset(docket, 0, sizeof *docket);
}

int sp_docket_add(sp_docket *docket, const sp_case *one)
{
    if (docket->count == docket->room && docket->room < SP_DOCKET_MAX) {
        uint32_t room = docket->room == 0 ? ROOM_FIRST : docket->room * 2;
        sp_case *more = realloc(docket->ring, room * sizeof *more);
        SP_ENSURE(more != NULL, SP_E_MEMORY);
        docket->ring = more;
        docket->room = room;
    }
    if (docket->count < docket->room) {
        docket->ring[docket->count++] = *one;
    } else {
        docket->ring[docket->first] = *one;
        docket->first = (docket->first + 1) % docket->room;
    }
    return SP_OK;
}

const sp_case *sp_docket_find(const sp_docket *docket, uint64_t seq)
{
    uint32_t low = 0, high = docket->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const sp_case *one = &docket->ring[(docket->first + middle) % docket->room];
        if (one->seq == seq) {
            return one;
        }
        if (one->seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static const char *judge_ref(const sp_docket *docket, const sp_head *outcome, const uint8_t scope[32],
                             const sp_head_ref *ref, const sp_case **found)
{
    uint64_t end;
    *found = NULL;
    if (__builtin_add_overflow(ref->first_leaf, ref->count, &end) || end > outcome->first_leaf) {
        return "an OUTCOME of leaves that come after it";
    }
    const sp_case *one = sp_docket_find(docket, ref->seq);
    if (one == NULL) {
        return NULL;
    }
    if (ref->first_leaf < one->first_leaf || end > one->first_leaf + one->count) {
        return "the OUTCOME names leaves that its request does not have";
    }
    if (memcmp(one->scope, scope, 32) != 0 || memcmp(one->key_id, outcome->key_id, 32) != 0) {
        return "the OUTCOME names another line or key than its request";
    }
    if (outcome->status == SP_STATUS_SEALED && end > outcome->tree_size) {
        return "a leaf was sealed under a head that does not hold it";
    }
    *found = one;
    return NULL;
}

const char *sp_docket_judge(const sp_docket *docket, const sp_head *outcome, const uint8_t scope[32], uint64_t *time_min,
                            uint64_t *time_max)
{
    sp_reader reader = outcome->ref;
    *time_min = *time_max = 0;
    for (uint32_t i = 0; i < outcome->refs; i++) {
        sp_head_ref ref;
        const sp_case *one;
        /* These bytes were read once; in a file that somebody changes they may differ the second time. */
        if (sp_head_next_ref(&reader, &ref) != SP_OK) {
            return "the record changed while it was read";
        }
        const char *wrong = judge_ref(docket, outcome, scope, &ref, &one);
        if (wrong != NULL) {
            return wrong;
        }
        if (one != NULL) {
            *time_min = *time_min == 0 || one->time < *time_min ? one->time : *time_min;
            *time_max = one->time > *time_max ? one->time : *time_max;
        }
    }
    return NULL;
}
