/* Hand-over, gates and results: see sp_flight.h. */
#include "sp_flight.h"

#include <string.h>

#include "sp_journal.h"

void sp_flights_init(sp_flights *flights, uint32_t depth, uint64_t segment_bytes)
{
    flights->depth = depth;
    flights->segment_bytes = segment_bytes;
    pthread_mutex_init(&flights->mutex, NULL);
    pthread_cond_init(&flights->work, NULL);
    for (int gate = 0; gate < SP_GATES; gate++) {
        pthread_cond_init(&flights->turn[gate], NULL);
    }
}

void sp_flights_free(sp_flights *flights)
{
    pthread_mutex_destroy(&flights->mutex);
    pthread_cond_destroy(&flights->work);
    for (int gate = 0; gate < SP_GATES; gate++) {
        pthread_cond_destroy(&flights->turn[gate]);
    }
}

uint64_t sp_flight_batch_max(uint64_t segment_bytes)
{
    return segment_bytes / SP_SEGMENT_BATCH_SHARE - SP_COMMIT_BYTES - SP_SEAL_BYTES;
}

/* ---- the caller's side ----------------------------------------------------------- */

static uint64_t plan_segment(const sp_flights *flights, const sp_plan *plan)
{
    return plan->segment_bytes != 0 ? plan->segment_bytes : flights->segment_bytes;
}

/* A segment that could not take the largest batch afterwards is ended with this one: so the caller knows every seq in
 * advance, and a torn SEAL cannot exist. */
static void plan_flight(const sp_flights *flights, sp_flight *flight)
{
    const sp_batch *batch = flight->batch;
    sp_plan *after = &flight->after;
    *after = flight->from = flights->plan;
    after->segment_bytes = plan_segment(flights, after);
    after->offset = flight->from.segment_bytes != 0 ? after->offset : SP_SEGMENT_DATA;
    after->offset += (batch == NULL ? 0 : batch->size) + SP_COMMIT_BYTES;
    flight->seals = batch == NULL || after->segment_bytes - after->offset < after->segment_bytes / SP_SEGMENT_BATCH_SHARE;
    sp_bug_if(after->offset + SP_SEAL_BYTES > after->segment_bytes);
    after->next_seq += (batch == NULL ? 0 : batch->items) + 1 + (uint64_t)flight->seals;
    after->next_leaf += batch == NULL ? 0 : batch->leaves;
    after->last_time_ns = flight->time_ns;
    after->segment_bytes = flight->seals ? 0 : after->segment_bytes;
}

static int may_submit(const sp_flights *flights, uint64_t time_ns)
{
    if (flights->failed) {
        errno = flights->failed_errno;
        return SP_E_FAILED;
    }
    SP_ENSURE(flights->submitted - flights->taken < flights->depth && !flights->stop, SP_E_BUSY);
    SP_ENSURE(time_ns >= flights->plan.last_time_ns, SP_E_ARGUMENT);
    return SP_OK;
}

static void hand_over(sp_flights *flights, sp_batch *batch, uint64_t time_ns)
{
    sp_flight *flight = &flights->flight[flights->submitted % flights->depth];
    *flight = (sp_flight){.ticket = flights->submitted, .batch = batch, .time_ns = time_ns};
    plan_flight(flights, flight);
    flights->plan = flight->after;
    flights->submitted++;
    pthread_cond_signal(&flights->work);
}

int sp_journal_position(const sp_journal *journal, uint64_t *next_seq, uint64_t *next_leaf, uint64_t *batch_bytes_max)
{
    SP_ENSURE(journal != NULL && journal->threads > 0, SP_E_ARGUMENT);
    SP_ENSURE(next_seq != NULL && next_leaf != NULL && batch_bytes_max != NULL, SP_E_ARGUMENT);
    sp_flights *flights = &((sp_journal *)journal)->flights;
    pthread_mutex_lock(&flights->mutex);
    int status = may_submit(flights, UINT64_MAX);
    if (status == SP_OK) {
        *next_seq = flights->plan.next_seq;
        *next_leaf = flights->plan.next_leaf;
        uint64_t now = plan_segment(flights, &flights->plan), next = flights->segment_bytes;
        *batch_bytes_max = sp_flight_batch_max(now < next ? now : next);
    }
    pthread_mutex_unlock(&flights->mutex);
    return status;
}

int sp_journal_submit(sp_journal *journal, sp_batch *batch, uint64_t time_ns, uint64_t first_seq, uint64_t first_leaf)
{
    SP_ENSURE(journal != NULL && batch != NULL && journal->threads > 0 && batch->items > 0, SP_E_ARGUMENT);
    SP_TRY(sp_batch_ready(batch));
    sp_flights *flights = &journal->flights;
    pthread_mutex_lock(&flights->mutex);
    int status = may_submit(flights, time_ns);
    if (status == SP_OK && (first_seq != flights->plan.next_seq || first_leaf != flights->plan.next_leaf)) {
        status = SP_E_MISMATCH;
    }
    if (status == SP_OK && batch->size > sp_flight_batch_max(plan_segment(flights, &flights->plan))) {
        status = SP_E_ROOM;
    }
    if (status == SP_OK) {
        hand_over(flights, batch, time_ns);
    }
    pthread_mutex_unlock(&flights->mutex);
    return status;
}

int sp_journal_seal(sp_journal *journal, uint64_t time_ns)
{
    SP_ENSURE(journal != NULL && journal->threads > 0, SP_E_ARGUMENT);
    sp_flights *flights = &journal->flights;
    pthread_mutex_lock(&flights->mutex);
    int status = may_submit(flights, time_ns);
    if (status == SP_OK) {
        hand_over(flights, NULL, time_ns);
    }
    pthread_mutex_unlock(&flights->mutex);
    return status;
}

int sp_journal_take(sp_journal *journal, sp_commit_result *out)
{
    SP_ENSURE(journal != NULL && out != NULL, SP_E_ARGUMENT);
    sp_flights *flights = &journal->flights;
    pthread_mutex_lock(&flights->mutex);
    int status = flights->told > flights->taken ? SP_OK : SP_E_EMPTY;
    if (status == SP_OK) {
        *out = flights->flight[flights->taken % flights->depth].result;
        flights->taken++;
        if (flights->full && flights->taken == flights->submitted) {
            flights->full = 0;
            flights->plan = flights->told_plan;
        }
    }
    pthread_mutex_unlock(&flights->mutex);
    return status;
}

/* ---- the commit threads' side ------------------------------------------------------ */

sp_flight *sp_flight_next(sp_flights *flights)
{
    sp_flight *flight = NULL;
    pthread_mutex_lock(&flights->mutex);
    while (flights->begun == flights->submitted && !flights->stop) {
        pthread_cond_wait(&flights->work, &flights->mutex);
    }
    if (flights->begun < flights->submitted) {
        flight = &flights->flight[flights->begun++ % flights->depth];
    }
    pthread_mutex_unlock(&flights->mutex);
    return flight;
}

static void wait_passed(sp_flights *flights, enum sp_gate gate, uint64_t ticket)
{
    while (flights->passed[gate] < ticket) {
        pthread_cond_wait(&flights->turn[gate], &flights->mutex);
    }
}

int sp_flight_enter(sp_flights *flights, const sp_flight *flight, enum sp_gate gate)
{
    pthread_mutex_lock(&flights->mutex);
    wait_passed(flights, gate, flight->ticket);
    int status = flights->failed ? SP_E_FAILED : gate == SP_GATE_ROOM && flights->full ? SP_E_FULL : SP_OK;
    pthread_mutex_unlock(&flights->mutex);
    return status;
}

void sp_flight_pass(sp_flights *flights, enum sp_gate gate)
{
    pthread_mutex_lock(&flights->mutex);
    flights->passed[gate]++;
    pthread_cond_broadcast(&flights->turn[gate]);
    pthread_mutex_unlock(&flights->mutex);
}

int sp_flight_alone(sp_flights *flights, const sp_flight *flight)
{
    pthread_mutex_lock(&flights->mutex);
    wait_passed(flights, SP_GATE_COMMIT, flight->ticket);
    int status = flights->failed ? SP_E_FAILED : SP_OK;
    pthread_mutex_unlock(&flights->mutex);
    return status;
}

void sp_flight_full(sp_flights *flights)
{
    pthread_mutex_lock(&flights->mutex);
    flights->full = 1;
    pthread_mutex_unlock(&flights->mutex);
}

void sp_flight_failed(sp_flights *flights, int system_errno, int differs)
{
    pthread_mutex_lock(&flights->mutex);
    if (!flights->failed) {
        flights->failed = 1;
        flights->failed_errno = system_errno;
        flights->failed_differs = differs;
    }
    pthread_mutex_unlock(&flights->mutex);
}

void sp_flight_tell(sp_flights *flights, sp_flight *flight)
{
    pthread_mutex_lock(&flights->mutex);
    if (flight->result.status == SP_E_FAILED) {
        flight->result.system_errno = flights->failed_errno;
        flight->result.differs = (uint8_t)flights->failed_differs;
    } else if (flight->result.status == SP_OK) {
        flights->told_plan = flight->after;
    }
    flights->told++;
    pthread_mutex_unlock(&flights->mutex);
}
