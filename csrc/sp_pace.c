/* A token that is asked for more than it can do queues, or slows down: operations take longer, and none more get done.
 *
 * Operations are judged in rounds by what one of their kind takes alone. While jobs wait and most operations are quick,
 * the limit grows; when most take more than three times as long, another session would only wait inside the token, and
 * the limit falls by a quarter. It doubles until it falls for the first time, then it grows by one, after a pause that
 * doubles with each raise that was in vain (as TCP does). By majority, not by the mean: a thread that lost its processor
 * says nothing about the token. */
#include <string.h>

#include "sp_pace.h"

enum { SLOW_FACTOR = 3, ROUND = 16, PAUSE_MAX = 64, ALONE_WEIGHT = 8, PATIENCE_FACTOR = 8 };
#define PATIENCE_NS_MIN 100000000u

void sp_pace_start(sp_pace *pace, uint32_t most)
{
    memset(pace, 0, sizeof *pace);
    pace->most = most;
    pace->limit = 1;
    pace->pause = 1;
}

/* The place of a kind; the last one is taken from another when all are in use. */
static sp_pace_kind *kind_of(sp_pace *pace, uint64_t mechanism, uint64_t size)
{
    sp_pace_kind *kind = pace->kinds;
    const sp_pace_kind *last = pace->kinds + SP_PACE_KINDS - 1;
    while (kind < last && kind->alone_ns != 0 && (kind->mechanism != mechanism || kind->size != size)) {
        kind++;
    }
    if (kind->mechanism != mechanism || kind->size != size) {
        *kind = (sp_pace_kind){.mechanism = mechanism, .size = size};
    }
    return kind;
}

/* Alone: a moving mean, so that a token that has become slower is believed. In company: only the quicker counts. */
static void learn(sp_pace_kind *kind, uint64_t elapsed_ns, int alone)
{
    if (kind->alone_ns == 0 || elapsed_ns < kind->alone_ns) {
        kind->alone_ns = elapsed_ns > 0 ? elapsed_ns : 1;
    } else if (alone) {
        kind->alone_ns += (elapsed_ns - kind->alone_ns) / ALONE_WEIGHT;
    }
}

static void fall(sp_pace *pace)
{
    pace->settled = 1;
    pace->limit -= pace->limit > 1 ? (pace->limit + 3) / 4 : 0;
    if (pace->raised) {
        pace->pause = pace->pause < PAUSE_MAX ? 2 * pace->pause : PAUSE_MAX;
    }
    pace->rest = pace->pause;
    pace->raised = 0;
}

static void grow(sp_pace *pace)
{
    pace->pause = pace->raised ? 1 : pace->pause;
    pace->raised = 0;
    if (pace->rest > 0) {
        pace->rest--;
    } else if (pace->crowded && pace->limit < pace->most) {
        uint32_t step = pace->settled ? 1 : pace->limit;
        pace->limit += step < pace->most - pace->limit ? step : pace->most - pace->limit;
        pace->raised = 1;
    }
}

static uint32_t round_size(const sp_pace *pace)
{
    return !pace->settled ? pace->limit : pace->limit > ROUND / 2 ? 2 * pace->limit : ROUND;
}

void sp_pace_done(sp_pace *pace, uint64_t mechanism, uint64_t size, uint64_t elapsed_ns, int alone, int waiting)
{
    sp_pace_kind *kind = kind_of(pace, mechanism, size);
    pace->slow += kind->alone_ns != 0 && elapsed_ns > SLOW_FACTOR * kind->alone_ns;
    pace->done++;
    pace->crowded |= waiting;
    learn(kind, elapsed_ns, alone);
    if (pace->done < round_size(pace)) {
        return;
    }
    if (2 * pace->slow > pace->done) {
        fall(pace);
    } else {
        grow(pace);
    }
    pace->done = pace->slow = 0;
    pace->crowded = 0;
}

uint64_t sp_pace_patience_ns(const sp_pace *pace)
{
    uint64_t slowest = 0;
    for (size_t i = 0; i < SP_PACE_KINDS; i++) {
        slowest = pace->kinds[i].alone_ns > slowest ? pace->kinds[i].alone_ns : slowest;
    }
    return PATIENCE_FACTOR * slowest > PATIENCE_NS_MIN ? PATIENCE_FACTOR * slowest : PATIENCE_NS_MIN;
}
