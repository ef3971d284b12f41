/* The module itself: its function table, and the way of each call through rules, handles and the real module. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim.h"

shim_page *shim_shared;
ck_function_list *shim_real;

/* Addresses of up to eight parameters, from the parenthesised list of their names. */
#define AT1(a) &a
#define AT2(a, ...) &a, AT1(__VA_ARGS__)
#define AT3(a, ...) &a, AT2(__VA_ARGS__)
#define AT4(a, ...) &a, AT3(__VA_ARGS__)
#define AT5(a, ...) &a, AT4(__VA_ARGS__)
#define AT6(a, ...) &a, AT5(__VA_ARGS__)
#define AT7(a, ...) &a, AT6(__VA_ARGS__)
#define AT8(a, ...) &a, AT7(__VA_ARGS__)
#define AT_PICK(a, b, c, d, e, f, g, h, macro, ...) macro
#define AT(...) AT_PICK(__VA_ARGS__, AT8, AT7, AT6, AT5, AT4, AT3, AT2, AT1, )(__VA_ARGS__)

/* Held for reading while the real module works, so that no session is taken away under a thread's feet. */
static pthread_rwlock_t gate;

static void count(const shim_call *call)
{
    __atomic_add_fetch(&shim_shared->calls[call->function], 1, __ATOMIC_RELAXED);
    if (call->function == SHIM_C_Sign) {
        const ck_session *session = call->at[0];
        __atomic_add_fetch(&shim_shared->signs[*session % SHIM_SESSIONS], 1, __ATOMIC_RELAXED);
    }
    if (call->function == SHIM_C_Initialize) {
        const ck_initialize_args *args = *(void **)call->at[0];
        __atomic_store_n(&shim_shared->initialize_flags, args != NULL ? args->flags : UINT64_MAX, __ATOMIC_RELAXED);
    }
}

static ck_rv begin(shim_call *call)
{
    count(call);
    ck_rv rv = shim_before(call);
    if (rv == CKR_OK) {
        pthread_rwlock_rdlock(&gate);
        rv = shim_handles_in(call);
        if (rv != CKR_OK) {
            pthread_rwlock_unlock(&gate);
        }
    }
    return rv;
}

static ck_rv end(shim_call *call, ck_rv rv)
{
    if (rv == CKR_OK) {
        shim_handles_out(call);
    }
    pthread_rwlock_unlock(&gate);
    return shim_after(call, rv);
}

static ck_rv answered(const shim_call *call, ck_rv rv)
{
    if (rv != CKR_OK) {
        __atomic_add_fetch(&shim_shared->failures[call->function], 1, __ATOMIC_RELAXED);
    }
    return rv;
}

void shim_alone(void (*work)(const shim_call *), const shim_call *call)
{
    pthread_rwlock_wrlock(&gate);
    work(call);
    pthread_rwlock_unlock(&gate);
}

#define SHIM_WRAPPER(name, parameters, arguments)                           \
    static ck_rv shim_##name parameters                                     \
    {                                                                       \
        shim_call call = {.function = SHIM_##name, .at = {AT arguments}};   \
        ck_rv rv = begin(&call);                                            \
        if (rv == CKR_OK) {                                                 \
            rv = end(&call, shim_real->name arguments);                     \
        }                                                                   \
        return answered(&call, rv);                                         \
    }
CK_FUNCTIONS(SHIM_WRAPPER)
#undef SHIM_WRAPPER

static ck_function_list table = {
    .version = {2, 40},
#define SHIM_MEMBER(name, parameters, arguments) .name = shim_##name,
    CK_FUNCTIONS(SHIM_MEMBER)
#undef SHIM_MEMBER
};

static int open_page(void)
{
    const char *path = getenv("SEALPRESS_SHIM_PAGE");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return 0;
    }
    void *map = mmap(NULL, sizeof *shim_shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    shim_shared = map;
    return map != MAP_FAILED;
}

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
    return get(&shim_real) == CKR_OK;
}

static void open_gate(void)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&gate, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

__attribute__((visibility("default"))) ck_rv C_GetFunctionList(ck_function_list **list);
ck_rv C_GetFunctionList(ck_function_list **list)
{
    if (shim_real == NULL) {
        if (!(open_page() && open_real())) {
            return CKR_GENERAL_ERROR;
        }
        open_gate();
        table.C_GetFunctionList = C_GetFunctionList;    /* nobody gets past us */
    }
    const shim_call call = {.function = SHIM_C_GetFunctionList};
    count(&call);
    *list = &table;
    return CKR_OK;
}
