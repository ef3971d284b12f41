/* Tree, ranges and proof texts without Python: does everything stay inside its buffers, whatever comes in, and do
 * readers beside an appender see only what is finished? Inputs stand in heap blocks of exactly their size, so that the
 * address sanitizer sees the first byte too far. Whether hashes are the right ones is asked in tests/unit/core. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "sp.h"
#include "sp_base64.h"
#include "sp_merkle.h"
#include "sp_proof.h"

enum { LEAVES = 300, TEXT_MAX = 8192 };

static uint8_t leaves[LEAVES * 32];

static uint8_t *exactly(const void *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    EXPECT(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

static void fill(uint8_t *out, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (uint8_t)(seed >> 56);
    }
}

static void paths_and_ranges(void)
{
    sp_tree *tree;
    EXPECT(sp_tree_open(NULL, NULL, &tree) == SP_OK);
    EXPECT(sp_tree_append(tree, leaves, LEAVES) == SP_OK);
    for (uint64_t size = 1; size <= LEAVES; size += 7) {
        uint8_t root[32], left[64 * 32], right[64 * 32], path[64 * 32], again[64 * 32];
        uint32_t lefts, rights, count, count_again;
        EXPECT(sp_tree_root(tree, size, root) == SP_OK);
        for (uint64_t first = 0; first < size; first += 5) {
            uint64_t items = 1 + (size - first) / 2;
            EXPECT(sp_tree_range(tree, first, items, size, left, &lefts, right, &rights) == SP_OK);
            uint8_t *l = exactly(left, lefts * 32), *r = exactly(right, rights * 32);
            uint8_t *own = exactly(leaves + first * 32, items * 32);
            sp_range *range;
            EXPECT(sp_range_new(own, first, items, size, l, lefts, r, rights, root, &range) == SP_OK);
            for (uint64_t i = 0; i < items; i++) {
                EXPECT(sp_range_path(range, i, path, &count) == SP_OK);
                EXPECT(sp_tree_inclusion(tree, first + i, size, again, &count_again) == SP_OK);
                EXPECT(count == count_again && memcmp(path, again, count * 32) == 0);
                uint8_t *p = exactly(path, count * 32);
                EXPECT(sp_verify_inclusion(own + i * 32, first + i, size, p, count, root) == SP_OK);
                EXPECT(sp_verify_inclusion(own + i * 32, first + i, size + 1024, p, count, root) == SP_E_MISMATCH);
                free(p);
            }
            EXPECT(sp_range_path(range, items, path, &count) == SP_E_BOUNDS);
            sp_range_free(range);
            EXPECT(sp_range_new(own, first, items, UINT64_C(1) << 63, l, lefts, r, rights, root, &range) == SP_E_MISMATCH);
            EXPECT(sp_range_new(own, first, UINT64_MAX, size, l, lefts, r, rights, root, &range) == SP_E_BOUNDS);
            EXPECT(sp_range_new(own, UINT64_MAX, items, size, l, lefts, r, rights, root, &range) == SP_E_BOUNDS);
            free(l);
            free(r);
            free(own);
        }
    }
    sp_tree_free(tree);
}

/* Any numbers with paths of exactly the named length: an answer, never a byte outside. */
static void hostile_numbers(void)
{
    static const uint64_t numbers[] = {0, 1, 2, 3, 5, 64, 299, UINT64_C(1) << 31, (UINT64_C(1) << 62) + 1,
                                       (UINT64_C(1) << 63) - 1, UINT64_C(1) << 63, (UINT64_C(1) << 63) + 1, UINT64_MAX};
    static const uint32_t lengths[] = {0, 1, 2, 62, 63, 64};
    enum { NUMBERS = sizeof numbers / sizeof *numbers, LENGTHS = sizeof lengths / sizeof *lengths };
    for (size_t a = 0; a < NUMBERS; a++) {
        for (size_t b = 0; b < NUMBERS; b++) {
            for (size_t l = 0; l < LENGTHS; l++) {
                uint8_t *path = exactly(leaves, lengths[l] * 32), out[64 * 32];
                uint32_t held = (uint32_t)__builtin_popcountll(numbers[a]), count;
                uint8_t *frontier = exactly(leaves, held * 32);
                EXPECT(sp_verify_inclusion(leaves, numbers[a], numbers[b], path, lengths[l], leaves + 96) != SP_OK);
                EXPECT(sp_verify_consistency(numbers[a], numbers[b], leaves, leaves + 96, path, lengths[l]) != SP_OK);
                EXPECT(sp_frontier_advance(numbers[a], frontier, held, numbers[b], path, lengths[l], leaves + 96, out, &count) != SP_OK);
                free(path);
                free(frontier);
            }
        }
    }
}

static int make_note(char note[512])
{
    uint8_t root[44 + 1] = {0}, signature[92 + 1] = {0};
    sp_base64_encode(leaves, 32, root);
    sp_base64_encode(leaves, 68, signature);
    return snprintf(note, 512, "log.example/a/1\n300\n%s\n\n\xe2\x80\x94 log.example/a/1 %s\n", root, signature);
}

static size_t make_text(uint8_t *out)
{
    static const uint8_t opening[61] = {1};
    char note[512];
    int size = make_note(note);
    size_t written;
    EXPECT(sp_proof_write(opening, 299, leaves, 5, (const uint8_t *)note, (size_t)size, out, TEXT_MAX, &written) == SP_OK);
    EXPECT(sp_proof_write(opening, 299, leaves, 5, (const uint8_t *)note, (size_t)size, out, written - 1, &written) == SP_E_ROOM);
    return written;
}

/* An answer fits into exactly its own size, and into no room that is smaller. */
static void answers(void)
{
    static const uint8_t id[64] = "0123456789", event_id[16] = {1};
    char note[512];
    size_t size = (size_t)make_note(note), whole = 0;
    uint8_t *checkpoint = exactly(note, size);
    sp_tree *tree;
    EXPECT(sp_tree_open(NULL, NULL, &tree) == SP_OK && sp_tree_append(tree, leaves, LEAVES) == SP_OK);
    for (size_t room = TEXT_MAX; room > 0; room = room == TEXT_MAX ? whole : room - 1) {
        uint8_t *out = exactly(leaves, room);
        size_t written = 0;
        int status = sp_answer_write(tree, LEAVES, checkpoint, size, id, sizeof id, event_id, 7, 1, 2, 3, leaves, leaves + 32,
                                     out, room, &written);
        whole = room == TEXT_MAX ? written : whole;
        EXPECT(room >= whole ? status == SP_OK && written == whole : status == SP_E_ROOM && written == 0);
        free(out);
    }
    sp_tree_free(tree);
    free(checkpoint);
}

/* What parses must be written back to the same bytes; all offsets must lie inside. */
static int parse(const uint8_t *text, size_t size)
{
    sp_proof proof;
    uint8_t *copy = exactly(text, size), again[TEXT_MAX + 64];
    int status = sp_proof_parse(copy, size, &proof);
    if (status == SP_OK) {
        size_t written = 0;
        EXPECT((size_t)proof.checkpoint_at + proof.checkpoint_size == size);
        for (uint32_t i = 0; i < proof.note.lines; i++) {
            const sp_note_line *line = &proof.note.line[i];
            EXPECT((size_t)line->name_at + line->name_size < proof.checkpoint_size);
            EXPECT((size_t)line->signature_at + line->signature_size < proof.checkpoint_size);
        }
        EXPECT(sp_proof_write(proof.opening, proof.index, proof.hash, proof.hashes, copy + proof.checkpoint_at,
                              proof.checkpoint_size, again, sizeof again, &written) == SP_OK);
        EXPECT(written == size && memcmp(again, copy, size) == 0);
    } else {
        EXPECT(status == SP_E_ENCODING);
    }
    sp_note note;
    (void)sp_note_parse(copy, size, &note);
    free(copy);
    return status;
}

static void texts(void)
{
    uint8_t text[TEXT_MAX], changed[TEXT_MAX + 64];
    size_t size = make_text(text);
    EXPECT(parse(text, size) == SP_OK);
    for (size_t at = 0; at < size; at++) {
        EXPECT(parse(text, at) == SP_E_ENCODING);
        EXPECT(parse(text + at + 1, size - at - 1) == SP_E_ENCODING);
        for (unsigned value = 0; value < 256; value++) {
            memcpy(changed, text, size);
            changed[at] = (uint8_t)value;
            (void)parse(changed, size);
        }
    }
    for (uint64_t seed = 0; seed < 3000; seed++) {
        memcpy(changed, text, size);
        size_t at = seed * 7919 % size, left = size - at, junk = seed % 61;
        fill(changed + at, junk < left ? junk : left, seed);
        (void)parse(changed, size);
        fill(changed, 200, seed);
        (void)parse(changed, 200);
    }
}

static void base64(void)
{
    uint8_t text[88], back[64];
    for (size_t size = 0; size <= 64; size++) {
        uint8_t *data = exactly(leaves, size);
        sp_base64_encode(data, size, text);
        uint8_t *copy = exactly(text, sp_base64_size(size)), *out = exactly(back, size);
        size_t found;
        EXPECT(sp_base64_decode((sp_span){copy, sp_base64_size(size)}, out, size, &found) == SP_OK);
        EXPECT(found == size && memcmp(out, data, size) == 0);
        EXPECT(size == 0 || sp_base64_decode((sp_span){copy, sp_base64_size(size)}, out, size - 1, &found) == SP_E_ROOM);
        free(data);
        free(copy);
        free(out);
    }
}

/* ---- readers beside an appender ---- */

enum { BLOCKS = 1500 };

static sp_tree *shared;

static void *read_along(void *unused)
{
    (void)unused;
    uint64_t last = 0;
    while (last < (uint64_t)LEAVES * BLOCKS) {
        uint64_t size = sp_tree_size(shared);
        uint8_t root[32], old_root[32], path[64 * 32];
        uint32_t count;
        if (size == 0 || size == last) {
            continue;
        }
        EXPECT(size > last && sp_tree_root(shared, size, root) == SP_OK);
        uint64_t index = size * 7 / 11;
        EXPECT(sp_tree_inclusion(shared, index, size, path, &count) == SP_OK);
        EXPECT(sp_verify_inclusion(leaves + index % LEAVES * 32, index, size, path, count, root) == SP_OK);
        if (last > 0) {
            EXPECT(sp_tree_root(shared, last, old_root) == SP_OK);
            EXPECT(sp_tree_consistency(shared, last, size, path, &count) == SP_OK);
            EXPECT(sp_verify_consistency(last, size, old_root, root, path, count) == SP_OK);
        }
        last = size;
    }
    return NULL;
}

static void readers(void)
{
    pthread_t thread[2];
    EXPECT(sp_tree_open(NULL, NULL, &shared) == SP_OK);
    for (int i = 0; i < 2; i++) {
        EXPECT(pthread_create(&thread[i], NULL, read_along, NULL) == 0);
    }
    for (int i = 0; i < BLOCKS; i++) {
        EXPECT(sp_tree_append(shared, leaves, LEAVES) == SP_OK);
    }
    for (int i = 0; i < 2; i++) {
        EXPECT(pthread_join(thread[i], NULL) == 0);
    }
    sp_tree_free(shared);
}

int main(void)
{
    fill(leaves, sizeof leaves, 1);
    paths_and_ranges();
    hostile_numbers();
    base64();
    texts();
    answers();
    readers();
    return check_done();
}
