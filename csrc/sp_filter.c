/* Filters of several indexes, searched together: see sp_filter.h. */
#include "sp_filter.h"

#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"
#include "sp_index.h"
#include "sp_sha256.h"

typedef struct bits {
    uint32_t word[SP_FILTER_BLOCK_WORDS];
    uint32_t place;             /* a share of 2^32: where among the blocks */
} bits;

static bits bits_of(uint64_t key, uint64_t secret)
{
    static const uint32_t odd[SP_FILTER_BLOCK_WORDS] = {
        0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du, 0x705495c7u, 0x2df1424bu, 0x9efc4947u, 0x5c6bfb31u,
    };
    uint64_t hash = (key ^ secret) * UINT64_C(0xff51afd7ed558ccd);      /* the finalizer of MurmurHash3 */
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    hash ^= hash >> 33;
    bits bits = {.place = (uint32_t)(hash >> 32)};
    for (unsigned i = 0; i < SP_FILTER_BLOCK_WORDS; i++) {
        bits.word[i] = UINT32_C(1) << ((uint32_t)hash * odd[i] >> 27);
    }
    return bits;
}

static uint32_t *block_of(const sp_filter *filter, const bits *bits)
{
    return filter->word + ((uint64_t)bits->place * filter->blocks >> 32) * SP_FILTER_BLOCK_WORDS;
}

static uint64_t asked(const sp_index *index)
{
    return index->first[SP_INDEX_ASKED + 1] - index->first[SP_INDEX_ASKED];
}

static int add_asked(sp_filter *filter, const sp_index *index, uint64_t secret)
{
    for (uint64_t at = index->first[SP_INDEX_ASKED]; at < index->first[SP_INDEX_ASKED + 1]; at++) {
        const sp_index_page *page;
        SP_TRY(sp_index_checked_page(index, at / SP_INDEX_PAGE_ENTRIES, &page));
        bits bits = bits_of(page->entry[at % SP_INDEX_PAGE_ENTRIES].key, secret);
        uint32_t *word = block_of(filter, &bits);
        for (unsigned i = 0; i < SP_FILTER_BLOCK_WORDS; i++) {
            word[i] |= bits.word[i];
        }
    }
    return SP_OK;
}

int sp_filter_make(const sp_index *const *indexes, uint32_t count, uint64_t secret, sp_filter *out)
{
    SP_ENSURE(indexes != NULL && out != NULL, SP_E_ARGUMENT);
    const uint64_t block_bits = 32 * SP_FILTER_BLOCK_WORDS;
    uint64_t keys = 0;
    for (uint32_t i = 0; i < count; i++) {
        keys += asked(indexes[i]);
    }
    sp_filter filter = {.blocks = (keys * SP_FILTER_KEY_BITS + block_bits - 1) / block_bits};
    if (filter.blocks > 0) {
        size_t size = (size_t)filter.blocks * SP_FILTER_BLOCK_WORDS * sizeof *filter.word;
        filter.word = aligned_alloc(SP_FILTER_BLOCK_WORDS * sizeof *filter.word, size);
        SP_ENSURE(filter.word != NULL, SP_E_MEMORY);
        memset(filter.word, 0, size);
    }
    int status = SP_OK;
    for (uint32_t i = 0; i < count && status == SP_OK; i++) {
        status = add_asked(&filter, indexes[i], secret);
    }
    if (status != SP_OK) {
        sp_filter_free(&filter);
        return status;
    }
    *out = filter;
    return SP_OK;
}

void sp_filter_free(sp_filter *filter)
{
    if (filter != NULL) {
        free(filter->word);
        *filter = (sp_filter){0};
    }
}

static int may_know(const sp_filter *filter, const bits *bits)
{
    if (filter->blocks == 0) {
        return 0;
    }
    const uint32_t *word = block_of(filter, bits);
    uint32_t missing = 0;
    for (unsigned i = 0; i < SP_FILTER_BLOCK_WORDS; i++) {
        missing |= bits->word[i] & ~word[i];
    }
    return missing == 0;
}

int sp_filter_first(const sp_filter *filters, uint32_t from, uint32_t count, uint64_t secret, const uint8_t *who,
                    size_t who_size, uint32_t *position)
{
    SP_ENSURE((filters != NULL || count == 0) && who != NULL && position != NULL, SP_E_ARGUMENT);
    uint8_t hash[SP_SHA256_SIZE];
    sp_sha256_ctx ctx;
    sp_sha256_init(&ctx);
    sp_sha256_update(&ctx, who, who_size);
    sp_sha256_final(&ctx, hash);
    bits bits = bits_of(sp_index_key(SP_INDEX_ASKED, sp_load_u64le(hash)), secret);
    for (uint32_t at = from; at < count; at++) {
        if (at + SP_FILTER_AHEAD < count && filters[at + SP_FILTER_AHEAD].blocks > 0) {
            __builtin_prefetch(block_of(&filters[at + SP_FILTER_AHEAD], &bits));
        }
        if (may_know(&filters[at], &bits)) {
            *position = at;
            return SP_OK;
        }
    }
    return SP_E_END;
}
