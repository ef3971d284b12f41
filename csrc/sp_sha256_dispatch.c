/* Picks a SHA-256 kernel: the first row of the table that the processor has and the mask allows. */
#include "sp_cpu.h"
#include "sp_sha256.h"

/* best first; the last one needs nothing */
static const sp_sha256_impl *const table[] = {
    &sp_sha256_shani,
    &sp_sha256_portable,
};

const sp_sha256_impl *sp_sha256_pick(void)
{
    const uint32_t usable = sp_cpu_usable();
    size_t row = 0;
    while ((table[row]->needs & ~usable) != 0) {
        row++;
    }
    return table[row];
}
