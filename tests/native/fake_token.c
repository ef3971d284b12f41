/* A module for the test of the signing loop: it signs at once, says when two threads meet on a session, and fails on order.
 *
 * A signature is the data, so that a caller can tell its own. What a session or key handle stands for is in its number. */
#include <sched.h>
#include <string.h>

#include "fake_token.h"

static fake_token token;

static ck_rv initialize(void *ignored)
{
    (void)ignored;
    return CKR_OK;
}

static fake_session *session_of(ck_session session)
{
    return &token.sessions[session % FAKE_SESSIONS];
}

/* Only one call at a time is in a session; and only sessions and keys of the generation that is the newest are used. */
static fake_session *enter(ck_session session)
{
    fake_session *in = session_of(session);
    if (__atomic_exchange_n(&in->inside, 1, __ATOMIC_ACQ_REL) != 0) {
        __atomic_add_fetch(&token.met, 1, __ATOMIC_RELAXED);
    }
    return in;
}

static ck_rv leave(fake_session *in, ck_rv rv)
{
    __atomic_store_n(&in->inside, 0, __ATOMIC_RELEASE);
    return rv;
}

static int fails(uint32_t every, uint32_t *count)
{
    return every != 0 && __atomic_add_fetch(count, 1, __ATOMIC_RELAXED) % every == 0;
}

static ck_rv sign_init(ck_session session, ck_mechanism *mechanism, ck_object key)
{
    (void)mechanism;
    fake_session *in = enter(session);
    if (key / FAKE_SESSIONS != session / FAKE_SESSIONS) {
        __atomic_add_fetch(&token.mixed, 1, __ATOMIC_RELAXED);
    }
    if (in->active || fails(token.init_fails_every, &token.inits)) {
        return leave(in, CKR_FUNCTION_FAILED);
    }
    in->active = 1;
    return leave(in, CKR_OK);
}

static ck_rv sign(ck_session session, ck_byte *data, ck_ulong size, ck_byte *out, ck_ulong *out_size)
{
    fake_session *in = enter(session);
    __atomic_add_fetch(&token.signs, 1, __ATOMIC_RELAXED);
    while (session % FAKE_SESSIONS < __atomic_load_n(&token.hang, __ATOMIC_ACQUIRE)) {
        sched_yield();
    }
    if (fails(token.sign_fails_every, &token.signed_)) {
        return leave(in, CKR_DEVICE_ERROR);         /* and the session keeps its operation */
    }
    in->active = 0;
    memcpy(out, data, size);
    *out_size = size;
    return leave(in, CKR_OK);
}

static ck_function_list table = {
    .version = {2, 40},
    .C_Initialize = initialize,
    .C_SignInit = sign_init,
    .C_Sign = sign,
};

__attribute__((visibility("default"))) ck_rv C_GetFunctionList(ck_function_list **list);
ck_rv C_GetFunctionList(ck_function_list **list)
{
    *list = &table;
    return CKR_OK;
}

__attribute__((visibility("default"))) fake_token *fake_token_of(void);
fake_token *fake_token_of(void)
{
    return &token;
}
