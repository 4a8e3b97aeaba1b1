/* CRC-32 (IEEE 802.3, reflected, as zlib's). */
#ifndef KD_CRC_H
#define KD_CRC_H

#include <stdint.h>

/* The CRC of some bytes that follow others whose CRC was `crc`; 0 for the first. */
uint32_t kd_crc32(uint32_t crc, const uint8_t *bytes, uint32_t count);

#endif
