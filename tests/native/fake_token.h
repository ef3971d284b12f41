/* What test_p11.c orders from fake_token.so, and what it is told. */
#ifndef FAKE_TOKEN_H
#define FAKE_TOKEN_H

#include "sp_pkcs11.h"

enum { FAKE_SESSIONS = 1000 };              /* handle = generation * FAKE_SESSIONS + number */

typedef struct fake_session { int inside, active; } fake_session;

typedef struct fake_token {
    uint32_t init_fails_every, sign_fails_every;    /* 0: never */
    uint32_t hang;                          /* C_Sign waits in sessions of a number below this */
    uint32_t met;                           /* two threads in one session */
    uint32_t mixed;                         /* a key of another generation than the session's */
    uint32_t signs, inits, signed_;
    fake_session sessions[FAKE_SESSIONS];
} fake_token;

#endif
