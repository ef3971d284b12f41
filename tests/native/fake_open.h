/* Opens fake_token.so, which stands beside the program, as the module of this process. */
#ifndef FAKE_OPEN_H
#define FAKE_OPEN_H

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fake_token.h"
#include "sp.h"

static inline fake_token *fake_token_open(void)
{
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    EXPECT(size > 0);
    path[size] = '\0';
    char *directory = dirname(path);
    EXPECT(strlen(directory) + sizeof "/fake_token.so" <= sizeof path);
    strcat(directory, "/fake_token.so");
    EXPECT(sp_p11_open(directory, NULL) == SP_OK);
    EXPECT(sp_p11_initialize(NULL) == SP_OK);
    void *library = dlopen(directory, RTLD_NOW);
    EXPECT(library != NULL);
    void *symbol = dlsym(library, "fake_token_of");
    fake_token *(*of)(void);
    memcpy(&of, &symbol, sizeof of);
    return of();
}

#endif
