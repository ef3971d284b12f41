/* The allocator of the C library: what this process wants of it. */
#include <stdlib.h>     /* says which library this is */

#include "sp.h"

#ifdef __GLIBC__
#include <malloc.h>

int sp_memory_arenas(uint32_t count)
{
    return count > 0 && count <= 64 && mallopt(M_ARENA_MAX, (int)count) == 1 ? SP_OK : SP_E_ARGUMENT;
}
#else
int sp_memory_arenas(uint32_t count)
{
    return count > 0 && count <= 64 ? SP_OK : SP_E_ARGUMENT;    /* others have no heap per thread */
}
#endif
