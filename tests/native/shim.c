/* A PKCS#11 module for tests: passes every call on to a real module, counts it, and lets C_Sign take longer.
 *
 *     SEALPRESS_SHIM_MODULE     the real module
 *     SEALPRESS_SHIM_COUNTERS   a file of sizeof(shim_page) bytes, shared with the test (tests/kit/shim.py)
 *
 * Built when tests run; never installed. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sp_pkcs11.h"

enum { FUNCTIONS = 68, SETTINGS = 60 };

enum shim_function {
#define SHIM_INDEX(name, parameters, arguments) SHIM_##name,
    CK_FUNCTIONS(SHIM_INDEX)
#undef SHIM_INDEX
};

typedef struct shim_page {
    uint64_t calls[FUNCTIONS];
    uint64_t sign_delay_us;             /* before C_Sign is passed on */
    uint64_t initialize_flags;          /* of the last C_Initialize, all ones for NULL */
    uint64_t settings[SETTINGS - 2];    /* room for faults */
} shim_page;

SP_STATIC_ASSERT(sizeof(shim_page) == 1024);

static ck_function_list *real;
static shim_page *page;

static ck_rv enter(enum shim_function function)
{
    __atomic_add_fetch(&page->calls[function], 1, __ATOMIC_RELAXED);
    if (function == SHIM_C_Sign) {
        uint64_t delay_us = __atomic_load_n(&page->sign_delay_us, __ATOMIC_RELAXED);
        if (delay_us > 0) {
            usleep((useconds_t)delay_us);
        }
    }
    return CKR_OK;
}

static void note_initialize(const ck_initialize_args *args)
{
    __atomic_store_n(&page->initialize_flags, args != NULL ? args->flags : UINT64_MAX, __ATOMIC_RELAXED);
}

#define SHIM_WRAPPER(name, parameters, arguments)   \
    static ck_rv shim_##name parameters             \
    {                                               \
        ck_rv rv = enter(SHIM_##name);              \
        return rv == CKR_OK ? real->name arguments : rv; \
    }
CK_FUNCTIONS(SHIM_WRAPPER)
#undef SHIM_WRAPPER

static ck_rv shim_initialize(void *args)
{
    note_initialize(args);
    return shim_C_Initialize(args);
}

static ck_function_list table = {
    .version = {2, 40},
#define SHIM_MEMBER(name, parameters, arguments) .name = shim_##name,
    CK_FUNCTIONS(SHIM_MEMBER)
#undef SHIM_MEMBER
};

static int open_real(void)
{
    const char *path = getenv("SEALPRESS_SHIM_MODULE");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;
    ck_rv (*get)(ck_function_list **);
    if (symbol == NULL) {
        return 0;
    }
    memcpy(&get, &symbol, sizeof get);
    return get(&real) == CKR_OK;
}

static int open_page(void)
{
    const char *path = getenv("SEALPRESS_SHIM_COUNTERS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return 0;
    }
    void *map = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    page = map;
    return map != MAP_FAILED;
}

ck_rv C_GetFunctionList(ck_function_list **list);
ck_rv C_GetFunctionList(ck_function_list **list)
{
    if (real == NULL && !(open_page() && open_real())) {
        return CKR_GENERAL_ERROR;
    }
    table.C_Initialize = shim_initialize;
    enter(SHIM_C_GetFunctionList);
    *list = &table;
    return CKR_OK;
}
