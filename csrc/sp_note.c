/* Signed notes that hold a checkpoint (C2SP signed-note and tlog-checkpoint): exactly three lines, a blank one, then 1
 * to 16 signature lines. Every rule is applied to all of the text, so what parses has only this one spelling; whether
 * a signature is true is not asked here. */
#include <string.h>

#include "sp.h"
#include "sp_base64.h"
#include "sp_check.h"
#include "sp_proof.h"
#include "sp_span.h"

enum {
    KEY_ID = 4,
    SIGNATURE_TEXT_MAX = 16384      /* the longest we accept; ML-DSA-44 needs 3,244 */
};

/* One code point of well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF); answers its bytes, 0 if bad. */
static size_t code_point(const uint8_t *text, size_t left, uint32_t *out)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = text[0];
    size_t size = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3
                : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
    if (size == 0 || size > left) {
        return 0;
    }
    uint32_t value = size == 1 ? lead : lead & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (text[i] & 0x3f);
    }
    if (value < smallest[size] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
        return 0;
    }
    *out = value;
    return size;
}

/* White_Space of Unicode, as Go's unicode.IsSpace has it. */
static int is_space(uint32_t point)
{
    return point == ' ' || (point >= 9 && point <= 13) || point == 0x85 || point == 0xa0 || point == 0x1680
        || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 || point == 0x202f
        || point == 0x205f || point == 0x3000;
}

static int check_line(sp_span line, int is_name)
{
    SP_ENSURE(line.size > 0, SP_E_ENCODING);
    for (size_t at = 0; at < line.size;) {
        uint32_t point = 0;
        size_t size = code_point(line.data + at, line.size - at, &point);
        SP_ENSURE(size > 0 && point >= 0x20 && point != 0x7f, SP_E_ENCODING);
        SP_ENSURE(!is_name || (point != '+' && !is_space(point)), SP_E_ENCODING);
        at += size;
    }
    return SP_OK;
}

static int next_line(sp_reader *reader, sp_span *line)
{
    return sp_reader_until(reader, '\n', line) == SP_OK ? SP_OK : SP_E_ENCODING;
}

/* U+2014, space, name, space, base64 of key id and signature */
static int parse_line(sp_reader *reader, sp_note_line *out)
{
    static const char dash[] = "\xe2\x80\x94 ";
    SP_TRY(sp_reader_expect(reader, dash, sizeof dash - 1));
    sp_span line, name, text;
    out->name_at = (uint32_t)reader->at;
    SP_TRY(next_line(reader, &line));
    sp_reader parts = sp_reader_of(line.data, line.size);
    SP_ENSURE(sp_reader_until(&parts, ' ', &name) == SP_OK, SP_E_ENCODING);
    SP_TRY(check_line(name, 1));
    SP_TRY(sp_reader_take(&parts, sp_reader_left(&parts), &text));
    SP_ENSURE(text.size <= SIGNATURE_TEXT_MAX, SP_E_ENCODING);
    uint8_t signature[SIGNATURE_TEXT_MAX / 4 * 3];
    size_t size;
    SP_TRY(sp_base64_decode(text, signature, sizeof signature, &size));
    SP_ENSURE(size > KEY_ID, SP_E_ENCODING);
    out->name_size = (uint32_t)name.size;
    out->signature_at = out->name_at + out->name_size + 1;
    out->signature_size = (uint32_t)text.size;
    memcpy(out->key_id, signature, KEY_ID);
    return SP_OK;
}

int sp_note_parse(const uint8_t *text, size_t size, sp_note *out)
{
    SP_ENSURE(text != NULL || size == 0, SP_E_ARGUMENT);
    SP_ENSURE(size <= SP_PROOF_BYTES_MAX, SP_E_ENCODING);
    sp_reader reader = sp_reader_of(text, size);
    sp_note note;
    memset(&note, 0, sizeof note);
    sp_span origin, decimal, root, blank;
    SP_TRY(next_line(&reader, &origin));
    SP_TRY(check_line(origin, 0));
    note.origin_size = (uint32_t)origin.size;
    SP_TRY(next_line(&reader, &decimal));
    SP_TRY(sp_decimal_decode(decimal, &note.size));
    SP_TRY(next_line(&reader, &root));
    SP_TRY(sp_base64_decode_exact(root, note.root, sizeof note.root));
    note.text_size = (uint32_t)reader.at;
    SP_TRY(next_line(&reader, &blank));
    SP_ENSURE(blank.size == 0, SP_E_ENCODING);
    while (sp_reader_left(&reader) > 0) {
        SP_ENSURE(note.lines < SP_NOTE_LINES_MAX, SP_E_ENCODING);
        SP_TRY(parse_line(&reader, &note.line[note.lines]));
        note.lines++;
    }
    SP_ENSURE(note.lines > 0, SP_E_ENCODING);
    *out = note;
    return SP_OK;
}
