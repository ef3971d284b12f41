/* The least that can be done to have a token sign: a thread per session, C_SignInit and C_Sign, and nothing else.
 *
 * A baseline of bench_sign_loop.py: no queue, no deadline, no account of who asked. Answers the number of failures. */
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "sp_pkcs11.h"

enum { THREADS_MAX = 64, SIGNATURE_MAX = 1024 };

typedef struct raw_work {
    ck_function_list *table;
    ck_session session;
    ck_object key;
    ck_ulong mechanism, size;
    const ck_byte *data;
    uint32_t count, failed;
} raw_work;

static void *raw_main(void *argument)
{
    raw_work *work = argument;
    for (uint32_t i = 0; i < work->count; i++) {
        ck_byte signature[SIGNATURE_MAX];
        ck_ulong size = sizeof signature;
        ck_mechanism mechanism = {work->mechanism, NULL, 0};
        ck_rv rv = work->table->C_SignInit(work->session, &mechanism, work->key);
        if (rv == CKR_OK) {
            rv = work->table->C_Sign(work->session, (ck_byte *)(uintptr_t)work->data, work->size, signature, &size);
        }
        work->failed += rv != CKR_OK;
    }
    return NULL;
}

__attribute__((visibility("default")))
uint32_t raw_loop(const char *module, const uint64_t *sessions, uint32_t threads, uint64_t key, uint64_t mechanism,
                  const uint8_t *data, uint64_t size, uint32_t count_each)
{
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;
    ck_rv (*get)(ck_function_list **);
    ck_function_list *table = NULL;
    memcpy(&get, &symbol, sizeof get);
    if (symbol == NULL || threads > THREADS_MAX || get(&table) != CKR_OK) {
        return UINT32_MAX;
    }
    raw_work works[THREADS_MAX];
    pthread_t running[THREADS_MAX];
    uint32_t failed = 0;
    for (uint32_t i = 0; i < threads; i++) {
        works[i] = (raw_work){table, sessions[i], key, mechanism, size, data, count_each, 0};
        if (pthread_create(&running[i], NULL, raw_main, &works[i]) != 0) {
            return UINT32_MAX;
        }
    }
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(running[i], NULL);
        failed += works[i].failed;
    }
    return failed;
}
