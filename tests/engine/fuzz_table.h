#ifndef FUZZ_TABLE_H
#define FUZZ_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* Abort, as sanitizers do, unless it holds. */
void fuzz_require(int condition);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
