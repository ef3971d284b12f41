/* A PKCS#11 module for tests: passes every call on to a real module, counts it, and injects faults on order.
 *
 *     SEALPRESS_SHIM_MODULE     the real module
 *     SEALPRESS_SHIM_PAGE       a file of sizeof(shim_page) bytes, shared with the test (tests/kit/shim.py)
 *
 * Everything is ordered and read through that page, while the module runs and across the processes that load it: one
 * table of rules, each of which says for which function, which fault, and when. Which of the calls that a rule sees it
 * meets depends on nothing but the rule and the seed. Little endian, naturally aligned; tests/kit/shim.py packs it.
 *
 * Built when tests run; never installed. */
#ifndef SHIM_H
#define SHIM_H

#include <stddef.h>
#include <stdint.h>

#include "sp_pkcs11.h"

enum { SHIM_FUNCTIONS = 68, SHIM_RULES = 64, SHIM_BYTES = 560, SHIM_PARAMETERS = 8, SHIM_SESSIONS = 64 };
#define SHIM_ANY UINT32_MAX             /* shim_rule.function: each of them */
#define SHIM_CERTAIN (1ULL << 32)       /* shim_rule.chance: always */

enum shim_function {
#define SHIM_INDEX(name, parameters, arguments) SHIM_##name,
    CK_FUNCTIONS(SHIM_INDEX)
#undef SHIM_INDEX
};

enum shim_kind {
    SHIM_ANSWER = 1,            /* answers `value`; with `after`: the token did it, and says that it failed */
    SHIM_DELAY = 2,             /* `value` microseconds, each call for itself */
    SHIM_RATE = 3,              /* one engine for all sessions and processes: each call takes it for `value` ns */
    SHIM_HANG = 4,              /* until the rule is taken away */
    SHIM_CRASH = 5,             /* the process dies of signal `value` */
    SHIM_CORRUPT = 6,           /* bit `value` (modulo the size) of the output is flipped */
    SHIM_REPEAT = 7,            /* the first output that it meets is kept, and given again at the others */
    SHIM_REPLACE = 8,           /* the output is the first `value` of `bytes` */
    SHIM_LOGOUT = 9,            /* the real token forgets the login, for all sessions */
    SHIM_CLOSE_SESSIONS = 10,   /* the real token closes all sessions of the slot */
    SHIM_FORGET_OBJECTS = 11,   /* every object handle given out so far is invalid; looking up gives new ones */
    SHIM_NO_SLOTS = 12,         /* C_GetSlotList shows none */
    SHIM_REVERSE_SLOTS = 13,    /* C_GetSlotList shows them in the opposite order */
    SHIM_RENUMBER_SLOTS = 14,   /* every slot number given out so far is invalid; the next list gives new ones */
    SHIM_SESSION_CAP = 15,      /* C_OpenSession: CKR_SESSION_COUNT above `value`; C_GetTokenInfo: says so */
    SHIM_TOKEN_FLAGS = 16,      /* C_GetTokenInfo: these flags as well */
    SHIM_CROWD = 17,            /* `value` microseconds times the square of the calls that it keeps at the time */
    SHIM_COUNTER = 18,          /* C_GetAttributeValue, with `after`: attribute `value` is how often C_Sign succeeded */
    SHIM_ODD = 19,              /* C_GetAttributeValue, with `after`: attribute `value` is the `bytes`, as many as `state` */
};

typedef struct shim_rule {
    uint32_t armed;             /* number of the order, written last; 0: the rule is taken away, or never was */
    uint32_t function;          /* enum shim_function, or SHIM_ANY */
    uint32_t kind;
    uint32_t after;             /* 0: before the real call, 1: after it; kinds that touch an output need none */
    uint64_t skip;              /* of the calls that it sees, so many pass first, */
    uint64_t every;             /* then it meets each `every`th (1: each), */
    uint64_t chance;            /* of these so many in 2^32, */
    uint64_t count;             /* and no more than so many; 0: for ever */
    uint64_t value;
    uint64_t seen, met;         /* written by the shim, like the next */
    uint64_t state;             /* SHIM_RATE: ns of CLOCK_MONOTONIC at which the engine is free; SHIM_CROWD: calls kept */
    uint8_t bytes[SHIM_BYTES];
} shim_rule;

typedef struct shim_page {
    uint64_t seed;
    uint64_t rules_used;        /* the first so many are looked at */
    uint64_t initialize_flags;  /* of the last C_Initialize, all ones for NULL */
    uint64_t sessions_open;     /* in the process that opened or closed one last */
    uint64_t object_epoch, slot_epoch;
    uint64_t calls[SHIM_FUNCTIONS];
    uint64_t failures[SHIM_FUNCTIONS];  /* answers other than CKR_OK, as the caller saw them */
    uint64_t signs[SHIM_SESSIONS];      /* calls of C_Sign, by the session's number modulo that */
    uint64_t room[2];
    shim_rule rules[SHIM_RULES];
} shim_page;

SP_STATIC_ASSERT(sizeof(shim_rule) == 640 && offsetof(shim_rule, bytes) == 80);
SP_STATIC_ASSERT(sizeof(shim_page) == 1664 + 640 * SHIM_RULES && offsetof(shim_page, rules) == 1664);

/* A call on its way. `at` points to its parameters, so that they can be read and changed before it goes on. */
typedef struct shim_call {
    enum shim_function function;
    void *at[SHIM_PARAMETERS];
} shim_call;

extern shim_page *shim_shared;
extern ck_function_list *shim_real;

/* shim.c: while no other call is in the real module */
void shim_alone(void (*work)(const shim_call *), const shim_call *call);

/* shim_rules.c: whether this rule meets this call; asked once per call and rule */
int shim_meets(shim_rule *rule);

/* shim_faults.c: CKR_OK to go on, else what the caller is told; `rv` is the real module's answer */
ck_rv shim_before(shim_call *call);
ck_rv shim_after(shim_call *call, ck_rv rv);

/* shim_handles.c: the parameter of a kind, NULL if the function has none; the letters stand at its table */
void *shim_parameter(const shim_call *call, char kind);
ck_rv shim_handles_in(shim_call *call);     /* numbers given to the caller become the real module's again */
void shim_handles_out(shim_call *call);
uint64_t shim_sessions_open(void);
void shim_logout(const shim_call *call);    /* of the call's slot, or of any */
void shim_close_sessions(const shim_call *call);

#endif
