/* The register of mappings is an array of atomics, because a signal handler may
 * neither lock nor allocate. A slot is free while its size is 0. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "sp_bus.h"

#define BUS_SLOTS 4096
#define BUS_EXIT_CODE 3     /* "the log or node is damaged" */

static struct {
    _Atomic uintptr_t start;
    _Atomic size_t size;
} bus_slot[BUS_SLOTS];
static pthread_mutex_t bus_mutex = PTHREAD_MUTEX_INITIALIZER;   /* adders and removers; never the handler */
static struct sigaction bus_previous;
static int bus_installed;

void sp_bus_remove(void *data)
{
    pthread_mutex_lock(&bus_mutex);
    for (int i = 0; i < BUS_SLOTS; i++) {
        if (atomic_load(&bus_slot[i].size) != 0 && atomic_load(&bus_slot[i].start) == (uintptr_t)data) {
            atomic_store(&bus_slot[i].size, 0);
            break;
        }
    }
    pthread_mutex_unlock(&bus_mutex);
}

static int bus_watched(uintptr_t address)
{
    for (int i = 0; i < BUS_SLOTS; i++) {
        size_t size = atomic_load(&bus_slot[i].size);
        uintptr_t start = atomic_load(&bus_slot[i].start);
        if (size != 0 && address >= start && address - start < size) {
            return 1;
        }
    }
    return 0;
}

static void bus_handler(int signal_number, siginfo_t *info, void *context)
{
    static const char line[] =
        "sealpress: the disk failed under a mapped log file (SIGBUS); stopping, nothing more is signed. "
        "Check the disk, then start again: recovery decides what is whole.\n";
    if (bus_watched((uintptr_t)info->si_addr)) {
        ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
        (void)ignored;
        _exit(BUS_EXIT_CODE);
    }
    if (bus_previous.sa_flags & SA_SIGINFO) {
        bus_previous.sa_sigaction(signal_number, info, context);
        return;
    }
    if (bus_previous.sa_handler != SIG_DFL && bus_previous.sa_handler != SIG_IGN) {
        bus_previous.sa_handler(signal_number);
        return;
    }
    /* Not ours and nobody else's: fall back to the default and let the instruction fault again. */
    signal(SIGBUS, SIG_DFL);
}

/* Once per process, with the first mapping: nothing of a log is read or written without this guard. */
static void install(void)
{
    struct sigaction action = {.sa_sigaction = bus_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (!bus_installed) {
        sigemptyset(&action.sa_mask);
        bus_installed = sigaction(SIGBUS, &action, &bus_previous) == 0;
    }
}

void sp_bus_add(void *data, size_t size)
{
    pthread_mutex_lock(&bus_mutex);
    install();
    for (int i = 0; i < BUS_SLOTS; i++) {
        if (atomic_load(&bus_slot[i].size) == 0) {
            atomic_store(&bus_slot[i].start, (uintptr_t)data);
            atomic_store(&bus_slot[i].size, size);
            break;
        }
    }
    pthread_mutex_unlock(&bus_mutex);
}
