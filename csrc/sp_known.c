/* Known requests: see sp_known.h. */
#include "sp_known.h"

#include <stdlib.h>
#include <string.h>

#include "sp_bytes.h"
#include "sp_sha256.h"

static uint64_t hash_of(const sp_known_entry *entry, int which)
{
    return which == SP_KNOWN_KEY ? sp_load_u64le(entry->key) : entry->seq;   /* seqs come one after the other */
}

static uint32_t bucket_of(const sp_known_search *search, uint64_t hash)
{
    uint32_t bucket = (uint32_t)hash & search->mask;
    return bucket < search->buckets ? bucket : bucket & search->mask >> 1;
}

/* One bucket more: it takes over its share of the one that it was part of. */
static void split(sp_known *known, int which)
{
    sp_known_search *search = &known->search[which];
    uint32_t bucket = search->buckets++;
    if (bucket > search->mask) {
        search->mask = search->mask * 2 + 1;
    }
    uint32_t *link = &search->head[bucket & search->mask >> 1], *taken = &search->head[bucket];
    while (*link != 0) {
        sp_known_entry *entry = &known->entry[*link];
        if (((uint32_t)hash_of(entry, which) & search->mask) == bucket) {
            *taken = *link;
            *link = entry->next[which];
            taken = &entry->next[which];
        } else {
            link = &entry->next[which];
        }
    }
    *taken = 0;
}

static void enter(sp_known *known, int which, uint32_t number)
{
    sp_known_search *search = &known->search[which];
    if (++search->entries > search->buckets) {
        split(known, which);
    }
    sp_known_entry *entry = &known->entry[number];
    uint32_t *head = &search->head[bucket_of(search, hash_of(entry, which))];
    entry->next[which] = *head;
    *head = number;
}

/* It need not be there. */
static void leave(sp_known *known, int which, uint32_t number)
{
    sp_known_search *search = &known->search[which];
    uint32_t *link = &search->head[bucket_of(search, hash_of(&known->entry[number], which))];
    while (*link != 0 && *link != number) {
        link = &known->entry[*link].next[which];
    }
    if (*link != 0) {
        *link = known->entry[number].next[which];
        search->entries--;
    }
}

static uint32_t find_key(const sp_known *known, const uint8_t key[16])
{
    const sp_known_search *search = &known->search[SP_KNOWN_KEY];
    uint32_t number = search->head[bucket_of(search, sp_load_u64le(key))];
    while (number != 0 && memcmp(known->entry[number].key, key, 16) != 0) {
        number = known->entry[number].next[SP_KNOWN_KEY];
    }
    return number;
}

static uint32_t find_open(const sp_known *known, uint64_t seq)
{
    const sp_known_search *search = &known->search[SP_KNOWN_SEQ];
    uint32_t number = search->head[bucket_of(search, seq)];
    while (number != 0 && known->entry[number].seq != seq) {
        number = known->entry[number].next[SP_KNOWN_SEQ];
    }
    return number;
}

/* Whether no outcome can change it any more. */
static int is_over(const sp_known_entry *entry)
{
    return entry->state == SP_KNOWN_DONE || entry->state == SP_KNOWN_STOPPED || entry->state == SP_KNOWN_LAPSED;
}

static int is_newer(const sp_known_entry *entry, uint32_t segment, uint32_t offset)
{
    return segment > entry->outcome_segment || (segment == entry->outcome_segment && offset > entry->outcome_offset);
}

static void key_of(const sp_known *known, const uint8_t *who, size_t who_size, uint8_t key[16])
{
    uint8_t hash[SP_SHA256_SIZE];
    sp_sha256_ctx ctx;
    sp_sha256_init(&ctx);
    sp_sha256_update(&ctx, known->secret, sizeof known->secret);
    sp_sha256_update(&ctx, who, who_size);
    sp_sha256_final(&ctx, hash);
    memcpy(key, hash, 16);
}

static void unlink(sp_known *known, uint32_t number)
{
    const sp_known_entry *entry = &known->entry[number];
    *(entry->older != 0 ? &known->entry[entry->older].newer : &known->oldest) = entry->newer;
    *(entry->newer != 0 ? &known->entry[entry->newer].older : &known->newest) = entry->older;
}

static void link_newest(sp_known *known, uint32_t number)
{
    known->entry[number].older = known->newest;
    known->entry[number].newer = 0;
    *(known->newest != 0 ? &known->entry[known->newest].newer : &known->oldest) = number;
    known->newest = number;
}

/* Out of the order and both searches, and free; its seq. */
static uint64_t forget(sp_known *known, uint32_t number)
{
    leave(known, SP_KNOWN_KEY, number);
    leave(known, SP_KNOWN_SEQ, number);
    unlink(known, number);
    known->entry[number].newer = known->free;
    known->free = number;
    known->count--;
    return known->entry[number].seq;
}

/* The number of an entry that is the newest from here on. */
static uint32_t take(sp_known *known)
{
    uint32_t number = known->free;
    if (number != 0) {
        known->free = known->entry[number].newer;
    } else {
        number = known->fresh++;
    }
    link_newest(known, number);
    known->count++;
    return number;
}

int sp_known_new(uint32_t entries_max, const uint8_t secret[16], sp_known **out)
{
    SP_ENSURE(entries_max > 0 && entries_max <= SP_KNOWN_ENTRIES_MAX, SP_E_ARGUMENT);
    sp_known *known = calloc(1, sizeof *known);
    SP_ENSURE(known != NULL, SP_E_MEMORY);
    known->entries_max = entries_max;
    known->fresh = 1;
    memcpy(known->secret, secret, sizeof known->secret);
    known->entry = calloc((size_t)entries_max + 1, sizeof *known->entry);
    int whole = known->entry != NULL;
    for (int which = 0; which < SP_KNOWN_SEARCHES; which++) {
        known->search[which].buckets = 1;
        known->search[which].head = calloc(entries_max, sizeof(uint32_t));
        whole = whole && known->search[which].head != NULL;
    }
    if (!whole) {
        sp_known_free(known);
        return SP_E_MEMORY;
    }
    *out = known;
    return SP_OK;
}

void sp_known_free(sp_known *known)
{
    if (known != NULL) {
        for (int which = 0; which < SP_KNOWN_SEARCHES; which++) {
            free(known->search[which].head);
        }
        free(known->entry);
        free(known);
    }
}

uint32_t sp_known_count(const sp_known *known)
{
    return known->count;
}

int sp_known_find(const sp_known *known, const uint8_t *who, size_t who_size, sp_known_request *out)
{
    uint8_t key[16];
    key_of(known, who, who_size, key);
    uint32_t number = find_key(known, key);
    SP_ENSURE(number != 0, SP_E_END);
    const sp_known_entry *entry = &known->entry[number];
    *out = (sp_known_request){
        .seq = entry->seq, .first_leaf = entry->first_leaf, .time_ns = entry->time_ns, .segment = entry->segment,
        .offset = entry->offset, .outcome_segment = entry->outcome_segment, .outcome_offset = entry->outcome_offset,
        .count = entry->count, .done = entry->done, .state = entry->state, .direct = entry->direct,
    };
    memcpy(out->same, entry->same, sizeof out->same);
    return SP_OK;
}

int sp_known_add(sp_known *known, const uint8_t *who, size_t who_size, const uint8_t same[16], uint64_t seq,
                 uint64_t first_leaf, uint32_t count, uint64_t time_ns, uint32_t segment, uint32_t offset, uint8_t direct,
                 uint64_t gone[2], uint32_t *gone_count)
{
    SP_ENSURE(count <= SP_KNOWN_COUNT_MAX, SP_E_BOUNDS);
    uint8_t key[16];
    key_of(known, who, who_size, key);
    *gone_count = 0;
    uint32_t former = find_key(known, key);
    if (former != 0) {
        gone[(*gone_count)++] = forget(known, former);
    }
    if (known->count == known->entries_max) {
        gone[(*gone_count)++] = forget(known, known->oldest);
    }
    uint32_t number = take(known);
    sp_known_entry *entry = &known->entry[number];
    memcpy(entry->key, key, sizeof entry->key);
    memcpy(entry->same, same, sizeof entry->same);
    entry->seq = seq;
    entry->first_leaf = first_leaf;
    entry->time_ns = time_ns;
    entry->segment = segment;
    entry->offset = offset;
    entry->outcome_segment = entry->outcome_offset = entry->done = 0;
    entry->count = count & SP_KNOWN_COUNT_MAX;
    entry->state = SP_KNOWN_PENDING;
    entry->direct = direct != 0;
    enter(known, SP_KNOWN_KEY, number);
    enter(known, SP_KNOWN_SEQ, number);
    return SP_OK;
}

int sp_known_settle(sp_known *known, uint64_t seq, uint8_t state, uint32_t done, uint32_t segment, uint32_t offset,
                    uint32_t former[2])
{
    uint32_t number = find_open(known, seq);
    SP_ENSURE(number != 0 && is_newer(&known->entry[number], segment, offset), SP_E_END);
    sp_known_entry *entry = &known->entry[number];
    entry->done += done;
    if (entry->done >= entry->count) {
        state = SP_KNOWN_DONE;
    }
    if (entry->state != SP_KNOWN_UNKNOWN || state == SP_KNOWN_DONE) {
        entry->state = state & 7; /* one unknown item keeps the whole request unknown */
    }
    former[0] = entry->outcome_segment;
    former[1] = entry->outcome_offset;
    entry->outcome_segment = segment;
    entry->outcome_offset = offset;
    if (is_over(entry)) {
        leave(known, SP_KNOWN_SEQ, number);
    }
    return SP_OK;
}

int sp_known_forget(sp_known *known, const uint8_t *who, size_t who_size, uint64_t *gone)
{
    uint8_t key[16];
    key_of(known, who, who_size, key);
    uint32_t number = find_key(known, key);
    SP_ENSURE(number != 0, SP_E_END);
    *gone = forget(known, number);
    return SP_OK;
}

void sp_known_leave(sp_known *known, uint32_t segment, uint64_t since_ns, uint64_t settled_ns, uint32_t looks,
                    uint64_t *gone, uint32_t *gone_count)
{
    *gone_count = 0;
    for (; looks > 0 && known->oldest != 0; looks--) {
        uint32_t number = known->oldest;
        const sp_known_entry *entry = &known->entry[number];
        int below = entry->segment < segment;
        int settled = is_over(entry) || (entry->state != SP_KNOWN_PENDING && entry->time_ns < settled_ns);
        if (entry->time_ns < since_ns || (below && settled && entry->outcome_segment < segment)) {
            gone[(*gone_count)++] = forget(known, number);
        } else if (below) {
            unlink(known, number);
            link_newest(known, number);
        } else {
            break;
        }
    }
}
