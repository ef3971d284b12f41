/* Picks a SHA-256 kernel: the first row of the table that the processor has, the mask allows, and so many messages are
 * worth. */
#include "sp_cpu.h"
#include "sp_sha256.h"

/* best first; the last one needs nothing and takes any number */
static const sp_sha256_impl *const table[] = {
#if defined(SP_CPU_X86)
    &sp_sha256_avx512,
    &sp_sha256_shani,
    &sp_sha256_avx2,
#elif defined(SP_CPU_ARM)
    &sp_sha256_armv8,
#endif
    &sp_sha256_portable,
};

const sp_sha256_impl *sp_sha256_pick(size_t width)
{
    const uint32_t usable = sp_cpu_usable();
    size_t row = 0;
    while ((table[row]->needs & ~usable) != 0 || width < table[row]->width_min) {
        row++;
    }
    return table[row];
}
