/* CRC-32C (Castagnoli) of journal frames without the processor's help, for tests; callers use sp_crc32c of sp_api.h. */
#ifndef SP_CRC32C_H
#define SP_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t sp_crc32c_portable(uint32_t crc, const uint8_t *data, size_t size);

#endif
