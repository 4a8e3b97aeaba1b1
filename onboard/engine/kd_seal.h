/* Weight tables whose origin is proven by HMAC-SHA-256 before a byte of them is used. ../FORMAT.md has what is signed. */
/* cppcheck-suppress-file misra-c2012-19.2 ; kd_word reads the bits of a float without a second copy */
#ifndef KD_SEAL_H
#define KD_SEAL_H

#include "kd_engine.h"

/* Who must have made a table, for whom, and when. */
typedef struct {
    const uint8_t *key; /* never 0 bytes long */
    const uint8_t *name; /* of the satellite */
    const uint8_t *tag; /* [32] */
    uint32_t key_length;
    uint32_t name_length;
    uint64_t sequence;
} kd_seal;

/* KD_OK, or KD_ERR_SIGNATURE: the table is not the one that was signed. */
int32_t kd_authenticate(const kd_seal *seal, const uint8_t *table, uint32_t length);

/* kd_load, after kd_authenticate; refuses a sequence number below `newest`, and makes an accepted one the newest. The
 * table must not be written to meanwhile: what was proven is what is loaded. */
int32_t kd_load_sealed(kd_model *model, const uint8_t *table, uint32_t length, kd_word *storage, uint32_t words,
                       const kd_seal *seal, uint64_t *newest);

#endif
