/* What this processor can do, found once; and a mask that says what kernels may use of it.
 *
 * The mask exists so that tests and benchmarks can walk every subset of the kernels on one machine. Both words are
 * atomics: any thread may read or set them at any time, and a hash that is under way keeps the kernel it began with. */
#ifndef SP_CPU_H
#define SP_CPU_H

#include <stdint.h>

#define SP_CPU_LIST(X)         \
    X(0, SP_CPU_SSE42, "sse42")   \
    X(1, SP_CPU_AVX2, "avx2")     \
    X(2, SP_CPU_SHANI, "shani")   \
    X(3, SP_CPU_AVX512, "avx512") /* F, BW, DQ and VL, with the operating system's consent */

enum sp_cpu_feature {
#define SP_CPU_ENUM(bit, name, text) name = 1u << (bit),
    SP_CPU_LIST(SP_CPU_ENUM)
#undef SP_CPU_ENUM
};

/* features & mask: what a kernel may use now */
uint32_t sp_cpu_usable(void);

#endif
