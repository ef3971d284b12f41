/* What this processor can do, found once; and a mask that says what kernels may use of it.
 *
 * The mask exists so that tests and benchmarks can walk every subset of the kernels on one machine. Both words are
 * atomics: any thread may read or set them at any time, and a hash that is under way keeps the kernel it began with. */
#ifndef SP_CPU_H
#define SP_CPU_H

#include <stdint.h>

/* Whose kernels are compiled; a file of another instruction set is empty. Elsewhere there are the portable ones only, and
 * so with a clang that knows ARM's hash intrinsics only where all of a program may use them. */
#if defined(__x86_64__)
#define SP_CPU_X86
#elif defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16)
#define SP_CPU_ARM
#endif

/* One list for all processors, so that a bit means the same everywhere. */
#define SP_CPU_LIST(X)         \
    X(0, SP_CPU_SSE42, "sse42")   \
    X(1, SP_CPU_AVX2, "avx2")     \
    X(2, SP_CPU_SHANI, "shani")   \
    X(3, SP_CPU_AVX512, "avx512") /* F, BW, DQ and VL, with the operating system's consent */ \
    X(4, SP_CPU_CRC32, "crc32")   /* from here on ARMv8, by Linux's names */ \
    X(5, SP_CPU_SHA2, "sha2")     \
    X(6, SP_CPU_SHA512, "sha512") \
    X(7, SP_CPU_AVX512_WHOLE, "avx512whole")    /* x86 again: 512 bits in one pass, not in two halves */

enum sp_cpu_feature {
#define SP_CPU_ENUM(bit, name, text) name = 1u << (bit),
    SP_CPU_LIST(SP_CPU_ENUM)
#undef SP_CPU_ENUM
};

/* features & mask: what a kernel may use now */
uint32_t sp_cpu_usable(void);

#endif
