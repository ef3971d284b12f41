/* Placeholder: answers until the real file stands here. */
#include "sp.h"

int sp_p11_open(const char *path, const char *reserved)
{ (void)path; (void)reserved; return SP_E_SYSTEM; }
const char * sp_p11_last_error(void)
{ return 0; }
int sp_p11_single_threaded(void)
{ return SP_E_SYSTEM; }
int sp_p11_initialize(uint64_t *rv)
{ (void)rv; return SP_E_SYSTEM; }
int sp_p11_finalize(uint64_t *rv)
{ (void)rv; return SP_E_SYSTEM; }
int sp_p11_token_flags(uint64_t slot, uint64_t *flags, uint64_t *session_max, uint64_t *rv)
{ (void)slot; (void)flags; (void)session_max; (void)rv; return SP_E_SYSTEM; }
int sp_p11_login(uint64_t session, int pin_fd, const uint8_t tag_key[32], const uint8_t *rejected, size_t rejected_count, uint8_t tag_out[32], uint64_t *rv)
{ (void)session; (void)pin_fd; (void)tag_key; (void)rejected; (void)rejected_count; (void)tag_out; (void)rv; return SP_E_SYSTEM; }
int sp_p11_init_token(uint64_t slot, const char *label, int so_pin_fd, uint64_t *rv)
{ (void)slot; (void)label; (void)so_pin_fd; (void)rv; return SP_E_SYSTEM; }
int sp_p11_init_pin(uint64_t session, int so_pin_fd, int pin_fd, uint64_t *rv)
{ (void)session; (void)so_pin_fd; (void)pin_fd; (void)rv; return SP_E_SYSTEM; }
int sp_p11_pool_new(const uint64_t *sessions, uint32_t count, sp_p11_pool **out)
{ (void)sessions; (void)count; (void)out; return SP_E_SYSTEM; }
int sp_p11_pool_sign(sp_p11_pool *pool, sp_p11_job *jobs, size_t count)
{ (void)pool; (void)jobs; (void)count; return SP_E_SYSTEM; }
uint32_t sp_p11_pool_alive(const sp_p11_pool *pool, uint8_t *alive)
{ (void)pool; (void)alive; return 0; }
int sp_p11_pool_replace(sp_p11_pool *pool, uint32_t position, uint64_t session)
{ (void)pool; (void)position; (void)session; return SP_E_SYSTEM; }
void sp_p11_pool_free(sp_p11_pool *pool)
{ (void)pool; }
int sp_harden_process(void)
{ return SP_E_SYSTEM; }
