/* Are the features found those that the processor names by another way, and does a kernel get only what the mask allows?
 * Prints the names, so that whoever chose the processor, an emulator's for instance, can compare. */
#include <string.h>

#include "check.h"
#include "sp.h"
#include "sp_cpu.h"
#include "sp_sha256.h"
#include "sp_sha512.h"

/* What the processor says of the features in `asked`. */
#if defined(SP_CPU_X86)
static const uint32_t asked = SP_CPU_SSE42 | SP_CPU_AVX2 | SP_CPU_AVX512;

static uint32_t said(void)
{
    uint32_t features = __builtin_cpu_supports("sse4.2") ? SP_CPU_SSE42 : 0;
    features |= __builtin_cpu_supports("avx2") ? SP_CPU_AVX2 : 0;
    const int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                  && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return features | (wide ? SP_CPU_AVX512 : 0);
}
#elif defined(SP_CPU_ARM)
static const uint32_t asked = SP_CPU_CRC32 | SP_CPU_SHA2 | SP_CPU_SHA512;

/* ID_AA64ISAR0_EL1, which Linux reads for us: SHA2 in bits 12 to 15 (1: SHA-256, 2: SHA-512, too), CRC32 in 16 to 19 */
static uint32_t said(void)
{
    uint64_t fields;
    __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(fields));
    uint32_t features = (fields >> 16 & 15) >= 1 ? SP_CPU_CRC32 : 0;
    features |= (fields >> 12 & 15) >= 1 ? SP_CPU_SHA2 : 0;
    return features | ((fields >> 12 & 15) >= 2 ? SP_CPU_SHA512 : 0);
}
#else
static const uint32_t asked = UINT32_MAX;

static uint32_t said(void)
{
    return 0;
}
#endif

static void names(uint32_t features)
{
    printf("features:");
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        const char *name = sp_cpu_feature_name(bit);
        EXPECT(name != NULL || (features & bit) == 0);
        if ((features & bit) != 0) {
            printf(" %s", name);
        }
    }
    printf("\n");
    EXPECT(sp_cpu_feature_name(0) == NULL && sp_cpu_feature_name(3) == NULL);
}

static void kernels(uint32_t mask)
{
    for (size_t width = 1; width <= SP_SHA256_LANES_MAX; width++) {
        const sp_sha256_impl *narrow = sp_sha256_pick(width);
        const sp_sha512_impl *wide = sp_sha512_pick(width);
        EXPECT((narrow->needs & ~mask) == 0 && narrow->lanes <= SP_SHA256_LANES_MAX && narrow->width_min <= width);
        EXPECT((wide->needs & ~mask) == 0 && wide->lanes <= SP_SHA512_LANES_MAX && wide->width_min <= width);
        EXPECT(mask != 0 || (narrow == &sp_sha256_portable && wide == &sp_sha512_portable));
#ifdef SP_CPU_ARM
        EXPECT(narrow == ((mask & SP_CPU_SHA2) != 0 ? &sp_sha256_armv8 : &sp_sha256_portable));
        EXPECT(wide == ((mask & SP_CPU_SHA512) != 0 ? &sp_sha512_armv8 : &sp_sha512_portable));
#endif
    }
    EXPECT(sp_sha256_pick(1)->compress != NULL && sp_sha512_pick(1)->compress != NULL);
}

int main(void)
{
    const uint32_t features = sp_cpu_features();
    EXPECT((features & asked) == said());
    EXPECT((features & SP_CPU_AVX512) != 0 || (features & SP_CPU_AVX512_WHOLE) == 0);
    names(features);
    EXPECT(sp_cpu_mask_set(0) == UINT32_MAX && sp_cpu_mask() == 0 && sp_cpu_usable() == 0);
    /* the next subset of the features after `mask`; after the last one comes the empty one again */
    uint32_t mask = 0;
    do {
        sp_cpu_mask_set(mask);
        EXPECT(sp_cpu_features() == features && sp_cpu_usable() == mask);
        kernels(mask);
        mask = (mask - features) & features;
    } while (mask != 0);
    return check_done();
}
