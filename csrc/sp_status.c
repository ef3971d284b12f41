/* Placeholder: answers until the real file stands here. */
#include "sp.h"

const char * sp_status_name(int status)
{ (void)status; return 0; }
const char * sp_status_text(int status)
{ (void)status; return 0; }
int sp_status_count(void)
{ return SP_E_SYSTEM; }
int sp_status_at(int position)
{ (void)position; return SP_E_SYSTEM; }
