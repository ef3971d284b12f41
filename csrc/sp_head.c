/* Strict MessagePack of heads: a table of field kinds per record type, and one reader for each kind. */
#include "sp_head.h"

#include <string.h>

#include "sp.h"
#include "sp_bytes.h"
#include "sp_frame.h"
#include "sp_leaf.h"

typedef enum field {
    END,
    BYTES, BYTES32, DIGEST,                     /* binary: any length, 32, at most 64 bytes */
    TEXT, NATURAL, COUNT, BOOLEAN,              /* COUNT has 32 bits */
    LINE, KEY_ID, MODE, FORMAT, ALGORITHM, SECURITY_VERSION, STATUS, TREE_SIZE,
    EVENT_ID, REQUEST_ID, IDENTITY, EVENT_KIND, CHECKPOINT, HASHES,
    ARTIFACT, CLAIMS, FIELDS, REFS, BLOBS       /* arrays */
} field;

static const uint8_t request[] = {
    EVENT_ID, REQUEST_ID, IDENTITY, BYTES, LINE, KEY_ID, MODE, FORMAT, ALGORITHM, BYTES32, SECURITY_VERSION, ARTIFACT,
    TEXT, BYTES32, TEXT, TEXT, NATURAL, BOOLEAN, TEXT, TEXT, TEXT, TEXT, TEXT, CLAIMS, BYTES, TEXT, TEXT, FIELDS, TEXT,
    END,
};
static const uint8_t outcome[] = {
    REFS, LINE, KEY_ID, STATUS, NATURAL, NATURAL, TEXT, TREE_SIZE, CHECKPOINT, BLOBS, HASHES, NATURAL, END,
};
static const uint8_t refusal[] = {
    EVENT_ID, REQUEST_ID, IDENTITY, BYTES, TEXT, TEXT, DIGEST, COUNT, NATURAL, BYTES32, NATURAL, TEXT, TEXT, TEXT, TEXT,
    FIELDS, TEXT, END,
};
static const uint8_t governance[] = {EVENT_KIND, BYTES, BYTES32, TEXT, END};
static const uint8_t recovery[] = {EVENT_KIND, NATURAL, NATURAL, NATURAL, TEXT, BYTES, NATURAL, NATURAL, END};

static const uint8_t *const events[] = {
    [SP_FRAME_REQUEST] = request,
    [SP_FRAME_OUTCOME] = outcome,
    [SP_FRAME_REFUSAL] = refusal,
    [SP_FRAME_GOVERNANCE] = governance,
    [SP_FRAME_RECOVERY] = recovery,
};

static const char *const modes[] = {"proof", "direct", NULL};
static const char *const formats[] = {"tlog-proof", "ecdsa-der", "rsa-pkcs1v15", "rsa-pss", NULL};
static const char *const statuses[] = {"sealed", "signed", "partial", "unknown", "stopped", "lapsed", NULL};

/* ---- the forms of MessagePack that occur -------------------------------------- */

/* As sp_reader_take and sp_reader_u8, for a reader that is made and moved in this file only; a head has some forty
 * fields, and a call for each would cost more than their hash. */
static inline int take(sp_reader *reader, size_t size, sp_span *out)
{
    SP_ENSURE(size <= reader->size - reader->at, SP_E_BOUNDS);
    *out = (sp_span){reader->data + reader->at, size};
    reader->at += size;
    return SP_OK;
}

static inline int take_byte(sp_reader *reader, uint8_t *out)
{
    SP_ENSURE(reader->at < reader->size, SP_E_BOUNDS);
    *out = reader->data[reader->at++];
    return SP_OK;
}

/* A number of 8 << width_log2 bits that would not have fitted into the form below it. */
static int wide(sp_reader *reader, unsigned width_log2, uint64_t least, uint64_t *out)
{
    sp_span bytes;
    uint64_t value = 0;
    SP_TRY(take(reader, (size_t)1 << width_log2, &bytes));
    for (size_t i = 0; i < bytes.size; i++) {
        value = value << 8 | bytes.data[i];
    }
    SP_ENSURE(value >= least, SP_E_ENCODING);
    *out = value;
    return SP_OK;
}

static int natural(sp_reader *reader, uint64_t max, uint64_t *out)
{
    static const uint64_t least[] = {UINT64_C(1) << 7, UINT64_C(1) << 8, UINT64_C(1) << 16, UINT64_C(1) << 32};
    uint8_t form;
    uint64_t value;
    SP_TRY(take_byte(reader, &form));
    if (form < 0x80) {
        value = form;
    } else {
        SP_ENSURE(form >= 0xcc && form <= 0xcf, SP_E_ENCODING);
        SP_TRY(wide(reader, form - 0xccu, least[form - 0xcc], &value));
    }
    SP_ENSURE(value <= max, SP_E_ENCODING);
    *out = value;
    return SP_OK;
}

static int binary(sp_reader *reader, size_t min, size_t max, sp_span *out)
{
    static const uint64_t least[] = {0, UINT64_C(1) << 8, UINT64_C(1) << 16};
    uint8_t form;
    uint64_t size;
    SP_TRY(take_byte(reader, &form));
    SP_ENSURE(form >= 0xc4 && form <= 0xc6, SP_E_ENCODING);
    SP_TRY(wide(reader, form - 0xc4u, least[form - 0xc4], &size));
    SP_ENSURE(size >= min && size <= max, SP_E_ENCODING);
    return take(reader, (size_t)size, out);
}

static int array(sp_reader *reader, uint32_t *out)
{
    uint8_t form;
    uint64_t count;
    SP_TRY(take_byte(reader, &form));
    if (form >= 0x90 && form < 0xa0) {
        count = form & 0x0fu;
    } else {
        SP_ENSURE(form == 0xdc || form == 0xdd, SP_E_ENCODING);
        SP_TRY(wide(reader, form - 0xdbu, form == 0xdc ? 16 : UINT64_C(1) << 16, &count));
    }
    SP_ENSURE(count <= sp_reader_left(reader), SP_E_ENCODING);  /* an item takes at least a byte */
    *out = (uint32_t)count;
    return SP_OK;
}

static int array_of(sp_reader *reader, uint32_t expected)
{
    uint32_t count;
    SP_TRY(array(reader, &count));
    SP_ENSURE(count == expected, SP_E_ENCODING);
    return SP_OK;
}

/* Bytes of the UTF-8 character at `at`, 0 if there is none: no overlong form, no surrogate, nothing above U+10FFFF. */
static size_t character(sp_span text, size_t at)
{
    const uint8_t *c = text.data + at;
    size_t left = text.size - at;
    uint8_t low = 0x80, high = 0xbf;
    size_t size = c[0] < 0x80 ? 1 : c[0] >= 0xc2 && c[0] < 0xe0 ? 2 : c[0] >= 0xe0 && c[0] < 0xf0 ? 3 : 4;
    if (size == 1) {
        return 1;
    }
    if (c[0] < 0xc2 || c[0] > 0xf4 || left < size) {
        return 0;
    }
    low = c[0] == 0xe0 ? 0xa0 : c[0] == 0xf0 ? 0x90 : low;
    high = c[0] == 0xed ? 0x9f : c[0] == 0xf4 ? 0x8f : high;
    if (c[1] < low || c[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((c[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

static int utf8(sp_span text)
{
    for (size_t at = 0; at < text.size;) {
        if (text.data[at] < 0x80 && text.size - at < 8) {
            at++;
            continue;
        }
        if (text.size - at >= 8 && (sp_load_u64le(text.data + at) & UINT64_C(0x8080808080808080)) == 0) {
            at += 8;
            continue;
        }
        size_t step = character(text, at);
        SP_ENSURE(step > 0, SP_E_ENCODING);
        at += step;
    }
    return SP_OK;
}

static int text(sp_reader *reader, sp_span *out)
{
    static const uint64_t least[] = {32, UINT64_C(1) << 8, UINT64_C(1) << 16};
    uint8_t form;
    uint64_t size;
    SP_TRY(take_byte(reader, &form));
    if (form >= 0xa0 && form < 0xc0) {
        size = form & 0x1fu;
    } else {
        SP_ENSURE(form >= 0xd9 && form <= 0xdb, SP_E_ENCODING);
        SP_TRY(wide(reader, form - 0xd9u, least[form - 0xd9], &size));
    }
    SP_TRY(take(reader, (size_t)size, out));
    return utf8(*out);
}

static int boolean(sp_reader *reader)
{
    uint8_t form;
    SP_TRY(take_byte(reader, &form));
    SP_ENSURE(form == 0xc2 || form == 0xc3, SP_E_ENCODING);
    return SP_OK;
}

static int one_of(sp_reader *reader, const char *const *words, uint8_t *out)
{
    sp_span word;
    SP_TRY(text(reader, &word));
    for (uint8_t i = 0; words[i] != NULL; i++) {
        if (strlen(words[i]) == word.size && memcmp(words[i], word.data, word.size) == 0) {
            *out = i;
            return SP_OK;
        }
    }
    return SP_E_ENCODING;
}

/* ---- fields ------------------------------------------------------------------------ */

static int texts(sp_reader *reader, uint32_t count)
{
    sp_span ignored;
    for (uint32_t i = 0; i < count; i++) {
        SP_TRY(text(reader, &ignored));
    }
    return SP_OK;
}

/* An array's item: claim (name, value), field (name, expected, presented, ok), part of a request, signature. */
static int item(sp_reader *reader, field kind, sp_head *out)
{
    sp_head_ref ref;
    sp_span bytes;
    switch (kind) {
    case CLAIMS:
        SP_TRY(array_of(reader, 2));
        return texts(reader, 2);
    case FIELDS:
        SP_TRY(array_of(reader, 4));
        SP_TRY(texts(reader, 3));
        return boolean(reader);
    case REFS:
        return sp_head_next_ref(reader, &ref);
    default:
        SP_TRY(binary(reader, 0, UINT32_MAX, &bytes));
        out->any_signature |= bytes.size > 0;
        return SP_OK;
    }
}

static int items(sp_reader *reader, field kind, sp_head *out)
{
    uint32_t count;
    SP_TRY(array(reader, &count));
    if (kind == REFS) {
        out->refs = count;
        out->ref = *reader;
    }
    for (uint32_t i = 0; i < count; i++) {
        SP_TRY(item(reader, kind, out));
    }
    return SP_OK;
}

static int artifact(sp_reader *reader)
{
    uint64_t size;
    SP_TRY(array_of(reader, 4));
    SP_TRY(texts(reader, 2));
    SP_TRY(natural(reader, UINT64_MAX, &size));
    return texts(reader, 1);
}

static int small(sp_reader *reader, uint64_t min, uint64_t max, uint32_t *out)
{
    uint64_t value;
    SP_TRY(natural(reader, max, &value));
    SP_ENSURE(value >= min, SP_E_ENCODING);
    *out = (uint32_t)value;
    return SP_OK;
}

static int read_field(sp_reader *reader, field kind, sp_head *out)
{
    sp_span bytes;
    uint64_t number;
    uint32_t value;
    uint8_t word;
    switch (kind) {
    case BYTES: return binary(reader, 0, UINT32_MAX, &bytes);
    case BYTES32: return binary(reader, 32, 32, &bytes);
    case DIGEST: return binary(reader, 0, 64, &out->digest);
    case CHECKPOINT: return binary(reader, 0, UINT32_MAX, &out->checkpoint);
    case HASHES: return binary(reader, 0, UINT32_MAX, &out->hashes);
    case TEXT: return text(reader, &bytes);
    case NATURAL: return natural(reader, UINT64_MAX, &number);
    case COUNT: return natural(reader, UINT32_MAX, &number);
    case BOOLEAN: return boolean(reader);
    case LINE: return text(reader, &out->line);
    case REQUEST_ID: return text(reader, &out->request_id);
    case IDENTITY: return text(reader, &out->identity);
    case EVENT_KIND: return text(reader, &out->event_kind);
    case FORMAT: return one_of(reader, formats, &word);
    case SECURITY_VERSION: return small(reader, 0, UINT32_MAX, &out->security_version);
    case STATUS: return one_of(reader, statuses, &out->status);
    case TREE_SIZE: return natural(reader, UINT64_MAX, &out->tree_size);
    case ARTIFACT: return artifact(reader);
    case KEY_ID:
        SP_TRY(binary(reader, 32, 32, &bytes));
        out->key_id = bytes.data;
        return SP_OK;
    case EVENT_ID:
        SP_TRY(binary(reader, 16, 16, &bytes));
        out->event_id = bytes.data;
        return SP_OK;
    case MODE:
        SP_TRY(one_of(reader, modes, &word));
        out->kind = word == 0 ? SP_LEAF_PROOF : SP_LEAF_DIRECT;
        return SP_OK;
    case ALGORITHM:
        SP_TRY(small(reader, 1, 3, &value));
        out->algorithm = (uint8_t)value;
        return SP_OK;
    default:
        return items(reader, kind, out);
    }
}

static int read_event(sp_reader *reader, const uint8_t *fields, sp_head *out)
{
    SP_TRY(array_of(reader, (uint32_t)strlen((const char *)fields)));
    for (; *fields != END; fields++) {
        SP_TRY(read_field(reader, (field)*fields, out));
    }
    return SP_OK;
}

static int read_head(sp_reader *reader, const uint8_t *fields, sp_head *out)
{
    sp_span bytes;
    SP_TRY(array_of(reader, 5));
    SP_TRY(binary(reader, 16, 16, &bytes));
    SP_TRY(read_event(reader, fields, out));
    SP_TRY(natural(reader, UINT64_MAX, &out->first_leaf));
    SP_TRY(small(reader, 1, UINT32_MAX, &out->count));
    SP_TRY(binary(reader, 32, 32, &bytes));
    out->items_root = bytes.data;
    SP_ENSURE(sp_reader_left(reader) == 0, SP_E_ENCODING);
    return SP_OK;
}

int sp_head_read(uint8_t type, uint16_t version, sp_span head, sp_head *out)
{
    SP_ENSURE(type >= SP_FRAME_REQUEST && type <= SP_FRAME_RECOVERY, SP_E_ENCODING);
    SP_ENSURE(version == SP_HEAD_VERSION, SP_E_VERSION);
    SP_ENSURE(head.size > 0, SP_E_ENCODING);
    sp_head found = {0};
    sp_reader reader = sp_reader_of(head.data, head.size);
    SP_ENSURE(read_head(&reader, events[type], &found) == SP_OK, SP_E_ENCODING);
    *out = found;
    return SP_OK;
}

int sp_head_check(uint8_t type, uint16_t version, const uint8_t *head, size_t size)
{
    sp_head ignored;
    SP_ENSURE(head != NULL || size == 0, SP_E_ARGUMENT);
    return sp_head_read(type, version, (sp_span){head, size}, &ignored);
}

int sp_head_next_ref(sp_reader *ref, sp_head_ref *out)
{
    SP_TRY(array_of(ref, 3));
    SP_TRY(natural(ref, UINT64_MAX, &out->seq));
    SP_TRY(natural(ref, UINT64_MAX, &out->first_leaf));
    return small(ref, 0, UINT32_MAX, &out->count);
}
