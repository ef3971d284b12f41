/* SHA-256 of one message: padding and the incremental context. */
#include "sp_sha256.h"

#include "sp_bytes.h"

void sp_sha256_compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    sp_sha256_pick(1)->compress(state, blocks, count);
}

void sp_sha256_init(sp_sha256_ctx *ctx)
{
    ctx->impl = sp_sha256_pick(1);
    memcpy(ctx->state, sp_sha256_start, sizeof ctx->state);
    ctx->size = 0;
}

void sp_sha256_update(sp_sha256_ctx *ctx, const void *data, size_t size)
{
    const uint8_t *from = data;
    const size_t held = ctx->size % SP_SHA256_BLOCK;
    ctx->size += size;
    if (held > 0) {
        const size_t wanted = SP_SHA256_BLOCK - held;
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
    const size_t blocks = size / SP_SHA256_BLOCK;
    if (blocks > 0) {
        ctx->impl->compress(ctx->state, from, blocks);
    }
    if (size % SP_SHA256_BLOCK > 0) {
        memcpy(ctx->rest, from + blocks * SP_SHA256_BLOCK, size % SP_SHA256_BLOCK);
    }
}

void sp_sha256_final(sp_sha256_ctx *ctx, uint8_t out[SP_SHA256_SIZE])
{
    uint8_t last[2 * SP_SHA256_BLOCK] = {0};
    const size_t held = ctx->size % SP_SHA256_BLOCK;
    const size_t blocks = held < SP_SHA256_BLOCK - 8 ? 1 : 2;
    memcpy(last, ctx->rest, held);
    last[held] = 0x80;
    sp_store_u64be(last + blocks * SP_SHA256_BLOCK - 8, ctx->size * 8);
    ctx->impl->compress(ctx->state, last, blocks);
    for (int i = 0; i < 8; i++) {
        sp_store_u32be(out + 4 * i, ctx->state[i]);
    }
}

void sp_sha256(const uint8_t *data, size_t size, uint8_t out[SP_SHA256_SIZE])
{
    sp_sha256_ctx ctx;
    sp_sha256_init(&ctx);
    sp_sha256_update(&ctx, data, size);
    sp_sha256_final(&ctx, out);
}
