/* The module table: this library stands between python-pkcs11 and the vendor's module.
 *
 * python-pkcs11 calls C_Initialize(NULL), which tells a module that there is one thread only, and then uses threads. So
 * it loads this library instead; C_GetFunctionList hands out the vendor's table with C_Initialize replaced by one that
 * always demands locking. The same table serves the signing loop, because a module such as p11-kit gives each caller of
 * C_GetFunctionList an instance of its own, and sessions of one are unknown to the other.
 *
 * A module that has no locks is entered by one thread at a time, whoever calls: threads that sign, the one that mends, those
 * that look how the token is.
 *
 * A child of fork shares the token's connection with its parent, which no module copes with: every way in is refused
 * there, by comparing process ids. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sp_p11.h"

enum { PATH_MAX_BYTES = 4096, RESERVED_MAX_BYTES = 1024, ERROR_MAX_BYTES = 512 };

static struct {
    pthread_mutex_t lock;
    pid_t owner;                        /* 0: nothing opened */
    char path[PATH_MAX_BYTES], reserved[RESERVED_MAX_BYTES], error[ERROR_MAX_BYTES];
    ck_function_list own;               /* the vendor's table, whole */
    const ck_function_list *vendor;     /* the same, or in_turn in front of it */
    ck_function_list table;             /* vendor, with our entries */
    int initialized, single_threaded;
    atomic_int held;
} module = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int owned(void)
{
    return module.owner == getpid();
}

int sp_p11_table(const ck_function_list **out)
{
    SP_ENSURE(module.owner != 0, SP_E_MODULE);
    SP_ENSURE(owned(), SP_E_FORKED);
    *out = module.vendor;
    return SP_OK;
}

int sp_p11_answer(ck_rv rv, uint64_t *out)
{
    if (out != NULL) {
        *out = rv;
    }
    return rv == CKR_OK ? SP_OK : SP_E_TOKEN;
}

void sp_p11_hold(int change)
{
    atomic_fetch_add(&module.held, change);
}

/* What a vendor left out of his table, where every function has to stand: an answer, and no jump to nowhere. */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define ABSENT(name, parameters, arguments)             \
    static ck_rv absent_##name parameters               \
    {                                                   \
        return CKR_FUNCTION_NOT_SUPPORTED;              \
    }
CK_FUNCTIONS(ABSENT)
#undef ABSENT
#pragma GCC diagnostic pop

static void make_whole(ck_function_list *table)
{
#define FILL(name, parameters, arguments) table->name = table->name != NULL ? table->name : absent_##name;
    CK_FUNCTIONS(FILL)
#undef FILL
}

/* The way into a module that has no locks. */

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define IN_TURN(name, parameters, arguments)            \
    static ck_rv in_turn_##name parameters              \
    {                                                   \
        pthread_mutex_lock(&turn);                      \
        ck_rv rv = module.own.name arguments;           \
        pthread_mutex_unlock(&turn);                    \
        return rv;                                      \
    }
CK_FUNCTIONS(IN_TURN)
#undef IN_TURN

static const ck_function_list in_turn = {
    .version = {2, 40},
#define IN_TURN(name, parameters, arguments) .name = in_turn_##name,
    CK_FUNCTIONS(IN_TURN)
#undef IN_TURN
};

/* Our entries. Those that python-pkcs11 begins anything with refuse a fork; the rest need a session that these gave. */

static void lay_table(const ck_function_list *vendor);

static ck_rv initialize_once(void)
{
    ck_initialize_args args = {.flags = CKF_OS_LOCKING_OK};
    args.reserved = module.reserved[0] != '\0' ? module.reserved : NULL;
    ck_rv rv = module.vendor->C_Initialize(&args);
    if (rv != CKR_CANT_LOCK) {
        return rv;
    }
    module.single_threaded = 1;         /* it has no locks: the pool gets one session */
    lay_table(&in_turn);
    args.flags = 0;
    return module.vendor->C_Initialize(&args);
}

static ck_rv our_initialize(void *ignored)
{
    (void)ignored;
    if (!owned()) {
        return CKR_GENERAL_ERROR;
    }
    pthread_mutex_lock(&module.lock);
    ck_rv rv = module.initialized ? CKR_OK : initialize_once();
    if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) {
        rv = CKR_GENERAL_ERROR;         /* somebody else did, perhaps without locks */
    }
    module.initialized = rv == CKR_OK;
    pthread_mutex_unlock(&module.lock);
    return rv;
}

static ck_rv our_finalize(void *reserved)
{
    if (!owned()) {
        return CKR_OK;                  /* an interpreter that ends in a child must not end its parent's sessions */
    }
    pthread_mutex_lock(&module.lock);
    ck_rv rv = CKR_OK;
    if (atomic_load(&module.held) == 0 && module.initialized) {
        rv = module.vendor->C_Finalize(reserved);
        module.initialized = 0;
    }
    pthread_mutex_unlock(&module.lock);
    return rv;
}

static ck_rv our_get_function_list(ck_function_list **list)
{
    if (list == NULL) {
        return CKR_ARGUMENTS_BAD;
    }
    if (!owned()) {
        return CKR_GENERAL_ERROR;
    }
    *list = &module.table;
    return CKR_OK;
}

static ck_rv our_open_session(ck_slot slot, ck_flags flags, void *application, void *notify, ck_session *session)
{
    return owned() ? module.vendor->C_OpenSession(slot, flags, application, notify, session) : CKR_GENERAL_ERROR;
}

static ck_rv our_login(ck_session session, ck_ulong user, ck_byte *pin, ck_ulong size)
{
    return owned() ? module.vendor->C_Login(session, user, pin, size) : CKR_GENERAL_ERROR;
}

static ck_rv our_sign_init(ck_session session, ck_mechanism *mechanism, ck_object key)
{
    return owned() ? module.vendor->C_SignInit(session, mechanism, key) : CKR_GENERAL_ERROR;
}

static ck_rv our_sign(ck_session session, ck_byte *data, ck_ulong size, ck_byte *out, ck_ulong *out_size)
{
    return owned() ? module.vendor->C_Sign(session, data, size, out, out_size) : CKR_GENERAL_ERROR;
}

/* The name that every loader of a PKCS#11 module asks for. */
__attribute__((visibility("default"))) ck_rv C_GetFunctionList(ck_function_list **list);
ck_rv C_GetFunctionList(ck_function_list **list)
{
    return our_get_function_list(list);
}

/* Whoever asked for our table keeps its address. */
static void lay_table(const ck_function_list *vendor)
{
    module.vendor = vendor;
    module.table = *vendor;
    module.table.C_Initialize = our_initialize;
    module.table.C_Finalize = our_finalize;
    module.table.C_GetFunctionList = our_get_function_list;
    module.table.C_OpenSession = our_open_session;
    module.table.C_Login = our_login;
    module.table.C_SignInit = our_sign_init;
    module.table.C_Sign = our_sign;
}

static int fail(const char *text)
{
    snprintf(module.error, sizeof module.error, "%s", text != NULL ? text : "");
    return SP_E_MODULE;
}

static int load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);    /* for the life of the process */
    if (library == NULL) {
        return fail(dlerror());
    }
    void *symbol = dlsym(library, "C_GetFunctionList");
    if (symbol == NULL) {
        return fail("it exports no C_GetFunctionList: not a PKCS#11 module");
    }
    ck_rv (*get)(ck_function_list **);
    memcpy(&get, &symbol, sizeof get);
    if (get == C_GetFunctionList) {
        return fail("this is the core itself");
    }
    ck_function_list *list = NULL;
    if (get(&list) != CKR_OK || list == NULL) {
        return fail("C_GetFunctionList failed");
    }
    if (list->version.major != 2) {
        return fail("its function list is not of version 2");
    }
    module.own = *list;
    make_whole(&module.own);
    lay_table(&module.own);
    return SP_OK;
}

static int open_locked(const char *path, const char *reserved)
{
    if (module.owner != 0) {
        SP_ENSURE(owned(), SP_E_FORKED);
        return strcmp(module.path, path) == 0 && strcmp(module.reserved, reserved) == 0
                   ? SP_OK
                   : fail("another module is open: one process, one module");
    }
    module.error[0] = '\0';
    SP_TRY(load(path));
    strcpy(module.path, path);
    strcpy(module.reserved, reserved);
    module.owner = getpid();
    return SP_OK;
}

int sp_p11_open(const char *path, const char *reserved)
{
    SP_ENSURE(path != NULL, SP_E_ARGUMENT);
    reserved = reserved != NULL ? reserved : "";
    SP_ENSURE(strlen(path) < PATH_MAX_BYTES && strlen(reserved) < RESERVED_MAX_BYTES, SP_E_BOUNDS);
    SP_ENSURE(module.owner == 0 || owned(), SP_E_FORKED);   /* before the lock, which a child may find held for ever */
    pthread_mutex_lock(&module.lock);
    int status = open_locked(path, reserved);
    pthread_mutex_unlock(&module.lock);
    return status;
}

const char *sp_p11_last_error(void)
{
    return module.error;
}

int sp_p11_single_threaded(void)
{
    return module.single_threaded;
}

int sp_p11_initialize(uint64_t *rv)
{
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    return sp_p11_answer(our_initialize(NULL), rv);
}

int sp_p11_finalize(uint64_t *rv)
{
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    SP_ENSURE(atomic_load(&module.held) == 0, SP_E_BUSY);
    return sp_p11_answer(our_finalize(NULL), rv);
}

int sp_p11_token_flags(uint64_t slot, uint64_t *flags, uint64_t *session_max, uint64_t *rv)
{
    SP_ENSURE(flags != NULL && session_max != NULL, SP_E_ARGUMENT);
    const ck_function_list *table;
    SP_TRY(sp_p11_table(&table));
    ck_token_info info;
    memset(&info, 0, sizeof info);
    SP_TRY(sp_p11_answer(table->C_GetTokenInfo(slot, &info), rv));
    *flags = info.flags;
    *session_max = info.session_max;
    return SP_OK;
}
