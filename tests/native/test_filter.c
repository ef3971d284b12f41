/* Filters: who asked is never missed, and hardly a stranger passes, whoever chose the ids. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "sp_filter.h"
#include "sp_index.h"
#include "sp_sha256.h"
#include "sp_bytes.h"

enum { FILTERS = 12, STRANGERS = 20000, NAMES = 40 };

static size_t name_of(uint32_t filter, uint32_t id, uint8_t *name)
{
    return (size_t)snprintf((char *)name, NAMES, "uri:spiffe://acme/ci%cr%u-%u", 0, filter, id);
}

static uint64_t key_of(const uint8_t *name, size_t size)
{
    uint8_t hash[SP_SHA256_SIZE];
    sp_sha256(name, size, hash);
    return sp_index_key(SP_INDEX_ASKED, sp_load_u64le(hash));
}

static uint32_t asked_of(uint32_t filter)
{
    static const uint32_t asked[] = {0, 1, 10, 11, 341, 3000};
    return asked[filter % 6];
}

static sp_index *index_of(uint32_t filter)
{
    sp_segment_header header = {.segment_bytes = 1 << 20};
    uint32_t asked = asked_of(filter);
    sp_index_list list = {malloc((2 * asked + 1) * sizeof *list.entry), 2 * asked, 2 * asked + 1};
    for (uint32_t id = 0; id < asked; id++) {
        uint8_t name[NAMES];
        list.entry[2 * id] = (sp_index_entry){key_of(name, name_of(filter, id, name)), id};
        list.entry[2 * id + 1] = (sp_index_entry){sp_index_key(SP_INDEX_OUTCOME, id), id};
    }
    sp_index *index;
    EXPECT(sp_index_of_entries(&header, header.segment_bytes, &list, &index) == SP_OK);
    return index;
}

static void many(uint64_t secret)
{
    sp_filter filters[FILTERS];
    uint8_t name[NAMES];
    uint32_t position, passed = 0;
    for (uint32_t i = 0; i < FILTERS; i++) {
        sp_index *index = index_of(i);
        EXPECT(sp_filter_make((const sp_index *const *)&index, 1, secret, &filters[i]) == SP_OK);
        EXPECT(filters[i].blocks == (asked_of(i) * 24 + 255) / 256);
        sp_index_free(index);
    }
    for (uint32_t i = 0; i < FILTERS; i++) {
        for (uint32_t id = 0; id < asked_of(i); id++) {
            size_t size = name_of(i, id, name);
            EXPECT(sp_filter_first(filters, 0, FILTERS, secret, name, size, &position) == SP_OK && position <= i);
            EXPECT(sp_filter_first(filters, i, FILTERS, secret, name, size, &position) == SP_OK && position == i);
        }
    }
    for (uint32_t id = 0; id < STRANGERS; id++) {
        size_t size = name_of(FILTERS, id, name);
        for (uint32_t from = 0; sp_filter_first(filters, from, FILTERS, secret, name, size, &position) == SP_OK;) {
            from = position + 1;
            passed++;
        }
    }
    EXPECT(passed < STRANGERS * FILTERS / 1000);
    EXPECT(sp_filter_first(filters, 0, 0, secret, name, 5, &position) == SP_E_END);
    for (uint32_t i = 0; i < FILTERS; i++) {
        sp_filter_free(&filters[i]);
    }
    sp_filter_free(NULL);
}

/* One of all indexes knows what each of them does; a page that is damaged is noticed. */
static void together(void)
{
    sp_index *indexes[FILTERS];
    sp_filter filter;
    uint8_t name[NAMES];
    uint32_t position;
    for (uint32_t i = 0; i < FILTERS; i++) {
        indexes[i] = index_of(i);
    }
    EXPECT(sp_filter_make((const sp_index *const *)indexes, FILTERS, 1, &filter) == SP_OK);
    for (uint32_t i = 0; i < FILTERS; i++) {
        for (uint32_t id = 0; id < asked_of(i); id++) {
            EXPECT(sp_filter_first(&filter, 0, 1, 1, name, name_of(i, id, name), &position) == SP_OK && position == 0);
        }
    }
    sp_filter_free(&filter);
    indexes[5]->data[SP_INDEX_PAGE * 3 + 100] ^= 1;
    indexes[5]->checked[2] = 0;
    EXPECT(sp_filter_make((const sp_index *const *)indexes, FILTERS, 1, &filter) == SP_E_CORRUPT);
    for (uint32_t i = 0; i < FILTERS; i++) {
        sp_index_free(indexes[i]);
    }
}

int main(void)
{
    many(0);
    many(UINT64_C(0x9e3779b97f4a7c15));
    together();
    return check_done();
}
