/* What a rule does to a call that it meets. Nothing here holds a lock while it waits. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

#define CKR_SESSION_COUNT 0xB1UL
enum { HANG_POLL_NS = 1000000 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
    const struct timespec until = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

static uint32_t armed(const shim_rule *rule)
{
    return __atomic_load_n(&rule->armed, __ATOMIC_ACQUIRE);
}

/* The call waits for its turn at the engine and for its own time there. A late wake-up costs the engine nothing. */
static void take_engine(shim_rule *rule)
{
    uint64_t free_ns = __atomic_load_n(&rule->state, __ATOMIC_RELAXED), done_ns;
    do {
        uint64_t now = now_ns();
        done_ns = (free_ns > now ? free_ns : now) + rule->value;
    } while (!__atomic_compare_exchange_n(&rule->state, &free_ns, done_ns, 0, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    sleep_until(done_ns);
}

/* A token that does less the more is asked of it at a time. */
static void join_crowd(shim_rule *rule)
{
    uint64_t crowd = __atomic_add_fetch(&rule->state, 1, __ATOMIC_RELAXED);
    sleep_until(now_ns() + rule->value * crowd * crowd * 1000);
    __atomic_sub_fetch(&rule->state, 1, __ATOMIC_RELAXED);
}

static void hang(const shim_rule *rule)
{
    uint32_t order = armed(rule);
    while (order != 0 && armed(rule) == order) {
        sleep_until(now_ns() + HANG_POLL_NS);
    }
}

static ck_rv cap_sessions(const shim_rule *rule, const shim_call *call)
{
    return call->function == SHIM_C_OpenSession && shim_sessions_open() >= rule->value ? CKR_SESSION_COUNT : CKR_OK;
}

/* Kinds that come before the real call, or after it where `after` says so. */
static ck_rv disturb(shim_rule *rule, const shim_call *call)
{
    switch (rule->kind) {
    case SHIM_ANSWER:
        return rule->value;
    case SHIM_DELAY:
        sleep_until(now_ns() + rule->value * 1000);
        return CKR_OK;
    case SHIM_RATE:
        take_engine(rule);
        return CKR_OK;
    case SHIM_CROWD:
        join_crowd(rule);
        return CKR_OK;
    case SHIM_HANG:
        hang(rule);
        return CKR_OK;
    case SHIM_CRASH:
        signal((int)rule->value, SIG_DFL);      /* nobody's handler makes a report of it */
        kill(getpid(), (int)rule->value);
        return CKR_GENERAL_ERROR;
    case SHIM_LOGOUT:
        shim_alone(shim_logout, call);
        return CKR_OK;
    case SHIM_CLOSE_SESSIONS:
        shim_alone(shim_close_sessions, call);
        return CKR_OK;
    case SHIM_FORGET_OBJECTS:
        __atomic_add_fetch(&shim_shared->object_epoch, 1, __ATOMIC_RELAXED);
        return CKR_OK;
    case SHIM_RENUMBER_SLOTS:
        __atomic_add_fetch(&shim_shared->slot_epoch, 1, __ATOMIC_RELAXED);
        return CKR_OK;
    case SHIM_SESSION_CAP:
        return cap_sessions(rule, call);
    default:
        return CKR_OK;
    }
}

/* ---- outputs ---- */

static void spoil_bytes(shim_rule *rule, const shim_call *call)
{
    ck_byte **out = shim_parameter(call, 'b');
    ck_ulong **size = shim_parameter(call, 'n');
    if (out == NULL || *out == NULL || **size == 0) {
        return;                                 /* a question for the size alone */
    }
    if (rule->kind == SHIM_CORRUPT) {
        uint64_t bit = rule->value % (8 * **size);
        (*out)[bit / 8] ^= (ck_byte)(1 << bit % 8);
    } else if (rule->value == 0 && **size <= SHIM_BYTES) {      /* SHIM_REPEAT, the first */
        memcpy(rule->bytes, *out, **size);
        __atomic_store_n(&rule->value, **size, __ATOMIC_RELEASE);
    } else if (rule->value <= **size) {         /* what the caller had room for */
        memcpy(*out, rule->bytes, rule->value);
        **size = rule->value;
    }
}

static void spoil_slots(const shim_rule *rule, const shim_call *call)
{
    ck_slot **slots = shim_parameter(call, 'L');
    ck_ulong **count = shim_parameter(call, 'c');
    if (call->function != SHIM_C_GetSlotList) {
        return;
    }
    if (rule->kind == SHIM_NO_SLOTS) {
        **count = 0;
        return;
    }
    for (ck_ulong i = 0; *slots != NULL && i < **count / 2; i++) {
        ck_slot other = (*slots)[**count - 1 - i];
        (*slots)[**count - 1 - i] = (*slots)[i];
        (*slots)[i] = other;
    }
}

static void spoil_token_info(const shim_rule *rule, const shim_call *call)
{
    ck_token_info **info = shim_parameter(call, 't');
    if (info == NULL) {
        return;
    }
    if (rule->kind == SHIM_TOKEN_FLAGS) {
        (*info)->flags |= rule->value;
    } else {
        (*info)->session_max = (*info)->rw_session_max = rule->value;
    }
}

enum { BUFFER_TOO_SMALL = 0x150 };

typedef struct ck_attribute { ck_ulong type; void *value; ck_ulong size; } ck_attribute;

/* As a token whose attribute has a value that is none of its type. */
static ck_rv tell_odd(const shim_rule *rule, const shim_call *call, ck_rv rv)
{
    if (rule->kind != SHIM_ODD || call->function != SHIM_C_GetAttributeValue) {
        return rv;
    }
    ck_attribute *asked = *(ck_attribute **)call->at[2];
    ck_ulong count = *(ck_ulong *)call->at[3];
    for (ck_ulong at = 0; at < count; at++) {
        if (asked[at].type == rule->value) {
            if (asked[at].value != NULL) {
                memcpy(asked[at].value, rule->bytes, rule->state);
            }
            asked[at].size = rule->state;
            rv = count == 1 || rv == BUFFER_TOO_SMALL ? CKR_OK : rv;
        }
    }
    return rv;
}

/* As a token that counts: an attribute of the vendor's, asked for alone. */
static ck_rv tell_counter(const shim_rule *rule, const shim_call *call, ck_rv rv)
{
    if (rule->kind != SHIM_COUNTER || call->function != SHIM_C_GetAttributeValue) {
        return rv;
    }
    ck_attribute *asked = *(ck_attribute **)call->at[2];
    if (*(ck_ulong *)call->at[3] != 1 || asked->type != rule->value) {
        return rv;
    }
    ck_ulong signatures = shim_shared->calls[SHIM_C_Sign] - shim_shared->failures[SHIM_C_Sign];
    if (asked->value != NULL) {
        memcpy(asked->value, &signatures, sizeof signatures);
    }
    asked->size = sizeof signatures;
    return CKR_OK;
}

static void spoil(shim_rule *rule, const shim_call *call)
{
    switch (rule->kind) {
    case SHIM_CORRUPT:
    case SHIM_REPEAT:
    case SHIM_REPLACE:
        spoil_bytes(rule, call);
        break;
    case SHIM_NO_SLOTS:
    case SHIM_REVERSE_SLOTS:
        spoil_slots(rule, call);
        break;
    case SHIM_SESSION_CAP:
    case SHIM_TOKEN_FLAGS:
        spoil_token_info(rule, call);
        break;
    default:
        break;
    }
}

/* ---- the two moments of a call ---- */

static int comes_after(const shim_rule *rule, enum shim_function function)
{
    switch (rule->kind) {
    case SHIM_CORRUPT:
    case SHIM_REPEAT:
    case SHIM_REPLACE:
    case SHIM_NO_SLOTS:
    case SHIM_REVERSE_SLOTS:
    case SHIM_TOKEN_FLAGS:
        return 1;
    case SHIM_SESSION_CAP:
        return function == SHIM_C_GetTokenInfo;
    default:
        return rule->after != 0;
    }
}

/* The next rule from `rule` on that meets the call at this moment; NULL: none. */
static shim_rule *next_met(shim_rule *rule, const shim_call *call, int after)
{
    shim_rule *end = shim_shared->rules + __atomic_load_n(&shim_shared->rules_used, __ATOMIC_ACQUIRE);
    for (; rule < end; rule++) {
        if (armed(rule) && (rule->function == SHIM_ANY || rule->function == (uint32_t)call->function) &&
            comes_after(rule, call->function) == after && shim_meets(rule)) {
            return rule;
        }
    }
    return NULL;
}

ck_rv shim_before(shim_call *call)
{
    ck_rv rv = CKR_OK;
    shim_rule *rule = next_met(shim_shared->rules, call, 0);
    while (rule != NULL && rv == CKR_OK) {
        rv = disturb(rule, call);
        rule = rv == CKR_OK ? next_met(rule + 1, call, 0) : NULL;
    }
    return rv;
}

ck_rv shim_after(shim_call *call, ck_rv rv)
{
    shim_rule *rule = next_met(shim_shared->rules, call, 1);
    while (rule != NULL) {
        ck_rv told = disturb(rule, call);
        if (rv == CKR_OK) {
            spoil(rule, call);
        }
        rv = tell_odd(rule, call, tell_counter(rule, call, rv));
        rv = told != CKR_OK ? told : rv;
        rule = next_met(rule + 1, call, 1);
    }
    return rv;
}
