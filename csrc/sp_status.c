/* Names and texts of every status, from the one list in sp_status.h. */
#include "sp.h"

typedef struct status_entry {
    int code;
    const char *name;
    const char *text;
} status_entry;

static const status_entry entries[] = {
#define STATUS_ENTRY(code, name, text) {(code), #name, (text)},
    SP_STATUS_LIST(STATUS_ENTRY)
#undef STATUS_ENTRY
};

enum { ENTRY_COUNT = sizeof entries / sizeof entries[0] };

static const status_entry *find(int status)
{
    for (int i = 0; i < ENTRY_COUNT; i++) {
        if (entries[i].code == status) {
            return &entries[i];
        }
    }
    return NULL;
}

const char *sp_status_name(int status)
{
    const status_entry *entry = find(status);
    return entry != NULL ? entry->name : "SP_E_UNKNOWN";
}

const char *sp_status_text(int status)
{
    const status_entry *entry = find(status);
    return entry != NULL ? entry->text : "a status that this build of the core does not know";
}

int sp_status_count(void)
{
    return ENTRY_COUNT;
}

int sp_status_at(int position)
{
    return position >= 0 && position < ENTRY_COUNT ? entries[position].code : SP_E_BOUNDS;
}
