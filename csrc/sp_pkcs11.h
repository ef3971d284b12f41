/* The part of PKCS#11 2.40 (OASIS Standard, 14 April 2015) that we speak: types, constants we test, and the function
 * list in the standard's order. The one list below makes the table's layout here and the wrappers of the test shim. */
#ifndef SP_PKCS11_H
#define SP_PKCS11_H

#include <stdint.h>

#include "sp_check.h"

typedef unsigned long ck_ulong;
typedef unsigned char ck_byte;
typedef ck_ulong ck_rv, ck_flags, ck_slot, ck_session, ck_object;

#define CKR_OK 0x0UL
#define CKR_HOST_MEMORY 0x2UL
#define CKR_GENERAL_ERROR 0x5UL
#define CKR_FUNCTION_FAILED 0x6UL
#define CKR_ARGUMENTS_BAD 0x7UL
#define CKR_CANT_LOCK 0xAUL
#define CKR_DEVICE_ERROR 0x30UL
#define CKR_FUNCTION_CANCELED 0x50UL
#define CKR_FUNCTION_NOT_SUPPORTED 0x54UL
#define CKR_OPERATION_NOT_INITIALIZED 0x91UL
#define CKR_SESSION_CLOSED 0xB0UL
#define CKR_SESSION_HANDLE_INVALID 0xB3UL
#define CKR_USER_ALREADY_LOGGED_IN 0x100UL
#define CKR_USER_NOT_LOGGED_IN 0x101UL
#define CKR_CRYPTOKI_NOT_INITIALIZED 0x190UL
#define CKR_CRYPTOKI_ALREADY_INITIALIZED 0x191UL

#define CKF_OS_LOCKING_OK 0x2UL             /* CK_C_INITIALIZE_ARGS.flags */
#define CKF_USER_PIN_FINAL_TRY 0x20000UL    /* CK_TOKEN_INFO.flags */
#define CKF_USER_PIN_LOCKED 0x40000UL
#define CKF_SO_PIN_FINAL_TRY 0x200000UL
#define CKF_SO_PIN_LOCKED 0x400000UL

#define CK_INVALID_HANDLE 0UL
#define CKS_RO_USER_FUNCTIONS 1UL           /* CK_SESSION_INFO.state */
#define CKS_RW_USER_FUNCTIONS 3UL

#define CKU_SO 0UL
#define CKU_USER 1UL

#define CKM_RSA_PKCS_PSS 0xDUL
#define CKM_SHA256 0x250UL
#define CKM_SHA384 0x260UL
#define CKM_SHA512 0x270UL
#define CKG_MGF1_SHA256 0x2UL
#define CKG_MGF1_SHA384 0x3UL
#define CKG_MGF1_SHA512 0x4UL

typedef struct ck_version { ck_byte major, minor; } ck_version;

typedef struct ck_initialize_args {
    void *create_mutex, *destroy_mutex, *lock_mutex, *unlock_mutex;
    ck_flags flags;
    void *reserved;
} ck_initialize_args;

typedef struct ck_token_info {
    ck_byte label[32], manufacturer[32], model[16], serial[16];
    ck_flags flags;
    ck_ulong session_max, session_count, rw_session_max, rw_session_count;
    ck_ulong pin_max, pin_min, public_total, public_free, private_total, private_free;
    ck_version hardware, firmware;
    ck_byte time[16];
} ck_token_info;

typedef struct ck_session_info {
    ck_slot slot;
    ck_ulong state;
    ck_flags flags;
    ck_ulong device_error;
} ck_session_info;

typedef struct ck_mechanism {
    ck_ulong mechanism;
    void *parameter;
    ck_ulong parameter_size;
} ck_mechanism;

typedef struct ck_pss_params { ck_ulong hash, mgf, salt_size; } ck_pss_params;

/* X(name, parameters, arguments): the 68 functions of version 2.40, in the order of CK_FUNCTION_LIST */
#define CK_FUNCTIONS(X)                                                                                                \
    X(C_Initialize, (void *args), (args))                                                                              \
    X(C_Finalize, (void *reserved), (reserved))                                                                        \
    X(C_GetInfo, (void *info), (info))                                                                                 \
    X(C_GetFunctionList, (struct ck_function_list **list), (list))                                                     \
    X(C_GetSlotList, (ck_byte present, ck_slot *slots, ck_ulong *count), (present, slots, count))                      \
    X(C_GetSlotInfo, (ck_slot slot, void *info), (slot, info))                                                         \
    X(C_GetTokenInfo, (ck_slot slot, ck_token_info *info), (slot, info))                                               \
    X(C_GetMechanismList, (ck_slot slot, ck_ulong *list, ck_ulong *count), (slot, list, count))                        \
    X(C_GetMechanismInfo, (ck_slot slot, ck_ulong type, void *info), (slot, type, info))                               \
    X(C_InitToken, (ck_slot slot, ck_byte *pin, ck_ulong size, ck_byte *label), (slot, pin, size, label))              \
    X(C_InitPIN, (ck_session s, ck_byte *pin, ck_ulong size), (s, pin, size))                                          \
    X(C_SetPIN, (ck_session s, ck_byte *old, ck_ulong old_size, ck_byte *pin, ck_ulong size),                          \
      (s, old, old_size, pin, size))                                                                                   \
    X(C_OpenSession, (ck_slot slot, ck_flags flags, void *application, void *notify, ck_session *s),                   \
      (slot, flags, application, notify, s))                                                                           \
    X(C_CloseSession, (ck_session s), (s))                                                                             \
    X(C_CloseAllSessions, (ck_slot slot), (slot))                                                                      \
    X(C_GetSessionInfo, (ck_session s, ck_session_info *info), (s, info))                                              \
    X(C_GetOperationState, (ck_session s, ck_byte *state, ck_ulong *size), (s, state, size))                           \
    X(C_SetOperationState, (ck_session s, ck_byte *state, ck_ulong size, ck_object e, ck_object a),                    \
      (s, state, size, e, a))                                                                                          \
    X(C_Login, (ck_session s, ck_ulong user, ck_byte *pin, ck_ulong size), (s, user, pin, size))                       \
    X(C_Logout, (ck_session s), (s))                                                                                   \
    X(C_CreateObject, (ck_session s, void *t, ck_ulong n, ck_object *o), (s, t, n, o))                                 \
    X(C_CopyObject, (ck_session s, ck_object o, void *t, ck_ulong n, ck_object *copy), (s, o, t, n, copy))             \
    X(C_DestroyObject, (ck_session s, ck_object o), (s, o))                                                            \
    X(C_GetObjectSize, (ck_session s, ck_object o, ck_ulong *size), (s, o, size))                                      \
    X(C_GetAttributeValue, (ck_session s, ck_object o, void *t, ck_ulong n), (s, o, t, n))                             \
    X(C_SetAttributeValue, (ck_session s, ck_object o, void *t, ck_ulong n), (s, o, t, n))                             \
    X(C_FindObjectsInit, (ck_session s, void *t, ck_ulong n), (s, t, n))                                               \
    X(C_FindObjects, (ck_session s, ck_object *o, ck_ulong max, ck_ulong *count), (s, o, max, count))                  \
    X(C_FindObjectsFinal, (ck_session s), (s))                                                                         \
    X(C_EncryptInit, (ck_session s, ck_mechanism *m, ck_object k), (s, m, k))                                          \
    X(C_Encrypt, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size), (s, in, n, out, size))         \
    X(C_EncryptUpdate, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size), (s, in, n, out, size))   \
    X(C_EncryptFinal, (ck_session s, ck_byte *out, ck_ulong *size), (s, out, size))                                    \
    X(C_DecryptInit, (ck_session s, ck_mechanism *m, ck_object k), (s, m, k))                                          \
    X(C_Decrypt, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size), (s, in, n, out, size))         \
    X(C_DecryptUpdate, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size), (s, in, n, out, size))   \
    X(C_DecryptFinal, (ck_session s, ck_byte *out, ck_ulong *size), (s, out, size))                                    \
    X(C_DigestInit, (ck_session s, ck_mechanism *m), (s, m))                                                           \
    X(C_Digest, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size), (s, in, n, out, size))          \
    X(C_DigestUpdate, (ck_session s, ck_byte *in, ck_ulong n), (s, in, n))                                             \
    X(C_DigestKey, (ck_session s, ck_object k), (s, k))                                                                \
    X(C_DigestFinal, (ck_session s, ck_byte *out, ck_ulong *size), (s, out, size))                                     \
    X(C_SignInit, (ck_session s, ck_mechanism *m, ck_object k), (s, m, k))                                             \
    X(C_Sign, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size), (s, in, n, out, size))            \
    X(C_SignUpdate, (ck_session s, ck_byte *in, ck_ulong n), (s, in, n))                                               \
    X(C_SignFinal, (ck_session s, ck_byte *out, ck_ulong *size), (s, out, size))                                       \
    X(C_SignRecoverInit, (ck_session s, ck_mechanism *m, ck_object k), (s, m, k))                                      \
    X(C_SignRecover, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size), (s, in, n, out, size))     \
    X(C_VerifyInit, (ck_session s, ck_mechanism *m, ck_object k), (s, m, k))                                           \
    X(C_Verify, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *sig, ck_ulong size), (s, in, n, sig, size))           \
    X(C_VerifyUpdate, (ck_session s, ck_byte *in, ck_ulong n), (s, in, n))                                             \
    X(C_VerifyFinal, (ck_session s, ck_byte *sig, ck_ulong size), (s, sig, size))                                      \
    X(C_VerifyRecoverInit, (ck_session s, ck_mechanism *m, ck_object k), (s, m, k))                                    \
    X(C_VerifyRecover, (ck_session s, ck_byte *sig, ck_ulong n, ck_byte *out, ck_ulong *size), (s, sig, n, out, size)) \
    X(C_DigestEncryptUpdate, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size),                    \
      (s, in, n, out, size))                                                                                           \
    X(C_DecryptDigestUpdate, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size),                    \
      (s, in, n, out, size))                                                                                           \
    X(C_SignEncryptUpdate, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size),                      \
      (s, in, n, out, size))                                                                                           \
    X(C_DecryptVerifyUpdate, (ck_session s, ck_byte *in, ck_ulong n, ck_byte *out, ck_ulong *size),                    \
      (s, in, n, out, size))                                                                                           \
    X(C_GenerateKey, (ck_session s, ck_mechanism *m, void *t, ck_ulong n, ck_object *k), (s, m, t, n, k))              \
    X(C_GenerateKeyPair,                                                                                               \
      (ck_session s, ck_mechanism *m, void *t, ck_ulong n, void *u, ck_ulong v, ck_object *p, ck_object *k),           \
      (s, m, t, n, u, v, p, k))                                                                                        \
    X(C_WrapKey, (ck_session s, ck_mechanism *m, ck_object w, ck_object k, ck_byte *out, ck_ulong *size),              \
      (s, m, w, k, out, size))                                                                                         \
    X(C_UnwrapKey,                                                                                                     \
      (ck_session s, ck_mechanism *m, ck_object w, ck_byte *in, ck_ulong size, void *t, ck_ulong n, ck_object *k),     \
      (s, m, w, in, size, t, n, k))                                                                                    \
    X(C_DeriveKey, (ck_session s, ck_mechanism *m, ck_object b, void *t, ck_ulong n, ck_object *k),                    \
      (s, m, b, t, n, k))                                                                                              \
    X(C_SeedRandom, (ck_session s, ck_byte *seed, ck_ulong size), (s, seed, size))                                     \
    X(C_GenerateRandom, (ck_session s, ck_byte *out, ck_ulong size), (s, out, size))                                   \
    X(C_GetFunctionStatus, (ck_session s), (s))                                                                        \
    X(C_CancelFunction, (ck_session s), (s))                                                                           \
    X(C_WaitForSlotEvent, (ck_flags flags, ck_slot *slot, void *reserved), (flags, slot, reserved))

typedef struct ck_function_list {
    ck_version version;
#define CK_MEMBER(name, parameters, arguments) ck_rv (*name) parameters;
    CK_FUNCTIONS(CK_MEMBER)
#undef CK_MEMBER
} ck_function_list;

SP_STATIC_ASSERT(sizeof(ck_function_list) == (1 + 68) * sizeof(void *));
SP_STATIC_ASSERT(sizeof(ck_token_info) == 96 + 11 * sizeof(ck_ulong) + 4 + 16 + 4);

#endif
