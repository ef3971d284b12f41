/* Processor features: cpuid or the kernel's word on them once, then two words. */
#include "sp_cpu.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "sp.h"

#define KNOWN UINT32_C(0x80000000)   /* set in `found` once the processor has been asked */

static _Atomic uint32_t found;
static _Atomic uint32_t allowed = UINT32_MAX;

#if defined(SP_CPU_X86)
#include <cpuid.h>

/* XCR0: does the operating system save these registers across a context switch? */
static bool os_saves(uint32_t wanted)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & wanted) == wanted;
}

/* Only AMD has processors that take 512 bits in two halves; it says so by a bit that is missing (FP512). */
static bool in_halves(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx || c != signature_AMD_ecx || d != signature_AMD_edx) {
        return false;
    }
    const uint32_t fp256 = 1u << 2, fp512 = 1u << 3;
    return __get_cpuid(0x8000001a, &a, &b, &c, &d) && (a & fp256) && !(a & fp512);
}

static uint32_t ask(void)
{
    uint32_t a, b, c, d, b7 = 0, c7 = 0, d7 = 0, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) {
        return 0;
    }
    if (__get_cpuid_max(0, NULL) >= 7) {
        __cpuid_count(7, 0, a, b7, c7, d7);
    }
    const bool sse4 = (c & bit_SSSE3) && (c & bit_SSE4_1);
    const bool ymm = (c & bit_OSXSAVE) && (c & bit_AVX) && os_saves(0x06);
    const bool zmm = ymm && os_saves(0xe6);
    const uint32_t wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    features |= (c & bit_SSE4_2) ? SP_CPU_SSE42 : 0;
    features |= sse4 && (b7 & bit_SHA) ? SP_CPU_SHANI : 0;
    features |= ymm && (b7 & bit_AVX2) ? SP_CPU_AVX2 : 0;
    features |= zmm && (b7 & wide) == wide ? SP_CPU_AVX512 : 0;
    features |= (features & SP_CPU_AVX512) && !in_halves() ? SP_CPU_AVX512_WHOLE : 0;
    return features;
}

#elif defined(SP_CPU_ARM)
#include <sys/auxv.h>

/* Linux tells every program what all cores of the machine have. */
static uint32_t ask(void)
{
    const unsigned long told = getauxval(AT_HWCAP);
    uint32_t features = 0;
    features |= (told & HWCAP_CRC32) ? SP_CPU_CRC32 : 0;
    features |= (told & HWCAP_SHA2) ? SP_CPU_SHA2 : 0;
    features |= (told & HWCAP_SHA512) ? SP_CPU_SHA512 : 0;
    return features;
}

#else
static uint32_t ask(void)
{
    return 0;
}
#endif

uint32_t sp_cpu_features(void)
{
    uint32_t features = atomic_load_explicit(&found, memory_order_relaxed);
    if (features == 0) {
        /* Two threads may both ask; they find the same. */
        features = ask() | KNOWN;
        atomic_store_explicit(&found, features, memory_order_relaxed);
    }
    return features & ~KNOWN;
}

uint32_t sp_cpu_mask(void)
{
    return atomic_load_explicit(&allowed, memory_order_relaxed);
}

uint32_t sp_cpu_mask_set(uint32_t mask)
{
    return atomic_exchange_explicit(&allowed, mask, memory_order_relaxed);
}

uint32_t sp_cpu_usable(void)
{
    return sp_cpu_features() & sp_cpu_mask();
}

const char *sp_cpu_feature_name(uint32_t bit)
{
    switch (bit) {
#define NAME(position, name, text) case name: return (text);
        SP_CPU_LIST(NAME)
#undef NAME
    default:
        return NULL;
    }
}
