/* SIGBUS in one of our mappings: the disk could not give a page back or take one.
 * What the store was about is lost, so nothing may be signed after it. */
#ifndef SP_BUS_H
#define SP_BUS_H
#include <stddef.h>

/* A new mapping; beyond 4,096 at once they are not watched. The first one installs the handler, once per process: a
 * fault inside a watched mapping writes one line to standard error and ends the process with exit code 3; any other goes
 * to whoever was there before. */
void sp_bus_add(void *data, size_t size);
void sp_bus_remove(void *data);

#endif
