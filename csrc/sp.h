/* The public face of the core: guard and includes around the boundary header. */
#ifndef SP_H
#define SP_H
#include <stddef.h>
#include <stdint.h>
#include "sp_api.h"
#include "sp_status.h"
#endif
