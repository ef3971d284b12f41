/* Handles and slot numbers as the caller sees them: the real module's, with the epoch in which they were given out.
 *
 * A new epoch makes all older ones invalid at a stroke. In epoch 0 nothing is changed. */
#include <pthread.h>

#include "shim.h"

#define CKR_SLOT_ID_INVALID 0x3UL
#define CKR_OBJECT_HANDLE_INVALID 0x82UL
enum { EPOCH_SHIFT = 40, SESSIONS_MAX = 4096 };

/* What a function's parameters are, a letter each:
 *     l slot   L slots given out   c how many of them (one, where there is no c)
 *     s session   S session given out   i session info
 *     o object   O object or objects given out   t token info
 *     b output   n its size   . anything else */
static const char *const shapes[SHIM_FUNCTIONS] = {
    [SHIM_C_GetSlotList] = ".Lc",
    [SHIM_C_GetSlotInfo] = "l.",
    [SHIM_C_GetTokenInfo] = "lt",
    [SHIM_C_GetMechanismList] = "l..",
    [SHIM_C_GetMechanismInfo] = "l..",
    [SHIM_C_InitToken] = "l...",
    [SHIM_C_InitPIN] = "s..",
    [SHIM_C_SetPIN] = "s....",
    [SHIM_C_OpenSession] = "l...S",
    [SHIM_C_CloseSession] = "s",
    [SHIM_C_CloseAllSessions] = "l",
    [SHIM_C_GetSessionInfo] = "si",
    [SHIM_C_GetOperationState] = "sbn",
    [SHIM_C_SetOperationState] = "s..oo",
    [SHIM_C_Login] = "s...",
    [SHIM_C_Logout] = "s",
    [SHIM_C_CreateObject] = "s..O",
    [SHIM_C_CopyObject] = "so..O",
    [SHIM_C_DestroyObject] = "so",
    [SHIM_C_GetObjectSize] = "so.",
    [SHIM_C_GetAttributeValue] = "so..",
    [SHIM_C_SetAttributeValue] = "so..",
    [SHIM_C_FindObjectsInit] = "s..",
    [SHIM_C_FindObjects] = "sO.c",
    [SHIM_C_FindObjectsFinal] = "s",
    [SHIM_C_EncryptInit] = "s.o",
    [SHIM_C_Encrypt] = "s..bn",
    [SHIM_C_EncryptUpdate] = "s..bn",
    [SHIM_C_EncryptFinal] = "sbn",
    [SHIM_C_DecryptInit] = "s.o",
    [SHIM_C_Decrypt] = "s..bn",
    [SHIM_C_DecryptUpdate] = "s..bn",
    [SHIM_C_DecryptFinal] = "sbn",
    [SHIM_C_DigestInit] = "s.",
    [SHIM_C_Digest] = "s..bn",
    [SHIM_C_DigestUpdate] = "s..",
    [SHIM_C_DigestKey] = "so",
    [SHIM_C_DigestFinal] = "sbn",
    [SHIM_C_SignInit] = "s.o",
    [SHIM_C_Sign] = "s..bn",
    [SHIM_C_SignUpdate] = "s..",
    [SHIM_C_SignFinal] = "sbn",
    [SHIM_C_SignRecoverInit] = "s.o",
    [SHIM_C_SignRecover] = "s..bn",
    [SHIM_C_VerifyInit] = "s.o",
    [SHIM_C_Verify] = "s....",
    [SHIM_C_VerifyUpdate] = "s..",
    [SHIM_C_VerifyFinal] = "s..",
    [SHIM_C_VerifyRecoverInit] = "s.o",
    [SHIM_C_VerifyRecover] = "s..bn",
    [SHIM_C_DigestEncryptUpdate] = "s..bn",
    [SHIM_C_DecryptDigestUpdate] = "s..bn",
    [SHIM_C_SignEncryptUpdate] = "s..bn",
    [SHIM_C_DecryptVerifyUpdate] = "s..bn",
    [SHIM_C_GenerateKey] = "s...O",
    [SHIM_C_GenerateKeyPair] = "s.....OO",
    [SHIM_C_WrapKey] = "s.oobn",
    [SHIM_C_UnwrapKey] = "s.o....O",
    [SHIM_C_DeriveKey] = "s.o..O",
    [SHIM_C_SeedRandom] = "s..",
    [SHIM_C_GenerateRandom] = "s..",
    [SHIM_C_GetFunctionStatus] = "s",
    [SHIM_C_CancelFunction] = "s",
    [SHIM_C_WaitForSlotEvent] = ".L.",
};

static const char *shape_of(const shim_call *call)
{
    return shapes[call->function] != NULL ? shapes[call->function] : "";
}

void *shim_parameter(const shim_call *call, char kind)
{
    const char *shape = shape_of(call);
    for (size_t i = 0; shape[i] != '\0'; i++) {
        if (shape[i] == kind) {
            return call->at[i];
        }
    }
    return NULL;
}

/* ---- epochs ---- */

static uint64_t epoch_of(const uint64_t *epoch)
{
    return __atomic_load_n(epoch, __ATOMIC_RELAXED);
}

static int strip(ck_ulong *number, uint64_t epoch)
{
    uint64_t given = *number >> EPOCH_SHIFT;
    *number &= (1UL << EPOCH_SHIFT) - 1;
    return given == epoch;
}

static void stamp(ck_ulong *numbers, ck_ulong count, uint64_t epoch)
{
    for (ck_ulong i = 0; numbers != NULL && i < count; i++) {
        numbers[i] |= epoch << EPOCH_SHIFT;
    }
}

/* ---- the sessions of this process, so that one can say which slot a session belongs to ---- */

static struct {
    pthread_mutex_t lock;
    size_t count;
    struct { ck_session session; ck_slot slot; } open[SESSIONS_MAX];
} sessions = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void session_opened(ck_session session, ck_slot slot)
{
    if (sessions.count < SESSIONS_MAX) {
        sessions.open[sessions.count].session = session;
        sessions.open[sessions.count++].slot = slot;
    }
}

static void sessions_closed(int (*gone)(size_t place, ck_ulong what), ck_ulong what)
{
    size_t kept = 0;
    for (size_t i = 0; i < sessions.count; i++) {
        if (!gone(i, what)) {
            sessions.open[kept++] = sessions.open[i];
        }
    }
    sessions.count = kept;
}

static int is_session(size_t place, ck_ulong session)
{
    return sessions.open[place].session == session;
}

static int is_of_slot(size_t place, ck_ulong slot)
{
    return sessions.open[place].slot == slot;
}

static int is_any(size_t place, ck_ulong ignored)
{
    (void)place, (void)ignored;
    return 1;
}

static void keep_sessions(const shim_call *call)
{
    pthread_mutex_lock(&sessions.lock);
    switch (call->function) {
    case SHIM_C_OpenSession:
        session_opened(**(ck_session **)call->at[4], *(ck_slot *)call->at[0]);
        break;
    case SHIM_C_CloseSession:
        sessions_closed(is_session, *(ck_session *)call->at[0]);
        break;
    case SHIM_C_CloseAllSessions:
        sessions_closed(is_of_slot, *(ck_slot *)call->at[0]);
        break;
    case SHIM_C_Finalize:
    case SHIM_C_Initialize:
        sessions_closed(is_any, 0);
        break;
    default:
        break;
    }
    __atomic_store_n(&shim_shared->sessions_open, sessions.count, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&sessions.lock);
}

uint64_t shim_sessions_open(void)
{
    pthread_mutex_lock(&sessions.lock);
    uint64_t count = sessions.count;
    pthread_mutex_unlock(&sessions.lock);
    return count;
}

/* The place of the call's session, or of any where the call has none; 0 if there is none at all. */
static size_t place_of(const shim_call *call)
{
    const ck_session *session = shim_parameter(call, 's');
    for (size_t i = 0; session != NULL && i < sessions.count; i++) {
        if (is_session(i, *session)) {
            return i;
        }
    }
    return 0;
}

void shim_logout(const shim_call *call)
{
    pthread_mutex_lock(&sessions.lock);
    if (sessions.count > 0) {
        shim_real->C_Logout(sessions.open[place_of(call)].session);
    }
    pthread_mutex_unlock(&sessions.lock);
}

void shim_close_sessions(const shim_call *call)
{
    pthread_mutex_lock(&sessions.lock);
    if (sessions.count > 0) {
        ck_slot slot = sessions.open[place_of(call)].slot;
        shim_real->C_CloseAllSessions(slot);
        sessions_closed(is_of_slot, slot);
    }
    __atomic_store_n(&shim_shared->sessions_open, sessions.count, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&sessions.lock);
}

/* ---- a call's way in and out ---- */

ck_rv shim_handles_in(shim_call *call)
{
    const char *shape = shape_of(call);
    for (size_t i = 0; shape[i] != '\0'; i++) {
        if (shape[i] == 'o' && !strip(call->at[i], epoch_of(&shim_shared->object_epoch))) {
            return CKR_OBJECT_HANDLE_INVALID;
        }
        if (shape[i] == 'l' && !strip(call->at[i], epoch_of(&shim_shared->slot_epoch))) {
            return CKR_SLOT_ID_INVALID;
        }
    }
    return CKR_OK;
}

void shim_handles_out(shim_call *call)
{
    ck_ulong **told = shim_parameter(call, 'c');
    ck_ulong count = told != NULL ? **told : 1;
    const char *shape = shape_of(call);
    for (size_t i = 0; shape[i] != '\0'; i++) {
        if (shape[i] == 'O') {
            stamp(*(ck_object **)call->at[i], count, epoch_of(&shim_shared->object_epoch));
        } else if (shape[i] == 'L') {
            stamp(*(ck_slot **)call->at[i], count, epoch_of(&shim_shared->slot_epoch));
        } else if (shape[i] == 'i') {
            stamp(&(*(ck_session_info **)call->at[i])->slot, 1, epoch_of(&shim_shared->slot_epoch));
        }
    }
    keep_sessions(call);
}
