/* What the PKCS#11 files of the core share: the one table of this process, and the check for a fork. */
#ifndef SP_P11_H
#define SP_P11_H

#include "sp.h"
#include "sp_pkcs11.h"

/* The vendor's own table; SP_E_MODULE before sp_p11_open, SP_E_FORKED in a child of the process that opened it. */
SP_MUST_USE int sp_p11_table(const ck_function_list **out);
/* rv into *out (which may be NULL): SP_OK if it is CKR_OK, else SP_E_TOKEN */
SP_MUST_USE int sp_p11_answer(ck_rv rv, uint64_t *out);
/* Pools hold the module: C_Finalize is refused while there is one. */
void sp_p11_hold(int change);
/* As sp_p11_pool_sign with one job, on a seat that is free for it at once; else SP_E_BUSY, and nobody has seen the job. */
SP_MUST_USE int sp_p11_pool_try(sp_p11_pool *pool, uint64_t generation, uint64_t deadline_ns, sp_p11_job *job);

#endif
