/* The allocator of the C library: what this process wants of it. */
#include <stdlib.h>     /* says which library this is */

#include "sp.h"
#include "sp_check.h"

#ifdef __GLIBC__
#include <malloc.h>

static void limit_heaps(uint32_t count)
{
    (void)mallopt(M_ARENA_MAX, (int)count);     /* an allocator in its place, such as a sanitizer's, refuses */
}
#else
static void limit_heaps(uint32_t count)
{
    (void)count;                                /* others have no heap per thread */
}
#endif

int sp_memory_arenas(uint32_t count)
{
    SP_ENSURE(count > 0 && count <= 64, SP_E_ARGUMENT);
    limit_heaps(count);
    return SP_OK;
}
