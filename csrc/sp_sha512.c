/* SHA-384 and SHA-512 of a message: padding, the incremental context, the choice of a kernel. */
#include "sp_sha512.h"

#include "sp_bytes.h"
#include "sp_cpu.h"

#define LENGTH 16               /* bytes of the message length at the end of the padding */

/* best first; the last one needs nothing and takes any number */
static const sp_sha512_impl *const table[] = {
#if defined(SP_CPU_X86)
    &sp_sha512_avx512,
    &sp_sha512_avx2,
#elif defined(SP_CPU_ARM)
    &sp_sha512_armv8,
#endif
    &sp_sha512_portable,
};

const sp_sha512_impl *sp_sha512_pick(size_t width)
{
    const uint32_t usable = sp_cpu_usable();
    size_t row = 0;
    while ((table[row]->needs & ~usable) != 0 || width < table[row]->width_min) {
        row++;
    }
    return table[row];
}

void sp_sha512_init(sp_sha512_ctx *ctx, uint32_t out_size)
{
    sp_bug_if(out_size != SP_SHA384_SIZE && out_size != SP_SHA512_SIZE);
    ctx->impl = sp_sha512_pick(1);
    memcpy(ctx->state, out_size == SP_SHA384_SIZE ? sp_sha384_start : sp_sha512_start, sizeof ctx->state);
    ctx->size = 0;
    ctx->out_size = out_size;
}

void sp_sha512_update(sp_sha512_ctx *ctx, const void *data, size_t size)
{
    const uint8_t *from = data;
    const size_t held = ctx->size % SP_SHA512_BLOCK;
    ctx->size += size;
    if (held > 0) {
        const size_t wanted = SP_SHA512_BLOCK - held;
        if (size < wanted) {
            if (size > 0) {
                memcpy(ctx->rest + held, from, size);
            }
            return;
        }
        memcpy(ctx->rest + held, from, wanted);
        ctx->impl->compress(ctx->state, ctx->rest, 1);
        from += wanted;
        size -= wanted;
    }
    const size_t blocks = size / SP_SHA512_BLOCK;
    if (blocks > 0) {
        ctx->impl->compress(ctx->state, from, blocks);
    }
    if (size % SP_SHA512_BLOCK > 0) {
        memcpy(ctx->rest, from + blocks * SP_SHA512_BLOCK, size % SP_SHA512_BLOCK);
    }
}

void sp_sha512_final(sp_sha512_ctx *ctx, uint8_t *out)
{
    uint8_t last[2 * SP_SHA512_BLOCK] = {0};
    const size_t held = ctx->size % SP_SHA512_BLOCK;
    const size_t blocks = held < SP_SHA512_BLOCK - LENGTH ? 1 : 2;
    memcpy(last, ctx->rest, held);
    last[held] = 0x80;
    sp_store_u64be(last + blocks * SP_SHA512_BLOCK - 16, ctx->size >> 61);
    sp_store_u64be(last + blocks * SP_SHA512_BLOCK - 8, ctx->size << 3);
    ctx->impl->compress(ctx->state, last, blocks);
    for (uint32_t i = 0; i < ctx->out_size / 8; i++) {
        sp_store_u64be(out + 8 * i, ctx->state[i]);
    }
}
