/* Known requests beside a plain list of what should be known: additions, outcomes, departures, in random order. */
#include <string.h>

#include "check.h"
#include "sp_known.h"

enum { IDS = 3000, ROOM = 1000, STEPS = 60000, NAMES = 40, LOOKS = 16, SEGMENT = 1000 /* steps */ };

typedef struct one {
    int there;
    uint64_t seq, asked;        /* asked: its place in the order */
    uint64_t time;
    uint8_t state;
    uint32_t done, count, segment, outcome[2];
} one;

static uint64_t now;            /* the step */

static size_t name_of(uint32_t id, uint8_t *name)
{
    return (size_t)snprintf((char *)name, NAMES, "uri:spiffe://acme/ci-%u%c", id, 0) + 1;
}

static one *oldest_of(one *all)
{
    one *oldest = NULL;
    for (uint32_t i = 0; i < IDS; i++) {
        if (all[i].there && (oldest == NULL || all[i].asked < oldest->asked)) {
            oldest = &all[i];
        }
    }
    return oldest;
}

static int is_open(const one *each)
{
    return each->there && each->state != SP_KNOWN_DONE && each->state != SP_KNOWN_STOPPED && each->state != SP_KNOWN_LAPSED;
}

static void add(sp_known *known, one *all, uint32_t id, uint64_t seq, uint32_t *count)
{
    uint8_t name[NAMES], same[16];
    uint64_t gone[2], expected[2];
    uint32_t gone_count, expected_count = 0;
    memset(same, (int)(seq & 0xff), sizeof same);
    if (all[id].there) {
        expected[expected_count++] = all[id].seq;
        all[id].there = 0;
        --*count;
    }
    if (*count == ROOM) {
        one *oldest = oldest_of(all);
        expected[expected_count++] = oldest->seq;
        oldest->there = 0;
        --*count;
    }
    uint32_t leaves = 1 + (uint32_t)(check_random() % 3);
    EXPECT(sp_known_add(known, name, name_of(id, name), same, seq, seq * 2, leaves, seq,
                        (uint32_t)(seq / SEGMENT), 8, id & 1, gone, &gone_count) == SP_OK);
    EXPECT(gone_count == expected_count && memcmp(gone, expected, expected_count * sizeof gone[0]) == 0);
    all[id] = (one){1, seq, seq << 16, seq, SP_KNOWN_PENDING, 0, leaves, (uint32_t)(seq / SEGMENT), {0, 0}};
    ++*count;
}

static void settle(sp_known *known, one *each)
{
    uint8_t state = (uint8_t)(SP_KNOWN_DONE + check_random() % 5);
    uint32_t done = (uint32_t)(check_random() % 2), former[2] = {9, 9};
    uint32_t segment = (uint32_t)(now / SEGMENT), offset = 8192 + 8 * (uint32_t)(now % SEGMENT);
    int was_open = is_open(each);
    EXPECT(sp_known_settle(known, each->seq, state, done, segment, offset, former) == (was_open ? SP_OK : SP_E_END));
    if (!was_open) {
        EXPECT(former[1] == 9);
        return;
    }
    EXPECT(memcmp(former, each->outcome, sizeof former) == 0);
    each->outcome[0] = segment;
    each->outcome[1] = offset;
    each->done += done;
    state = each->done >= each->count ? SP_KNOWN_DONE : state;
    each->state = each->state == SP_KNOWN_UNKNOWN && state != SP_KNOWN_DONE ? SP_KNOWN_UNKNOWN : state;
    EXPECT(sp_known_settle(known, each->seq, SP_KNOWN_DONE, 1, segment, offset, former) == SP_E_END);   /* told already */
}

/* Segments that began three or more segments ago have an index; the window is 20 segments, what has an outcome is settled
 * after 8. */
static void leave(sp_known *known, one *all, uint32_t *count)
{
    uint32_t segment = now / SEGMENT > 3 ? (uint32_t)(now / SEGMENT) - 3 : 0, gone_count, expected_count = 0;
    uint64_t since = now > 20 * SEGMENT ? now - 20 * SEGMENT : 0, settled = now > 8 * SEGMENT ? now - 8 * SEGMENT : 0;
    uint64_t gone[LOOKS], expected[LOOKS];
    static uint64_t passed;     /* places behind all that were asked so far */
    for (uint32_t look = 0; look < LOOKS; look++) {
        one *oldest = oldest_of(all);
        if (oldest == NULL || (oldest->time >= since && oldest->segment >= segment)) {
            break;
        }
        int old = oldest->state != SP_KNOWN_PENDING && oldest->time < settled;
        if (oldest->time < since || ((old || !is_open(oldest)) && oldest->outcome[0] < segment)) {
            expected[expected_count++] = oldest->seq;
            oldest->there = 0;
            --*count;
        } else {
            oldest->asked = (now << 16) + ++passed;
        }
    }
    sp_known_leave(known, segment, since, settled, LOOKS, gone, &gone_count);
    EXPECT(gone_count == expected_count && memcmp(gone, expected, expected_count * sizeof gone[0]) == 0);
}

static void compare(const sp_known *known, const one *all, uint32_t id)
{
    uint8_t name[NAMES];
    sp_known_request found;
    const one *each = &all[id];
    int status = sp_known_find(known, name, name_of(id, name), &found);
    EXPECT(status == (each->there ? SP_OK : SP_E_END));
    if (each->there) {
        EXPECT(found.seq == each->seq && found.first_leaf == 2 * each->seq && found.time_ns == each->time);
        EXPECT(found.same[0] == (each->seq & 0xff) && found.same[15] == found.same[0]);
        EXPECT(found.state == each->state && found.done == each->done && found.count == each->count);
        EXPECT(found.direct == (id & 1) && found.segment == each->segment && found.offset == 8);
        EXPECT(found.outcome_segment == each->outcome[0] && found.outcome_offset == each->outcome[1]);
    }
}

static void forget(sp_known *known, one *all, uint32_t id, uint32_t *count)
{
    uint8_t name[NAMES];
    uint64_t gone;
    EXPECT(sp_known_forget(known, name, name_of(id, name), &gone) == (all[id].there ? SP_OK : SP_E_END));
    if (all[id].there) {
        EXPECT(gone == all[id].seq);
        all[id].there = 0;
        --*count;
    }
}

static void histories(void)
{
    static one all[IDS];
    static const uint8_t secret[16] = {1};
    sp_known *known;
    uint32_t count = 0;
    EXPECT(sp_known_new(0, secret, &known) == SP_E_ARGUMENT);
    EXPECT(sp_known_new(ROOM, secret, &known) == SP_OK);
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint32_t id = (uint32_t)(check_random() % IDS);
        now = step;
        switch (check_random() % 8) {
        case 0: case 1: case 2: add(known, all, id, step, &count); break;
        case 3: case 4: case 5:
            if (all[id].there) {
                settle(known, &all[id]);
            }
            break;
        case 6:
            if (check_random() % 4 == 0) {
                leave(known, all, &count);
            } else if (check_random() % 8 == 0) {
                forget(known, all, id, &count);
            }
            break;
        default: compare(known, all, id); break;
        }
        EXPECT(sp_known_count(known) == count);
    }
    for (uint32_t id = 0; id < IDS; id++) {
        compare(known, all, id);
    }
    sp_known_free(known);
    sp_known_free(NULL);
}

int main(void)
{
    histories();
    return check_done();
}
