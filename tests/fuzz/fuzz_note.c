/* Any bytes to the parser of signed notes: what it accepts has exactly one spelling, the one that it read. */
#include "fuzz.h"

#include "sp.h"
#include "sp_base64.h"
#include "sp_proof.h"

static size_t put(uint8_t *out, size_t at, const void *data, size_t size)
{
    memcpy(out + at, data, size);
    return at + size;
}

/* The text that says what the note says. */
static size_t spell(const uint8_t *text, const sp_note *note, uint8_t *out)
{
    uint8_t decimal[SP_DECIMAL_MAX], root[64], signature[SP_PROOF_BYTES_MAX];
    size_t at = put(out, 0, text + note->origin_at, note->origin_size);
    at = put(out, at, "\n", 1);
    at = put(out, at, decimal, sp_decimal_encode(note->size, decimal));
    at = put(out, at, "\n", 1);
    sp_base64_encode(note->root, 32, root);
    at = put(out, at, root, sp_base64_size(32));
    at = put(out, at, "\n\n", 2);
    for (uint32_t i = 0; i < note->lines; i++) {
        const sp_note_line *line = &note->line[i];
        sp_span encoded = {.data = text + line->signature_at, .size = line->signature_size};
        size_t size;
        MUST(sp_base64_decode(encoded, signature, sizeof signature, &size) == SP_OK);
        MUST(size > 4 && memcmp(signature, line->key_id, 4) == 0);
        at = put(out, at, "\xe2\x80\x94 ", 4);
        at = put(out, at, text + line->name_at, line->name_size);
        at = put(out, at, " ", 1);
        sp_base64_encode(signature, size, out + at);
        at = put(out, at + sp_base64_size(size), "\n", 1);
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[2 * SP_PROOF_BYTES_MAX];
    sp_note note;
    if (sp_note_parse(data, size, &note) != SP_OK) {
        return 0;
    }
    MUST(size <= SP_PROOF_BYTES_MAX && note.lines >= 1 && note.lines <= SP_NOTE_LINES_MAX);
    MUST(spell(data, &note, again) == size && memcmp(again, data, size) == 0);
    return 0;
}
