/* Does the number of sessions at work suit the token? Tokens of several kinds, as a sum: so many at a time, so long each. */
#include <string.h>

#include "check.h"
#include "sp_pace.h"

enum { MOST = 16, MECHANISM = 0x1041, SIZE = 64 };

typedef uint64_t (*token)(uint32_t at_a_time);

static uint64_t independent(uint32_t at_a_time)
{
    (void)at_a_time;
    return 5000000;
}

static uint64_t slower_for_good(uint32_t at_a_time)
{
    return 12 * independent(at_a_time);
}

static uint64_t one_engine(uint32_t at_a_time)
{
    return 1000000u * at_a_time;
}

static uint64_t throttling(uint32_t at_a_time)
{
    return independent(1) * at_a_time * at_a_time;
}

/* What it does in `operations` operations, with jobs always waiting: mean of the limit, in hundredths. */
static uint64_t mean_limit(sp_pace *pace, token of, unsigned operations)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < operations; i++) {
        sum += pace->limit;
        sp_pace_done(pace, MECHANISM, SIZE, of(pace->limit), pace->limit == 1, 1);
        EXPECT(pace->limit >= 1 && pace->limit <= pace->most);
    }
    return 100 * sum / operations;
}

/* A token that does not mind gets all sessions, at once. */
static void test_independent_sessions(void)
{
    sp_pace pace;
    sp_pace_start(&pace, MOST);
    mean_limit(&pace, independent, 2 * MOST);
    EXPECT(pace.limit == MOST);
    EXPECT(mean_limit(&pace, independent, 10000) == 100 * MOST);
}

/* Where others only queue, two or three keep it busy; where they do harm, it is mostly one. */
static void test_a_crowd_that_helps_nobody(void)
{
    sp_pace pace;
    sp_pace_start(&pace, MOST);
    mean_limit(&pace, one_engine, 500);
    uint64_t queueing = mean_limit(&pace, one_engine, 10000);
    EXPECT(queueing >= 200 && queueing <= 350);
    sp_pace_start(&pace, MOST);
    mean_limit(&pace, throttling, 500);
    EXPECT(mean_limit(&pace, throttling, 10000) <= 110);
}

/* From one behaviour to another: it follows down, and up again. */
static void test_a_token_that_changes(void)
{
    sp_pace pace;
    sp_pace_start(&pace, MOST);
    mean_limit(&pace, independent, 1000);
    mean_limit(&pace, throttling, 2000);
    EXPECT(pace.limit <= 2);
    mean_limit(&pace, independent, 5000);
    EXPECT(pace.limit == MOST);
    mean_limit(&pace, slower_for_good, 5000);   /* it takes longer whatever we do, and that is how it is now */
    EXPECT(pace.limit == MOST);
}

/* A third of the operations lose their processor: that says nothing about the token. */
static void test_hiccups(void)
{
    sp_pace pace;
    sp_pace_start(&pace, MOST);
    mean_limit(&pace, independent, 100);
    for (unsigned i = 0; i < 10000; i++) {
        sp_pace_done(&pace, MECHANISM, SIZE, i % 3 == 0 ? 100 * independent(1) : independent(1), 0, 1);
        EXPECT(pace.limit == MOST);
    }
}

/* Each kind is judged by its own: RSA is no slow ECDSA. More kinds than places are told apart badly, not wrongly. */
static void test_kinds(void)
{
    sp_pace pace;
    sp_pace_start(&pace, MOST);
    for (unsigned i = 0; i < 10000; i++) {
        sp_pace_done(&pace, i % 2, SIZE << i % 4, 1000000u << 2 * (i % 4), pace.limit == 1, 1);
    }
    EXPECT(pace.limit == MOST);
    EXPECT(sp_pace_patience_ns(&pace) == 8 * (UINT64_C(1000000) << 6));
    for (unsigned i = 0; i < 10000; i++) {
        sp_pace_done(&pace, i % 40, SIZE, 1000000u << i % 10, 0, 1);
        EXPECT(pace.limit >= 1 && pace.limit <= MOST);
    }
}

/* Nobody waits: there is no reason for more. A clock that stands still is no reason to divide by zero. */
static void test_idle(void)
{
    sp_pace pace;
    sp_pace_start(&pace, MOST);
    for (unsigned i = 0; i < 1000; i++) {
        sp_pace_done(&pace, MECHANISM, SIZE, 0, 1, 0);
    }
    EXPECT(pace.limit == 1);
    EXPECT(sp_pace_patience_ns(&pace) == 100000000);
}

int main(void)
{
    test_independent_sessions();
    test_a_crowd_that_helps_nobody();
    test_a_token_that_changes();
    test_hiccups();
    test_kinds();
    test_idle();
    return check_done();
}
